"""Whole requests and what Neutron answered to them: who asked, which status, which error, which document.

tests/golden/neutron-29/stories/*.json    one story each: its agents, limits, and steps
    {"method": "POST", "path": "security-groups", "role": "member", "body": {…}, "as": "G", "status": 201, "answer": {…}}
    ``as`` names what the step made, ``$G$`` is its id further on; agents are ``kind@host@mode`` and named ``$kind-host$``.

The answers came from neutron 29.0.0 (ML2 with Open vSwitch, L3 router, tags, quotas, RBAC, topologies on demand) behind its own
API pipeline and policies. Order in lists is nobody's promise, so lists are compared sorted; what chance or the clock decides
has a placeholder, what belongs to extensions that only one of the two has is left out.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

__all__ = ["GOLDEN", "PROJECT_ROLES", "Story", "filled", "named", "normal", "same", "stories"]

GOLDEN: Final = Path(__file__).parent / "golden" / "neutron-29" / "stories"
PROJECT_ROLES: Final = {
    "admin": ("admin", "member", "reader"),
    "manager": ("manager", "member", "reader"),
    "member": ("member", "reader"),
    "reader": ("reader",),
}
Story = dict[str, Any]
LEFT_OUT: Final = frozenset(
    {
        *(
            "revision_number",
            "standard_attr_id",
            "detail",
            "mtu",
            "configurations",
            "availability_zones",
            "ip_allocation",
        ),
        *("provider:network_type", "provider:segmentation_id", "provider:physical_network", "is_default", "flavor_id"),
        *("ha", "ha_vr_id", "ha_state", "ha_chassis_priority", "resource_versions", "enable_default_route_bfd"),
        *("enable_default_route_ecmp", "qinq", "vlan_transparent", "dns_publish_fixed_ip", "dns_assignment"),
        "belongs_to_default_sg",  # Neutron does not know it of the rules that it shows with their group
        "shared",  # Neutron shows it of an address group in some answers and not in others
    }
)
LEFT_OUT_NULL: Final = frozenset({"external_port", "internal_port", "default_quota", "address_scope_id"})
"""Null in some of Neutron's answers and not there in others; so are prefix lengths numbers in some, text in others."""
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MAC: Final = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
_TIME: Final = re.compile(r"20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:Z|\.\d+)?")
_ADDRESS: Final = re.compile(r"\d+\.\d+\.\d+\.\d+\Z")


def stories() -> list[tuple[str, Story]]:
    """All recorded stories with their names."""
    return [(path.stem, json.loads(path.read_text())) for path in sorted(GOLDEN.glob("*.json"))]


def filled(step: Mapping[str, Any], ids: Mapping[str, str]) -> dict[str, Any]:
    """The step with ids in place of names."""
    text = json.dumps(step)
    for name, id_ in ids.items():
        text = text.replace(f"${name}$", id_)
    found: dict[str, Any] = json.loads(text)
    return found


def named(step: Mapping[str, Any], document: Any) -> dict[str, str]:
    """The name that the step gives to what it made or found."""
    if "as" not in step:
        return {}
    (found,) = document.values()
    return {step["as"]: (found[0] if isinstance(found, list) else found)["id"]}


def normal(answer: Any, ids: Mapping[str, str], asked: str) -> Any:
    """``answer`` with names for ids and placeholders for what nobody asked for by its value."""
    names = {id_: f"${name}$" for name, id_ in ids.items()}
    return _normal(answer, names, asked)


def same(ours: Any, theirs: Any) -> bool:
    """Whether two normal answers say the same.

    Neutron tells a project that an object is hidden from it in other words than that there is none; we do not. What Neutron says
    through the names of its own callbacks we say without them.
    """
    error = theirs.get("NeutronError") if isinstance(theirs, dict) else None
    if error is not None and "NeutronError" in ours:
        hidden = error["type"] == "HTTPNotFound" and ours["NeutronError"]["type"].endswith("NotFound")
        if hidden or "Callback" in error["message"]:
            return hidden or bool(ours["NeutronError"]["type"] == error["type"])
    return bool(ours == theirs)


def _normal(value: Any, names: Mapping[str, str], asked: str) -> Any:
    if isinstance(value, dict):
        return {
            name: str(inner) if name.endswith("_prefixlen") else _normal(inner, names, asked)
            for name, inner in value.items()
            if name not in LEFT_OUT and not (inner is None and name in LEFT_OUT_NULL)
        }
    if isinstance(value, list):
        return sorted((_normal(inner, names, asked) for inner in value), key=_text)
    if not isinstance(value, str):
        return value
    if _ADDRESS.match(value):
        return value if value in asked else "<address>"
    value = _UUID.sub(lambda found: names.get(found[0], found[0] if found[0] in asked else "<id>"), value)
    value = _MAC.sub(lambda found: found[0] if found[0] in asked else "<mac>", value)
    return _TIME.sub("<time>", value)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
