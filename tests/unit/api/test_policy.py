"""Who may: the built-in rules against Neutron's, policy files, scopes, and what the guard tells who may not."""

import json
from pathlib import Path
from typing import Any

import pytest
from oslo_policy import policy as oslo

from control_cloud import MEMBER, OTHER, PROJECT, STRANGER, a_draft, group_of, network_of, subnet_of
from floatway.api.attributes.body import prepare_create, prepare_update
from floatway.api.guard import Guard
from floatway.api.noun import Noun
from floatway.api.nouns import nouns
from floatway.api.policy import Policy, PolicyError
from floatway.api.policy_defaults import DEFAULTS, UNSCOPED
from floatway.api.targets import EntityTarget
from floatway.control import entities as e
from floatway.control.caller import Caller
from floatway.control.draft import Draft
from floatway.control.errors import ApiError
from floatway.control.settings import Settings

NEUTRON = json.loads((Path(__file__).parents[2] / "golden/neutron-29/policies.json").read_text())
"""``oslopolicy-sample-generator --namespace neutron`` of Neutron 29, name: check; ``base`` are those without scope types."""

NOT_YET = (
    # extensions that are not announced
    *("trunk", "subports", "qos", "policy", "_alias_", "rule_type", "log", "metering", "flavor", "service_profile"),
    *("local_ip", "ndp_proxy", "conntrack_helper", "segment_range", "create_segment", "get_segment", "update_segment"),
    *("delete_segment", "pvlan", "evpn", "external_gateways", "default_route", "port:hints", "port:trusted"),
    *("resource_request", "data_plane_status", "default_statefulness", "leak_routes"),
)
OURS = {"update_security_group_rule", "get_router:ha"}
NOUNS: dict[str, Noun] = nouns(Settings())
ADMIN = Caller(user_id="a", project_id="admins", roles=frozenset({"admin", "member", "reader"}), is_admin=True)
READER = Caller(user_id="r", project_id=PROJECT, roles=frozenset({"reader"}))
SERVICE = Caller(user_id="s", project_id="services", roles=frozenset({"service"}))


def normal(check: Any) -> Any:
    """A check without the order of its parts, and without parentheses that do not matter."""
    for kind, name in ((oslo.AndCheck, "and"), (oslo.OrCheck, "or")):
        if isinstance(check, kind):
            parts = set()
            for part in map(normal, check.rules):
                parts |= set(part[1]) if part[0] == name else {part}
            return (name, frozenset(parts)) if len(parts) > 1 else parts.pop()
    if isinstance(check, oslo.NotCheck):
        return ("not", normal(check.rule))
    return ("leaf", str(check))


def test_the_defaults_are_neutrons() -> None:
    theirs = oslo.Rules.from_dict(NEUTRON["base"] | NEUTRON["project"])
    ours = oslo.Rules.from_dict({name: check for name, check in DEFAULTS.items() if name not in OURS})
    assert {name: normal(ours[name]) for name in ours} == {name: normal(theirs[name]) for name in ours}


def test_no_default_is_missing() -> None:
    missing = (NEUTRON["base"].keys() | NEUTRON["project"].keys()) - DEFAULTS.keys()
    assert [name for name in sorted(missing) if not any(part in name for part in NOT_YET)] == []


def test_what_is_enforced_is_enforced_for_projects_only() -> None:
    assert NEUTRON["base"].keys() >= UNSCOPED
    assert DEFAULTS.keys() - UNSCOPED - OURS <= NEUTRON["project"].keys()


class Fields(dict[str, Any]):
    def field(self, name: str) -> Any:
        return self.get(name)


def test_verdicts_differ_by_caller_and_target() -> None:
    policy = Policy()
    mine, shared = Fields({"project_id": PROJECT}), Fields({"project_id": STRANGER, "network:shared": True})
    theirs = Fields({"project_id": STRANGER})
    assert [policy.check(MEMBER, "get_network", target) for target in (mine, shared, theirs)] == [True, True, False]
    assert [policy.check(OTHER, "get_network", target) for target in (mine, shared, theirs)] == [False, True, True]
    assert [policy.check(ADMIN, "get_network", target) for target in (mine, shared, theirs)] == [True, True, True]
    assert [policy.check(READER, "update_network", target) for target in (mine, shared, theirs)] == [False] * 3


def test_what_depends_on_the_caller_alone_asks_the_target_nothing() -> None:
    class Silent:
        def field(self, name: str) -> Any:
            raise AssertionError(name)

    policy = Policy()
    assert policy.check(ADMIN, "get_port", Silent())
    assert policy.check(SERVICE, "get_port", Silent())
    assert not policy.check(Caller(project_id=PROJECT), "get_port", Silent())
    assert policy.verdict(ADMIN, "get_port") is True
    assert callable(policy.verdict(MEMBER, "get_port"))
    assert policy.verdict(MEMBER, "create_agent") is False


