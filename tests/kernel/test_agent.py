"""An agent on a real kernel: what is refused there is set apart and named, and a new agent takes over without touching anything."""

import time
import uuid

import msgspec
import pytest

from floatway.agent.agent import Agent
from floatway.agent.reconcile import reconcile
from floatway.host.commands import commands
from floatway.host.records import Link
from floatway.lab.sample import big_cloud
from floatway.linux.connection import HostConnection
from floatway.linux.observe import observe
from floatway.model.cloud import Cloud, put
from floatway.model.resources import OWNER_COMPUTE, HostRoute, Port, SecurityGroup, SecurityGroupRule
from kernel.reference_host import differences, far_end, plug
from kernel.support import sh, start_ovs

pytestmark = pytest.mark.kernel
HOST = "h1"


def cloud_of(ports: int) -> Cloud:
    cloud = big_cloud(ports=ports, routers=2, floating_ips=ports, host=HOST)
    return put(cloud, msgspec.structs.replace(cloud.hosts[HOST], datapath_type="netdev"))


def instances(cloud: Cloud) -> list[Port]:
    return sorted((p for p in cloud.ports.values() if p.device_owner == OWNER_COMPUTE), key=lambda port: port.id)


def raised(ports: int) -> Cloud:
    """A host with Open vSwitch, its NIC and all taps, and nothing of ours."""
    cloud = cloud_of(ports)
    start_ovs()
    pid = far_end()
    for number, device in enumerate(["eth4", *(f"tap{port.id[:11]}" for port in instances(cloud))]):
        plug(device, pid, number)
    return cloud


def todo(conn: HostConnection, cloud: Cloud) -> list[str]:
    return [line for step in reconcile(conn, cloud, HOST, dry_run=True).plan.steps for line in commands(step)]


@pytest.mark.parametrize(("prefix", "kind"), [("qvo", "bridge"), ("qbr", "veth peer name elsewhere")])
def test_a_name_that_is_taken_stops_one_port_and_nothing_else(prefix: str, kind: str) -> None:
    cloud = raised(8)
    bad = instances(cloud)[3]
    sh(f"ip link add {prefix}{bad.id[:11]} type {kind}")
    with Agent(HOST) as agent:
        outcome = agent.reconcile(cloud)
        assert [origin for origin in outcome.blocked if origin[0] == "port"] == [("port", bad.id)]
        assert "File exists (EEXIST)" in outcome.blocked["port", bad.id]
        others = [line for line in todo(agent.conn, cloud) if bad.id[:10] not in line and bad.mac_address not in line]
        assert not [line for line in others if line.startswith(("ip ", "ovs-vsctl"))], others
        assert kind.split()[0] in sh(f"ip -d link show {prefix}{bad.id[:11]}"), "what is not ours is not touched"
        sh(f"ip link del {prefix}{bad.id[:11]}")
        assert not agent.reconcile(cloud).blocked
        assert todo(agent.conn, cloud) == []


def test_a_rule_that_iptables_refuses_stops_the_ports_that_have_it() -> None:
    cloud = raised(8)
    bad = instances(cloud)[5]
    rule = SecurityGroupRule(
        id=str(uuid.uuid4()), direction="ingress", protocol="tcp", port_range_min=70000, port_range_max=70000
    )
    group = SecurityGroup(id=str(uuid.uuid4()), name="bad", rules=(rule,))
    worse = put(put(cloud, group), msgspec.structs.replace(bad, security_groups=(group.id,)))
    with Agent(HOST) as agent:
        outcome = agent.reconcile(worse)
        assert [origin for origin in outcome.blocked if origin[0] == "port"] == [("port", bad.id)]
        assert "iptables-restore" in outcome.blocked["port", bad.id]
        bridge = f"qbr{bad.id[:11]}"
        links = observe(agent.conn).records(Link, lambda link: link.master == bridge)
        assert links == [], "without its filter no packet gets in"
        assert not agent.apply(cloud).blocked
        assert todo(agent.conn, cloud) == []
        # one that works gets a bad rule: its old ones stay
        assert agent.apply(worse).blocked
        assert observe(agent.conn).records(Link, lambda link: link.master == bridge)
        assert not agent.apply(cloud).blocked
        assert todo(agent.conn, cloud) == []


def test_a_route_that_leads_nowhere_stops_no_packet_of_others() -> None:
    cloud = raised(4)
    router = next(iter(cloud.routers.values()))
    bad = HostRoute(destination="10.250.0.0/16", nexthop="10.0.255.255")  # a broadcast address
    worse = put(cloud, msgspec.structs.replace(router, routes=(bad,)))
    with Agent(HOST) as agent:
        agent.reconcile(cloud)
        outcome = agent.apply(worse)
        assert outcome.blocked.keys() == {("router", router.id)}
        assert "10.250.0.0/16" in outcome.blocked["router", router.id]
        fip = next(fip for fip in cloud.floating_ips.values() if fip.router_id == router.id)
        without = msgspec.structs.replace(
            worse, floating_ips={i: f for i, f in worse.floating_ips.items() if i != fip.id}
        )
        agent.apply(without)
        assert fip.floating_ip_address not in sh("iptables-save -t nat", f"qrouter-{router.id}")
        assert not agent.apply(cloud).blocked
        assert todo(agent.conn, cloud) == []


def test_a_new_agent_adopts_what_the_last_one_left() -> None:
    cloud = raised(20)
    with Agent(HOST) as agent:
        agent.reconcile(cloud)
        before = observe(agent.conn)
    with Agent(HOST) as agent:
        begin = time.perf_counter()
        outcome = agent.reconcile(cloud)
        print(f"adopted in {time.perf_counter() - begin:.3f} s")
        assert outcome.rounds == 0
        assert not outcome.plan.steps
        assert differences(before, observe(agent.conn)) == ""
