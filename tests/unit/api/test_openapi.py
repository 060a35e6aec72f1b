"""The OpenAPI document against the code: what it lists is answered, what it does not list is not; answers have its forms."""

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from floatway.api.attributes import ATTRIBUTES
from floatway.api.dispatch import Collections
from floatway.api.engine import Engine
from floatway.api.guard import Guard
from floatway.api.http import Request, Response, error_response
from floatway.api.nouns import nouns
from floatway.api.openapi import described, openapi
from floatway.api.policy import Policy
from floatway.api.port_bindings import BINDINGS
from floatway.api.routes import Api
from floatway.control import entities as e
from floatway.control.caller import Caller
from floatway.control.decide import agents
from floatway.control.errors import ApiError
from floatway.control.settings import Settings
from floatway.store.open import open_store

SETTINGS = Settings()
NOUNS = nouns(SETTINGS)
DOCUMENT = openapi(NOUNS, BINDINGS)
METHODS = ("get", "post", "put", "delete")
NOTHING = "2b4c9f3e-0d0c-4b7e-9a52-0f0d6b1f6a11"
ADMIN = Caller(user_id="u", project_id="p", roles=frozenset({"admin", "member", "reader", "service"}), is_admin=True)


class Server:
    """The API on a store of its own, and the ids of what was made."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.api = Api(Collections(engine, Guard(Policy([], enforce_scope=True))), NOUNS)
        self.ids: dict[str, str] = {"project": "p", "host": "h2", "tag": "red", "alias": "router"}

    async def ask(self, method: str, path: str, body: Any = None, query: str = "") -> Response:
        parts = tuple(part for part in path.removeprefix("/v2.0").split("/") if part)
        text = json.dumps(body).encode() if body is not None else b""
        request = Request(method.upper(), parts, query, {"host": "localhost"}, text, f"http://localhost{path}")
        try:
            return await self.api(request, ADMIN)
        except ApiError as error:
            return error_response(error)

    def filled(self, template: str) -> str:
        return re.sub(r"{(\w+)}", lambda name: self.ids.get(name[1].removesuffix("_id"), NOTHING), template)


async def a_server(directory: Any) -> Server:
    store = await open_store(f"sqlite:///{directory}/floatway.db")
    engine = Engine(store, SETTINGS)
    await engine.start()
    return Server(engine)


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method in METHODS:
            if path != "/" and method in item:
                yield path, method, item[method]


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": DOCUMENT["components"]}, validate_formats=True)


def problems(schema: dict[str, Any], value: Any) -> list[str]:
    return [
        f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in validator(schema).iter_errors(value)
    ]


def test_it_is_served() -> None:
    response = described(NOUNS, BINDINGS)({})
    assert response.status == 200
    assert json.loads(response.body) == json.loads(json.dumps(DOCUMENT))


@pytest.mark.parametrize("noun", [*NOUNS.values(), BINDINGS], ids=lambda noun: noun.singular)
def test_schemas_are_the_tables(noun: Any) -> None:
    schemas, table = DOCUMENT["components"]["schemas"], ATTRIBUTES[noun.collection]
    shown = {name for name, attribute in table.items() if attribute.visible} | ({"shared"} if noun.shared else set())
    assert set(schemas[noun.singular]["properties"]) == shown
    for part, flag in (("create", "post"), ("update", "put")):
        schema = schemas.get(f"{noun.singular}_{part}")
        if schema is not None:
            assert set(schema["properties"]) == {name for name, each in table.items() if getattr(each, flag)}


def test_every_reference_leads_somewhere() -> None:
    components = DOCUMENT["components"]
    for kind, name in re.findall(r'"#/components/(\w+)/(\w+)"', json.dumps(DOCUMENT)):
        assert name in components[kind]


def test_what_it_lists_is_answered_and_nothing_else(tmp_path: Any) -> None:
    async def run() -> None:
        server = await a_server(tmp_path)
        try:
            await everything(server)
            listed = {(path, method) for path, method, _ in operations()}
            for path in {path for path, _ in listed}:
                for method in METHODS:
                    response = await server.ask(method, server.filled(path), {} if method in {"post", "put"} else None)
                    there = (
                        response.status not in {405, 501} and b'"The resource could not be found."' not in response.body
                    )
                    assert there == ((path, method) in listed), (method, path, response)
                    if method == "delete" and response.status == 204:
                        await everything(server)
        finally:
            await server.engine.close()

    asyncio.run(run())


def test_answers_are_of_its_forms(tmp_path: Any) -> None:
    async def run() -> None:
        server = await a_server(tmp_path)
        try:
            for answer in await everything(server):
                assert not problems(*answer)
            seen = 0
            for path, method, operation in operations():
                if method == "get":
                    response = await server.ask(method, server.filled(path))
                    assert str(response.status) in operation["responses"], (path, response)
                    if response.status == 200:
                        seen += 1
                        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
                        assert not problems(schema, json.loads(response.body)), path
            assert seen > 50
        finally:
            await server.engine.close()

    asyncio.run(run())


async def everything(server: Server) -> list[tuple[dict[str, Any], Any]]:
    """One of each noun, where it is not there; each answer with the schema that it should have."""
    answers: list[tuple[dict[str, Any], Any]] = []
    reports = (
        ("Open vSwitch agent", {"bridge_mappings": {}, "tunnel_types": ["vxlan"], "tunneling_ip": "192.0.2.9"}),
        ("L3 agent", {"agent_mode": "legacy"}),
        ("DHCP agent", {}),
    )
    for kind, configurations in reports:
        for host in ("h1", "h2"):
            report = {"agent_type": kind, "host": host, "binary": "b", "topic": "t", "configurations": configurations}
            written = await server.engine.write(
                lambda draft, report=report: agents.report(draft, {**report, "availability_zone": "nova"})
            )
            server.ids["agent"] = written.result.id

    async def make(template: str, name: str, body: dict[str, Any], *, again: str = "") -> str:
        path = server.filled(template)
        there = await server.ask("get", f"{path}/{server.ids.get(name, NOTHING)}")
        if there.status == 200 and name in server.ids:
            return server.ids[name]
        response = await server.ask("post", path, {name: body})
        assert response.status == 201, (path, body, response)
        document = json.loads(response.body)
        schema = DOCUMENT["paths"][template]["post"]["responses"]["201"]["content"]["application/json"]["schema"]
        answers.append((schema, document))
        server.ids[again or name] = document[name].get("id", "")
        return server.ids[again or name]

    v = "/v2.0"
    scope = await make(f"{v}/address-scopes", "address_scope", {"name": "s", "ip_version": 4})
    pool = {"name": "p", "prefixes": ["10.8.0.0/16"], "address_scope_id": scope, "default_quota": 5000}
    pool |= {"is_default": True, "default_prefixlen": 24}
    pool_id = await make(f"{v}/subnetpools", "subnetpool", pool)
    outside = await make(f"{v}/networks", "network", {"router:external": True, "is_default": True}, again="outside")
    if "outside_subnet" not in server.ids:
        given = {"network_id": outside, "ip_version": 4, "cidr": "192.0.2.0/24"}
        await make(f"{v}/subnets", "subnet", given, again="outside_subnet")
    network = await make(f"{v}/networks", "network", {"name": "n", "tenant_id": "p", "dns_domain": "example."})
    subnet = {"network_id": network, "ip_version": 4, "subnetpool_id": pool_id, "prefixlen": 24}
    subnet |= {"dns_nameservers": ["192.0.2.1"], "host_routes": [{"destination": "10.9.0.0/24", "nexthop": "10.8.0.9"}]}
    subnet_id = await make(f"{v}/subnets", "subnet", subnet)
    extra = {"opt_name": "mtu", "opt_value": "1400"}
    port = {
        "network_id": network,
        "tags": ["red"],
        "extra_dhcp_opts": [extra],
        "allowed_address_pairs": [{"ip_address": "10.0.0.0/8"}],
        "binding:host_id": "h1",
        "device_owner": "compute:nova",
    }
    port_id = await make(f"{v}/ports", "port", port)
    router = await make(f"{v}/routers", "router", {"external_gateway_info": {"network_id": outside}})
    await server.ask("put", f"{v}/routers/{router}/add_router_interface", {"subnet_id": subnet_id})
    await make(f"{v}/floatingips", "floatingip", {"floating_network_id": outside})
    forwarding = {
        "protocol": "tcp",
        "external_port": 80,
        "internal_port": 8080,
        "internal_port_id": port_id,
        "internal_ip_address": await address(server, port_id),
    }
    await make(f"{v}/floatingips/{{floatingip_id}}/port_forwardings", "port_forwarding", forwarding)
    group = await make(f"{v}/security-groups", "security_group", {"name": "g"})
    addresses = await make(f"{v}/address-groups", "address_group", {"addresses": ["10.0.0.0/8"]})
    rule = {"direction": "ingress", "protocol": "tcp", "port_range_min": 80, "port_range_max": 80}
    await make(
        f"{v}/security-group-rules",
        "security_group_rule",
        {**rule, "security_group_id": group, "remote_address_group_id": addresses},
    )
    template = {**rule, "used_in_default_sg": True, "used_in_non_default_sg": False}
    await make(f"{v}/default-security-group-rules", "default_security_group_rule", template)
    policy = {"object_type": "network", "object_id": network, "action": "access_as_shared", "target_tenant": "*"}
    await make(f"{v}/rbac-policies", "rbac_policy", policy)
    bound = await server.ask("post", f"{v}/ports/{port_id}/bindings", {"binding": {"host": "h2"}})
    assert bound.status in {201, 409}, bound
    for path in ("networks", "subnets", "subnetpools", "ports", "routers", "floatingips", "security-groups"):
        one = server.ids[path.replace("-", "_").removesuffix("s")]
        await server.ask("put", f"{v}/{path}/{one}/tags/red")
    await server.ask("put", f"{v}/quotas/p", {"quota": {"port": 600}})
    return answers


async def address(server: Server, port_id: str) -> str:
    port = server.engine.model.get(e.Port, port_id)
    assert port is not None
    return str(port.fixed_ips[0].ip_address)
