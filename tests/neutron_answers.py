"""What Neutron answers, recorded, and what we answer to the same: both without what chance decides.

tests/golden/neutron-29/ports.json    stories: a name, agents that are alive, and steps
    {"method": "POST", "path": "ports", "body": {"port": {"network_id": "$N$"}}, "as": "P", "status": 201, "answer": {…}}
    ``as`` names what the step made, ``$P$`` is its id further on; ``differs`` says why we answer otherwise, and how.

The answers came from neutron 29.0.0 (ML2 with Open vSwitch, port security, DNS and uplink propagation, L3 router) behind its
own API pipeline and policies. Only answers about ``SHOWN`` nouns are kept, of others the status.
"""

import ipaddress
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

__all__ = ["GOLDEN", "normal", "same", "steps_with", "stories"]

GOLDEN: Final = Path(__file__).parent / "golden" / "neutron-29" / "ports.json"
SHOWN: Final = ("port", "ports", "binding", "bindings", "NeutronError")
LEFT_OUT: Final = frozenset(
    {
        *("revision_number", "created_at", "updated_at", "tags", "tenant_id", "dns_assignment"),
        "ip_allocation",  # of an extension that the recording did not load
        "detail",
        "ovs_create_tap",  # a request to the instances' host, which is not ours to make
    }
)
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MAC: Final = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")


def stories() -> list[dict[str, Any]]:
    """All recorded stories."""
    found: list[dict[str, Any]] = json.loads(GOLDEN.read_text())
    return found


def steps_with(step: Mapping[str, Any], ids: Mapping[str, str]) -> dict[str, Any]:
    """The step with ids in place of names."""
    text = json.dumps(step)
    for name, id_ in ids.items():
        text = text.replace(f"${name}$", id_)
    filled: dict[str, Any] = json.loads(text)
    return filled


def normal(answer: Any, ids: Mapping[str, str], asked: str) -> Any:
    """``answer`` with names for ids, and without what chance decided: addresses and MACs that are not in ``asked``."""
    if not isinstance(answer, dict) or not set(answer) & set(SHOWN):
        return None
    named = {id_: f"${name}$" for name, id_ in ids.items()}
    return _normal(answer, named, asked)


def same(ours: Any, theirs: Any) -> bool:
    """Whether two normal answers say the same; where chance decided theirs, any of ours will do."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return set(ours) == set(theirs) and all(same(ours[name], theirs[name]) for name in theirs)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if theirs == "<address>":
        return ours == theirs or _is_address(str(ours))
    return bool(ours == theirs)


def _normal(value: Any, named: Mapping[str, str], asked: str) -> Any:
    if isinstance(value, dict):
        return {name: _normal(inner, named, asked) for name, inner in value.items() if name not in LEFT_OUT}
    if isinstance(value, list):
        return [_normal(inner, named, asked) for inner in value]
    if not isinstance(value, str):
        return value
    if _is_address(value):
        return value if value in asked else "<address>"
    value = _UUID.sub(lambda found: named.get(found[0], found[0] if found[0] in asked else "<id>"), value)
    return _MAC.sub(lambda found: found[0] if found[0] in asked else "<mac>", value)


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True
