"""What Neutron 29 declares of every attribute, and what it does with 263 values, is what we declare and do.

``neutron-api-attributes.json`` was made from a running Neutron: per collection and attribute its flags and its default, and
the number of a behaviour. A behaviour says what becomes of each input: kept ("same"), converted, or refused with a type
and a message, in which ``{name}`` and ``{value}`` stand for the attribute and the input.
"""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from floatway.api.attributes import ATTRIBUTES
from floatway.api.attributes.base import REQUIRED, UNSET
from floatway.api.attributes.body import prepare_create, prepare_update
from floatway.api.extensions import EXTENSIONS
from floatway.control.caller import Caller
from floatway.control.errors import ApiError

GOLDEN = json.loads((Path(__file__).parents[3] / "golden/neutron-api-attributes.json").read_text())
INPUTS, BEHAVIOURS, COLLECTIONS = GOLDEN["inputs"], GOLDEN["behaviours"], GOLDEN["collections"]
CORE = {"network", "subnet", "port", "subnetpool"}
FLAGS = ("post", "put", "filter", "sort", "visible", "policy")
OF_EVERY_STANDARD = {"created_at", "updated_at", "revision_number", "project_id", "tenant_id"}
OF_WHAT_IS_REFUSED = {"routers": {"ha"}}  # clients ask for it without the extension
ADMIN = Caller(user_id="u", project_id="p", roles=frozenset({"admin"}), is_admin=True)

# Stricter than Neutron on purpose: what it lets pass ends in a 500 or in nonsense.
STRICTER = (
    ("gateway_ip", 2**40),  # a number that happens to be an address
    ("protocol", True),
    ("protocol", False),
    ("protocol", 1.0),
    ("protocol", 1.5),
    ("protocol", "+5"),  # kept as text by Neutron; the number is meant
    ("protocol", " 7 "),
    ("protocol", "1_0"),
    *((name, value) for name in ("external_port", "internal_port") for value in (1.0, 1.5, "1_0")),
    *((name, value) for name in ("external_port_range", "internal_port_range") for value in ("+5", " 7 ", "1_0")),
)


ATTRIBUTES_OF_NEUTRON = [
    pytest.param(collection, name, row, id=f"{collection}.{name}")
    for collection, table in COLLECTIONS.items()
    for name, row in table.items()
]


def test_every_collection_is_there() -> None:
    assert set(COLLECTIONS) == set(ATTRIBUTES)


@pytest.mark.parametrize("collection", sorted(COLLECTIONS))
def test_no_attribute_is_missing_and_none_is_invented(collection: str) -> None:
    ours, neutrons = set(ATTRIBUTES[collection]), set(COLLECTIONS[collection])
    assert neutrons <= ours
    assert ours - neutrons <= OF_EVERY_STANDARD | OF_WHAT_IS_REFUSED.get(collection, set())


@pytest.mark.parametrize(("collection", "name", "row"), ATTRIBUTES_OF_NEUTRON)
def test_flags_and_default_are_neutrons(collection: str, name: str, row: dict[str, Any]) -> None:
    ours = ATTRIBUTES[collection][name]
    flags = {flag: row.get(flag, False) for flag in FLAGS}
    flags["filter"] |= collection == "service_providers"  # Neutron declares none and filters by all of them
    assert {flag: getattr(ours, flag) for flag in FLAGS} == flags
    if ours.post and name not in {"project_id", "tenant_id"}:
        default = {REQUIRED: "REQUIRED", UNSET: "UNSET"}.get(ours.default) if _marked(ours.default) else ours.default
        default = list(default) if isinstance(default, tuple) else default
        assert (default, type(default)) == (row.get("default", "REQUIRED"), type(row.get("default", "REQUIRED")))


@pytest.mark.parametrize("alias", sorted(EXTENSIONS))
def test_an_extension_has_neutrons_name_and_date(alias: str) -> None:
    found = EXTENSIONS[alias]
    name, updated = GOLDEN["extensions"][alias]
    if alias == "standard-attr-tag":  # its name lists what is there to be tagged
        name = ", ".join(each for each in name.split(", ") if each not in {"policy", "trunk", "network_segment_range"})
    assert (found.alias, found.name, found.updated) == (alias, name, updated)
    assert found.description
    assert found.links == ()


