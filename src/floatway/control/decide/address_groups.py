"""The rules of address groups: a set of prefixes that security group rules may name."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from floatway.control import entities as e
from floatway.control import prefixes as p
from floatway.control.caller import Caller
from floatway.control.decide import sharing
from floatway.control.draft import Draft
from floatway.control.errors import ApiError, bad_request, conflict, invalid_input

__all__ = ["ACTIONS", "create", "delete", "update"]


def create(draft: Draft, caller: Caller, values: dict[str, Any]) -> e.AddressGroup:
    """A group of the given prefixes, each once."""
    del caller
    return draft.put(
        e.AddressGroup(
            id=draft.new_id(),
            project_id=values["project_id"],
            name=values["name"],
            description=values.get("description", ""),
            addresses=_canonical(values.get("addresses") or ()),
        )
    )


def update(draft: Draft, caller: Caller, group: e.AddressGroup, values: dict[str, Any]) -> e.AddressGroup:
    """Rename or describe; addresses change by actions."""
    del caller
    changed = {name: values[name] for name in ("name", "description") if name in values}
    return draft.put(msgspec.structs.replace(group, **changed))


def delete(draft: Draft, caller: Caller, group: e.AddressGroup) -> None:
    """Delete it.

    Raises:
        ApiError: 409 AddressGroupInUse.
    """
    del caller
    if draft.has(e.SecurityGroupRule, "address_group", group.id):
        raise conflict("AddressGroupInUse", f"Address group {group.id} is in use on one or more security group rules.")
    sharing.remove_all(draft, group)
    draft.remove(group)


def add_addresses(draft: Draft, caller: Caller, group: e.AddressGroup, body: Any) -> dict[str, Any]:
    """PUT /v2.0/address-groups/ID/add_addresses."""
    del caller
    wanted = _wanted(body)
    there = [address for address in wanted if address in group.addresses]
    if there:
        raise bad_request("AddressesAlreadyExist", f"Addresses {there} already exist in the address group {group.id}.")
    return {group.KIND: draft.put(msgspec.structs.replace(group, addresses=(*group.addresses, *wanted)))}


def remove_addresses(draft: Draft, caller: Caller, group: e.AddressGroup, body: Any) -> dict[str, Any]:
    """PUT /v2.0/address-groups/ID/remove_addresses."""
    del caller
    gone = _wanted(body)
    missing = [address for address in gone if address not in group.addresses]
    if missing:
        raise ApiError(404, "AddressesNotFound", f"Addresses {missing} not found in the address group {group.id}.")
    left = tuple(address for address in group.addresses if address not in gone)
    return {group.KIND: draft.put(msgspec.structs.replace(group, addresses=left))}


ACTIONS: Final = {"add_addresses": add_addresses, "remove_addresses": remove_addresses}


def _wanted(body: Any) -> tuple[str, ...]:
    addresses = body.get("addresses") if isinstance(body, dict) else None
    if not isinstance(addresses, list):
        raise invalid_input(f"'{addresses}' is not a list")
    for address in addresses:
        try:
            p.network(str(address))
        except ValueError:
            raise bad_request("AddrFormatError", f"invalid IPNetwork {address}") from None
    return _canonical(addresses)


def _canonical(addresses: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(p.network(address)) for address in addresses))
