"""What policy may ask of an object: its document, what a request changes in it, and its surroundings.

Target(model, caller, entity, document, changes)
    .field("project_id")             of the document, or as the request will make it
    .field("network:project_id")     the owner of the network that a port or subnet is on
    .field("network:shared")         whether that network (or the object, if it is one) is shared with the caller
    .field("ext_parent:project_id")  the owner of a port forwarding's floating IP, a binding's port
    .field("security_group:project_id")
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final

from floatway.api.visibility import shared
from floatway.control import entities as e
from floatway.control.caller import Caller
from floatway.control.snapshot import Readable

__all__ = ["EntityTarget"]


class EntityTarget:
    """One object, there already or about to be (then ``entity`` is None and ``values`` is all there is)."""

    __slots__ = ("_caller", "_entity", "_model", "_present", "_values", "kind")

    def __init__(
        self,
        model: Readable,
        caller: Caller,
        kind: type[e.Entity],
        *,
        entity: e.Entity | None = None,
        values: Mapping[str, Any] | None = None,
        present: Callable[[Readable, Any], Mapping[str, Any]] | None = None,
    ) -> None:
        """``present`` makes the document when a rule asks for a field that is not the entity's own."""
        self._model = model
        self._caller = caller
        self.kind = kind
        self._entity = entity
        self._values = values
        self._present = present

    def at(self, entity: e.Entity) -> "EntityTarget":
        """This target, at another entity: lists are long."""
        self._entity = entity
        return self

    def field(self, name: str) -> Any:
        """The value under the API's name, None when there is none."""
        values = self._values
        if values is not None and name in values:
            return values[name]
        special = _SPECIAL.get(name)
        if special is not None:
            return special(self)
        entity = self._entity
        if entity is None:
            return None
        found = getattr(entity, _attribute(name), None)
        if found is None and self._present is not None:
            return self._present(self._model, entity).get(name)
        return found

    def _network(self) -> e.Network | None:
        if isinstance(self._entity, e.Network):
            return self._entity
        network_id = self.field("network_id")
        return self._model.get(e.Network, network_id) if isinstance(network_id, str) else None

    def network_project(self) -> Any:
        """Of the network it is, or is on."""
        network = self._network()
        return network.project_id if network is not None else None

    def network_shared(self) -> Any:
        """Of the network it is, or is on: as the caller sees it."""
        if self.kind is e.Network and self._values is not None and "shared" in self._values:
            return self._values["shared"]
        network = self._network()
        return network is not None and shared(self._model, network, self._caller.project_id)

    def own_shared(self) -> Any:
        """Its own attribute ``shared``, as the caller sees it."""
        if self._entity is None:
            return None
        if self._values and self.kind is e.AddressGroup:
            return None  # as Neutron: who may not change an address group is told 404 even where it is shared with them
        return shared(self._model, self._entity, self._caller.project_id)

    def parent_project(self) -> Any:
        """Of the floating IP of a port forwarding, or the port of a binding."""
        parent: e.Entity | None = None
        if self.kind is e.PortForwarding:
            parent = self._model.get(e.FloatingIp, str(self.field("floatingip_id")))
        elif self.kind is e.PortBinding:
            parent = self._model.get(e.Port, str(self.field("port_id")))
        return getattr(parent, "project_id", None)

    def group_project(self) -> Any:
        """Of the security group of a rule."""
        group = self._model.get(e.SecurityGroup, str(self.field("security_group_id")))
        return group.project_id if group is not None else None

    def external(self) -> Any:
        """``router:external`` of the network it is, or is on."""
        network = self._network()
        return network is not None and network.router_external


@functools.cache
def _attribute(name: str) -> str:
    """The struct's field for a field of the API."""
    return "project_id" if name == "tenant_id" else name.replace(":", "_")


_SPECIAL: Final[dict[str, Callable[[EntityTarget], Any]]] = {
    "network:project_id": EntityTarget.network_project,
    "network:tenant_id": EntityTarget.network_project,
    "network:shared": EntityTarget.network_shared,
    "shared": EntityTarget.own_shared,
    "ext_parent:project_id": EntityTarget.parent_project,
    "ext_parent:tenant_id": EntityTarget.parent_project,
    "security_group:project_id": EntityTarget.group_project,
    "security_group:tenant_id": EntityTarget.group_project,
    "router:external": EntityTarget.external,
}
