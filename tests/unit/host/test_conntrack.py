"""Which connections are forgotten, and who is told of an address, when what let them in changes."""

import msgspec

from floatway.host.plan import plan
from floatway.host.records import Chain, Connection, Ipset, Tuple5
from floatway.host.state import HostState
from floatway.host.steps import Announce, ConntrackDelete, Plan, Restore
from floatway.model.cloud import Cloud
from floatway.model.resources import OWNER_AGENT_GATEWAY
from unit.host.worlds import bare, compiled, done, small_cloud

replace = msgspec.structs.replace
CLOUD = small_cloud()
DESIRED = compiled(CLOUD)
HOST_STATE = done(bare(DESIRED), DESIRED)
FIP = next(iter(CLOUD.floating_ips.values()))
PORT = CLOUD.ports[FIP.port_id or ""]
QROUTER = f"qrouter-{FIP.router_id}"
ZONE = next(
    int(rule.rpartition(" ")[2])
    for chain in DESIRED.records(Chain, lambda chain: chain.name == "neutron-openvswi-PREROUTING")
    for rule in chain.rules
    if f"tap{PORT.id[:11]}" in rule
)


def forgotten(todo: Plan) -> set[tuple[str, str, str, int | None]]:
    return {(s.netns, s.direction, s.address, s.zone) for s in todo.steps if isinstance(s, ConntrackDelete)}


def after(cloud: Cloud) -> Plan:
    return plan(HOST_STATE, compiled(cloud, HOST_STATE))


def test_nothing_is_forgotten_where_nothing_closes() -> None:
    assert forgotten(plan(bare(DESIRED), DESIRED)) == set()
    assert forgotten(plan(HOST_STATE, DESIRED)) == set()


def test_a_floating_ip_that_goes_takes_its_connections_along() -> None:
    todo = after(replace(CLOUD, floating_ips={k: f for k, f in CLOUD.floating_ips.items() if k != FIP.id}))
    address = FIP.floating_ip_address
    assert forgotten(todo) == {(QROUTER, "orig-dst", address, None), (QROUTER, "reply-dst", address, None)}


def test_what_lets_in_goes_before_the_connections_are_forgotten() -> None:
    steps = after(replace(CLOUD, floating_ips={})).steps
    last_restore = max(number for number, step in enumerate(steps) if isinstance(step, Restore))
    assert all(number > last_restore for number, step in enumerate(steps) if isinstance(step, ConntrackDelete))


def test_a_closed_opening_ends_the_ports_sessions_in_its_zone() -> None:
    (group,) = CLOUD.security_groups.values()
    less = replace(group, rules=tuple(rule for rule in group.rules if rule.protocol != "tcp"))
    found = forgotten(after(replace(CLOUD, security_groups={group.id: less})))
    own = PORT.fixed_ips[0].ip_address
    assert ("", "orig-src", own, ZONE) in found
    assert ("", "orig-dst", own, ZONE) in found


def test_a_new_opening_ends_nothing() -> None:
    (group,) = CLOUD.security_groups.values()
    rule = replace(group.rules[0], id="x", protocol="udp", port_range_min=53, port_range_max=53)
    more = replace(group, rules=(*group.rules, rule))
    assert forgotten(after(replace(CLOUD, security_groups={group.id: more}))) == set()


def test_a_port_that_goes_leaves_no_sessions_to_its_addresss_next_owner() -> None:
    ports = {key: port for key, port in CLOUD.ports.items() if key != PORT.id}
    todo = after(replace(CLOUD, ports=ports, floating_ips={}))
    assert ("", "orig-dst", PORT.fixed_ips[0].ip_address, ZONE) in forgotten(todo)


def test_a_lost_member_of_a_group_is_lost_in_the_ports_zones() -> None:
    (members,) = DESIRED.records(Ipset)
    one = replace(members, members=("10.77.0.9", *members.members))
    found = forgotten(plan(HOST_STATE.replaced(one), DESIRED))
    assert ("", "orig-src", "10.77.0.9", ZONE) in found
    assert {address for _, _, address, _ in found} == {"10.77.0.9"}


def test_the_fake_forgets_them_too() -> None:
    way = Tuple5(proto="tcp", src="192.168.0.9", dst=FIP.floating_ip_address, sport=1, dport=2)
    back = Tuple5(proto="tcp", src=PORT.fixed_ips[0].ip_address, dst="192.168.0.9", sport=2, dport=1)
    state = HOST_STATE.merged(HostState.of([Connection(netns=QROUTER, original=way, reply=back)]))
    assert not done(state, compiled(replace(CLOUD, floating_ips={}), HOST_STATE)).records(Connection)


def test_a_new_floating_ip_is_announced_on_the_external_segment() -> None:
    fewer = replace(CLOUD, floating_ips={k: f for k, f in CLOUD.floating_ips.items() if k != FIP.id})
    first = compiled(fewer)
    state = done(bare(first), first)
    steps = plan(state, compiled(CLOUD, state)).steps
    (told,) = (step for step in steps if isinstance(step, Announce))
    assert told.netns.startswith("fip-")
    assert told.dev.startswith("fg-")
    assert told.address == FIP.floating_ip_address
    assert steps[-1] == told


def test_behind_a_gateway_with_another_mac_every_floating_ip_is_announced_again() -> None:
    """The agent gateway port was deleted and made anew: who knew the floating IP at the old MAC must learn the new one."""
    first = compiled(CLOUD)
    state = done(bare(first), first)
    (old,) = (one for one in CLOUD.ports.values() if one.device_owner == OWNER_AGENT_GATEWAY)
    for new in (
        replace(old, mac_address="fa:16:3e:00:00:77"),
        replace(old, id="77777777-3d7e-4c92-8b1f-5a6c7d8e9f05", mac_address="fa:16:3e:00:00:77"),
    ):
        ports = {key: one for key, one in CLOUD.ports.items() if key != old.id}
        moved = replace(CLOUD, ports={**ports, new.id: new})
        told = [step for step in plan(state, compiled(moved, state)).steps if isinstance(step, Announce)]
        floating = {one.floating_ip_address for one in CLOUD.floating_ips.values()}
        assert sorted(one.address for one in told) == sorted({*floating, new.fixed_ips[0].ip_address})
        assert {one.dev for one in told} == {f"fg-{new.id}"[:14]}
