"""The reference's transcript, line by line (tests/golden/reference)."""

import re
from pathlib import Path

from floatway.host.records import Address, Chain, Link, Neighbour, Netns, OvsPort, Route, Rule
from unit.compile.clouds import REFERENCE_HOST, built, reference

GOLDEN = Path(__file__).parents[2] / "golden" / "reference"
QROUTER, FIP = "qrouter-d3218b9c-73bb-4788-87e4-5828625fe586", "fip-eddc07d8-7544-4f3a-b9f4-27f005fb114f"
STATE = built(reference(), REFERENCE_HOST)


def lines(name: str) -> list[str]:
    return [line.rstrip() for line in (GOLDEN / name).read_text().splitlines() if line.strip()]


def listed(netns: str, table: str) -> list[str]:
    """``iptables -S``: policies, then chains by name, then rules chain by chain."""
    chains = STATE.records(Chain, lambda chain: (chain.netns, chain.table) == (netns, table))
    own = [f"-N {chain.name}" for chain in chains if not chain.policy]
    return [*own, *(f"-A {chain.name} {rule}" for chain in chains for rule in chain.rules)]


def test_security_group_chains() -> None:
    # iptables before 1.8 printed MACs in capitals
    wanted = [
        re.sub(r"(?<=--mac-source )\S+", lambda m: m[0].lower(), line) for line in lines("host.iptables-S.8aa5.txt")
    ]
    assert sorted(line for line in listed("", "filter") if "8aa5" in line) == sorted(wanted)
    for chain in ("i", "o", "s"):
        name = f"-A neutron-openvswi-{chain}8aa5e3b4-6 "
        assert [line for line in listed("", "filter") if line.startswith(name)] == [
            line for line in wanted if line.startswith(name)
        ]


def test_nat_of_the_router() -> None:
    wanted = [line for line in lines("qrouter.iptables-S.nat.txt") if not line.startswith("-P ")]
    # ours, and Neutron's since Queens: ports are chosen so that two connections cannot collide
    ours = [line.removesuffix(" --random-fully") for line in listed(QROUTER, "nat")]
    assert sorted(ours) == sorted(wanted)
    assert [line for line in ours if "l3-agent-PREROUTING " in line] == [
        line for line in wanted if "l3-agent-PREROUTING " in line
    ]


def test_rules_and_routes() -> None:
    def rules(netns: str) -> set[str]:
        return {
            f"{r.priority}: from {r.src} {f'iif {r.iif} ' if r.iif else ''}lookup {r.table}"
            for r in STATE.records(Rule, lambda rule: rule.netns == netns)
        }

    def golden_rules(name: str) -> set[str]:
        given = {re.sub(r"\s+", " ", line) for line in lines(name)}
        return {line for line in given if line.split(":")[0] not in {"0", "32766", "32767"}}

    assert rules(QROUTER) == golden_rules("qrouter.ip-rule.txt")
    assert rules(FIP) == golden_rules("fip.ip-rule.txt")
    for netns, table, name in (
        (QROUTER, 16, "qrouter.ip-route.16.txt"),
        (FIP, 2852022899, "fip.ip-route.2852022899.txt"),
    ):
        routes = STATE.records(Route, lambda route, at=(netns, table): (route.netns, route.table) == at)
        assert [f"{r.prefix} via {r.via} dev {r.dev}" for r in routes] == lines(name)
    host_route = STATE.get(Route, FIP, 254, "192.168.10.106", 0, "unicast")
    assert host_route is not None
    assert (host_route.via, host_route.dev) == ("169.254.106.114", "fpr-d3218b9c-7")
    # no default route in main: without a rule nothing leaves
    assert not STATE.records(Route, lambda route: route.netns == QROUTER and route.table == 254)


def test_devices_and_addresses() -> None:
    assert {n.name for n in STATE.table(Netns).values()} == {QROUTER, FIP}
    assert {(link.netns, link.name, link.mac, link.mtu) for link in STATE.table(Link).values() if link.netns} == {
        (QROUTER, "rfp-d3218b9c-7", "96:80:29:54:59:f6", 1500),
        (QROUTER, "qr-56718ce4-c6", "fa:16:3e:78:d6:60", 1450),
        (FIP, "fpr-d3218b9c-7", "f2:d4:ad:59:11:7d", 1500),
        (FIP, "fg-38f32d91-3d", "fa:16:3e:30:c9:5b", 1500),
    }
    assert {(a.link, a.cidr, a.broadcast) for a in STATE.table(Address).values()} == {
        ("rfp-d3218b9c-7", "169.254.106.114/31", ""),
        ("qr-56718ce4-c6", "172.12.10.1/24", "172.12.10.255"),
        ("fpr-d3218b9c-7", "169.254.106.115/31", ""),
        ("fg-38f32d91-3d", "192.168.10.103/16", "192.168.255.255"),
    }
    neighbour = STATE.get(Neighbour, QROUTER, "qr-56718ce4-c6", "172.12.10.4")
    assert neighbour is not None
    assert (neighbour.mac, neighbour.state) == ("fa:16:3e:ae:b3:e7", "PERMANENT")
    qbr = STATE.get(Link, "", "qbr8aa5e3b4-6c")
    assert qbr is not None
    assert qbr.mac == "fa:59:6f:2d:2f:32"
    members = {link.name for link in STATE.table(Link).values() if link.master == qbr.name}
    assert members == {"qvb8aa5e3b4-6c", "tap8aa5e3b4-6c"}


def test_ports_of_the_bridges() -> None:
    text = (GOLDEN / "host.ovs-vsctl-show.txt").read_text()
    wanted: set[tuple[str, str, int | None]] = set()
    bridge = ""
    for block in re.split(r"^ +(?=(?:Bridge|Port) )", text, flags=re.MULTILINE):
        kind, _, rest = block.partition(" ")
        name = rest.split()[0].strip('"') if rest.split() else ""
        if kind == "Bridge":
            bridge = name
        elif kind == "Port" and name != bridge:
            tag = re.search(r"tag: (\d+)", rest)
            wanted.add((bridge, name, int(tag[1]) if tag else None))
            for option, value in re.findall(r"(\w+)=\"?([^\",}]+)", rest):
                port = STATE.get(OvsPort, name)
                assert port is not None
                assert (option, value) in port.options
    assert {(p.bridge, p.name, p.tag) for p in STATE.table(OvsPort).values()} == wanted
