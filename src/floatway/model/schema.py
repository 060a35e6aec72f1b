"""The published JSON Schema of ``cloud.yaml``, generated from the structs (JSON Schema 2020-12)."""

from typing import Any

import msgspec

from floatway.model.load import COLLECTIONS, SPELLINGS


def cloud_schema() -> dict[str, Any]:
    """The schema as JSON-ready data: every collection a list of its resource, both spellings of a field accepted."""
    kinds = list(COLLECTIONS.values())
    _, components = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    for component in components.values():
        properties = component.get("properties", {})
        for alias, field in SPELLINGS.items():
            if field in properties and alias != "tenant_id":
                properties[alias] = {**properties[field], "description": f"The Networking API's spelling of {field}."}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Floatway cloud",
        "description": "A cloud's networks, routers, ports, floating IPs, security groups, instances and hosts.",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            key: {"type": "array", "items": {"$ref": f"#/$defs/{kind.__name__}"}} for key, kind in COLLECTIONS.items()
        },
        "$defs": components,
    }
