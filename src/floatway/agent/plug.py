"""A port for something that Nova did not start: a namespace, a container. What Nova's plug does, by one command.

    port web ─▶ bound to this host ─▶ tap8aa5e3b4-6c ==== eth0 in the namespace, with the port's MAC, MTU, addresses and routes
                                      (the host's agent takes the tap in, and says ACTIVE)

What fails takes back what it did. A process killed in the middle leaves a port that is bound and perhaps a tap: plugging again
goes on from there, unplugging removes it.
"""

import contextlib
import json
import os
import re
import subprocess
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from floatway.agent.networking import Networking, NetworkingError, Unreachable
from floatway.compile import names
from floatway.linux import ethtool, netns, spawn
from floatway.linux.connection import DEFAULT_NETNS_DIR
from floatway.linux.errors import LinuxError, ToolError
from floatway.linux.netlink import Socket

__all__ = ["MARK", "OWNER", "PlugError", "Plugged", "Unknown", "plug", "unplug"]

MARK: Final = "floatway-plug"
"""The alias of taps that were made here; others are not touched."""
OWNER: Final = "compute:floatway"
_LOOK: Final = 0.01
_DEVICE: Final = re.compile(r"[^\s/:]{1,15}")
_KERNEL_DATAPATH: Final = Path("/sys/module/openvswitch")
_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class PlugError(Exception):
    """It was not done, and nothing is left of the attempt. ``mend`` says what to do."""

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(what)
        self.mend = mend


class Unknown(PlugError):  # noqa: N818 - named by what is wrong
    """What was asked for makes no sense: no such namespace, no name for a device."""


class Plugged(msgspec.Struct, frozen=True, kw_only=True):
    """What is plugged: ``device`` in ``netns``, ``tap`` on the host. ``changed``: it was not so before."""

    port: str
    host: str
    netns: str
    device: str
    tap: str
    mac: str
    mtu: int
    addresses: tuple[str, ...]
    gateway: str | None
    status: str
    changed: bool


class _Wanted(msgspec.Struct, frozen=True):
    """The interface inside, and the lines for ip(8) that address it."""

    device: str
    mac: str
    mtu: int
    addresses: tuple[str, ...]
    gateway: str | None
    lines: tuple[str, ...]


def plug(
    api: Networking,
    name: str,
    *,
    place: str,
    host: str,
    device: str = "eth0",
    owner_id: str = "",
    default_route: bool = True,
    seconds: float = 30.0,
) -> Plugged:
    """Plug the port of that id or name into the namespace ``place`` (a name of ``ip netns``, or a path as /proc/PID/ns/net) of this
    host, and wait until it is ACTIVE, ``seconds`` at most (0: do not wait). Plugged so already: nothing is changed.

    ``owner_id`` becomes the port's ``device_id`` (``netns-PLACE`` if empty); ``default_route``: lead the way out through it.

    Raises:
        PlugError: it cannot be; nothing is changed.
        NetworkingError, Unreachable: the API refuses or does not answer; nothing is changed.
    """
    if not _DEVICE.fullmatch(device) or device in {".", ".."}:
        raise Unknown(f'"{device}" is no name for a device: 15 characters at most, no space, slash or colon')
    port = api.one("port", name)
    _check_free(port, host)
    wanted = _wanted(api, port, device, default_route)
    tap = names.device("tap", port["id"])
    with _entered(place) as fd:
        before = _links(fd)
        there = _links(None).get(tap)
        complete = there is not None and before.get(device, {}).get("address") == wanted.mac
        if there is not None and there.get("ifalias") != MARK:
            raise PlugError(
                f"{tap} is there already, and not of our making", f"look at it: ip -details link show {tap}"
            )
        if device in before and not complete:
            raise PlugError(f"{place} has a device {device} already", "choose another name: --name eth1")
        was = {key: port[key] for key in ("device_id", "device_owner", "binding:host_id")}
        now = {
            "device_id": owner_id or port["device_id"] or f"netns-{place}"[:255],
            "device_owner": port["device_owner"] or OWNER,
            "binding:host_id": host,
        }
        with contextlib.ExitStack() as undo:
            if was != now:
                undo.callback(_put_back, api, port["id"], was)
                port = api.call("PUT", f"/v2.0/ports/{port['id']}", {"port": now})["port"]
            if port["binding:vif_type"] == "binding_failed":
                raise PlugError(
                    f"no agent of host {host} can take the port",
                    "is one running there? floatway agent status\n"
                    "does it carry the network? tunnel_ip or bridge_mappings in its agent.toml",
                )
            if not complete:
                undo.callback(_remove, tap)
                _make(tap, wanted, fd)
            status = _awaited(api, port["id"], host, seconds) if port["admin_state_up"] else port["status"]
            undo.pop_all()
    return Plugged(
        port=port["id"],
        host=host,
        netns=place,
        device=device,
        tap=tap,
        mac=wanted.mac,
        mtu=wanted.mtu,
        addresses=wanted.addresses,
        gateway=wanted.gateway,
        status=status,
        changed=was != now or not complete,
    )


