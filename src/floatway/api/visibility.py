"""What a project can see at all, before policy is asked: its own, and what others share with it.

    an admin, or a service          everything
    a project                       what it owns; what an RBAC policy gives it (or everybody); ports and subnets of networks it owns

What is not seen does not exist for the caller: 404, and no list, count or message gives it away.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from floatway.control import entities as e
from floatway.control.caller import Caller
from floatway.control.snapshot import Readable

__all__ = ["candidates", "shared", "visible"]

_SHARED: Final = frozenset({"access_as_shared"})
_NETWORK: Final = frozenset({"access_as_shared", "access_as_external"})
_RBAC: Final = {
    e.Network.KIND: _NETWORK,
    e.SecurityGroup.KIND: _SHARED,
    e.AddressScope.KIND: _SHARED,
    e.SubnetPool.KIND: _SHARED,
    e.AddressGroup.KIND: _SHARED,
}


def _granted(model: Readable, kind: str, id_: str, project: str, actions: frozenset[str]) -> bool:
    return any(
        policy.action in actions and policy.target_tenant in {"*", project}
        for policy in model.find(e.RbacPolicy, "object", (kind, id_))
    )


def shared(model: Readable, entity: e.Entity, project: str) -> bool:
    """The ``shared`` attribute: an access_as_shared policy for everybody, or for the project that asks."""
    if isinstance(entity, e.Subnet):
        return _granted(model, e.Network.KIND, entity.network_id, project, _SHARED)
    return _granted(model, entity.KIND, entity.id, project, _SHARED)


def visible(model: Readable, caller: Caller, entity: e.Entity) -> bool:
    """Whether the entity exists for the caller."""
    if caller.sees_all:
        return True
    project = caller.project_id
    if getattr(entity, "project_id", project) == project and project:
        return True
    special = _SPECIAL.get(entity.KIND)
    if special is not None:
        return special(model, entity, project)
    actions = _RBAC.get(entity.KIND)
    return actions is not None and _granted(model, entity.KIND, entity.id, project, actions)


def _subnet(model: Readable, subnet: e.Subnet, project: str) -> bool:
    network = model.get(e.Network, subnet.network_id)
    if network is not None and network.project_id == project:
        return True
    return _granted(model, e.Network.KIND, subnet.network_id, project, _NETWORK)


def _port(model: Readable, port: e.Port, project: str) -> bool:
    network = model.get(e.Network, port.network_id)
    return network is not None and network.project_id == project


def _rule(model: Readable, rule: e.SecurityGroupRule, project: str) -> bool:
    group = model.get(e.SecurityGroup, rule.security_group_id)
    return group is not None and (
        group.project_id == project or _granted(model, e.SecurityGroup.KIND, group.id, project, _SHARED)
    )


def _rbac(_model: Readable, policy: e.RbacPolicy, project: str) -> bool:
    return policy.target_tenant == project


def _own_port(model: Readable, binding: e.PortBinding, project: str) -> bool:
    port = model.get(e.Port, binding.port_id)
    return port is not None and (port.project_id == project or _port(model, port, project))


def _everybody(_model: Readable, _entity: e.Entity, _project: str) -> bool:
    return True


_SPECIAL: Final[dict[str, Callable[[Readable, Any, str], bool]]] = {
    e.Subnet.KIND: _subnet,
    e.Port.KIND: _port,
    e.SecurityGroupRule.KIND: _rule,
    e.RbacPolicy.KIND: _rbac,
    e.PortBinding.KIND: _own_port,
    e.DefaultSecurityGroupRule.KIND: _everybody,
    e.Agent.KIND: _everybody,
}


def candidates(model: Readable, caller: Caller, kind: type[e.Entity]) -> Iterable[e.Entity]:
    """All entities of a kind that the caller can see: by the project's indexes where there are any, never by asking each row."""
    if caller.sees_all or kind.KIND in {e.DefaultSecurityGroupRule.KIND, e.Agent.KIND}:
        return model.all(kind)
    project = caller.project_id
    if not project:
        return ()
    found = (
        {entity.id: entity for entity in model.find(kind, "project", project)}
        if "project_id" in kind.__struct_fields__
        else {}
    )
    for entity in _others(model, kind, project):
        found.setdefault(entity.id, entity)
    return found.values()


def _others(model: Readable, kind: type[e.Entity], project: str) -> Iterable[e.Entity]:
    if kind is e.Subnet:
        for network in (*model.find(e.Network, "project", project), *_given(model, e.Network, project, _NETWORK)):
            yield from model.find(e.Subnet, "network", network.id)
    elif kind is e.Port:
        for network in model.find(e.Network, "project", project):
            yield from model.find(e.Port, "network", network.id)
    elif kind is e.SecurityGroupRule:
        for group in (
            *model.find(e.SecurityGroup, "project", project),
            *_given(model, e.SecurityGroup, project, _SHARED),
        ):
            yield from model.find(e.SecurityGroupRule, "group", group.id)
    elif kind is e.RbacPolicy:
        for object_type in _RBAC:
            yield from model.find(e.RbacPolicy, "target", (object_type, project))
    elif kind.KIND in _RBAC:
        yield from _given(model, kind, project, _RBAC[kind.KIND])


def _given(model: Readable, kind: type[e.Entity], project: str, actions: frozenset[str]) -> Iterable[e.Entity]:
    for target in ("*", project):
        for policy in model.find(e.RbacPolicy, "target", (kind.KIND, target)):
            if policy.action in actions:
                entity = model.get(kind, policy.object_id)
                if entity is not None:
                    yield entity
