"""An agent's configuration: one TOML file, written by ``floatway agent join`` and by hand.

    host = "cy2-compute02"
    servers = ["https://controller:9697"]
    key_file = "/etc/floatway/agent.key"
    tunnel_ip = "10.10.20.12"
    [bridge_mappings]
    physnet1 = "br-ex"

An environment variable FLOATWAY_AGENT_KEY overrides a key that is no table.
"""

import ipaddress
import os
import socket
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from floatway.model.resources import AgentMode, Host, Pins

__all__ = ["AgentConfig", "AgentConfigError", "load"]

PREFIX: Final = "FLOATWAY_AGENT_"


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What this host is, and where its servers are."""

    host: Annotated[
        str, Meta(description="The host's name, as ports are bound to it. Empty: what hostname(1) says.")
    ] = ""
    servers: Annotated[
        tuple[str, ...],
        Meta(
            description="Where servers listen for agents: https://HOST:9697, http://…, unix:/PATH. Any of them will do."
        ),
    ] = ("unix:/run/floatway/agents.sock",)
    key_file: Annotated[str, Meta(description="File that holds the host's key and nothing else.")] = (
        "/etc/floatway/agent.key"
    )
    fingerprint: Annotated[
        str, Meta(description="SHA-256 of the servers' certificate, in hex. Empty: the system's authorities decide.")
    ] = ""
    cacert: Annotated[str, Meta(description="PEM file of the authority that signed the servers' certificates.")] = ""
    tunnel_ip: Annotated[str, Meta(description="This host's address for tunnels to other hosts; empty: none.")] = ""
    agent_mode: Annotated[
        AgentMode, Meta(description="dvr, dvr_snat (the centre of routers too), dvr_no_external, legacy.")
    ] = "dvr"
    bridge_mappings: Annotated[dict[str, str], Meta(description="Physical network to bridge.")] = {}
    bridge_nics: Annotated[dict[str, str], Meta(description="Bridge to the NIC that is put on it.")] = {}
    datapath_type: Annotated[
        Literal["", "netdev", "system"],
        Meta(description="Open vSwitch's datapath; empty: the kernel's if it has one, else userspace (netdev)."),
    ] = ""
    pins: Annotated[Pins, Meta(description="Numbers and MACs to use where the host has none yet.")] = Pins()
    availability_zone: Annotated[str, Meta(description="The zone that this host is in.")] = "nova"
    lock_file: Annotated[str, Meta(description="Held by the one agent of this host.")] = (
        "/run/floatway-agent/agent.lock"
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="What is told.")] = "info"
    log_format: Annotated[Literal["json", "console"], Meta(description="For machines or for a person.")] = "json"

    @property
    def name(self) -> str:
        """The host's name."""
        return self.host or socket.gethostname()

    @property
    def as_host(self) -> Host:
        """The host as ``compile`` reads it."""
        return Host(
            name=self.name,
            tunnel_ip=self.tunnel_ip,
            agent_mode=self.agent_mode,
            bridge_mappings=self.bridge_mappings,
            bridge_nics=self.bridge_nics,
            datapath_type=self.datapath_type,
            pins=self.pins,
        )


class AgentConfigError(Exception):
    """The configuration is not right; says which file and key."""


def load(path: Path | None, environment: Mapping[str, str] | None = None) -> AgentConfig:
    """The configuration in ``path`` (None: the defaults) with what the environment overrides.

    Raises:
        AgentConfigError: it cannot be read, or is not right.
    """
    table: dict[str, Any] = {}
    if path is not None:
        try:
            table = tomllib.loads(path.read_text())
        except OSError as error:
            raise AgentConfigError(f"{path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise AgentConfigError(f"{path}: {error}") from error
    for field in msgspec.structs.fields(AgentConfig):
        given = (os.environ if environment is None else environment).get(PREFIX + field.name.upper())
        if given is not None:
            table[field.name] = given.split(",") if field.name == "servers" else given
    try:
        config = msgspec.convert(table, AgentConfig)
        if config.tunnel_ip:
            ipaddress.ip_address(config.tunnel_ip)
    except ValueError as error:  # msgspec's are ValueErrors
        raise AgentConfigError(f"{path or 'environment'}: {error}") from error
    return config