def unplug(api: Networking, name: str, *, host: str) -> bool:
    """Take out what ``plug`` put in, and give the port back; whether there was anything to do. A port that the API has no longer is
    named by its id.

    Raises:
        PlugError: the port is somewhere else, or its tap is not of our making.
        NetworkingError, Unreachable: the API refuses or does not answer.
    """
    try:
        port: dict[str, Any] | None = api.one("port", name)
    except NetworkingError as error:
        if error.status != 404 or not _ID.fullmatch(name):
            raise
        port = None
    tap = names.device("tap", name if port is None else port["id"])
    there = _links(None).get(tap)
    bound = port is not None and port["binding:host_id"] == host
    if there is None and not bound:
        if port is not None and port["binding:host_id"]:
            raise PlugError(f"the port is on host {port['binding:host_id']}, not here", "unplug it there")
        return False
    if there is not None and there.get("ifalias") != MARK:
        raise PlugError(f"{tap} was not made by floatway plug", "whoever made it takes it away")
    if there is None and port is not None and port["device_owner"] not in {"", OWNER}:
        raise PlugError(f"the port is {port['device_owner']}'s, not ours", "openstack server remove port SERVER PORT")
    if there is not None:
        _remove(tap)
    if port is not None and bound:
        free = {"device_id": "", "device_owner": "", "binding:host_id": ""}
        api.call("PUT", f"/v2.0/ports/{port['id']}", {"port": free})
    return True


def _check_free(port: dict[str, Any], host: str) -> None:
    if port["device_owner"].startswith("network:"):
        raise PlugError(f"port {port['id']} is the network's own ({port['device_owner']})")
    if port["binding:host_id"] not in {"", host}:
        raise PlugError(
            f"port {port['id']} is bound to host {port['binding:host_id']}, and this is {host}",
            "unplug it there first, or say who this host is: --host",
        )
    if port["device_owner"] not in {"", OWNER}:
        raise PlugError(f"port {port['id']} is in use: {port['device_owner']} {port['device_id']}")


def _wanted(api: Networking, port: dict[str, Any], device: str, default_route: bool) -> _Wanted:
    network = api.call("GET", f"/v2.0/networks/{port['network_id']}")["network"]
    query = urllib.parse.urlencode({"network_id": port["network_id"]})
    subnets = {one["id"]: one for one in api.call("GET", f"/v2.0/subnets?{query}")["subnets"]}
    lines: list[str] = []
    addresses: list[str] = []
    gateway: str | None = None
    for fixed in port["fixed_ips"]:
        subnet = subnets[fixed["subnet_id"]]
        if subnet["ip_version"] != 4:
            continue  # hosts do not filter IPv6 of instances yet
        addresses.append(f"{fixed['ip_address']}/{subnet['cidr'].partition('/')[2]}")
        lines.append(f"address add {addresses[-1]} broadcast + dev {device}")
        lines += [f"route add {one['destination']} via {one['nexthop']} dev {device}" for one in subnet["host_routes"]]
        if default_route and gateway is None and subnet["gateway_ip"]:
            gateway = str(subnet["gateway_ip"])
            lines.append(f"route add default via {gateway} dev {device}")
    mtu = int(network["mtu"])
    return _Wanted(device, port["mac_address"], mtu, tuple(addresses), gateway, tuple(lines))


