"""Which ports a host carries frames for without filtering or translating them: the holes that no plan may open."""

from collections.abc import Iterator

from floatway.host.records import Chain, Flow, Link, OvsBridge, OvsPort, Rule, Sysctl
from floatway.host.state import HostState

PREFIX = "neutron-openvswi-"


def carries(state: HostState, port: str) -> bool:
    """Can a frame pass between the instance and br-int? ``port`` is the id."""
    tap, qvb, qvo = (state.get(Link, "", f"{name}{port[:11]}") for name in ("tap", "qvb", "qvo"))
    qbr = state.get(Link, "", f"qbr{port[:11]}")
    plug = state.get(OvsPort, f"qvo{port[:11]}")
    if not (tap and qvb and qvo and qbr and plug and plug.bridge == "br-int"):
        return False
    bridged = tap.master == qvb.master == qbr.name
    moving = any(flow.bridge == "br-int" for flow in state.records(Flow))
    return bridged and tap.up and qvb.up and qvo.up and qbr.up and moving


def filters(state: HostState, port: str) -> bool:
    """Do both directions go through the port's chains, from the kernel's own chain on?"""

    def rules(name: str) -> tuple[str, ...]:
        chain = state.get(Chain, "", "filter", name)
        return chain.rules if chain else ()

    def leads(name: str, direction: str, to: str) -> bool:
        start = f"-m physdev --physdev-{direction} tap{port[:11]} "
        return any(rule.startswith(start) and rule.endswith(f"-j {PREFIX}{to}") for rule in rules(name))

    called = state.get(Sysctl, "", "net.bridge.bridge-nf-call-iptables")
    return (
        called is not None
        and called.value == "1"
        and f"-j {PREFIX}FORWARD" in rules("FORWARD")
        and all(leads(f"{PREFIX}FORWARD", way, "sg-chain") for way in ("in", "out"))
        and leads(f"{PREFIX}sg-chain", "in", f"o{port[:10]}")
        and leads(f"{PREFIX}sg-chain", "out", f"i{port[:10]}")
        and all(rules(f"{PREFIX}{kind}{port[:10]}") for kind in "io")
    )


def spoofing_checks(state: HostState, port: str) -> set[Flow]:
    """The flows through which what the instance sends must go."""
    start = f'in_port="qvo{port[:11]}"'
    return {flow for flow in state.records(Flow) if flow.bridge == "br-int" and start in flow.match}


def unguarded_bridges(state: HostState, new: set[str], want: HostState) -> Iterator[str]:
    """New bridges that forward although drop flows are still missing."""
    for name in new:
        bridge = state.get(OvsBridge, name)
        here = [flow for flow in state.records(Flow) if flow.bridge == name]
        drops = {flow for flow in want.records(Flow) if flow.bridge == name and flow.actions == "drop"}
        if bridge and (bridge.fail_mode != "secure" or (here and not drops <= set(here))):
            yield name


def untranslated(state: HostState) -> Iterator[Rule]:
    """Rules that send a fixed address's packets out although nothing translates them."""
    for rule in state.records(Rule):
        if rule.table == 16:
            chain = state.get(Chain, rule.netns, "nat", "neutron-l3-agent-float-snat")
            if not chain or not any(one.startswith(f"-s {rule.src}/32 ") for one in chain.rules):
                yield rule
