"""One attribute of a noun, declared: who may set it when, what it may be, how it is filtered and sorted.

    Attribute("mtu", post=True, put=True, default=0, convert=c.to_int, validate=v.non_negative, filter=True, sort=True, policy=True)

The declarations say what the extensions of Neutron say; ``tests/golden/neutron-api-attributes.json`` holds them to it.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from floatway.api import validators as v

__all__ = ["REQUIRED", "STANDARD", "TAGS", "TAG_FILTERS", "TIMES", "UNSET", "Attribute", "Table", "table"]


class _Mark:
    """A value that is no value."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


REQUIRED: Final = _Mark("REQUIRED")
UNSET: Final = _Mark("UNSET")


class Attribute(msgspec.Struct, frozen=True, kw_only=False):
    """``default`` is for POST: REQUIRED must be given, UNSET may be absent (Neutron's ATTR_NOT_SPECIFIED).

    ``policy`` says that giving it is subject to a rule of its own (``create_port:binding:host_id``); ``visible`` that
    documents have it.
    """

    name: str
    post: bool = False
    put: bool = False
    default: Any = REQUIRED
    convert: Callable[[Any], Any] | None = None
    validate: Callable[[Any], str | None] | None = None
    filter: bool = False
    sort: bool = False
    visible: bool = True
    policy: bool = False


Table = dict[str, Attribute]


def table(*attributes: Attribute) -> Table:
    """Attributes by name; where there is ``tenant_id`` or ``project_id``, both are."""
    found = {attribute.name: attribute for attribute in attributes}
    for name, twin in (("tenant_id", "project_id"), ("project_id", "tenant_id")):
        if name in found and twin not in found:
            found[twin] = msgspec.structs.replace(found[name], name=twin)
    return found


TIMES: Final = (
    Attribute("revision_number", default=None, filter=True),
    Attribute("created_at", default=None),
    Attribute("updated_at", default=None),
)
STANDARD: Final = (
    Attribute("description", post=True, put=True, default="", validate=v.string(255), filter=True),
    *TIMES,
)
TAG_FILTERS: Final = tuple(
    Attribute(name, filter=True, visible=False) for name in ("tags-any", "not-tags", "not-tags-any")
)
TAGS: Final = (Attribute("tags", filter=True), *TAG_FILTERS)
