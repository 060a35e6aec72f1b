"""A packet through the iptables of one hook: raw, conntrack, mangle, nat, filter, in the kernel's order.

PREROUTING   raw · conntrack · mangle · nat(destination)
INPUT        mangle · filter · nat(source)        FORWARD  mangle · filter
OUTPUT       raw · conntrack · mangle · nat(destination) · filter
POSTROUTING  mangle · nat(source) · confirm
"""

import msgspec

from floatway.host.records import Address, Tuple5
from floatway.net.packet import Packet
from floatway.text.iptables import IptablesRule, parse_rule
from floatway.trace import conntrack, evidence, faults
from floatway.trace.conntrack import UNTRACKED
from floatway.trace.course import Context, Course, Place, Stopped
from floatway.trace.matches import Sight, holds
from floatway.trace.result import Change, Disposition, Evidence, Step, StepKind

HOOKS: dict[str, tuple[str, ...]] = {
    "PREROUTING": ("raw", "conntrack", "mangle", "nat"),
    "INPUT": ("mangle", "filter", "security", "nat"),
    "FORWARD": ("mangle", "filter", "security"),
    "OUTPUT": ("raw", "conntrack", "mangle", "nat", "filter", "security"),
    "POSTROUTING": ("mangle", "nat"),
}
CONFIRMING = frozenset({"INPUT", "POSTROUTING"})
NOTHING_TO_DECIDE = frozenset(
    {"", "LOG", "NFLOG", "ULOG", "TRACE", "CHECKSUM", "TCPMSS", "CLASSIFY", "SECMARK", "TOS", "DSCP"}
)
FINAL = frozenset({"ACCEPT", "DROP", "REJECT", "SNAT", "DNAT", "REDIRECT", "MASQUERADE", "UNKNOWN"})
DEPTH = 32


class Rule(msgspec.Struct, frozen=True):
    """A rule that matched, and where it stands."""

    chain: str
    text: str
    target: str


class Verdict(msgspec.Struct, frozen=True):
    """What a chain decided, and the rules that led there."""

    name: str
    rules: tuple[Rule, ...] = ()
    options: dict[str, str] = {}


class Passed(msgspec.Struct, frozen=True):
    """A packet beyond a hook, or stopped in it."""

    course: Course
    steps: tuple[Step, ...]
    tracked: conntrack.Tracked
    stopped: Stopped | None = None


def hook(ctx: Context, name: str, course: Course, place: Place, sight_of: Sight) -> Passed:
    """Take the packet through one hook. ``sight_of`` holds devices and connection; packet and mark come from the course."""
    sight = msgspec.structs.replace(sight_of, packet=course.packet, mark=course.mark)
    steps: list[Step] = []
    for table in HOOKS[name]:
        if table == "conntrack":
            course, sight.tracked, found = _track(ctx, course, sight)
            steps += found
            continue
        if table == "nat":
            stopped = _nat(name, sight, steps)
        elif (sight.netns, table) in sight.index.tables:
            stopped = _filter(name, table, sight, steps)
        else:
            stopped = None
        course = msgspec.structs.replace(course, packet=sight.packet, mark=sight.mark)
        if stopped is not None:
            if stopped.heading is None:
                stopped = msgspec.structs.replace(stopped, heading=place)
            return Passed(course, tuple(steps), sight.tracked, stopped)
    if name in CONFIRMING:
        course = conntrack.remember(course, sight.tracked)
    return Passed(course, tuple(steps), sight.tracked)


def _track(ctx: Context, course: Course, sight: Sight) -> tuple[Course, conntrack.Tracked, list[Step]]:
    if sight.zone < 0 or sight.netns not in sight.index.filtered:
        return course, UNTRACKED, []
    tracked = conntrack.look_up(course, sight.index, sight.host, sight.netns, sight.zone)
    session = tracked.session
    if tracked.state == "ESTABLISHED" and session is not None:
        course = course.with_session(session)
        where = f" in zone {session.zone}" if session.zone else ""
        text = f"known connection{where}: {'the answer of' if tracked.reply else 'part of'} {_says(session.original)}"
        return course, tracked, [Step(StepKind.CONNTRACK, text)]
    if tracked.state == "INVALID":
        return course, tracked, [Step(StepKind.CONNTRACK, "belongs to no known connection: INVALID")]
    return course, tracked, []


def _says(one: Tuple5) -> str:
    ports = "" if one.proto == "icmp" else f":{one.dport}"
    return f"{one.proto} {one.src} → {one.dst}{ports}"


