"""Topologies on demand: all of one, the same again, or nothing."""

from control_cloud import ADMIN, MEMBER, PROJECT, STRANGER, a_draft, port_of, refused
from floatway.control.decide import auto_allocated, networks, ports, subnetpools, subnets
from floatway.control.draft import Draft
from floatway.control.entities import AutoAllocatedTopology, Network, Port, Router, Subnet


def ready(**settings: object) -> Draft:
    """A cloud with a default way out and default pools of both families."""
    draft = a_draft(**settings)
    values = {"project_id": STRANGER, "name": "x", "admin_state_up": True, "router:external": True, "is_default": True}
    outside = networks.create(draft, ADMIN, values)
    subnet = {"project_id": STRANGER, "network_id": outside.id, "name": "x", "ip_version": 4, "cidr": "203.0.113.0/24"}
    subnets.create(draft, ADMIN, subnet)
    for prefix, length in (("10.64.0.0/16", 26), ("2001:db8:1::/48", 64)):
        pool = {"project_id": STRANGER, "name": "p", "prefixes": [prefix], "default_prefixlen": length}
        subnetpools.create(draft, ADMIN, pool | {"is_default": True, "shared": True})
    return draft


def test_what_an_operator_has_to_set_up_first() -> None:
    draft = a_draft()
    for ask in (lambda: auto_allocated.check(draft), lambda: auto_allocated.provide(draft, PROJECT)):
        refused(ask, 409, "AutoAllocationFailure", "Deployment error: No default router:external network.")
    values = {"project_id": STRANGER, "name": "x", "admin_state_up": True, "router:external": True, "is_default": True}
    networks.create(draft, ADMIN, values)
    refused(lambda: auto_allocated.check(draft), 409, "AutoAllocationFailure", "No default subnetpools defined.")
    refused(
        lambda: auto_allocated.provide(draft, PROJECT),
        409,
        "AutoAllocationFailure",
        "Unable to provide project private network.",
    )
    auto_allocated.check(ready())


def test_a_project_gets_a_network_with_a_way_out_and_the_same_again() -> None:
    draft = ready()
    network_id = auto_allocated.provide(draft, PROJECT)
    network = draft.need(Network, network_id)
    assert (network.name, network.project_id, network.admin_state_up) == ("auto_allocated_network", PROJECT, True)
    found = {subnet.name: subnet.ip_version for subnet in draft.find(Subnet, "network", network_id)}
    assert found == {"auto_allocated_subnet_v4": 4, "auto_allocated_subnet_v6": 6}
    (router,) = draft.find(Router, "project", PROJECT)
    assert router.name == "auto_allocated_router"
    assert router.gateway is not None
    assert {port.device_id for port in draft.find(Port, "network", network_id)} == {router.id}
    changes = len(draft.changes())
    assert auto_allocated.provide(draft, PROJECT) == network_id
    assert len(draft.changes()) == changes
    assert auto_allocated.provide(draft, STRANGER) != network_id


def test_it_all_goes_away_unless_something_is_on_it() -> None:
    draft = ready()
    network_id = auto_allocated.provide(draft, PROJECT)
    port = port_of(draft, draft.need(Network, network_id))
    trial = Draft(draft.model, draft.settings, seconds=draft.seconds, seed=1)
    refused(lambda: auto_allocated.delete(trial, PROJECT), 409, "NetworkInUse", network_id)
    ports.delete(draft, MEMBER, draft.need(Port, port.id))
    auto_allocated.delete(draft, PROJECT)
    for kind in (Network, Subnet, Router, Port):
        assert not [one for one in draft.all(kind) if one.project_id == PROJECT]
    assert not list(draft.all(AutoAllocatedTopology))
    auto_allocated.delete(draft, PROJECT)
    assert draft.get(Network, auto_allocated.provide(draft, PROJECT)) is not None


def test_quotas_hold_for_it_too() -> None:
    draft = ready(default_quotas={"router": 0})
    refused(lambda: auto_allocated.provide(draft, PROJECT), 409, "OverQuota", "['router']")
