"""Whatever fits the OpenAPI document, and whatever does not, is answered as the document says; never with a failure of ours.

Schemathesis draws requests from ``GET /openapi.json``: ids are those of a small cloud as often as not, addresses are from its
subnets. Afterwards nothing is broken: no address twice in a subnet, no MAC twice in a network.
"""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import given
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS as KNOWN
from schemathesis.checks import load_all_checks

from api.processes import Server, server
from effort import examples
from floatway.api.nouns import nouns
from floatway.api.openapi import openapi
from floatway.api.port_bindings import BINDINGS
from floatway.control.settings import Settings

load_all_checks()
CHECKS = KNOWN.get_by_names(
    ["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance"]
)
IDS: dict[str, list[str]] = {}
"""The cloud's, by kind, in the order of its making: a drawn number names the same thing in each run."""


def _known(kind: str, at: int) -> str:
    there = IDS.get(kind) or ["00000000-0000-4000-8000-000000000000"]
    return there[at % len(there)]


def _by_kind(schema: Any, name: str = "") -> Any:
    """The document with the kind of each id: what is called ``network_id`` is a network's."""
    if isinstance(schema, list):
        return [_by_kind(each, name) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "uuid":
        kind = KINDS.get(name, name.removesuffix("_id"))
        if kind in MADE:
            return {**schema, "format": f"{kind}-id"}
    if "in" in schema and "schema" in schema:
        return {**schema, "schema": _by_kind(schema["schema"], schema["name"])}
    return {key: _by_kind(each, key if key != "items" else name) for key, each in schema.items()}


KINDS = {
    "floating_network_id": "network",
    "security_groups": "security_group",
    "remote_group_id": "security_group",
    "remote_address_group_id": "address_group",
    "internal_port_id": "port",
    "object_id": "network",
}
MADE = (
    "address_group", "address_scope", "default_security_group_rule", "floatingip", "network", "port", "port_forwarding",
    "rbac_policy", "router", "security_group", "security_group_rule", "subnet", "subnetpool",
)  # fmt: skip
for made in MADE:
    known = st.integers(0, 5).map(lambda at, made=made: _known(made, at))
    schemathesis.openapi.format(f"{made}-id", st.one_of(known, known, known, st.uuids().map(str)))
schemathesis.openapi.format("ipv4", st.integers(0, 40).map("10.8.0.{}".format))
schemathesis.openapi.format("ipv6", st.integers(0, 40).map("2001:db8::{:x}".format))
schemathesis.openapi.format(
    "cidr",
    st.one_of(
        st.builds("10.{}.{}.0/{}".format, st.integers(0, 255), st.integers(0, 255), st.integers(0, 32)),
        st.builds("2001:db8:{:x}::/{}".format, st.integers(0, 255), st.integers(0, 128)),
    ),
)

DOCUMENT = json.loads(json.dumps(openapi(nouns(Settings()), BINDINGS)))
SCHEMA = schemathesis.openapi.from_dict(_by_kind(DOCUMENT))
# what deletes comes last, so that there is something to ask for
OPERATIONS = sorted(
    (found.ok() for found in SCHEMA.get_all_operations()),
    key=lambda operation: (operation.method.upper() == "DELETE", operation.path),
)


def _can_be_wrong(operation: Any) -> bool:
    """Whether anything in the request has a form: a body, a query, an id in its path."""
    return bool(operation.body or operation.query or "_id}" in operation.path)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(tmp_path_factory.mktemp("schemathesis")) as started:
        IDS.update(_cloud(started))
        yield started
        _unbroken(started)


@pytest.mark.parametrize(
    ("operation", "mode"),
    [
        pytest.param(operation, mode, id=f"{operation.method} {operation.path}-{mode.value}")
        for operation in OPERATIONS
        for mode in GenerationMode
        if mode is GenerationMode.POSITIVE or _can_be_wrong(operation)
    ],
)
def test_an_operation_is_answered_as_described(operation: Any, mode: GenerationMode, api: Server) -> None:
    cases = operation.as_strategy(generation_mode=mode)

    @examples(4)
    @given(case=cases)
    def run(case: Any) -> None:
        case.call_and_validate(base_url=api.url, checks=CHECKS)

    run()


def _cloud(started: Server) -> dict[str, list[str]]:
    ids: dict[str, list[str]] = {}

    def make(path: str, noun: str, **body: Any) -> str:
        answer = started.call("POST", f"/v2.0/{path}", {noun: body})
        assert answer.status == 201, answer
        ids.setdefault(noun, []).append(answer.body[noun]["id"])
        return ids[noun][-1]

    outside = make("networks", "network", **{"router:external": True})
    make("subnets", "subnet", network_id=outside, ip_version=4, cidr="192.0.2.0/24")
    for at in range(5):
        network = make("networks", "network", name=f"n{at}")
        pool = make("subnetpools", "subnetpool", name="pool", prefixes=[f"10.{at + 16}.0.0/16"], default_prefixlen=26)
        cidr = {"subnetpool_id": pool} if at == 4 else {"cidr": f"10.8.{at}.0/24"}
        subnet = make("subnets", "subnet", network_id=network, ip_version=4, **cidr)
        router = make("routers", "router", external_gateway_info={"network_id": outside} if at < 3 else None)
        started.call("PUT", f"/v2.0/routers/{router}/add_router_interface", {"subnet_id": subnet})
        port = make("ports", "port", network_id=network)
        make("floatingips", "floatingip", floating_network_id=outside, **({"port_id": port} if at < 2 else {}))
        group = make("security-groups", "security_group", name=f"g{at}")
        make(
            "security-group-rules", "security_group_rule", security_group_id=group, direction="ingress", protocol="tcp"
        )
        make("address-groups", "address_group", addresses=["10.0.0.0/8"])
        make("address-scopes", "address_scope", name=f"s{at}", ip_version=4)
        shared = {"object_type": "network", "object_id": network, "action": "access_as_shared"}
        make("rbac-policies", "rbac_policy", target_tenant="*", **shared)
    return ids


def _unbroken(started: Server) -> None:
    ports = started.call("GET", "/v2.0/ports").body["ports"]
    addresses = Counter((ip["subnet_id"], ip["ip_address"]) for port in ports for ip in port["fixed_ips"])
    macs = Counter((port["network_id"], port["mac_address"]) for port in ports)
    floating = Counter(
        (ip["port_id"], ip["fixed_ip_address"])
        for ip in started.call("GET", "/v2.0/floatingips").body["floatingips"]
        if ip["port_id"]
    )
    for counted in (addresses, macs, floating):
        assert all(count == 1 for count in counted.values()), counted.most_common(3)
    assert not [line for line in started.lines() if line.get("level") == "error"]


def test_the_document_is_the_servers(api: Server) -> None:
    assert api.call("GET", "/openapi.json").body == DOCUMENT