def test_its_own_fields_are_asked_before_others() -> None:
    class Near:
        def field(self, name: str) -> Any:
            assert name == "project_id"
            return PROJECT

    assert Policy().check(MEMBER, "get_port", Near())


def test_a_caller_without_a_project_owns_nothing() -> None:
    nobody = Caller(user_id="x", roles=frozenset({"member", "reader"}))
    for project in ("", None):
        assert not Policy().check(nobody, "get_port", Fields({"project_id": project}))


@pytest.mark.parametrize(("system", "domain"), [(True, ""), (False, "default")])
def test_tokens_without_a_project_may_nothing(system: bool, domain: str) -> None:
    caller = Caller(user_id="a", roles=frozenset({"admin", "reader"}), system_scope=system, domain_id=domain)
    strict, lax = Policy(), Policy(enforce_scope=False)
    assert not strict.is_admin(caller)
    assert not strict.check(caller, "get_network", Fields())
    assert not strict.check(caller, "get_availability_zone", Fields())
    assert lax.is_admin(caller)
    assert lax.check(caller, "get_network", Fields())


def test_roles_are_compared_without_case() -> None:
    assert Policy().is_admin(Caller(project_id="p", roles=frozenset({"Admin"})))


def test_a_services_own_roles_count_where_a_rule_asks_for_them() -> None:
    policy = Policy()
    passed_on = Caller(project_id=PROJECT, roles=frozenset({"member"}), service_roles=frozenset({"service"}))
    plain = Caller(project_id=PROJECT, roles=frozenset({"member"}))
    port = Fields({"project_id": PROJECT, "device_owner": "compute:nova"})
    assert policy.check(passed_on, "delete_port", port)
    assert not policy.check(plain, "delete_port", port)
    assert policy.check(plain, "delete_port", Fields({"project_id": PROJECT, "device_owner": ""}))


