"""The hosts of the cloud: what their agents say of themselves, put into the store before the server starts.

    network1    L3 agent (dvr_snat)    Open vSwitch agent
    compute1    L3 agent (dvr)         Open vSwitch agent

The suites look for agents and cannot make any: there is no request for that, agents report themselves. Nothing runs on these hosts, so
the server is told to be patient with them (``agent_down_seconds``).
"""

import asyncio
from typing import Any

from floatway.api.engine import Engine
from floatway.control.decide import agents
from floatway.control.draft import Draft
from floatway.control.settings import Settings
from floatway.store.open import open_store

ZONE = "nova"
MODES = {"network1": "dvr_snat", "compute1": "dvr"}


def reports() -> list[dict[str, Any]]:
    """One for each agent."""
    said = []
    for number, (host, mode) in enumerate(MODES.items(), 1):
        l3 = {
            "agent_mode": mode,
            "extensions": [],
            "handle_internal_only_routers": True,
            "interface_driver": "openvswitch",
        }
        switch = {
            "bridge_mappings": {"physnet1": "br-ex"},
            "tunnel_types": ["vxlan"],
            "tunneling_ip": f"198.51.100.{number}",
            "enable_distributed_routing": True,
            "l2_population": True,
        }
        said.append(_report(host, "L3 agent", "neutron-l3-agent", "l3_agent", l3, ZONE))
        said.append(_report(host, "Open vSwitch agent", "neutron-openvswitch-agent", "N/A", switch, None))
    return said


def _report(
    host: str, kind: str, binary: str, topic: str, configurations: dict[str, Any], zone: str | None
) -> dict[str, Any]:
    return {
        "host": host,
        "agent_type": kind,
        "binary": binary,
        "topic": topic,
        "configurations": configurations,
        "availability_zone": zone,
    }


def seed(url: str) -> None:
    """Report them all."""
    asyncio.run(_seed(url))


async def _seed(url: str) -> None:
    engine = Engine(await open_store(url), Settings())
    await engine.start()

    def say(draft: Draft) -> None:
        for report in reports():
            agents.report(draft, report)

    try:
        await engine.write(say)
    finally:
        await engine.close()
