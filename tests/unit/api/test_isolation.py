"""A project never sees, guesses or counts another's resources under the default rules.

A drawn cloud of three projects; a member of one asks for everything. Every entity has a name that nothing else has: no answer
may hold one of an entity that the project does not own and that nobody shares with it, and what is not seen is answered as
what does not exist is.
"""

import asyncio
import json
import random
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from effort import examples
from floatway.api.attributes import ATTRIBUTES
from floatway.api.attributes.base import Attribute
from floatway.api.dispatch import Collections
from floatway.api.engine import Written
from floatway.api.guard import Guard
from floatway.api.http import Request, error_response
from floatway.api.nouns import nouns
from floatway.api.policy import Policy
from floatway.api.routes import Api
from floatway.control import entities as e
from floatway.control.caller import Caller
from floatway.control.draft import Draft
from floatway.control.errors import ApiError
from floatway.control.settings import Settings
from floatway.control.snapshot import EMPTY, Model

PROJECTS = ("a" * 32, "b" * 32, "c" * 32)
SETTINGS = Settings()
NOUNS = nouns(SETTINGS)
SHARED, EXTERNAL = "access_as_shared", "access_as_external"
NOT_THERE = "00000000-0000-0000-0000-000000000000"


class Still:
    """An engine whose model does not move: each request finds the same."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.settings = SETTINGS

    async def read(self) -> Model:
        return self.model

    async def write(self, decide: Callable[[Draft], Any]) -> Written[Any]:
        draft = Draft(self.model, SETTINGS, seconds=1_795_000_000.0, seed=1)
        return Written(decide(draft), draft.model)


class Cloud:
    """Entities of three projects, each with a name of its own; drawn by ``draw``."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._made = 0
        self.model = EMPTY
        networks = [self._put(e.Network) for _ in range(3)]
        pools = [self._put(e.SubnetPool, prefixes=("10.0.0.0/8",)) for _ in range(2)]
        groups = [self._put(e.SecurityGroup) for _ in range(2)]
        scopes = [self._put(e.AddressScope) for _ in range(2)]
        address_groups = [self._put(e.AddressGroup) for _ in range(2)]
        for shareable in (*networks, *pools, *groups, *scopes, *address_groups):
            if draw.random() < 0.4:
                self._share(shareable)
        subnets = [self._subnet(draw.choice(networks), number) for number in range(3)]
        ports = [self._port(draw.choice(networks), draw.choice(subnets), number) for number in range(5)]
        routers = [self._put(e.Router) for _ in range(2)]
        for number in range(2):
            floating = self._put(
                e.FloatingIp,
                floating_network_id=draw.choice(networks).id,
                floating_ip_address=f"203.0.113.{number + 9}",
                floating_port_id=draw.choice(ports).id,
                router_id=draw.choice(routers).id,
            )
            self._put(
                e.PortForwarding,
                floatingip_id=floating.id,
                protocol="tcp",
                internal_port_id=draw.choice(ports).id,
                internal_ip_address="10.0.0.9",
                external_port_start=80,
                external_port_end=80,
                internal_port_start=80,
                internal_port_end=80,
            )
        for _ in range(4):
            group = draw.choice(groups)
            project = draw.choice([group.project_id, "admin"])
            self._put(e.SecurityGroupRule, project_id=project, security_group_id=group.id, direction="ingress")
        self._put(e.Agent, agent_type="L3 agent", binary="x", host="h")

    def _put(self, kind: type[e.Entity], **fields: Any) -> Any:
        self._made += 1
        id_ = str(uuid.UUID(int=self._made))
        known = kind.__struct_fields__
        if "name" in known:
            fields["name"] = f"name-of-{id_}"
        if "description" in known:
            fields["description"] = f"about-{id_}"
        if "project_id" in known:
            fields.setdefault("project_id", self._draw.choice(PROJECTS))
        entity = kind(id=id_, sequence=self._made, **fields)
        self.model = self.model.put(entity)
        return entity

    def _share(self, entity: Any) -> None:
        action = self._draw.choice([SHARED, EXTERNAL]) if entity.KIND == "network" else SHARED
        if action == EXTERNAL:
            self.model = self.model.put(msgspec.structs.replace(entity, router_external=True))
        self._put(
            e.RbacPolicy,
            project_id=entity.project_id,
            object_type=entity.KIND,
            object_id=entity.id,
            action=action,
            target_tenant=self._draw.choice(["*", *PROJECTS]),
        )

    def _subnet(self, network: e.Network, number: int) -> e.Subnet:
        subnet: e.Subnet = self._put(e.Subnet, network_id=network.id, ip_version=4, cidr=f"10.0.{number}.0/24")
        return subnet

    def _port(self, network: e.Network, subnet: e.Subnet, number: int) -> e.Port:
        address = e.FixedIp(subnet.id, f"{subnet.cidr[:-4]}{number + 5}")
        port: e.Port = self._put(
            e.Port, network_id=network.id, mac_address=f"fa:16:3e:00:00:0{number}", fixed_ips=(address,)
        )
        return port


