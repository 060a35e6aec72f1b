"""How an entity reads in the API: its own fields, under the API's names, and what is computed from others.

{"network": {"id": …, "name": …, "subnets": [ids of its subnets], "project_id": …, "tenant_id": …}}
"""

from functools import cache
from typing import Any, Final

import msgspec

from floatway.control.entities import Entity

__all__ = ["basic"]

_OURS: Final = frozenset({"sequence", "up_hosts", "troubled_hosts", "failed_hosts"})


@cache
def _names(kind: type[Entity]) -> tuple[tuple[str, str], ...]:
    return tuple((field.name, field.encode_name) for field in msgspec.structs.fields(kind) if field.name not in _OURS)


def basic(entity: Entity) -> dict[str, Any]:
    """The entity's own fields by their API names, with ``tenant_id`` beside ``project_id``. A new dict each time."""
    shown = {name: getattr(entity, field) for field, name in _names(type(entity))}
    if "project_id" in shown:
        shown["tenant_id"] = shown["project_id"]
    return shown