def _marked(default: Any) -> bool:
    return default is REQUIRED or default is UNSET


@pytest.mark.parametrize(("collection", "name", "row"), ATTRIBUTES_OF_NEUTRON)
def test_an_attribute_belongs_to_an_announced_extension(collection: str, name: str, row: dict[str, Any]) -> None:
    assert set(row["by"]) <= CORE | set(EXTENSIONS), (collection, name)


@pytest.mark.parametrize(
    ("collection", "name", "row"), [each for each in ATTRIBUTES_OF_NEUTRON if "behaviour" in each.values[2]]
)
def test_values_are_kept_converted_and_refused_as_by_neutron(collection: str, name: str, row: dict[str, Any]) -> None:
    wanted = dict(_expected(BEHAVIOURS[row["behaviour"]], name))
    wrong = {}
    for at, expected in wanted.items():
        value = INPUTS[at]
        if any(name == one and value == other and type(value) is type(other) for one, other in STRICTER):
            continue
        found = _outcome(collection, name, copy.deepcopy(value), row)
        if found != expected:
            wrong[repr(value)] = (found, expected)
    assert not wrong


def _expected(behaviour: dict[str, Any], name: str) -> Iterator[tuple[int, Any]]:
    for at in behaviour["converted"].get("same", ()):
        yield at, ("", _exact(INPUTS[at]))
    for at, value in behaviour["converted"].items():
        if at != "same":
            yield int(at), ("", _exact(value))
    for type_, messages in behaviour["refused"].items():
        for message, inputs in messages.items():
            for at in inputs:
                text = message.replace("{name}", name).replace("{value}", str(INPUTS[at]))
                yield at, (type_, _unordered(text))


def _outcome(collection: str, name: str, value: Any, row: dict[str, Any]) -> tuple[str, str]:
    body = {name: value}
    try:
        if row.get("put"):
            return "", _exact(prepare_update(collection, "it", {"it": body}, ADMIN).values[name])
        made, _ = prepare_create(collection, "it", {"it": _complete(collection, body)}, ADMIN, bulk=False)
        return "", _exact(made[0].values[name])
    except ApiError as error:
        return error.type, _unordered(error.message)


COMPLETE: dict[str, Any] = {
    "network_id": "2b4c9f3e-0d0c-4b7e-9a52-0f0d6b1f6a11",
    "floating_network_id": "2b4c9f3e-0d0c-4b7e-9a52-0f0d6b1f6a11",
    "security_group_id": "2b4c9f3e-0d0c-4b7e-9a52-0f0d6b1f6a11",
    "internal_port_id": "2b4c9f3e-0d0c-4b7e-9a52-0f0d6b1f6a11",
    "object_id": "2b4c9f3e-0d0c-4b7e-9a52-0f0d6b1f6a11",
    "object_type": "network",
    "action": "access_as_shared",
    "target_tenant": "*",
    "ip_version": 4,
    "name": "n",
    "prefixes": ["10.0.0.0/8"],
    "direction": "ingress",
    "used_in_default_sg": True,
    "used_in_non_default_sg": True,
    "host": "h",
    "protocol": "tcp",
    "internal_ip_address": "10.0.0.1",
}


def _complete(collection: str, body: dict[str, Any]) -> dict[str, Any]:
    """With everything else that a POST needs; the attribute in question comes first, and the project matches."""
    rest = {
        name: COMPLETE[name]
        for name, attribute in ATTRIBUTES[collection].items()
        if attribute.post and name in COMPLETE and name not in body
    }
    for one, other in (("tenant_id", "project_id"), ("project_id", "tenant_id")):
        if one in body:
            rest[other] = body[one]
    return body | rest


def _exact(value: Any) -> str:
    """As JSON, which tells 1 from true and from 1.0."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, sort_keys=True)


def _unordered(message: str) -> str:
    """Neutron prints Python sets, whose order is chance."""
    return "".join(sorted(message)) if "keys failed" in message else message