def test_a_file_overrides(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text('"helper": "role:helper"\n"get_port": "rule:helper"\n"get_network": "!"\n')
    second.write_text('"get_network": "@"\n"get_port:mac_address": "rule:admin_only"\n')
    policy = Policy([first, second])
    helper = Caller(project_id="h", roles=frozenset({"helper"}))
    assert policy.check(helper, "get_port", Fields())
    assert not policy.check(ADMIN, "get_port", Fields())
    assert policy.check(helper, "get_network", Fields())
    assert policy.known("get_port:mac_address")
    assert not Policy().known("get_port:mac_address")


def test_a_file_may_say_who_is_an_admin(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text('"context_is_admin": "role:boss or user_id:root"\n')
    policy = Policy([file])
    assert policy.is_admin(Caller(project_id="p", roles=frozenset({"boss"})))
    assert policy.is_admin(Caller(project_id="p", user_id="root"))
    assert not policy.is_admin(ADMIN)


def test_what_has_no_rule_is_under_default(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text('"default": "!"\n')
    own = Fields({"project_id": PROJECT})
    assert Policy().check(MEMBER, "create_port:no_such", own)
    assert not Policy([file]).check(MEMBER, "create_port:no_such", own)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('"a": "rule:b"\n"b": "rule:a"\n', "in a circle: a -> b -> a"),
        ('"a": "rule:nobody"\n', "there is no rule nobody"),
        ('"a": "shoe_size:44"\n', "shoe_size is not known"),
    ],
)
def test_rules_that_cannot_work_are_told(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    with pytest.raises(PolicyError, match=said):
        Policy([file])


def test_rules_that_nothing_asks_for_are_known(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text('"helper": "@"\n"creat_port": "not rule:helper"\n"get_port:name": "!"\n')
    assert Policy([file]).idle == ("creat_port",)
    assert Policy().idle == ()


def test_booleans_in_fields_are_understood_in_every_spelling() -> None:
    policy = Policy(overrides={"a": "field:networks:shared=true", "b": "field:ports:port_security_enabled=False"})
    assert policy.check(MEMBER, "a", Fields({"network:shared": True}))
    assert not policy.check(MEMBER, "a", Fields({"network:shared": False}))
    assert policy.check(MEMBER, "b", Fields({"port_security_enabled": False}))


# --- The guard ----------------------------------------------------------------------------------------


def refused(caller: Caller, noun: str, body: dict[str, Any], draft: Draft | None = None) -> str:
    """What a create tells, empty when it is allowed."""
    kind = NOUNS[noun]
    (parsed,), _ = prepare_create(kind.collection, noun, {noun: body}, caller)
    try:
        target = EntityTarget(draft or a_draft(), caller, kind.kind, values=parsed.values)
        Guard(Policy()).may_create(caller, kind, parsed, target)
    except ApiError as error:
        assert (error.status, error.type) == (403, "PolicyNotAuthorized")
        return error.message
    return ""


def test_create_refused() -> None:
    said = refused(READER, "network", {"name": "n"})
    assert said == "rule:create_network is disallowed by policy"
    assert refused(MEMBER, "network", {"name": "n"}) == ""


def test_attributes_have_rules_of_their_own_when_given() -> None:
    said = refused(MEMBER, "network", {"shared": True})
    assert said == "(rule:create_network and rule:create_network:shared) is disallowed by policy"
    assert refused(MEMBER, "network", {"shared": False}) == ""
    assert refused(ADMIN, "network", {"shared": True}) == ""


def test_parts_of_attributes_have_rules() -> None:
    draft = a_draft()
    foreign = network_of(draft, STRANGER)
    draft.put(
        e.RbacPolicy(
            id=draft.new_id(),
            project_id=STRANGER,
            object_type="network",
            object_id=foreign.id,
            action="access_as_shared",
            target_tenant=PROJECT,
        )
    )
    subnet = subnet_of(draft, foreign)
    port = {"network_id": foreign.id, "fixed_ips": [{"subnet_id": subnet.id}]}
    assert refused(MEMBER, "port", port, draft) == ""
    port["fixed_ips"] = [{"ip_address": "10.0.0.9"}]
    assert refused(MEMBER, "port", port, draft) == (
        "(rule:create_port and (rule:create_port:fixed_ips and (rule:create_port:fixed_ips:ip_address)))"
        " is disallowed by policy"
    )
    assert refused(OTHER, "port", port, draft) == ""
    gateway = {"network_id": foreign.id, "enable_snat": False}
    assert refused(MEMBER, "router", {"external_gateway_info": gateway}, draft) == (
        "(rule:create_router and (rule:create_router:external_gateway_info"
        " and (rule:create_router:external_gateway_info:network_id"
        " and rule:create_router:external_gateway_info:enable_snat))) is disallowed by policy"
    )


def told(caller: Caller, noun: str, entity: e.Entity, draft: Draft, change: dict[str, Any] | None) -> int:
    """The status of an update (or, without a change, of a delete) that policy lets through or not."""
    kind = NOUNS[noun]
    guard = Guard(Policy())
    try:
        if change is None:
            guard.may_delete(caller, kind, EntityTarget(draft, caller, kind.kind, entity=entity))
        else:
            body = prepare_update(kind.collection, noun, {noun: change}, caller)
            target = EntityTarget(draft, caller, kind.kind, entity=entity, values=body.values)
            guard.may_update(caller, kind, body, target)
    except ApiError as error:
        return error.status
    return 200


def test_what_is_not_seen_is_not_there() -> None:
    draft = a_draft()
    mine = network_of(draft)
    for change in ({"name": "x"}, None):
        assert told(MEMBER, "network", mine, draft, change) == 200
        assert told(READER, "network", mine, draft, change) == 403
        assert told(OTHER, "network", mine, draft, change) == 404
        assert told(ADMIN, "network", mine, draft, change) == 200
    assert told(MEMBER, "network", mine, draft, {"shared": True}) == 403


def test_hidden_fields() -> None:
    draft = a_draft()
    kind = NOUNS["network"]
    network = network_of(draft)
    guard = Guard(Policy())
    target = EntityTarget(draft, MEMBER, e.Network, entity=network)
    provider = {"provider:network_type", "provider:physical_network", "provider:segmentation_id"}
    never = guard.hidden(ADMIN, kind, EntityTarget(draft, ADMIN, e.Network, entity=network))
    assert not never & provider
    assert guard.hidden(MEMBER, kind, target) - never == provider


def test_rules_about_a_parent() -> None:
    draft = a_draft()
    group = group_of(draft)
    rule = draft.put(
        e.SecurityGroupRule(
            id=draft.new_id(),
            project_id=STRANGER,
            security_group_id=group.id,
            direction="ingress",
            ethertype="IPv4",
        )
    )
    assert told(MEMBER, "security_group_rule", rule, draft, None) == 200
    assert told(OTHER, "security_group_rule", rule, draft, None) == 404


def test_actions_on_what_is_not_seen() -> None:
    draft = a_draft()
    router = draft.put(e.Router(id=draft.new_id(), project_id=PROJECT))
    guard, kind = Guard(Policy()), NOUNS["router"]
    for caller, status in ((READER, 403), (OTHER, 404), (SERVICE, 404)):
        with pytest.raises(ApiError) as caught:
            guard.may(caller, "add_router_interface", EntityTarget(draft, caller, e.Router, entity=router), kind)
        assert caught.value.status == status
    guard.may(MEMBER, "add_router_interface", EntityTarget(draft, MEMBER, e.Router, entity=router), kind)