def _filter(name: str, table: str, sight: Sight, steps: list[Step]) -> Stopped | None:
    zone = sight.zone
    verdict = evaluate(sight, table, name)
    shown = tuple(evidence.rule_of_chain(sight.netns, table, rule.chain, rule.text) for rule in verdict.rules)
    if verdict.name in ("DROP", "REJECT"):
        text, proof = _dropped(sight, table, name, verdict, shown)
        last = verdict.rules[-1] if verdict.rules else Rule("", "", "")
        code = faults.of_drop(last.chain, last.text, sight)
        steps.append(Step(StepKind.DROP, text, proof, code=code))
        return Stopped(Disposition.DROPPED_BY_RULE, text, proof[-1:], code, repair=faults.repair(code, sight.packet))
    if verdict.name == "UNKNOWN":
        text = f"{table} {name}: not understood: {verdict.rules[-1].text}"
        steps.append(Step(StepKind.DROP, text, shown))
        return Stopped(Disposition.UNKNOWN_STATE, text, shown[-1:])
    if table == "raw" and shown:
        text = (
            "not tracked" if sight.zone < 0 else f"connection tracking zone {sight.zone}" if sight.zone != zone else ""
        )
        if text:
            steps.append(Step(StepKind.CONNTRACK, text, shown[-1:]))
    elif table == "filter" and shown:
        steps.append(Step(StepKind.FILTER, _allowed(verdict, sight), shown))
    return None


def _allowed(verdict: Verdict, sight: Sight) -> str:
    ports = [rule for rule in verdict.rules if faults.direction(rule.chain)]
    if ports:
        way = "to" if faults.direction(ports[-1].chain) == "i" else "from"
        return f"security group lets it through {way} the instance"
    return "the filter lets it through"


def _dropped(
    sight: Sight, table: str, name: str, verdict: Verdict, shown: tuple[Evidence, ...]
) -> tuple[str, tuple[Evidence, ...]]:
    if not verdict.rules or verdict.rules[-1].target not in ("DROP", "REJECT"):
        proof = evidence.policy(sight.netns, table, name, verdict.name)
        return f"no rule accepts it, and the policy of {table} {name} is {verdict.name}", (*shown, proof)
    last = verdict.rules[-1]
    said = faults.comment(last.text)
    return f"{last.chain} in table {table}: {said or last.text}", shown


def _nat(name: str, sight: Sight, steps: list[Step]) -> Stopped | None:
    tracked = sight.tracked
    source = name in ("POSTROUTING", "INPUT")
    if tracked.session is None:
        return None
    shown: tuple[Evidence, ...] = ()
    if tracked.session.new and (sight.netns, "nat") in sight.index.tables:
        verdict = evaluate(sight, "nat", name)
        shown = tuple(evidence.rule_of_chain(sight.netns, "nat", rule.chain, rule.text) for rule in verdict.rules)
        match verdict.name:
            case "DROP" | "REJECT":
                text, proof = _dropped(sight, "nat", name, verdict, shown)
                steps.append(Step(StepKind.DROP, text, proof))
                return Stopped(Disposition.DROPPED_BY_RULE, text, proof[-1:])
            case "UNKNOWN":
                text = f"nat {name}: not understood: {verdict.rules[-1].text}"
                steps.append(Step(StepKind.DROP, text, shown))
                return Stopped(Disposition.UNKNOWN_STATE, text, shown[-1:])
            case "SNAT" | "DNAT" | "MASQUERADE" | "REDIRECT":
                new = _mapping(verdict, sight)
                if new is None:
                    text = f"nat {name}: no address for {verdict.rules[-1].text}"
                    return Stopped(Disposition.UNKNOWN_STATE, text, shown[-1:])
                address, port = new
                sight.tracked = conntrack.with_nat(tracked, source=source, address=address, port=port)
            case _:
                pass
    before = sight.packet
    sight.packet = conntrack.translated(before, sight.tracked, source=source)
    changes = differences(before, sight.packet)
    if changes:
        undone = "" if not sight.tracked.reply else " (undone for the answer)"
        kind = "source" if source else "destination"
        text = f"{kind} NAT{undone}: {changes[0].before} becomes {changes[0].after}"
        steps.append(Step(StepKind.NAT, text, shown if not sight.tracked.reply else _session(sight), changes))
    return None


def _session(sight: Sight) -> tuple[Evidence, ...]:
    session = sight.tracked.session
    if session is None:
        return ()
    one, back = session.original, session.reply
    words = f"src={one.src} dst={one.dst} … src={back.src} dst={back.dst}"
    return (Evidence(evidence.inside(sight.netns, f"conntrack -L -p {one.proto}"), f"{one.proto} … {words} …"),)


def _mapping(verdict: Verdict, sight: Sight) -> tuple[str, int | None] | None:
    """The address and port that a NAT rule gives."""
    options = verdict.options
    match verdict.name:
        case "SNAT" | "DNAT":
            value = options.get("to-source" if verdict.name == "SNAT" else "to-destination", "")
            address, _, port = value.partition(":")
            first = address.partition("-")[0]
            number = port.partition("-")[0].partition("/")[0]
            if not first:
                first = sight.packet.src if verdict.name == "SNAT" else sight.packet.dst
            return first, int(number) if number.isdigit() else None
        case "REDIRECT":
            port = options.get("to-ports", "").partition("-")[0]
            own = _primary(sight.index.on_device(sight.netns, sight.in_device)) or "127.0.0.1"
            return own, int(port) if port.isdigit() else None
        case _:
            own = _primary(sight.index.on_device(sight.netns, sight.out_device))
            return (own, None) if own else None


