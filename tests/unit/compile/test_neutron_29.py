"""Record by record against what a real Neutron wrote on a host with the same cloud (tests/golden/neutron-29).

Every difference that is meant stands in this file, with its reason.
"""

import re
from pathlib import Path

import pytest

from floatway.host.records import Chain, Flow, Neighbour, Route, Rule
from floatway.text.iptables import parse_save
from floatway.text.ofctl import parse_flows
from unit.compile.clouds import EXTERNAL, NEUTRON_HOST, ROUTER, built, neutron_29

GOLDEN = Path(__file__).parents[2] / "golden" / "neutron-29"
QROUTER, FIP = f"qrouter-{ROUTER}", f"fip-{EXTERNAL}"
PORTS = {
    "br-int": {
        1: "int-br-ex",
        2: "patch-tun",
        3: "qvo65a85bb8-82",
        4: "qr-2fc51678-e8",
        5: "fg-17859d50-e9",
    },
    "br-tun": {1: "patch-int"},
    "br-ex": {2: "phy-br-ex"},
}


def named(text: str, bridge: str) -> str:
    """Port numbers as names, and the cookie that learn() writes left out: both are each host's own."""
    text = re.sub(r"cookie=0x[0-9a-f]+,NXM", "NXM", text)
    return re.sub(r"(in_port=|output:)(\d+)", lambda m: f'{m[1]}"{PORTS[bridge][int(m[2])]}"', text)


def canonical(flow: Flow) -> tuple[int, int, str, str]:
    return flow.table, flow.priority, named(flow.match, flow.bridge), named(flow.actions, flow.bridge)


@pytest.mark.parametrize("bridge", PORTS)
def test_flows(bridge: str) -> None:
    captured = {canonical(flow) for flow in parse_flows((GOLDEN / f"{bridge}.flows.txt").read_text(), bridge)}
    # learns from IPv6 advertisements and gratuitous ARP as from any other frame: the same action as its default
    captured = {flow for flow in captured if not (bridge == "br-tun" and flow[:2] == (10, 2))}
    ours = {canonical(f) for f in built(neutron_29(), NEUTRON_HOST).records(Flow, lambda f: f.bridge == bridge)}
    assert ours == captured


def chains(netns: str) -> dict[tuple[str, str], Chain]:
    state = built(neutron_29(), NEUTRON_HOST)
    return {(c.table, c.name): c for c in state.records(Chain, lambda chain: chain.netns == netns)}


def golden(name: str, netns: str) -> dict[tuple[str, str], tuple[str, ...]]:
    text = re.sub(r"^\[\d+:\d+\] ", "", (GOLDEN / f"{name}.iptables-save.txt").read_text(), flags=re.MULTILINE)
    parsed = parse_save(text, netns)
    return {(chain.table, chain.name): chain.rules for chain in parsed if isinstance(chain, Chain)}


def test_chains_of_the_host() -> None:
    ours, theirs = chains(""), golden("host", "")
    for (table, name), chain in ours.items():
        # Neutron calls the router's and the gateway's devices trusted taps as well; they are on no bridge of iptables'
        wanted = tuple(
            rule for rule in theirs[table, name] if "tap17859d50-e9" not in rule and "tap2fc51678-e8" not in rule
        )
        assert chain.rules == wanted, f"{table} {name}"
    # its nat table has rules for those devices only
    assert {key for key in theirs if key[0] != "nat"} == set(ours)


@pytest.mark.parametrize(("name", "netns"), [("qrouter", QROUTER), ("fip", FIP)])
def test_chains_of_the_namespaces(name: str, netns: str) -> None:
    ours, theirs = {key: chain.rules for key, chain in chains(netns).items()}, golden(name, netns)
    if name == "qrouter":
        # as the reference's transcript has it (an older Neutron): neither in nor out by rfp, and floating IPs first
        accept, translate = ("nat", "neutron-l3-agent-POSTROUTING"), ("nat", "neutron-l3-agent-PREROUTING")
        assert theirs.pop(accept) == ("! -o rfp-be38e5f6-0 -m conntrack ! --ctstate DNAT -j ACCEPT",)
        assert ours.pop(accept) == ("! -i rfp-be38e5f6-0 ! -o rfp-be38e5f6-0 -m conntrack ! --ctstate DNAT -j ACCEPT",)
        assert ours.pop(translate) == tuple(reversed(theirs.pop(translate)))
    assert ours == theirs


def test_rules_routes_and_neighbours_of_the_router() -> None:
    state = built(neutron_29(), NEUTRON_HOST)
    assert {(r.priority, r.src, r.table) for r in state.records(Rule, lambda r: r.netns == QROUTER)} == {
        (56340, "172.12.10.117", 16),
        (2886470145, "172.12.10.1/24", 2886470145),
    }
    assert {(r.table, r.prefix, r.via, r.dev) for r in state.records(Route, lambda r: r.netns == QROUTER)} == {
        (16, "default", "169.254.88.135", "rfp-be38e5f6-0"),
        (2886470145, "default", "172.12.10.16", "qr-2fc51678-e8"),
    }
    assert {(n.address, n.link) for n in state.records(Neighbour, lambda n: n.netns == QROUTER)} == {
        ("172.12.10.117", "qr-2fc51678-e8"),
        ("172.12.10.16", "qr-2fc51678-e8"),
        ("169.254.88.135", "rfp-be38e5f6-0"),
    }


def test_rules_and_routes_of_the_floating_ips_namespace() -> None:
    state = built(neutron_29(), NEUTRON_HOST)
    assert [(r.priority, r.iif, r.table) for r in state.records(Rule, lambda r: r.netns == FIP)] == [
        (2852018311, "fpr-be38e5f6-0", 2852018311)
    ]
    assert {(r.table, r.prefix, r.via, r.dev) for r in state.records(Route, lambda r: r.netns == FIP)} == {
        (2852018311, "default", "192.168.0.1", "fg-17859d50-e9"),
        (254, "192.168.13.164", "169.254.88.134", "fpr-be38e5f6-0"),
    }
