"""Quotas: limits of the operator, of Neutron, of a project; what is used; what is refused."""

from typing import Any

import pytest

from control_cloud import ADMIN, MEMBER, OTHER, PROJECT, STRANGER, a_draft, network_of, refused
from floatway.control.decide import networks, quotas
from floatway.control.entities import Quota

NETWORK = {"project_id": PROJECT, "name": "n", "admin_state_up": True}


def test_a_project_s_own_limits_go_before_the_operator_s_and_neutron_s() -> None:
    draft = a_draft(default_quotas={"port": 7})
    assert quotas.limits(draft, draft.settings, PROJECT) == quotas.DEFAULTS | {"port": 7}
    shown = quotas.set_limits(draft, ADMIN, PROJECT, {"port": 9, "router": "-1"})
    assert shown == quotas.DEFAULTS | {"port": 9, "router": -1}
    assert quotas.limits(draft, draft.settings, STRANGER)["port"] == 7
    assert quotas.projects(draft) == [PROJECT]
    quotas.delete(draft, PROJECT)
    assert quotas.limits(draft, draft.settings, PROJECT)["port"] == 7
    refused(
        lambda: quotas.delete(draft, PROJECT),
        404,
        "TenantQuotaNotFound",
        f"Quota for project {PROJECT} could not be found.",
    )


def test_limits_hold_to_the_last() -> None:
    draft = a_draft()
    quotas.set_limits(draft, ADMIN, PROJECT, {"network": 2})
    for _ in range(2):
        networks.create(draft, MEMBER, NETWORK)
    refused(
        lambda: networks.create(draft, MEMBER, NETWORK),
        409,
        "OverQuota",
        "Quota exceeded for resources: ['network'].",
    )
    networks.create(draft, OTHER, NETWORK | {"project_id": STRANGER})
    quotas.set_limits(draft, ADMIN, PROJECT, {"network": -1})
    networks.create(draft, MEMBER, NETWORK)
    quotas.check(draft, "", "network", 10**9)


def test_details_tell_what_is_used() -> None:
    draft = a_draft()
    network_of(draft)
    network_of(draft, STRANGER)
    shown = quotas.details(draft, draft.settings, PROJECT)
    assert shown["network"] == {"limit": 100, "used": 1, "reserved": 0}
    assert shown["router_route"] == {"limit": 30, "used": 0, "reserved": 0}
    assert shown.keys() == quotas.DEFAULTS.keys()


@pytest.mark.parametrize(
    ("values", "type_", "words"),
    [
        ({"port": "x"}, "InvalidInput", "'x' is not an integer"),
        ({"port": None}, "InvalidInput", "'None' is not an integer"),
        ({"port": [1]}, "InvalidInput", "'[1]' is not an integer"),
        ({"port": float("inf")}, "InvalidInput", "'inf' is not an integer"),
        ({"port": -2}, "HTTPBadRequest", "Invalid input for port. Reason: '-2' is too small - must be at least '-1'."),
        (
            {"port": "2147483648"},
            "HTTPBadRequest",
            "Invalid input for port. Reason: '2147483648' is too large - must be no larger than '2147483647'.",
        ),
        ({"nope": 1}, "HTTPBadRequest", "Unrecognized attribute(s) 'nope'"),
        ({"tenant_id": PROJECT, "port": 1}, "HTTPBadRequest", "Unrecognized attribute(s) 'project_id, tenant_id'"),
    ],
)
def test_what_is_no_limit(values: dict[str, Any], type_: str, words: str) -> None:
    draft = a_draft()
    refused(lambda: quotas.set_limits(draft, ADMIN, PROJECT, values), 400, type_, words)
    assert draft.get(Quota, PROJECT) is None


@pytest.mark.parametrize("more", [{}, {"force": False}, {"force": "true"}, {"check_limit": False}, {"force": None}])
def test_a_limit_below_what_is_used_needs_force(more: dict[str, Any]) -> None:
    draft = a_draft()
    network_of(draft)
    network_of(draft)
    refused(
        lambda: quotas.set_limits(draft, ADMIN, PROJECT, {"port": 1, "network": 1, **more}),
        400,
        "HTTPBadRequest",
        "Quota limit 1 for network must be greater than or equal to already used 2",
    )
    assert quotas.set_limits(draft, ADMIN, PROJECT, {"network": 2, **more})["network"] == 2
    assert quotas.set_limits(draft, ADMIN, PROJECT, {"network": -1, **more})["network"] == -1
    assert quotas.set_limits(draft, ADMIN, PROJECT, {"network": 0, "force": True})["network"] == 0


def test_nothing_asked_is_nothing_stored() -> None:
    draft = a_draft()
    quotas.set_limits(draft, ADMIN, PROJECT, {})
    assert draft.get(Quota, PROJECT) is None
