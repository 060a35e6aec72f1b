"""An Open vSwitch bridge: the packet through the flow tables, and what the actions make of it.

in_port ──▶ table 0 ──goto──▶ 25 ──▶ 60: NORMAL ──▶ learned MAC's port, or every port of the VLAN
                                        output:N     the frame as it is
"""

import msgspec

from floatway.host.records import Flow, OvsBridge, OvsFdb, OvsPort
from floatway.net.address import is_multicast_mac
from floatway.net.packet import Packet
from floatway.text.ofctl import Action, parse_actions
from floatway.trace import evidence, fields
from floatway.trace.index import Index
from floatway.trace.result import Change, Step, StepKind

DEAD_VLAN = 4095
DEPTH = 64
IGNORED = frozenset(
    {"learn", "note", "sample", "set_queue", "pop_queue", "dec_ttl", "fin_timeout", "write_metadata", "meter"}
)


class Output(msgspec.Struct, frozen=True):
    """A copy of the packet for one port. ``steps`` say why it goes there."""

    port: str
    packet: Packet
    steps: tuple[Step, ...] = ()


class Decision(msgspec.Struct, frozen=True):
    """What the tables made of a packet: the steps common to all copies, and the copies. ``unknown`` names what was not
    understood; ``flow`` is the last that matched; ``flooded`` says that NORMAL did not know the MAC."""

    steps: tuple[Step, ...]
    outputs: tuple[Output, ...] = ()
    flow: Flow | None = None
    unknown: str = ""
    flooded: bool = False
    reason: str = ""


class _Run:
    """One packet's run through the tables of one bridge."""

    def __init__(self, known: Index, bridge: str, port: str, packet: Packet) -> None:
        self.known, self.bridge, self.port = known, bridge, port
        self.packet = packet
        self.matched: list[Flow] = []
        self.steps: list[Step] = []
        self.outputs: list[Output] = []
        self.unknown = self.reason = ""
        self.flooded = False

    def table(self, number: int, depth: int = 0) -> None:
        """Look the packet up in one table and do what the flow says."""
        if depth > DEPTH:
            self.unknown = f"table {number}: more than {DEPTH} jumps"
            return
        flow = self.find(number)
        if self.unknown:
            return
        if flow is None:
            self.reason = f"no flow of table {number} matches"
            return
        self.matched.append(flow)
        before = self.packet
        following: list[int] = []
        for action in parse_actions(flow.actions):
            try:
                jump = self.act(action, depth)
            except fields.UnknownFieldError as error:
                self.unknown = f"action {action.name}: field {error}"
            except ValueError as error:
                self.unknown = f"action {action.name}:{action.argument}: {error}"
            if self.unknown:
                return
            following += [jump] if jump is not None else []
        if (changes := frame_changes(before, self.packet)) and following:
            self.steps.append(Step(StepKind.VLAN, _rewritten(changes), (evidence.flow(flow),), changes))
        for jump in following:
            self.table(jump, depth + 1)
        if not following and not self.outputs and not self.reason:
            self.reason = f"table {number}: actions={flow.actions or 'drop'}"

    def find(self, number: int) -> Flow | None:
        for flow in self.known.flows(self.bridge, number):
            if fields.cannot(flow.match, self.port, self.packet, self.bridge):
                continue
            answer = fields.matches(flow.match, self.bridge, self.port, self.packet, self.known)
            if answer:
                return flow
            if answer is None:
                self.unknown = f"match not understood: {flow.match}"
                return None
        return None

    def act(self, action: Action, depth: int) -> int | None:
        """Do one action; the table to go on with, if it says so."""
        name, argument = action.name, action.argument
        replace = msgspec.structs.replace
        match name:
            case "drop" | "":
                pass
            case "goto_table":
                return int(argument)
            case "resubmit":
                port, _, table = argument.partition(",")
                self.resubmit(port, int(table) if table.strip().isdigit() else 0, depth)
            case "NORMAL" | "normal":
                self.normal()
            case "output":
                self.output(argument)
            case "in_port" | "IN_PORT":
                self.outputs.append(Output(self.port, self.packet))
            case "FLOOD" | "flood" | "ALL" | "all":
                others = (one.name for one in ports_of(self.known, self.bridge) if one.name != self.port)
                self.outputs += [Output(other, self.packet) for other in others]
            case "LOCAL" | "local":
                self.outputs.append(Output(self.bridge, self.packet))
            case "pop_vlan" | "strip_vlan":
                self.packet = replace(self.packet, vlan=None)
            case "push_vlan":
                self.packet = replace(self.packet, vlan=self.packet.vlan or 0)
            case "mod_vlan_vid":
                self.packet = replace(self.packet, vlan=int(argument, 0))
            case "mod_dl_src" | "mod_dl_dst" | "mod_nw_src" | "mod_nw_dst" | "mod_tp_src" | "mod_tp_dst":
                self.packet = fields.set_field(self.packet, name[4:], argument)
            case "set_field" | "load":
                value, _, field = argument.partition("->")
                self.packet = fields.set_field(self.packet, field, value.partition("/")[0])
            case "move":
                self.packet = fields.move(self.packet, argument)
            case "set_tunnel" | "set_tunnel64":
                self.packet = replace(self.packet, tun_id=int(argument, 0))
            case _ if name in IGNORED:
                pass
            case _ if self.known.port(argument or name) is not None or name.isdigit():
                self.output(argument or name)
            case _:
                self.unknown = f"action not understood: {name}{f'({argument})' if argument else ''}"
        return None

    def output(self, port: str) -> None:
        """``output:PORT``: never back where it came from (OpenFlow: that needs IN_PORT)."""
        name = self.known.of_numbers.get((self.bridge, port), port) if port.isdigit() else port
        if name in ("LOCAL", "local"):
            name = self.bridge
        if name != self.port and name.lower() != "in_port":
            self.outputs.append(Output(name, self.packet))
        elif name.lower() == "in_port":
            self.outputs.append(Output(self.port, self.packet))

    def resubmit(self, port: str, table: int, depth: int) -> None:
        kept = self.packet, self.port
        if port and port not in ("in_port", "IN_PORT"):
            self.port = self.known.of_numbers.get((self.bridge, port), port.strip('"'))
        self.table(table, depth + 1)
        self.packet, self.port = kept
        self.reason = ""

    def normal(self) -> None:
        """What a learning switch does (ovs-actions(7), "The normal action")."""
        packet = self.packet
        entry_port = self.known.port(self.port)
        vlan = vlan_in(entry_port, packet)
        if vlan is None:
            tag = entry_port.tag if entry_port else None
            self.reason = f"a frame tagged {packet.vlan} is not for an access port of VLAN {tag}"
            return
        learned = (
            None
            if is_multicast_mac(packet.dst_mac)
            else self.known.state.get(OvsFdb, self.bridge, vlan, packet.dst_mac)
        )
        if learned is not None and (known := self._goes(learned.port, vlan)) is not None:
            if learned.port == self.port:
                self.reason = f"{packet.dst_mac} is behind {self.port}, where the frame came from"
                self.steps.append(Step(StepKind.LEARNED_MAC, self.reason, (evidence.ovs_fdb(self.known, learned),)))
                return
            where = f"in VLAN {vlan}" if vlan else "untagged,"
            text = f"{packet.dst_mac} {where} is behind {learned.port}"
            proof = (evidence.ovs_fdb(self.known, learned), *evidence.of_port(self.known, self.bridge, learned.port))
            step = Step(StepKind.LEARNED_MAC, text, proof)
            self.outputs.append(Output(learned.port, tagged_out(known, packet, vlan), (step,)))
            return
        self.flooded = True
        for port in ports_of(self.known, self.bridge):
            if port.name != self.port and carries(port, vlan):
                where = "everybody" if is_multicast_mac(packet.dst_mac) else f"{packet.dst_mac}, not learned yet"
                step = Step(
                    StepKind.LEARNED_MAC,
                    f"for {where}: to every port{f' of VLAN {vlan}' if vlan else ''}, so to {port.name}",
                    evidence.of_port(self.known, self.bridge, port.name),
                )
                self.outputs.append(Output(port.name, tagged_out(port, packet, vlan), (step,)))
        if not self.outputs:
            self.reason = f"no other port of {self.bridge} carries VLAN {vlan}"

    def _goes(self, name: str, vlan: int) -> OvsPort | None:
        if name in (self.bridge, "LOCAL"):
            return OvsPort(bridge=self.bridge, name=self.bridge, type="internal")
        port = self.known.port(name)
        return port if port is not None and port.bridge == self.bridge and carries(port, vlan) else None