@contextlib.contextmanager
def _entered(place: str) -> Iterator[int]:
    """A descriptor of the namespace."""
    path = Path(place) if "/" in place else DEFAULT_NETNS_DIR / place
    try:
        fd = netns.open_fd(path.parent, path.name)
    except LinuxError as error:
        known = ", ".join(netns.names(DEFAULT_NETNS_DIR)) or "none"
        raise Unknown(f"there is no namespace {place}", f"there are: {known}; or a path: /proc/PID/ns/net") from error
    try:
        yield fd
    finally:
        os.close(fd)


def _links(fd: int | None) -> dict[str, dict[str, Any]]:
    """The devices in a namespace (None: the host's own), as ``ip -j link`` shows them, by name."""
    return {one["ifname"]: one for one in json.loads(spawn.run(["ip", "-j", "link"], fd=fd) or "[]")}


def _make(tap: str, wanted: _Wanted, fd: int) -> None:
    """The pair. The tap gets its name last: the agent takes it in as soon as it is there, and then all is ready."""
    aside = "plg" + tap.removeprefix("tap")
    try:
        for left in (tap, aside):
            _remove(left)
        _pair(aside, wanted, fd)
        if _userspace_datapath():
            with netns.inside(fd):
                sock = Socket()
            with contextlib.closing(sock):
                ethtool.set_tx_checksum(sock, wanted.device, on=False)
        inside = [f"link set {wanted.device} up", *wanted.lines]
        spawn.run(["ip", "-batch", "-"], fd=fd, stdin="".join(f"{line}\n" for line in inside))
        spawn.run(
            ["ip", "-batch", "-"],
            stdin=f"link set {aside} alias {MARK}\nlink set {aside} name {tap}\nlink set {tap} up\n",
        )
    except (LinuxError, OSError) as error:
        with contextlib.suppress(LinuxError):
            _remove(aside)
        raise PlugError(f"the device cannot be made: {error}") from error


def _pair(name: str, wanted: _Wanted, fd: int) -> None:
    host_mac = "fe" + wanted.mac[2:]  # as libvirt does: the bridge must not take the instance's for its own
    line = f"link add {name} address {host_mac} mtu {wanted.mtu} type veth peer name {wanted.device}"
    words = f"ip {line} address {wanted.mac} mtu {wanted.mtu} netns /proc/self/fd/{fd}".split()
    done = subprocess.run(words, pass_fds=(fd,), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolError(words, "", done.returncode, done.stderr)


def _userspace_datapath() -> bool:
    """Whether frames go through vswitchd, which needs their checksums complete."""
    try:
        kind = (
            spawn.run(["ovs-vsctl", "--if-exists", "get", "bridge", names.BR_INT, "datapath_type"]).strip().strip('"')
        )
    except ToolError:
        kind = ""
    return kind == "netdev" if kind else not _KERNEL_DATAPATH.exists()


def _remove(tap: str) -> None:
    """Fine when it is not there: whoever had the other end may have taken it along."""
    try:
        spawn.run(["ip", "link", "delete", tap])
    except ToolError:
        if tap in _links(None):
            raise


def _put_back(api: Networking, port_id: str, was: dict[str, Any]) -> None:
    with contextlib.suppress(NetworkingError, Unreachable):  # what went wrong before is what is to be told
        api.call("PUT", f"/v2.0/ports/{port_id}", {"port": was})


def _awaited(api: Networking, port_id: str, host: str, seconds: float) -> str:
    """The port's status once the host's agent has wired it."""
    if not seconds:
        return str(api.call("GET", f"/v2.0/ports/{port_id}")["port"]["status"])
    deadline = time.monotonic() + seconds
    while True:
        status = str(api.call("GET", f"/v2.0/ports/{port_id}")["port"]["status"])
        if status == "ACTIVE":
            return status
        if status == "ERROR":
            raise PlugError(f"the host could not wire the port: {_reason(api, host, port_id)}")
        if time.monotonic() > deadline:
            raise PlugError(
                f"after {seconds:g} s the port is {status} still",
                f"does the agent of {host} run? floatway agent status {host}",
            )
        time.sleep(_LOOK)


def _reason(api: Networking, host: str, port_id: str) -> str:
    """What the agent says; only administrators may know."""
    try:
        failures = api.call("GET", f"/floatway/v1/hosts/{urllib.parse.quote(host, safe='')}")["host"]["failures"]
    except (NetworkingError, Unreachable, KeyError):
        return f"floatway agent status {host} tells why"
    return next((str(why.get("reason")) for what, why in failures.items() if port_id in what), "no reason was given")
