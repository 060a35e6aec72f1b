"""Whether something that a request names exists for the caller. What a project may not see is not there, so it says 404."""

from typing import TypeVar

from floatway.control import entities as e
from floatway.control.caller import Caller
from floatway.control.decide import sharing
from floatway.control.draft import Draft
from floatway.control.errors import ApiError, not_found

__all__ = ["network", "port", "shareable", "subnet"]

T = TypeVar("T", bound=e.Owned)


def network(draft: Draft, caller: Caller, network_id: str) -> e.Network:
    """The network, if it is the caller's or given to the caller, to use or as a way out.

    Raises:
        ApiError: 404 NetworkNotFound.
    """
    found = draft.need(e.Network, network_id)
    if caller.sees_all or any(
        sharing.allows(draft, found, caller.project_id, action) for action in (sharing.SHARED, sharing.EXTERNAL)
    ):
        return found
    raise not_found(e.Network.KIND, network_id)


def port(draft: Draft, caller: Caller, port_id: str) -> e.Port:
    """The port, if it is the caller's or on a network of the caller's.

    Raises:
        ApiError: 404 PortNotFound.
    """
    found = draft.need(e.Port, port_id)
    if caller.sees_all or found.project_id == caller.project_id:
        return found
    network = draft.get(e.Network, found.network_id)
    if network is None or network.project_id != caller.project_id:
        raise not_found(e.Port.KIND, port_id)
    return found


def shareable(draft: Draft, caller: Caller, kind: type[T], id_: str) -> T:
    """A security group, address group or the like, if it is the caller's or shared with them.

    Raises:
        ApiError: 404 in the noun's words.
    """
    found = draft.need(kind, id_)
    if caller.sees_all or sharing.allows(draft, found, caller.project_id):
        return found
    raise not_found(kind.KIND, id_)


def subnet(draft: Draft, caller: Caller, subnet_id: str) -> e.Subnet:
    """The subnet, if it is the caller's or on a network that exists for the caller.

    Raises:
        ApiError: 404 SubnetNotFound.
    """
    found = draft.need(e.Subnet, subnet_id)
    if found.project_id != caller.project_id:
        try:
            network(draft, caller, found.network_id)
        except ApiError:
            raise not_found(e.Subnet.KIND, subnet_id) from None
    return found
