"""Bodies as a whole: what is refused before any attribute is looked at, defaults, whose it is. Messages are Neutron 29's."""

from typing import Any

import pytest

from floatway.api.attributes.body import prepare_create, prepare_update
from floatway.control.caller import Caller
from floatway.control.errors import ApiError

NETWORK = "2b4c9f3e-0d0c-4b7e-9a52-0f0d6b1f6a11"
ADMIN = Caller(user_id="u", project_id="p", roles=frozenset({"admin"}), is_admin=True)
MEMBER = Caller(user_id="u", project_id="p", roles=frozenset({"member"}))
SERVICE = Caller(user_id="u", project_id="p", roles=frozenset({"service"}))
NOBODY = Caller(user_id="u", project_id="", roles=frozenset({"admin"}), is_admin=True)

MALFORMED: list[tuple[Any, str]] = [
    ({}, "Unable to find 'network' in request body"),
    ({"port": {}}, "Unable to find 'network' in request body"),
    ({"network": None}, "Unable to find 'network' in request body"),
    ({"network": []}, "Object 'network' contains invalid data"),
    ({"network": "x"}, "Object 'network' contains invalid data"),
    ([], "Body contains invalid data"),
    (None, "Body contains invalid data"),
    (5, "Body contains invalid data"),
    ({"network": {"a": 1}}, "Unrecognized attribute(s) 'a'"),
    ({"network": {"tenant_id": "a", "project_id": "b"}}, "'project_id' and 'tenant_id' do not match"),
    ({"network": {"name": 5, "mtu": "x"}}, "Invalid input for name. Reason: '5' is not a valid string."),
    ({"network": {"mtu": "x", "name": 5}}, "Invalid input for name. Reason: '5' is not a valid string."),
]


@pytest.mark.parametrize(("document", "message"), MALFORMED)
def test_a_malformed_body_is_refused(document: Any, message: str) -> None:
    for prepare in (prepare_create, prepare_update):
        with pytest.raises(ApiError) as refusal:
            prepare("networks", "network", document, ADMIN)
        assert (refusal.value.status, refusal.value.type, refusal.value.message) == (400, "HTTPBadRequest", message)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "Resources required"),
        (None, "Resources required"),
        ({}, "Resources required"),
        ([5], "Body contains invalid data"),
        ([None], "Body contains invalid data"),
        ([[]], "Object 'network' contains invalid data"),
        ([{"network": 5}], "Object 'network' contains invalid data"),
        ([{}, {"x": 1}], "Unrecognized attribute(s) 'x'"),
    ],
)
def test_a_malformed_bulk_is_refused(items: Any, message: str) -> None:
    with pytest.raises(ApiError) as refusal:
        prepare_create("networks", "network", {"networks": items}, ADMIN)
    assert refusal.value.message == message


def test_a_bulk_takes_both_forms() -> None:
    bodies, bulk = prepare_create(
        "networks", "network", {"networks": [{"name": "a"}, {"network": {"name": "b"}}]}, ADMIN
    )
    assert bulk
    assert [body.values["name"] for body in bodies] == ["a", "b"]


def test_where_there_is_no_bulk_it_is_refused() -> None:
    for refused in (
        lambda: prepare_create("bindings", "binding", {"bindings": [{"host": "h"}]}, ADMIN, bulk=False),
        lambda: prepare_update("networks", "network", {"networks": [{}]}, ADMIN),
    ):
        with pytest.raises(ApiError, match="Bulk operation not supported"):
            refused()


def test_what_may_not_be_given() -> None:
    with pytest.raises(ApiError, match="Attribute 'id' not allowed in POST"):
        prepare_create("networks", "network", {"network": {"id": NETWORK}}, ADMIN)
    with pytest.raises(ApiError, match="Cannot update read-only attribute status"):
        prepare_update("networks", "network", {"network": {"status": "DOWN"}}, ADMIN)


def test_what_must_be_given() -> None:
    with pytest.raises(ApiError, match=r"Failed to parse request\. Required attribute 'network_id' not specified"):
        prepare_create("ports", "port", {"port": {}}, ADMIN)


def test_defaults_fill_in_and_unset_stays_absent() -> None:
    [body], _ = prepare_create("ports", "port", {"port": {"network_id": NETWORK, "admin_state_up": "false"}}, MEMBER)
    assert body.given == {"network_id", "admin_state_up", "project_id", "tenant_id"} or body.given == {
        "network_id",
        "admin_state_up",
    }
    assert body.values["admin_state_up"] is False
    assert body.values["name"] == ""
    assert body.values["project_id"] == body.values["tenant_id"] == "p"
    assert "fixed_ips" not in body.values
    assert "mac_address" not in body.values


def test_a_default_is_nobodys_to_change() -> None:
    [one], _ = prepare_create("networks", "network", {"network": {}}, MEMBER)
    [other], _ = prepare_create("networks", "network", {"network": {}}, MEMBER)
    for name, value in one.values.items():
        assert not isinstance(value, list | dict) or value is not other.values[name], name


def test_an_update_has_only_what_was_given() -> None:
    body = prepare_update("networks", "network", {"network": {"mtu": "1400"}}, ADMIN)
    assert body.values == {"mtu": 1400}
    assert body.given == {"mtu"}


@pytest.mark.parametrize("caller", [ADMIN, SERVICE])
def test_an_admin_and_a_service_act_for_other_projects(caller: Caller) -> None:
    [body], _ = prepare_create("networks", "network", {"network": {"tenant_id": "other"}}, caller)
    assert body.values["project_id"] == "other"


def test_a_member_does_not() -> None:
    with pytest.raises(ApiError, match="Specifying 'project_id' other than the authenticated project") as refusal:
        prepare_create("networks", "network", {"network": {"tenant_id": "other"}}, MEMBER)
    assert refusal.value.status == 400


def test_without_a_project_one_must_be_named() -> None:
    with pytest.raises(ApiError, match="Running without keystone AuthN requires that project_id is specified"):
        prepare_create("networks", "network", {"network": {}}, NOBODY)


def test_the_clients_document_is_left_as_it_was() -> None:
    document = {"network": {"name": "n", "mtu": "1400"}}
    prepare_create("networks", "network", document, MEMBER)
    prepare_update("networks", "network", document, MEMBER)
    assert document == {"network": {"name": "n", "mtu": "1400"}}
