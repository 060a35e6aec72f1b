"""Every noun of the API: where it is, which rules it follows, how it is shown."""

import time
from collections.abc import Callable
from typing import Any

from floatway.api.noun import Action, Noun
from floatway.control import entities as e
from floatway.control import present_admin, present_l2, present_l3, present_port, present_sg
from floatway.control.decide import (
    address_groups,
    address_scopes,
    agents,
    default_rules,
    floatingips,
    networks,
    port_forwardings,
    ports,
    rbac,
    routers,
    security_group_rules,
    security_groups,
    subnetpools,
    subnets,
)
from floatway.control.settings import Settings

__all__ = ["nouns"]


def _actions(table: dict[str, Any]) -> dict[str, Action]:
    return {name: Action(name, run) for name, run in table.items()}


def nouns(settings: Settings, clock: Callable[[], float] = time.time) -> dict[str, Noun]:
    """The nouns by their singular, in a cloud of these settings."""
    agent, agent_depends = present_admin.agent_presenter(settings, clock)
    present = {
        **present_l2.PRESENT,
        **present_l3.PRESENT,
        **present_sg.PRESENT,
        e.Port.KIND: present_port.presenter(settings),
        e.Agent.KIND: agent,
    }
    depends = {**present_l2.DEPENDS, **present_l3.DEPENDS, **present_sg.DEPENDS, e.Agent.KIND: agent_depends}

    def noun(kind: type[e.Entity], collection: str, path: str, rules: Any, **more: Any) -> Noun:
        return Noun(
            kind=kind,
            collection=collection,
            path=path,
            present=present[kind.KIND],
            depends=depends.get(kind.KIND),
            create=getattr(rules, "create", None),
            update=getattr(rules, "update", None),
            delete=getattr(rules, "delete", None),
            check_bulk=getattr(rules, "check_bulk", None),
            actions=_actions(getattr(rules, "ACTIONS", {})),
            **more,
        )

    found = (
        noun(e.Network, "networks", "networks", networks, shared=True, taggable=True),
        noun(e.Subnet, "subnets", "subnets", subnets, shared=True, taggable=True),
        noun(e.SubnetPool, "subnetpools", "subnetpools", subnetpools, shared=True, taggable=True, bulk=False),
        noun(e.AddressScope, "address_scopes", "address-scopes", address_scopes, shared=True),
        noun(e.Port, "ports", "ports", ports, taggable=True),
        noun(e.Router, "routers", "routers", routers, taggable=True, bulk=False),
        noun(e.FloatingIp, "floatingips", "floatingips", floatingips, taggable=True, bulk=False),
        noun(e.PortForwarding, "port_forwardings", "port_forwardings", port_forwardings),
        noun(e.SecurityGroup, "security_groups", "security-groups", security_groups, shared=True, taggable=True),
        noun(e.SecurityGroupRule, "security_group_rules", "security-group-rules", security_group_rules),
        noun(
            e.DefaultSecurityGroupRule,
            "default_security_group_rules",
            "default-security-group-rules",
            default_rules,
            bulk=False,
        ),
        noun(e.AddressGroup, "address_groups", "address-groups", address_groups, shared=True),
        noun(e.RbacPolicy, "rbac_policies", "rbac-policies", rbac),
        noun(e.Agent, "agents", "agents", agents, bulk=False),
    )
    return {one.singular: one for one in found}