def owner(model: Model, kind: type[e.Entity], id_: str) -> Any:
    found: Any = model.get(kind, id_)
    return found.project_id if found is not None else None


def granted(model: Model, project: str, kind: str, id_: str, actions: tuple[str, ...] = (SHARED,)) -> bool:
    return any(
        policy.object_type == kind
        and policy.object_id == id_
        and policy.action in actions
        and policy.target_tenant in {"*", project}
        for policy in model.all(e.RbacPolicy)
    )


def may_see(model: Model, project: str, entity: Any) -> bool:
    """What a member of the project may see, in words of the API reference, row by row."""
    if isinstance(entity, e.Agent):
        return False
    if isinstance(entity, e.SecurityGroupRule):
        return bool(owner(model, e.SecurityGroup, entity.security_group_id) == project)
    if isinstance(entity, e.PortForwarding):
        return bool(owner(model, e.FloatingIp, entity.floatingip_id) == project)
    if entity.project_id == project:
        return True
    if isinstance(entity, e.Subnet | e.Port) and owner(model, e.Network, entity.network_id) == project:
        return True
    if isinstance(entity, e.Subnet):
        return granted(model, project, "network", entity.network_id, (SHARED, EXTERNAL))
    if isinstance(entity, e.Network):
        return granted(model, project, "network", entity.id, (SHARED, EXTERNAL))
    return not isinstance(entity, e.RbacPolicy) and granted(model, project, entity.KIND, entity.id)


def may_read(model: Model, project: str, entity: Any) -> bool:
    """A rule is also part of its group's document, for all who see that."""
    if isinstance(entity, e.SecurityGroupRule):
        return may_see(model, project, model.need(e.SecurityGroup, entity.security_group_id))
    return may_see(model, project, entity)


def paths(noun: str, id_: str) -> Iterator[tuple[str, ...]]:
    """Where one entity might show itself."""
    path = NOUNS[noun].path
    yield (path, id_)
    if NOUNS[noun].taggable:
        yield (path, id_, "tags")
    if noun == "port":
        yield (path, id_, "bindings")
    if noun == "floatingip":
        yield (path, id_, "port_forwardings")


class Asking:
    """A project's member at the API."""

    def __init__(self, model: Model, project: str) -> None:
        self._api = Api(Collections(Still(model), Guard(Policy())), NOUNS)  # type: ignore[arg-type]
        roles = frozenset({"member", "reader"})
        self._caller = Caller(user_id="u", project_id=project, roles=roles)

    async def answer(self, method: str, path: tuple[str, ...], body: object = None, query: str = "") -> tuple[int, str]:
        sent = json.dumps(body).encode() if body is not None else b""
        request = Request(method, path, query, {}, sent, "http://api/v2.0/" + "/".join(path))
        try:
            response = await self._api(request, self._caller)
        except ApiError as error:
            response = error_response(error)
        return response.status, response.body.decode()


@examples(60)
@given(st.randoms(use_true_random=False))
def test_a_project_sees_what_it_may_and_nothing_else(draw: random.Random) -> None:
    model = Cloud(draw).model
    asyncio.run(look_around(model, draw.choice(PROJECTS)))


