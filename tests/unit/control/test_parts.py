"""A host's part is all that its compile reads, and the deltas of a commit lead from one part to the next, for every host."""

from collections.abc import Callable, Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import l3_operations
import port_operations
from control_cloud import ADMIN, a_draft, agent_of, later, network_of, port_of, subnet_of
from effort import examples
from floatway.compile.allocations import allocate, recover
from floatway.compile.host import compile_host
from floatway.control import entities as e
from floatway.control.decide import address_groups, ports, security_group_rules, security_groups
from floatway.control.draft import Draft
from floatway.control.parts import Parts, between, part
from floatway.control.snapshot import Model
from floatway.control.view import cloud_view
from floatway.host.state import HostState
from floatway.model.cloud import Cloud
from floatway.model.stream import applied

HOSTS = ("h1", "h2", "h3")


class Follower:
    """Hosts that follow a model by deltas alone."""

    def __init__(self, model: Model, hosts: Iterable[str] = HOSTS) -> None:
        self.parts = Parts(model)
        self.has: dict[str, Cloud] = {}
        for host in hosts:
            self.parts.follow(host)
            self.has[host] = part(model, host)

    def move(self, draft: Draft) -> None:
        changed = [(kind, id_) for kind, id_, _ in draft.changes()]
        before = self.parts.model
        deltas = self.parts.move(draft.model, changed)
        for host in self.has:
            if host in deltas:
                assert not deltas[host].empty
                self.has[host] = applied(self.has[host], deltas[host])
            wanted = part(draft.model, host)
            assert self.has[host] == wanted
            assert applied(part(before, host), between(before, draft.model, host)) == wanted


def compiled(cloud: Cloud, host: str) -> HostState:
    return compile_host(cloud, host, allocate(cloud, host, recover(HostState({}), cloud, host)))


def same_to_compile(model: Model) -> None:
    whole = cloud_view(model)
    for host in HOSTS:
        if host in whole.hosts:
            assert compiled(_segmented(part(model, host), whole), host) == compiled(_segmented(whole, whole), host)


def _segmented(cloud: Cloud, whole: Cloud) -> Cloud:
    """With a segment for each network: those that play here were not given any."""
    numbers = {id_: number for number, id_ in enumerate(sorted(whole.networks), 100)}
    networks = {
        id_: msgspec.structs.replace(network, provider_network_type="vxlan", provider_segmentation_id=numbers[id_])
        for id_, network in cloud.networks.items()
    }
    return msgspec.structs.replace(cloud, networks=networks)


@pytest.mark.parametrize("operations", [l3_operations, port_operations], ids=["l3", "ports"])
def test_deltas_lead_from_part_to_part(operations: object) -> None:
    play = operations

    @examples(60)
    @given(st.lists(play.requests(), min_size=5, max_size=30))  # type: ignore[attr-defined]
    def run(asked: list[object]) -> None:
        draft = play.cloud()  # type: ignore[attr-defined]
        follower = Follower(draft.model)
        for request in asked:
            after = play.tried(draft, request)  # type: ignore[attr-defined]
            if after is not draft:
                draft = after
                follower.move(draft)
        same_to_compile(draft.model)

    run()


def _guarded() -> tuple[Draft, list[e.SecurityGroup], e.AddressGroup]:
    draft = a_draft()
    for number, host in enumerate(("h1", "h2"), 1):
        agent_of(draft, host, tunneling_ip=f"192.0.2.{number}")
    network = network_of(draft)
    subnet_of(draft, network)
    groups = [
        security_groups.create(draft, ADMIN, {"project_id": "p", "name": name, "description": ""}) for name in "abc"
    ]
    addresses = address_groups.create(draft, ADMIN, {"project_id": "p", "name": "n", "addresses": ["192.0.2.0/24"]})
    for number in range(6):
        host = HOSTS[number % 2]
        chosen = [groups[number % 3].id]
        port_of(draft, network, ADMIN, device_owner="compute:a", binding_host_id=host, security_groups=chosen)
    return later(draft), groups, addresses


Act = Callable[[Draft, int, int], object]