def _primary(addresses: list[Address]) -> str:
    return addresses[0].cidr.partition("/")[0] if addresses else ""


def differences(before: Packet, after: Packet) -> tuple[Change, ...]:
    """The fields that a step changed."""
    if before is after:
        return ()
    return tuple(
        Change(name, str(old), str(new))
        for name in before.__struct_fields__
        if (old := getattr(before, name)) != (new := getattr(after, name))
    )


# --- chains ----------------------------------------------------------------------------------------


def evaluate(sight: Sight, table: str, chain: str) -> Verdict:
    """What the built-in chain decides; its policy when no rule does."""
    found = _chain(sight, table, chain, ())
    if found.name:
        return found
    record = sight.index.chain(sight.netns, table, chain)
    policy = record.policy if record is not None else ""
    return Verdict(policy or "ACCEPT", found.rules)


def _chain(sight: Sight, table: str, name: str, path: tuple[str, ...]) -> Verdict:
    """Walk one chain; the name of the verdict is "" when it falls off the end or RETURNs."""
    record = sight.index.chain(sight.netns, table, name)
    if record is None:
        return Verdict("")
    matched: list[Rule] = []
    for text in record.rules:
        if _cannot(text, sight):
            continue
        rule = parse_rule(text)
        answer = holds(rule, sight)
        if answer is False or (answer is None and rule.target in NOTHING_TO_DECIDE):
            continue
        here = Rule(name, text, rule.target)
        if answer is None:
            return Verdict("UNKNOWN", (*matched, here))
        if rule.target in NOTHING_TO_DECIDE:
            continue
        if rule.target == "RETURN":
            return Verdict("", (*matched, here))
        if _effect(rule, sight):
            matched.append(here)
            continue
        if rule.target in FINAL:
            return Verdict(rule.target, (*matched, here), {key.lstrip("-"): value for key, value in rule.options})
        if sight.index.chain(sight.netns, table, rule.target) is None or len(path) > DEPTH:
            return Verdict("UNKNOWN", (*matched, here))
        if any(match.module != "comment" for match in rule.matches):
            matched.append(here)
        inner = _chain(sight, table, rule.target, (*path, name))
        if inner.rules and here not in matched and rule.matches:
            matched.append(here)
        matched += inner.rules
        if inner.name:
            return Verdict(inner.name, tuple(matched), inner.options)
        if rule.goto:
            break
    return Verdict("", tuple(matched))


def _cannot(text: str, sight: Sight) -> bool:
    """A quick no for the rules of other ports, without parsing them."""
    return (
        "--physdev-" in text
        and "+" not in text
        and "! " not in text
        and not (sight.physdev_in and sight.physdev_in in text)
        and not (sight.physdev_out and sight.physdev_out in text)
        and ("--physdev-in " in text or "--physdev-out " in text)
    )


def _effect(rule: IptablesRule, sight: Sight) -> bool:
    """Targets that change something and let the walk go on; False for all others."""
    options = {key.lstrip("-"): value for key, value in rule.options}
    match rule.target:
        case "CT":
            if "notrack" in options:
                sight.zone = -1
            elif zone := options.get("zone", options.get("zone-orig", "")):
                sight.zone = int(zone, 0)
        case "NOTRACK":
            sight.zone = -1
        case "MARK":
            sight.mark = _marked(options, sight.mark)
        case "CONNMARK":
            _connmark(options, sight)
        case _:
            return False
    return True


def _pair(value: str) -> tuple[int, int]:
    mark, _, mask = value.partition("/")
    return int(mark, 0), int(mask, 0) if mask else 0xFFFFFFFF


def _marked(options: dict[str, str], mark: int) -> int:
    if "set-xmark" in options:
        value, mask = _pair(options["set-xmark"])
        return (mark & ~mask & 0xFFFFFFFF) ^ value
    if "set-mark" in options:
        value, mask = _pair(options["set-mark"])
        return (mark & ~mask & 0xFFFFFFFF) | value
    if "or-mark" in options:
        return mark | int(options["or-mark"], 0)
    if "and-mark" in options:
        return mark & int(options["and-mark"], 0)
    return mark ^ int(options["xor-mark"], 0) if "xor-mark" in options else mark


def _connmark(options: dict[str, str], sight: Sight) -> None:
    session = sight.tracked.session
    if session is None:
        return
    here = int(options.get("nfmask", options.get("mask", "0xffffffff")), 0)
    there = int(options.get("ctmask", options.get("mask", "0xffffffff")), 0)
    if "restore-mark" in options:
        sight.mark = (sight.mark & ~here & 0xFFFFFFFF) ^ (session.mark & there)
    else:
        mark = (
            (session.mark & ~there & 0xFFFFFFFF) ^ (sight.mark & here)
            if "save-mark" in options
            else _marked(options, session.mark)
        )
        sight.tracked = msgspec.structs.replace(sight.tracked, session=msgspec.structs.replace(session, mark=mark))