async def look_around(model: Model, project: str) -> None:
    asking = Asking(model, project)
    hidden = [one for kind in e.KINDS.values() for one in model.all(kind) if not may_read(model, project, one)]
    secrets = [word for one in hidden for word in (f"name-of-{one.id}", f"about-{one.id}")]
    for noun in NOUNS.values():
        every = list(model.all(noun.kind))
        seen = {one.id for one in every if may_see(model, project, one)}
        if noun.kind is not e.PortForwarding:
            await the_list_is(asking, noun.path, noun.collection, seen, secrets)
        for one in every:
            await the_entity_is(asking, noun.singular, one.id, one.id in seen, secrets)


async def the_list_is(asking: Asking, path: str, collection: str, seen: set[str], secrets: list[str]) -> None:
    queries = ["", "fields=id", "limit=100"]
    if ATTRIBUTES[collection].get("project_id", Attribute("")).filter:
        queries.append(f"project_id={PROJECTS[0]}&project_id={PROJECTS[1]}")
    for query in queries:
        status, text = await asking.answer("GET", (path,), query=query)
        assert status == 200, text
        ids = [row["id"] for row in json.loads(text)[collection]]
        assert len(ids) == len(set(ids))
        assert set(ids) <= seen if "project_id" in query else set(ids) == seen
        assert not any(secret in text for secret in secrets)


async def the_entity_is(asking: Asking, noun: str, id_: str, seen: bool, secrets: list[str]) -> None:
    kind = NOUNS[noun]
    if kind.kind is not e.PortForwarding:
        _, text = await asking.answer("GET", (kind.path,), query=f"id={id_}")
        assert len(json.loads(text)[kind.collection]) == int(seen)
    for path in paths(noun, id_):
        status, text = await asking.answer("GET", path)
        assert not any(secret in text for secret in secrets)
        if not seen:
            assert (status, text) == await as_if_not_there(asking, "GET", path, id_)
    if not seen:
        for method, body in (("PUT", {noun: {"description": "x"}}), ("PUT", {noun: {"name": "x"}}), ("DELETE", None)):
            path = (kind.path, id_)
            assert await asking.answer(method, path, body) == await as_if_not_there(asking, method, path, id_, body)


async def as_if_not_there(
    asking: Asking, method: str, path: tuple[str, ...], id_: str, body: object = None
) -> tuple[int, str]:
    """The answer for an id that nothing has."""
    status, text = await asking.answer(method, tuple(NOT_THERE if part == id_ else part for part in path), body)
    return status, text.replace(NOT_THERE, id_)


Reference = tuple[type[e.Entity], str, tuple[str, ...], Callable[[str], dict[str, Any]]]