@examples(60)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 2)), min_size=3, max_size=25))
def test_groups_come_and_go_with_who_asks_for_them(asked: list[tuple[int, int, int]]) -> None:
    draft, groups, addresses = _guarded()
    follower = Follower(draft.model)

    def ports_of(draft: Draft) -> list[e.Port]:
        return sorted(draft.all(e.Port), key=lambda port: port.sequence)

    def rule(draft: Draft, at: int, other: int, **remote: str) -> None:
        values = {"security_group_id": groups[at % 3].id, "direction": "ingress", "ethertype": "IPv4", "protocol": None}
        values |= dict.fromkeys(
            ("port_range_min", "port_range_max", "remote_ip_prefix", "remote_group_id", "remote_address_group_id")
        )
        have = [(one.remote_group_id, one.remote_address_group_id) for one in draft.all(e.SecurityGroupRule)]
        wanted = (remote.get("remote_group_id"), remote.get("remote_address_group_id"))
        mine = draft.find(e.SecurityGroupRule, "group", groups[at % 3].id)
        if wanted not in have or wanted not in [(r.remote_group_id, r.remote_address_group_id) for r in mine]:
            security_group_rules.create(draft, ADMIN, values | {"project_id": "p"} | remote)

    def remove(draft: Draft, at: int, other: int) -> None:
        rules = sorted(draft.all(e.SecurityGroupRule), key=lambda one: one.sequence)
        if rules:
            security_group_rules.delete(draft, ADMIN, rules[at % len(rules)])

    def regroup(draft: Draft, at: int, other: int) -> None:
        port = ports_of(draft)[at]
        ports.update(draft, ADMIN, port, {"security_groups": [group.id for group in groups[:other]]})

    def move(draft: Draft, at: int, other: int) -> None:
        ports.update(draft, ADMIN, ports_of(draft)[at], {"binding:host_id": HOSTS[other]})

    acts: list[Act] = [
        lambda draft, at, other: rule(draft, at, other, remote_group_id=groups[other].id),
        lambda draft, at, other: rule(draft, at, other, remote_address_group_id=addresses.id),
        remove,
        regroup,
        move,
        lambda draft, at, other: address_groups.update(
            draft, ADMIN, draft.need(e.AddressGroup, addresses.id), {"name": f"n{at}{other}"}
        ),
    ]
    for act, at, other in asked:
        draft = later(draft)
        acts[act](draft, at, other)
        follower.move(draft)
    same_to_compile(draft.model)


def test_a_status_or_a_tag_is_nothing_to_a_host() -> None:
    draft, _, _ = _guarded()
    follower = Follower(draft.model)
    port = next(iter(draft.all(e.Port)))
    draft = later(draft)
    ports.update(draft, ADMIN, port, {"description": "seen to", "dns_name": "x"})
    assert follower.parts.move(draft.model, [(e.Port.KIND, port.id)]) == {}


def test_one_hosts_change_is_told_to_no_other_and_a_shared_one_once() -> None:
    draft = a_draft()
    for host in HOSTS:
        agent_of(draft, host)
    lonely, shared = network_of(draft), network_of(draft)
    for network, cidr in ((lonely, "10.0.0.0/24"), (shared, "10.1.0.0/24")):
        subnet_of(draft, network, cidr)
    port_of(draft, lonely, ADMIN, device_owner="compute:a", binding_host_id="h1")
    for host in HOSTS:
        port_of(draft, shared, ADMIN, device_owner="compute:a", binding_host_id=host)
    follower = Follower(draft.model)
    draft = later(draft)
    port_of(draft, lonely, ADMIN, device_owner="compute:a")
    assert set(follower.parts.move(draft.model, [(k, i) for k, i, _ in draft.changes()])) == {"h1"}
    draft = later(draft)
    port_of(draft, shared, ADMIN)
    deltas = follower.parts.move(draft.model, [(k, i) for k, i, _ in draft.changes()])
    assert set(deltas) == set(HOSTS)
    assert len({id(delta) for delta in deltas.values()}) == 1


def test_other_hosts_secrets_stay_theirs() -> None:
    draft = a_draft()
    agent_of(
        draft,
        "h1",
        bridge_nics={"br-ex": "eth4"},
        pins={"macs": {"dvr": "fa:16:3f:00:00:01", "br-ex": "02:00:00:00:00:01"}},
    )
    agent_of(draft, "h2")
    seen = part(draft.model, "h2").hosts["h1"]
    assert (seen.bridge_mappings, seen.bridge_nics, dict(seen.pins.macs)) == ({}, {}, {"dvr": "fa:16:3f:00:00:01"})
    assert part(draft.model, "h1").hosts["h1"].bridge_nics == {"br-ex": "eth4"}
