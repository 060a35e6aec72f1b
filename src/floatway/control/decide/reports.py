"""The rules of what hosts report: from what an agent says of its host to the statuses that the API shows.

A host is believed only about its own part, and only if its word is not older than what it was last told. What it has no more it
may take back.
"""

import ipaddress
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from floatway.control import entities as e
from floatway.control.decide import agents, binding, claims, floatingips, routers
from floatway.control.draft import Draft
from floatway.control.errors import bad_request
from floatway.model.resources import Host
from floatway.model.stream import Report, State, Status

__all__ = ["TYPES", "ask", "describe", "seen", "stands", "take"]

TYPES: Final = {
    "Open vSwitch agent": "neutron-openvswitch-agent",
    "L3 agent": "neutron-l3-agent",
    "DHCP agent": "neutron-dhcp-agent",
    "Metadata agent": "neutron-metadata-agent",
}
"""What may run on a host, as operators know it, and under which name."""
_SAID: Final = ("configurations", "availability_zone", "topic", "resources_synced", "started")

_LONGEST: Final = 64 * 1024


class _Said(msgspec.Struct, frozen=True):
    """An agent's description."""

    agent_type: str
    configurations: dict[str, Any] = {}
    availability_zone: str | None = None
    topic: str = "N/A"
    resources_synced: bool | None = None
    started: bool = False


Believed = Callable[[str, str, State], bool]
"""(table, id, state): whether the host may say so of this resource, and knows its newest form."""


def take(draft: Draft, host: str, report: Report, believed: Believed) -> None:
    """Store what a report says. What it does not change is not touched.

    With ``report.fresh`` its statuses are all there are: what the host once said of anything else is taken back.
    """
    for said in report.agents:
        describe(draft, host, said)
    for id_, status in _worded(report.ports, "ports", believed):
        port = draft.get(e.Port, id_)
        if port is not None:
            binding.reported(draft, port, host, status.state)
    for id_, status in _worded(report.floating_ips, "floating_ips", believed):
        floating_ip = draft.get(e.FloatingIp, id_)
        if floating_ip is not None:
            floatingips.reported(draft, floating_ip, host, status.state)
    for id_, status in _worded(report.routers, "routers", believed):
        router = draft.get(e.Router, id_)
        if router is not None:
            routers.reported(draft, router, host, status.state)
    if report.fresh:
        claims.take_back(draft, host, ports=report.ports, floating_ips=report.floating_ips, routers_=report.routers)


def describe(draft: Draft, host: str, said: dict[str, Any]) -> None:
    """What an agent says of itself; of a type that nobody knows, nothing.

    Raises:
        ApiError: 400, it says something that cannot be, and that others would have to live with.
    """
    try:
        one = msgspec.convert(said, _Said)
        configured = one.configurations
        msgspec.convert(
            {
                "name": host,
                "tunnel_ip": configured.get("tunneling_ip") or "",
                "agent_mode": configured.get("agent_mode", "legacy"),
                "bridge_mappings": configured.get("bridge_mappings") or {},
                "bridge_nics": configured.get("bridge_nics") or {},
                "datapath_type": configured.get("datapath_type", ""),
                "pins": configured.get("pins") or {},
            },
            Host,
        )
        if configured.get("tunneling_ip"):
            ipaddress.ip_address(configured["tunneling_ip"])
    except (ValueError, TypeError) as error:  # msgspec's are ValueErrors
        raise bad_request("HTTPBadRequest", f"An agent's description is not right: {error}") from error
    if len(msgspec.json.encode(said)) > _LONGEST:
        raise bad_request("HTTPBadRequest", f"An agent's description has {_LONGEST} bytes at most.")
    binary = TYPES.get(one.agent_type)
    if binary is None:
        return
    values = {name: getattr(one, name) for name in _SAID if name in said}
    known: dict[str, Any] = {"agent_type": one.agent_type, "host": host, "binary": binary}
    agents.report(draft, known | values)


def stands(draft: Draft, host: str, server: str, applied: int) -> None:
    """Tell other servers where the host stands. An empty ``server``: it has left ``applied`` behind and is nowhere."""
    known = draft.get(e.HostStand, host) or e.HostStand(id=host)
    draft.put(msgspec.structs.replace(known, server=server, applied=applied))


def ask(draft: Draft, server: str, revision: int) -> None:
    """Have other servers than this tell of each of their hosts when it has all up to ``revision``, whether that concerns it or not."""
    for stand in draft.all(e.HostStand):
        if stand.server not in {"", server} and max(stand.applied, stand.asked) < revision:
            draft.put(msgspec.structs.replace(stand, asked=revision))


def seen(draft: Draft, hosts: list[str]) -> None:
    """The agents of these hosts are alive: their heartbeats are of now."""
    for host in hosts:
        for agent in draft.find(e.Agent, "host", host):
            agents.report(draft, {"agent_type": agent.agent_type, "host": host})


def _worded(said: dict[str, Status], table: str, believed: Believed) -> Iterator[tuple[str, Status]]:
    return ((id_, status) for id_, status in said.items() if believed(table, id_, status.state))