def references(model: Model, project: str) -> Iterator[Reference]:
    """Where a request may name an entity of a kind: method, path and the body that names it."""

    def first(kind: type[e.Entity]) -> Iterator[str]:
        """One of the project's own, if it has any."""
        mine = (one.id for one in model.all(kind) if getattr(one, "project_id", None) == project)
        yield from list(mine)[:1]

    subnet = {"ip_version": 4, "cidr": "10.9.0.0/24"}
    forwarding = {"internal_ip_address": "10.0.0.9", "protocol": "tcp", "internal_port": 1, "external_port": 2}
    yield e.Network, "POST", ("ports",), lambda id_: {"port": {"network_id": id_}}
    yield e.Network, "POST", ("subnets",), lambda id_: {"subnet": {"network_id": id_, **subnet}}
    yield e.Network, "POST", ("floatingips",), lambda id_: {"floatingip": {"floating_network_id": id_}}
    yield e.Network, "POST", ("routers",), lambda id_: {"router": {"external_gateway_info": {"network_id": id_}}}
    yield (
        e.AddressScope,
        "POST",
        ("subnetpools",),
        lambda id_: {"subnetpool": {"name": "x", "prefixes": ["10.77.0.0/16"], "address_scope_id": id_}},
    )
    for kind in (e.Network, e.SecurityGroup, e.SubnetPool, e.AddressScope, e.AddressGroup):
        given_away = {"object_type": kind.KIND, "action": SHARED, "target_tenant": project}
        yield kind, "POST", ("rbac-policies",), lambda id_, what=given_away: {"rbac_policy": {"object_id": id_, **what}}
    rules, ingress = ("security-group-rules",), {"direction": "ingress"}
    yield e.SecurityGroup, "POST", rules, lambda id_: {"security_group_rule": {"security_group_id": id_, **ingress}}
    for group in first(e.SecurityGroup):
        rule = {"security_group_id": group, **ingress}
        yield (
            e.SecurityGroup,
            "POST",
            rules,
            lambda id_, rule=rule: {"security_group_rule": {"remote_group_id": id_, **rule}},
        )
        yield (
            e.AddressGroup,
            "POST",
            rules,
            lambda id_, rule=rule: {"security_group_rule": {"remote_address_group_id": id_, **rule}},
        )
    for network in first(e.Network):
        on = {"network_id": network}
        yield (
            e.SubnetPool,
            "POST",
            ("subnets",),
            lambda id_, on=on: {"subnet": {"ip_version": 4, "subnetpool_id": id_, **on}},
        )
        yield e.SecurityGroup, "POST", ("ports",), lambda id_, on=on: {"port": {"security_groups": [id_], **on}}
        yield e.Subnet, "POST", ("ports",), lambda id_, on=on: {"port": {"fixed_ips": [{"subnet_id": id_}], **on}}
        yield (
            e.Port,
            "POST",
            ("floatingips",),
            lambda id_, network=network: {"floatingip": {"floating_network_id": network, "port_id": id_}},
        )
    for port in first(e.Port):
        yield e.SecurityGroup, "PUT", ("ports", port), lambda id_: {"port": {"security_groups": [id_]}}
    for floating in first(e.FloatingIp):
        yield e.Port, "PUT", ("floatingips", floating), lambda id_: {"floatingip": {"port_id": id_}}
        yield (
            e.Port,
            "POST",
            ("floatingips", floating, "port_forwardings"),
            lambda id_: {"port_forwarding": {"internal_port_id": id_, **forwarding}},
        )
    for router in first(e.Router):
        for action in ("add_router_interface", "remove_router_interface"):
            yield e.Subnet, "PUT", ("routers", router, action), lambda id_: {"subnet_id": id_}
            yield e.Port, "PUT", ("routers", router, action), lambda id_: {"port_id": id_}
        yield (
            e.Network,
            "PUT",
            ("routers", router),
            lambda id_: {"router": {"external_gateway_info": {"network_id": id_}}},
        )


@examples(40)
@given(st.randoms(use_true_random=False))
def test_what_a_project_does_not_see_cannot_be_named(draw: random.Random) -> None:
    """A request that names it is answered as one that names nothing."""
    model, project = Cloud(draw).model, draw.choice(PROJECTS)
    asyncio.run(name_what_is_hidden(model, project))


async def name_what_is_hidden(model: Model, project: str) -> None:
    asking = Asking(model, project)
    for kind, method, path, body in references(model, project):
        status, text = await asking.answer(method, path, body(NOT_THERE))
        for one in model.all(kind):
            if not may_see(model, project, one):
                named = await asking.answer(method, path, body(one.id))
                assert named == (status, text.replace(NOT_THERE, one.id))


@pytest.mark.parametrize("seed", range(3))
def test_an_admin_sees_everything(seed: int) -> None:
    model = Cloud(random.Random(seed)).model
    asking = Asking(model, PROJECTS[0])
    asking._caller = Caller(user_id="a", roles=frozenset({"admin", "reader"}), is_admin=True)
    for noun in NOUNS.values():
        if noun.kind is not e.PortForwarding:
            status, text = asyncio.run(asking.answer("GET", (noun.path,)))
            assert status == 200
            assert {row["id"] for row in json.loads(text)[noun.collection]} == {one.id for one in model.all(noun.kind)}