def decide(known: Index, bridge: str, port: str, packet: Packet) -> Decision:
    """Run a packet that came in by ``port`` through the bridge's tables."""
    run = _Run(known, bridge, port, packet)
    record = known.state.get(OvsBridge, bridge)
    if known.has_flows(bridge) or (record is not None and record.fail_mode == "secure"):
        run.table(0)
    else:
        run.normal()
    steps: list[Step] = []
    if run.matched:
        tables = " → ".join(str(flow.table) for flow in run.matched)
        word = "tables" if len(run.matched) > 1 else "table"
        text = f"{word} {tables}: {run.matched[-1].actions or 'drop'}"
        steps.append(Step(StepKind.FLOW, text, tuple(evidence.flow(flow) for flow in run.matched)))
    return Decision(
        steps=(*steps, *run.steps),
        outputs=tuple(run.outputs),
        flow=run.matched[-1] if run.matched else None,
        unknown=run.unknown,
        flooded=run.flooded,
        reason=run.reason,
    )


def ports_of(known: Index, bridge: str) -> list[OvsPort]:
    """The bridge's ports, its own (LOCAL) the last."""
    return [*known.ports.get(bridge, ()), OvsPort(bridge=bridge, name=bridge, type="internal")]


def vlan_in(port: OvsPort | None, packet: Packet) -> int | None:
    """The VLAN NORMAL puts the frame in; None when the port must not send it."""
    if port is None or port.tag is None:
        return packet.vlan or 0
    return port.tag if not packet.vlan else None


def carries(port: OvsPort, vlan: int) -> bool:
    """Is the port in the VLAN (a port without a tag is a trunk of all)?"""
    return port.tag is None or port.tag == vlan


def tagged_out(port: OvsPort, packet: Packet, vlan: int) -> Packet:
    """The frame as NORMAL sends it: untagged to an access port, tagged to a trunk."""
    wanted = None if port.tag is not None or vlan == 0 else vlan
    return packet if packet.vlan == wanted else msgspec.structs.replace(packet, vlan=wanted)


def frame_changes(before: Packet, after: Packet) -> tuple[Change, ...]:
    """The fields that changed, an absent VLAN written as "untagged"."""
    return tuple(
        Change(name, "untagged" if old is None else str(old), "untagged" if new is None else str(new))
        for name in before.__struct_fields__
        if (old := getattr(before, name)) != (new := getattr(after, name))
    )


def _rewritten(changes: tuple[Change, ...]) -> str:
    return ", ".join(map(_said, changes))


def _said(change: Change) -> str:
    if change.field != "vlan":
        return f"{change.field} {change.before} becomes {change.after}"
    return "the tag is taken off" if change.after == "untagged" else f"tagged with VLAN {change.after}"
