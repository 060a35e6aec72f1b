"""From the body of a request to the values that a rule works with.

    {"port": {"network_id": …, "admin_state_up": "true"}} ──▶ [Body({"network_id": …, "admin_state_up": True, "name": "", …}, given)]

Everything is checked before any rule runs: unknown and forbidden attributes, what is missing, forms, defaults, whose it
shall be. Refusals are Neutron's, word for word.
"""

from typing import Any, Final

import msgspec

from floatway.api.attributes import ATTRIBUTES
from floatway.api.attributes.base import REQUIRED, UNSET, Attribute, Table
from floatway.api.query import Rule
from floatway.control.caller import Caller
from floatway.control.errors import ApiError, bad_request

__all__ = ["QUERY_RULES", "Body", "prepare_create", "prepare_update"]
_CORE: Final = frozenset({"networks", "ports", "subnetpools", "subnets"})


class Body(msgspec.Struct, frozen=True):
    """``values`` with defaults filled in and converted; ``given`` are the attributes that the client named."""

    values: dict[str, Any]
    given: frozenset[str]


def _refused(message: str) -> ApiError:
    return bad_request("HTTPBadRequest", message)


def prepare_create(
    collection: str, singular: str, document: Any, caller: Caller, *, bulk: bool = True
) -> tuple[list[Body], bool]:
    """The bodies of a POST, and whether there were several (``{"ports": […]}``).

    Raises:
        ApiError: 400.
    """
    _check_shape(collection, document)
    if collection in document:
        if not bulk:
            raise _refused("Bulk operation not supported")
        items = document[collection]
        if not items:
            raise _refused("Resources required")
        if not isinstance(items, list) or any(item is None or isinstance(item, int | float) for item in items):
            raise _refused("Body contains invalid data")
        return [
            _create(collection, _one(item if singular in item else {singular: item}, singular), caller)
            for item in items
        ], True
    return [_create(collection, _one(document, singular), caller)], False


def prepare_update(collection: str, singular: str, document: Any, caller: Caller) -> Body:
    """The body of a PUT.

    Raises:
        ApiError: 400.
    """
    _check_shape(collection, document)
    if collection in document:
        raise _refused("Bulk operation not supported")
    values = _one(document, singular)
    attributes = ATTRIBUTES[collection]
    _project(values, caller)
    _known(attributes, values)
    for name in attributes:
        if name in values and not attributes[name].put:
            raise _refused(f"Cannot update read-only attribute {name}")
    for name in sorted(values, key=_PLANS[collection].order.__getitem__):
        _convert(attributes[name], values)
    return Body(values, frozenset(values))


def _check_shape(collection: str, document: Any) -> None:
    """Of the first four nouns, Neutron misses the noun in an empty body; of all others, the body."""
    if not document and collection not in _CORE:
        raise _refused("Resource body required")
    if not isinstance(document, dict):
        raise _refused("Body contains invalid data")


def _one(document: dict[str, Any], singular: str) -> dict[str, Any]:
    values = document.get(singular)
    if values is None:
        raise _refused(f"Unable to find '{singular}' in request body")
    if not isinstance(values, dict):
        raise _refused(f"Object '{singular}' contains invalid data")
    return dict(values)


def _create(collection: str, values: dict[str, Any], caller: Caller) -> Body:
    plan = _PLANS[collection]
    attributes = plan.attributes
    _project(values, caller)
    if "tenant_id" in attributes and "project_id" not in values:
        if not caller.project_id:
            raise _refused("Running without keystone AuthN requires that project_id is specified")
        values["project_id"] = values["tenant_id"] = caller.project_id
    given = frozenset(values)
    _known(attributes, values)
    if not given >= plan.required or not given.isdisjoint(plan.forbidden):
        raise _first_fault(attributes, given)
    values = {**plan.defaults, **values}
    for name in sorted(given | plan.refused_defaults, key=plan.order.__getitem__):  # Neutron names the first mistake
        _convert(attributes[name], values)
    return Body(values, given)


def _first_fault(attributes: Table, given: frozenset[str]) -> ApiError:
    for name, attribute in attributes.items():
        if name in given and not attribute.post:
            return _refused(f"Attribute '{name}' not allowed in POST")
        if attribute.post and attribute.default is REQUIRED and name not in given:
            return _refused(f"Failed to parse request. Required attribute '{name}' not specified")
    raise AssertionError(given)


def _project(values: dict[str, Any], caller: Caller) -> None:
    """``project_id`` and ``tenant_id`` are one; only an admin (or a service) acts for another project."""
    if "project_id" not in values and "tenant_id" not in values:
        return
    tenant = values.setdefault("tenant_id", values.get("project_id"))
    project = values.setdefault("project_id", tenant)
    if tenant != project:
        raise _refused("'project_id' and 'tenant_id' do not match")
    if project != caller.project_id and not caller.sees_all:
        raise _refused(
            "Specifying 'project_id' other than the authenticated project in request is not allowed for the current user."
        )


def _known(attributes: Table, values: dict[str, Any]) -> None:
    unknown = [str(name) for name in values if name not in attributes]
    if unknown:
        raise _refused(f"Unrecognized attribute(s) '{', '.join(unknown)}'")


def _convert(attribute: Attribute, values: dict[str, Any]) -> None:
    name = attribute.name
    if attribute.convert is not None:
        values[name] = attribute.convert(values[name])
    if attribute.validate is not None and (reason := attribute.validate(values[name])):
        raise _refused(f"Invalid input for {name}. Reason: {reason}.")


class _Plan(msgspec.Struct, frozen=True):
    """What a table says of every POST, put together once."""

    attributes: Table
    order: dict[str, int]
    required: frozenset[str]
    forbidden: frozenset[str]
    defaults: dict[str, Any]
    refused_defaults: frozenset[str]
    """What need not be given, but its default is refused (an RBAC policy's object_type)."""


def _plan(attributes: Table) -> _Plan:
    posted = [attribute for attribute in attributes.values() if attribute.post]
    defaults: dict[str, Any] = {}
    refused: set[str] = set()
    for attribute in posted:
        if attribute.default is REQUIRED or attribute.default is UNSET:
            continue
        defaults[attribute.name] = attribute.default
        if attribute.default is None:
            try:
                _convert(attribute, defaults)
            except ApiError:
                refused.add(attribute.name)
    return _Plan(
        attributes,
        {name: at for at, name in enumerate(attributes)},
        frozenset(attribute.name for attribute in posted if attribute.default is REQUIRED),
        frozenset(attributes) - frozenset(attribute.name for attribute in posted),
        defaults,
        frozenset(refused),
    )


_PLANS: Final = {collection: _plan(attributes) for collection, attributes in ATTRIBUTES.items()}


def _rules(collection: str) -> dict[str, Rule]:
    return {
        attribute.name: Rule(attribute.filter, attribute.sort, attribute.convert)
        for attribute in ATTRIBUTES[collection].values()
    }


QUERY_RULES: Final[dict[str, dict[str, Rule]]] = {collection: _rules(collection) for collection in ATTRIBUTES}
