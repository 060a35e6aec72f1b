"""Our server, asking a real Keystone, with the network outside that every suite expects."""

import socket
import sys
from pathlib import Path
from typing import NamedTuple

import daemon
import hosts
import identity
import msgspec
from rest import RestError, call, wait_for

TEMPLATES = Path(__file__).with_name("templates")
OUTSIDE = "public"
PHYSNET = "physnet1"


class Ports(msgspec.Struct, frozen=True):
    """Where the two servers of a state directory listen: chosen once."""

    keystone: int
    network: int


class Cloud(NamedTuple):
    """What the suites are told."""

    keystone: str
    network: str
    outside: str
    aliases: tuple[str, ...]


def ports(state: Path) -> Ports:
    """Two free ports, the same in every run."""
    kept = state / "ports.json"
    if not kept.exists():
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            two.bind(("127.0.0.1", 0))
            kept.write_bytes(msgspec.json.encode(Ports(one.getsockname()[1], two.getsockname()[1])))
    return msgspec.json.decode(kept.read_bytes(), type=Ports)


def up(state: Path, keystone_venv: Path) -> Cloud:
    """Keystone (kept when it runs) and our server (always anew, with an empty database)."""
    chosen = ports(state)
    network = f"http://127.0.0.1:{chosen.network}"
    keystone = identity.up(state, keystone_venv, chosen.keystone, network)
    serve(state, keystone.url, network, chosen.network)
    admin = identity.admin_token(keystone.url)
    listed = call("GET", f"{network}/v2.0/extensions", token=admin).body["extensions"]
    return Cloud(keystone.url, network, outside(network, admin), tuple(sorted(entry["alias"] for entry in listed)))


def down(state: Path) -> None:
    """End both servers."""
    daemon.stop("server", state)
    identity.down(state)


def serve(state: Path, keystone: str, network: str, port: int) -> None:
    """Start our server from this checkout."""
    daemon.stop("server", state)
    for old in state.glob("floatway.db*"):
        old.unlink()
    config = state / "server.toml"
    config.write_text(
        fill(
            "server.toml",
            PORT=str(port),
            KEYSTONE=keystone,
            PASSWORD=identity.USER_PASSWORD,
            STORE=f"sqlite://{state}/floatway.db",
        )
    )
    hosts.seed(f"sqlite://{state}/floatway.db")
    daemon.start("server", state, [sys.executable, "-m", "floatway", "server", "--config", config])
    if not wait_for(network, lambda: daemon.running("server", state)):
        raise SystemExit(f"our server did not come up: its last words are in {state}/server.log")


def outside(network: str, admin: str) -> str:
    """What clouds have from the beginning: the network outside (its id is returned), and a default subnet pool of each family."""
    body = {
        "name": OUTSIDE,
        "router:external": True,
        "is_default": True,
        "provider:network_type": "flat",
        "provider:physical_network": PHYSNET,
    }
    try:
        made: str = call("POST", f"{network}/v2.0/networks", {"network": body}, admin).body["network"]["id"]
        subnet = {"network_id": made, "ip_version": 4, "cidr": "172.24.0.0/16", "enable_dhcp": False}
        call("POST", f"{network}/v2.0/subnets", {"subnet": subnet}, admin)
        for name, prefix, length in (("default-v4", "10.192.0.0/12", 26), ("default-v6", "fd00:f10a::/40", 64)):
            pool = {"name": name, "prefixes": [prefix], "default_prefixlen": length, "is_default": True, "shared": True}
            call("POST", f"{network}/v2.0/subnetpools", {"subnetpool": pool}, admin)
    except RestError as error:
        raise SystemExit(f"the cloud could not be furnished: {error}") from error
    return made


def fill(template: str, **values: str) -> str:
    """A template with its ``@NAME@`` places filled."""
    text = (TEMPLATES / template).read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text
