"""Whether something that a request names exists for the caller. What a project may not see is not there, so it says 404."""

from floatway.control import entities as e
from floatway.control.caller import Caller
from floatway.control.draft import Draft
from floatway.control.errors import not_found

__all__ = ["port"]


def port(draft: Draft, caller: Caller, port_id: str) -> e.Port:
    """The port, if it is the caller's or on a network of the caller's.

    Raises:
        ApiError: 404 PortNotFound.
    """
    found = draft.need(e.Port, port_id)
    if caller.is_admin or found.project_id == caller.project_id:
        return found
    network = draft.get(e.Network, found.network_id)
    if network is None or network.project_id != caller.project_id:
        raise not_found(e.Port.KIND, port_id)
    return found
