"""The published schema and the loader agree: what the one takes, the other takes."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given

import floatway.lab
from effort import examples
from floatway.lab.sample import big_cloud
from floatway.model.cloud import Cloud
from floatway.model.load import COLLECTIONS, SPELLINGS, cloud_from_text
from floatway.model.schema import DESCRIPTIONS, FORMS, cloud_schema
from strategies import clouds

SCHEMA = cloud_schema()
REFERENCE = Path(floatway.lab.__file__).parent / "clouds" / "reference.yaml"
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list, tuple), "string": (str,), "integer": (int,), "boolean": (bool,), "null": (type(None),),
}  # fmt: skip
SAID = {"title", "description", "default", "format", "$schema", "$defs"}


def misfits(value: Any, schema: dict[str, Any], path: str = "") -> list[str]:
    """Where a value breaks a schema, for the keywords that ours uses; another keyword is an error of this test."""
    known = {"$ref", "anyOf", "enum", "type", "properties", "additionalProperties", "required", "items"}
    known |= {"pattern", "minimum", "maximum"}
    assert set(schema) <= known | SAID, set(schema) - known - SAID
    if "$ref" in schema:
        return misfits(value, SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], path)
    if "anyOf" in schema:
        branches = [misfits(value, branch, path) for branch in schema["anyOf"]]
        return [] if [] in branches else branches[0]
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{path}: {value!r} is not in the enum"]
    kind = schema["type"]
    if not isinstance(value, TYPES[kind]) or (kind == "integer" and isinstance(value, bool)):
        return [f"{path}: {value!r} is no {kind}"]
    found = []
    if "pattern" in schema and not re.search(schema["pattern"], value):
        found.append(f"{path}: {value!r} does not match")
    if not schema.get("minimum", -1e99) <= (value if kind == "integer" else 0) <= schema.get("maximum", 1e99):
        found += [f"{path}: {value!r} is out of range"] if kind == "integer" else []
    if kind == "array":
        for index, item in enumerate(value):
            found += misfits(item, schema["items"], f"{path}[{index}]")
    if kind == "object":
        found += [f"{path}: {name} is missing" for name in schema.get("required", ()) if name not in value]
        rest = schema.get("additionalProperties", True)
        for key, item in value.items():
            below = schema.get("properties", {}).get(key, rest)
            if below is False:
                found.append(f"{path}.{key}: unknown")
            elif below is not True:
                found += misfits(item, below, f"{path}.{key}")
    return found


def document(cloud: Cloud) -> dict[str, Any]:
    """A cloud as its file's data."""
    return {key: [msgspec.to_builtins(item) for item in getattr(cloud, key).values()] for key in COLLECTIONS}


def test_the_reference_fits_with_the_api_s_spellings() -> None:
    data = yaml.load(REFERENCE.read_text(), yaml.BaseLoader)  # texts only: types are the other tests' matter
    texts = [line for line in misfits(data, SCHEMA) if not re.search(r"is no (integer|boolean)$", line)]
    assert texts == []


@examples(40)
@given(clouds())
def test_a_cloud_written_down_fits_and_reads_back(cloud: Cloud) -> None:
    data = document(cloud)
    assert misfits(data, SCHEMA) == []
    assert cloud_from_text(yaml.safe_dump(data, sort_keys=False), "x") == cloud


def test_a_cloud_in_the_api_s_spelling_is_the_same_cloud() -> None:
    cloud = big_cloud(ports=2, routers=1, floating_ips=1)
    data = document(cloud)
    names = {ours: theirs for theirs, ours in SPELLINGS.items() if ours != "rules"}
    spelled = {key: [{names.get(k, k): v for k, v in item.items()} for item in items] for key, items in data.items()}
    assert spelled != data
    assert misfits(spelled, SCHEMA) == []
    assert cloud_from_text(yaml.safe_dump(spelled), "x") == cloud


@pytest.mark.parametrize(
    ("where", "changes", "path"),
    [
        ("networks", {"mtu": 1}, ".networks[0].mtu"),
        ("networks", {"mtu": True}, ".networks[0].mtu"),
        ("networks", {"nmae": "x"}, ".networks[0].nmae"),
        ("networks", {"provider_network_type": "vxlam"}, ".networks[0].provider_network_type"),
        ("subnets", {"cidr": "10.0.0.0"}, ".subnets[0].cidr"),
        ("ports", {"mac_address": "FA:16:3E:00:00:00"}, ".ports[0].mac_address"),
        ("ports", {"mac_address": "01:16:3e:00:00:00"}, ".ports[0].mac_address"),
        ("servers", {"host": None}, ".servers[0].host"),
    ],
)
def test_what_the_loader_refuses_by_form_the_schema_refuses(where: str, changes: dict[str, Any], path: str) -> None:
    data = document(big_cloud(ports=2, routers=1, floating_ips=1))
    data[where][0] |= changes
    assert [line.partition(":")[0] for line in misfits(data, SCHEMA)] == [path]
    with pytest.raises(ValueError, match=re.escape(path[1:])):
        cloud_from_text(yaml.safe_dump(data), "x")


def test_every_field_is_described_and_no_other() -> None:
    fields = {name for definition in SCHEMA["$defs"].values() for name in definition["properties"]} - set(SPELLINGS)
    assert fields == set(DESCRIPTIONS)
    assert set(FORMS) <= fields


def test_the_schema_is_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(SCHEMA)) == SCHEMA
