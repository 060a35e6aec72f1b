"""What compile writes is what the tools print: rules through iptables-restore and -save, flows through a real ovs-vswitchd."""

import msgspec
import pytest

from floatway.agent.agent import Agent
from floatway.agent.reconcile import reconcile
from floatway.compile.allocations import Allocations, allocate, recover
from floatway.compile.firewall import rule_text
from floatway.compile.host import compile_host
from floatway.host.commands import commands
from floatway.host.records import Chain, Flow, Ipset, OvsBridge, OvsPort
from floatway.host.state import HostState
from floatway.model.resources import OWNER_COMPUTE, SecurityGroupRule
from floatway.model.shape import PROTOCOLS
from floatway.model.validate import validate
from floatway.text.ofctl import parse_flows, render_flow
from kernel.reference_host import far_end, plug
from kernel.support import sh, start_ovs
from unit.compile.clouds import unusual

pytestmark = pytest.mark.kernel


def restore(table: str, names: list[str], rules: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """(chain, rule) as iptables-save prints what was restored."""
    lines = [f"*{table}", *(f":{name} -" for name in names), *(f"-A {name} {rule}" for name, rule in rules), "COMMIT"]
    sh("iptables-restore <<'RULES'\n" + "\n".join(lines) + "\nRULES")
    return [
        (words[1], words[2])
        for words in (line.split(" ", 2) for line in sh(f"iptables-save -t {table}").splitlines())
        if words[0] == "-A"
    ]


def test_every_opening_is_printed_as_written() -> None:
    """Every protocol by name and number; ports, types, prefixes and groups."""
    group = "15ca6cb4-09b4-418e-aee4-3c0f9d5b7e10"
    openings = [
        SecurityGroupRule(id="", direction="ingress", protocol=p) for p in (*sorted(PROTOCOLS), *map(str, range(256)))
    ]
    for protocol in ("tcp", "udp", "sctp", "dccp", "udplite", "6", "136"):
        for low, high in ((22, 22), (80, 90), (1, 65535)):
            openings.append(
                SecurityGroupRule(
                    id="", direction="egress", protocol=protocol, port_range_min=low, port_range_max=high,
                    remote_ip_prefix="10.1.2.0/24",
                )
            )  # fmt: skip
            openings.append(
                SecurityGroupRule(
                    id="", direction="ingress", protocol=protocol, port_range_min=low, port_range_max=high, remote_group_id=group
                )
            )  # fmt: skip
    for kind, code in ((0, None), (3, 4), (8, 0), (8, None), (255, None), (255, 0), (30, 255)):
        openings.append(
            SecurityGroupRule(id="", direction="ingress", protocol="icmp", port_range_min=kind, port_range_max=code)
        )
    openings += [
        SecurityGroupRule(id="", direction=direction, remote_ip_prefix=prefix)
        for direction in ("ingress", "egress")
        for prefix in ("0.0.0.0/0", "10.0.0.1", "10.1.2.3/8", "192.168.0.0/16", "1.2.3.4/32")
    ]
    sh("ipset create NIPv415ca6cb4-09b4-418e-aee4- hash:net")
    written = [("X", rule_text(opening)) for opening in openings]
    assert restore("filter", ["X"], written) == written


def test_every_chain_is_printed_as_written() -> None:
    """All tables of all namespaces of a cloud with everything in it."""
    cloud, host = unusual()
    assert validate(cloud) == ()
    state = compile_host(cloud, host, allocate(cloud, host))
    for group in state.table(Ipset).values():
        sh(f"ipset create {group.name} {group.type}")
        for member in group.members:
            sh(f"ipset add {group.name} {member}")
        assert sorted(line.split()[2] for line in sh(f"ipset save {group.name}").splitlines()[1:]) == list(
            group.members
        )
    chains = state.records(Chain)
    for netns, table in sorted({(chain.netns, chain.table) for chain in chains}):
        if netns:
            sh(f"ip netns add {netns} 2>/dev/null || true")
        those = [chain for chain in chains if (chain.netns, chain.table) == (netns, table)]
        lines = [f"*{table}"]
        lines += [f":{chain.name} {chain.policy or '-'} [0:0]" for chain in those]
        lines += [f"-A {chain.name} {rule}" for chain in those for rule in chain.rules]
        sh("iptables-restore <<'RULES'\n" + "\n".join([*lines, "COMMIT"]) + "\nRULES", netns)
        printed = [line for line in sh(f"iptables-save -t {table}", netns).splitlines() if line.startswith("-A ")]
        assert sorted(printed) == sorted(f"-A {chain.name} {rule}" for chain in those for rule in chain.rules), netns
        for chain in those:
            own = [line for line in printed if line.startswith(f"-A {chain.name} ")]
            assert own == [f"-A {chain.name} {rule}" for rule in chain.rules]


def test_every_flow_is_printed_as_written() -> None:
    """Match, actions and the quotes round port names, on networks of every type."""
    cloud, host = unusual()
    state = compile_host(cloud, host, allocate(cloud, host))
    start_ovs()
    for bridge in state.table(OvsBridge).values():
        sh(
            f"ovs-vsctl add-br {bridge.name} -- set bridge {bridge.name} datapath_type=netdev fail_mode=secure"
            f" protocols={','.join(bridge.protocols)}"
        )
        for port in state.records(OvsPort, lambda one, name=bridge.name: one.bridge == name):
            options = " ".join(f"options:{key}={value}" for key, value in port.options)
            kind = port.type if port.type in {"patch", "vxlan"} else "internal"
            sh(
                f"ovs-vsctl add-port {bridge.name} {port.name} -- set interface {port.name} type={kind}"
                + (f" -- set interface {port.name} {options}" if options else "")
            )
    for bridge in state.table(OvsBridge):
        flows = state.records(Flow, lambda flow, name=bridge[0]: flow.bridge == name)
        text = "\n".join(render_flow(flow).strip() for flow in flows)
        sh(f"ovs-ofctl -O OpenFlow14 --names --bundle add-flows {bridge[0]} - <<'FLOWS'\n{text}\nFLOWS")
        printed = sh(f"ovs-ofctl -O OpenFlow14 --names --no-stats dump-flows {bridge[0]}")
        assert HostState.of(parse_flows(printed, bridge[0])) == HostState.of(flows)


def test_numbers_are_read_back() -> None:
    cloud, host = unusual()
    allocations = allocate(cloud, host)
    assert allocations != Allocations()
    assert recover(compile_host(cloud, host, allocations), cloud, host) == allocations


def test_one_apply_reaches_it() -> None:
    """Law L7: what compile wants of a real kernel and a real Open vSwitch is what they then have."""
    cloud, host = unusual()
    node = msgspec.structs.replace(cloud.hosts[host], datapath_type="netdev")
    cloud = msgspec.structs.replace(cloud, hosts={**cloud.hosts, host: node})
    start_ovs()
    plug("eth4", far_end(), 0)
    for port in cloud.ports.values():
        if port.binding_host_id == host and port.device_owner == OWNER_COMPUTE:
            sh(f"ip tuntap add tap{port.id[:11]} mode tap && ip link set tap{port.id[:11]} up")
    with Agent(host) as agent:
        agent.reconcile(cloud)
        left = reconcile(agent.conn, cloud, host, dry_run=True)
    assert [line for step in left.plan.steps for line in commands(step)] == []
    assert left.desired == compile_host(cloud, host, left.allocations)
