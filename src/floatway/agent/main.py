"""``floatway agent``: one process a host, from its configuration to its end. Ending it touches nothing on the host.

lock ─ key ─ follow, work, tell ──── SIGTERM ──── gone; namespaces, flows and rules stay
"""

import asyncio
import contextlib
import os
import resource
import signal
import socket
import time
from pathlib import Path
from typing import Any, Final

import structlog

from floatway import __version__
from floatway.agent.config import AgentConfig
from floatway.agent.hands import HostHands
from floatway.agent.link import Address, Link
from floatway.agent.lock import Held, alone
from floatway.agent.work import Worker

__all__ = ["AgentError", "described", "run"]

_LOG: Final = structlog.get_logger("floatway.agent")


class AgentError(Exception):
    """The agent cannot run here. Says why and how to mend it."""


def run(config: AgentConfig) -> None:
    """Be the agent of this host until SIGTERM or SIGINT.

    Raises:
        AgentError: another one runs, or the key or a server's address is not right.
        LinkError: a server's address is none.
    """
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each namespace takes six
    try:
        with alone(Path(config.lock_file)):
            asyncio.run(_live(config))
    except Held as error:
        raise AgentError(str(error)) from error


async def _live(config: AgentConfig) -> None:
    links = [_link(config, Address.of(server)) for server in config.servers]
    if not links:
        raise AgentError('no server is named: servers = ["https://HOST:9697"]')
    key = _key(Path(config.key_file))
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    _LOG.info("agent", host=config.name, version=__version__, servers=list(config.servers))
    async with HostHands(config.name) as hands:
        worker = Worker(
            config.as_host, hands, [make(key) for make in links], lambda: described(config), clock=time.time
        )
        working = asyncio.create_task(worker.run())
        stopping = asyncio.create_task(stop.wait())
        _notify("READY=1")
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        _notify("STOPPING=1")
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working
    _LOG.info("stopped", host=config.name)


def described(config: AgentConfig) -> tuple[dict[str, Any], ...]:
    """What runs here, as ``openstack network agent list`` shows it."""
    common: dict[str, Any] = {"availability_zone": config.availability_zone}
    layer2 = {
        "bridge_mappings": config.bridge_mappings,
        "bridge_nics": config.bridge_nics,
        "datapath_type": config.datapath_type or "system",
        "integration_bridge": "br-int",
        "ovs_hybrid_plug": True,
        "tunneling_ip": config.tunnel_ip,
        "tunnel_types": ["vxlan"] if config.tunnel_ip else [],
        "enable_distributed_routing": True,
        "floatway_version": __version__,
    }
    pins = {name: value for name in config.pins.__struct_fields__ if (value := getattr(config.pins, name))}
    layer3 = {"agent_mode": config.agent_mode, "floatway_version": __version__} | ({"pins": pins} if pins else {})
    return (
        {"agent_type": "Open vSwitch agent", "configurations": layer2, **common},
        {"agent_type": "L3 agent", "configurations": layer3, **common},
    )


def _link(config: AgentConfig, address: Address) -> Any:
    def with_key(key: str) -> Any:
        return lambda: Link(address, config.name, key, fingerprint=config.fingerprint, cacert=config.cacert)

    return with_key


def _key(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise AgentError(f"{path}: {error.strerror}; a host gets its key with: floatway agent join TOKEN") from error


def _notify(state: str) -> None:
    """Tell systemd (sd_notify(3)), when it started us and wants to know."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if path:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.sendto(state.encode(), "\0" + path[1:] if path.startswith("@") else path)
