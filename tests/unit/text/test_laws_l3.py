"""L3: parse(render(x)) == x, for every tool's text that we read and write."""

from hypothesis import given
from hypothesis import strategies as st

from effort import examples
from floatway.compile.allocations import allocate
from floatway.compile.host import compile_host
from floatway.host.records import Chain, Connection, Flow, Ipset, OfPort, OvsFdb, Tuple5
from floatway.model.cloud import Cloud
from floatway.text import appctl, conntrack, ipset, iptables, ofctl
from strategies import HOSTS, clouds

octet = st.integers(0, 255)
address = st.tuples(octet, octet, octet, octet).map(lambda parts: ".".join(map(str, parts)))
mac = st.tuples(*[octet] * 6).map(lambda parts: ":".join(f"{part:02x}" for part in parts))
name = st.from_regex(r"[a-z][a-z0-9-]{0,13}", fullmatch=True)
number = st.integers(0, 65535)


@examples(40)
@given(clouds())
def test_l3_everything_that_compile_says(cloud: Cloud) -> None:
    state = compile_host(cloud, HOSTS[0], allocate(cloud, HOSTS[0]))
    for netns in {chain.netns for chain in state.table(Chain).values()}:
        chains = state.records(Chain, lambda chain, netns=netns: chain.netns == netns)  # type: ignore[misc]
        assert {c.key: c for c in iptables.parse_save(iptables.render_save(chains), netns)} == {
            c.key: c for c in chains
        }
        for table in iptables.TABLES:
            here = {c.key: c for c in chains if c.table == table}
            assert {c.key: c for c in iptables.parse_S(iptables.render_S(state, netns, table), netns, table)} == here
    for chain in state.table(Chain).values():
        for rule in chain.rules:
            parsed = iptables.parse_rule(rule)
            assert iptables.parse_rule(iptables.render_rule(parsed)) == parsed
            assert not any(match.module == "?" for match in parsed.matches)
    for bridge in {flow.bridge for flow in state.table(Flow).values()}:
        flows = state.records(Flow, lambda flow, bridge=bridge: flow.bridge == bridge)  # type: ignore[misc]
        assert {f.key: f for f in ofctl.parse_flows(ofctl.render_flows(state, bridge), bridge)} == {
            f.key: f for f in flows
        }
    sets = state.records(Ipset)
    assert ipset.parse_save(ipset.render_save(sets), "") == sets


tuple5 = st.one_of(
    st.builds(Tuple5, proto=st.sampled_from(["tcp", "udp"]), src=address, dst=address, sport=number, dport=number),
    st.builds(
        Tuple5, proto=st.just("icmp"), src=address, dst=address, sport=number, dport=st.integers(0, 18 * 256 + 5)
    ),
)
connection = st.builds(
    lambda one, two, zone, flags, mark: Connection(
        netns="x",
        original=one,
        reply=two,
        zone=zone,
        state="ESTABLISHED" if one.proto == "tcp" else "",
        flags=flags,
        mark=mark,
    ),
    tuple5, tuple5, number, st.sampled_from([(), ("UNREPLIED",), ("ASSURED",)]), number,
).filter(lambda entry: entry.original.proto == entry.reply.proto)  # fmt: skip


@given(st.lists(connection, max_size=5))
def test_l3_conntrack(entries: list[Connection]) -> None:
    text = "".join(
        f"{conntrack.line(entry)} use=1\n".replace(f" {entry.original.src}", f" {entry.original.src}")
        for entry in entries
    )
    timed = "".join(" ".join([*line.split()[:2], "29", *line.split()[2:]]) + "\n" for line in text.splitlines())
    assert conntrack.parse_conntrack(timed, "x") == entries


@given(
    st.lists(st.tuples(name, st.integers(1, 4000)), unique_by=(lambda p: p[0], lambda p: p[1]), max_size=5), st.data()
)
def test_l3_fdb_and_show(pairs: list[tuple[str, int]], data: st.DataObject) -> None:
    ports = [
        OfPort(bridge="b", name=port, ofport=index, mac=data.draw(mac), down=data.draw(st.booleans()))
        for port, index in pairs
    ]
    assert sorted(ofctl.parse_show(ofctl.render_show(ports), "b"), key=lambda p: p.ofport) == sorted(
        ports, key=lambda p: p.ofport
    )
    entries = [
        OvsFdb(
            bridge="b",
            vlan=data.draw(st.integers(0, 4095)),
            mac=data.draw(mac),
            port=port,
            age=data.draw(st.integers(0, 300)),
        )
        for port, _ in pairs
    ]
    text = appctl.render_fdb(entries, {port.name: port for port in ports})
    parsed = appctl.parse_fdb(text, "b", {("b", port.ofport): port.name for port in ports})
    assert sorted(parsed, key=str) == sorted(entries, key=str)


@given(st.text(max_size=300))
def test_no_text_breaks_a_parser(text: str) -> None:
    iptables.parse_save(text, "")
    iptables.parse_S(text, "", "nat")
    iptables.parse_rule(text)
    iptables.unknown_lines(text, "x")
    ipset.parse_save(text, "")
    ofctl.parse_flows(text, "b")
    ofctl.parse_show(text, "b")
    ofctl.parse_match(text)
    ofctl.parse_actions(text)
    appctl.parse_fdb(text, "b", {})
    conntrack.parse_conntrack(text, "")
