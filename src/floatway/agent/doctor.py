"""Is this machine fit to be a compute host, and what is in the way: each finding with its remedy. Looks only, changes nothing.

ok    open-vswitch      ovsdb-server and ovs-vswitchd answer, datapath netdev
warn  conntrack         212,000 of 262,144 connections are in use       sysctl -w net.netfilter.nf_conntrack_max=524288
fail  br_netfilter      net.bridge.bridge-nf-call-iptables is missing   modprobe br_netfilter
"""

import fcntl
import os
import shutil
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec

from floatway.agent import features
from floatway.agent.config import AgentConfig
from floatway.agent.link import Link, LinkError, Refused
from floatway.host.records import Address, Netns, Opaque, OvsBridge, OvsPort
from floatway.host.records import Link as Device
from floatway.host.state import HostState
from floatway.linux.connection import DEFAULT_OVS_RUNDIR, HostConnection
from floatway.linux.errors import LinuxError
from floatway.linux.observe import observe

__all__ = ["Finding", "examine"]

Verdict = Literal["ok", "warn", "fail"]
TUNNEL_OVERHEAD: Final = 50  # bytes of VXLAN over IPv4 (RFC 7348, section 5)
TENANT_MTU: Final = 1450
SKEW: Final = 2.0  # seconds; heartbeats count seconds
CROWDED: Final = 0.8
MANY_PORTS: Final = 100
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_TOOLS: Final = {
    "ovs-ofctl": "openvswitch-switch",
    "iptables-restore": "iptables",
    "ipset": "ipset",
    "conntrack": "conntrack",
    "ip": "iproute2",
}

_DROP_IN: Final = "/etc/systemd/system/ovs-vswitchd.service.d/jemalloc.conf"
_JEMALLOC: Final = (
    "apt-get install libjemalloc2"
    f" && printf '[Service]\\nEnvironment=LD_PRELOAD=libjemalloc.so.2\\n' | install -D -m 644 /dev/stdin {_DROP_IN}"
    " && systemctl daemon-reload; in a quiet moment, since packets stop for it: systemctl restart ovs-vswitchd"
)


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at. ``remedy`` is a command or a sentence, "" where there is nothing to do."""

    verdict: Verdict
    what: str
    said: str
    remedy: str = ""


def examine(config: AgentConfig, ask: Callable[[], "dict[str, float] | LinkError"]) -> Iterator[Finding]:
    """Every finding, in the order in which they build on each other. ``ask`` asks a server about this host."""
    yield _root()
    yield from _tools()
    yield from _kernel()
    yield _conntrack()
    yield from _neighbours()
    if os.geteuid() == 0:
        yield from _features()
        yield from _host(config)
    yield _agent(config)
    yield from _server(config, ask)


def _host(config: AgentConfig) -> Iterator[Finding]:
    """What only root can see."""
    state = None
    try:
        with HostConnection() as conn:
            has_ovs = conn.has_ovs
            state = observe(conn)
    except LinuxError as error:
        yield Finding("fail", "host", f"cannot be looked at: {error}", "is Open vSwitch healthy? ovs-vsctl show")
        has_ovs = False
    yield _open_vswitch(has_ovs, config)
    if state is not None:
        yield from _allocator(state)
        yield from _bridges(state, config)
        yield from _tunnel(state, config)
        yield from _leftovers(state, config)


def _root() -> Finding:
    if os.geteuid() == 0:
        return Finding("ok", "root", "runs as root")
    return Finding("fail", "root", "does not run as root: most of the host cannot be seen", "sudo floatway doctor")


def _tools() -> Iterator[Finding]:
    missing = {tool: package for tool, package in _TOOLS.items() if shutil.which(tool) is None}
    if missing:
        packages = " ".join(dict.fromkeys(missing.values()))
        yield Finding("fail", "tools", f"missing: {', '.join(missing)}", f"apt-get install {packages}")
    else:
        yield Finding("ok", "tools", ", ".join(_TOOLS))


def _kernel() -> Iterator[Finding]:
    if not Path("/proc/self/ns/net").exists():
        yield Finding("fail", "namespaces", "the kernel has no network namespaces", "a kernel with CONFIG_NET_NS")
    else:
        yield Finding("ok", "namespaces", "network namespaces")
    setting = _read("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if setting == "1":
        yield Finding("ok", "br_netfilter", "bridged packets meet iptables: security groups work")
    elif setting == "0":
        # the agent sets it when it starts
        yield Finding("ok", "br_netfilter", "is there; the agent turns bridge-nf-call-iptables on")
    else:
        yield Finding(
            "fail",
            "br_netfilter",
            "not loaded: bridged packets would pass security groups by",
            "modprobe br_netfilter && echo br_netfilter > /etc/modules-load.d/br_netfilter.conf",
        )


def _features() -> Iterator[Finding]:
    if any(shutil.which(tool) is None for tool in _TOOLS):
        return  # said already, and what would be tried needs them
    try:
        lacking = list(features.missing())
    except OSError as error:
        yield Finding(
            "fail",
            "kernel",
            f"no namespace can be made: {error}",
            "in a container: --privileged, or --cap-add SYS_ADMIN,NET_ADMIN",
        )
        return
    for one in lacking:
        yield Finding("fail", "kernel", f"has not what {one.what} take: {one.said}", one.remedy)
    if not lacking:
        yield Finding("ok", "kernel", "rules, devices, sets and all that iptables is asked for")


def _conntrack() -> Finding:
    count = _number("/proc/sys/net/netfilter/nf_conntrack_count")
    limit = _number("/proc/sys/net/netfilter/nf_conntrack_max")
    if count is None or limit is None:
        return Finding("ok", "conntrack", "not loaded yet; it is as soon as there is a rule")
    said = f"{count:,} of {limit:,} connections are in use"
    if count > CROWDED * limit:
        return Finding("warn", "conntrack", said, f"sysctl -w net.netfilter.nf_conntrack_max={2 * limit}")
    return Finding("ok", "conntrack", said)


def _neighbours() -> Iterator[Finding]:
    limit = _number("/proc/sys/net/ipv4/neigh/default/gc_thresh3")
    if limit is None:
        return
    lines = len((_read("/proc/net/arp") or "").splitlines()) - 1
    if limit < 4096 and lines > CROWDED * limit:
        yield Finding(
            "warn", "neighbours", f"{lines} of {limit} neighbours", "sysctl -w net.ipv4.neigh.default.gc_thresh3=16384"
        )


def _open_vswitch(there: bool, config: AgentConfig) -> Finding:
    if not there:
        remedy = "apt-get install openvswitch-switch && systemctl enable --now openvswitch-switch"
        return Finding("fail", "open-vswitch", "its database does not answer", remedy)
    kernel = Path("/sys/module/openvswitch").exists()
    if config.datapath_type == "system" and not kernel:
        return Finding(
            "fail",
            "open-vswitch",
            "datapath_type is system, and the kernel has no openvswitch module",
            "modprobe openvswitch",
        )
    if not kernel and config.datapath_type != "netdev":
        return Finding(
            "fail",
            "open-vswitch",
            "the kernel has no openvswitch module, and datapath_type does not say netdev",
            'modprobe openvswitch, or datapath_type = "netdev" in the agent\'s configuration',
        )
    if not kernel and not Path("/dev/net/tun").exists():
        return Finding("fail", "open-vswitch", "the userspace datapath needs /dev/net/tun", "modprobe tun")
    return Finding("ok", "open-vswitch", f"answers, {'kernel' if kernel else 'userspace'} datapath")


def _allocator(state: HostState) -> Iterator[Finding]:
    """The userspace datapath's main thread takes 32 packet buffers for each port in each pass (lib/netdev-linux.c)."""
    userspace = {bridge.name for bridge in state.table(OvsBridge).values() if bridge.datapath_type == "netdev"}
    ports = sum(port.bridge in userspace for port in state.table(OvsPort).values())
    pid = _read(f"{DEFAULT_OVS_RUNDIR}/ovs-vswitchd.pid")
    mapped = _read(f"/proc/{pid}/maps") or ""
    if (
        ports > MANY_PORTS and mapped and "malloc" not in mapped
    ):  # jemalloc, tcmalloc, mimalloc; glibc's is in libc.so.6
        yield Finding(
            "warn",
            "allocator",
            f"{ports:,} ports on the userspace datapath, and a third of ovs-vswitchd's time goes to glibc's malloc",
            _JEMALLOC,
        )


def _bridges(state: HostState, config: AgentConfig) -> Iterator[Finding]:
    devices = {link.name: link for link in state.table(Device).values() if not link.netns}
    for physical, bridge in config.bridge_mappings.items():
        what = f"bridge {bridge}"
        nic = config.bridge_nics.get(bridge)
        if nic is None:
            on_it = [port.name for port in state.table(OvsPort).values() if port.bridge == bridge and not port.type]
            there = state.get(OvsBridge, bridge) is not None
            said = (
                f"carries {physical}, made by others with {', '.join(on_it) or 'nothing'} on it"
                if there
                else "is not there"
            )
            remedy = "" if there else f'name its NIC: [bridge_nics] {bridge} = "eth…"'
            yield Finding("ok" if there else "warn", what, said, remedy)
        elif nic not in devices:
            yield Finding(
                "fail", what, f"its NIC {nic} is not there", f'ip link show; then [bridge_nics] {bridge} = "…"'
            )
        else:
            yield _nic(state, what, nic)


def _nic(state: HostState, what: str, nic: str) -> Finding:
    own = [
        one.cidr for one in state.table(Address).values() if not one.netns and one.link == nic and one.scope == "global"
    ]
    if own:
        return Finding(
            "warn", what, f"{nic} has the address {', '.join(own)}, which nobody reaches once it is on the bridge",
            "move the address elsewhere first, and do not name the NIC that you are logged in through",
        )  # fmt: skip
    return Finding("ok", what, f"{nic} is there and carries no address")


def _tunnel(state: HostState, config: AgentConfig) -> Iterator[Finding]:
    if not config.tunnel_ip:
        yield Finding("ok", "tunnel", "no tunnel_ip: networks of tunnels end at this host")
        return
    devices = [
        one.link for one in state.table(Address).values()
        if not one.netns and one.cidr.partition("/")[0] == config.tunnel_ip
    ]  # fmt: skip
    if not devices:
        yield Finding(
            "fail",
            "tunnel",
            f"no device has {config.tunnel_ip}",
            f"ip address add {config.tunnel_ip}/… dev …, or another tunnel_ip",
        )
        return
    device = state.get(Device, "", devices[0])
    mtu = device.mtu if device is not None else 0
    if mtu and mtu < TENANT_MTU + TUNNEL_OVERHEAD:
        yield Finding(
            "warn", "tunnel", f"{devices[0]} carries {mtu} bytes: tenants' {TENANT_MTU} and the tunnel's {TUNNEL_OVERHEAD} do not fit",
            f"ip link set {devices[0]} mtu {TENANT_MTU + TUNNEL_OVERHEAD}, or server's [network] path_mtu = {mtu}",
        )  # fmt: skip
    elif config.datapath_type == "netdev" and state.get(OvsBridge, devices[0]) is None:
        yield Finding(
            "warn", "tunnel", f"{config.tunnel_ip} is on {devices[0]}; the userspace datapath finds its peers only from an OVS bridge",
            "put the NIC on an OVS bridge of its own, and the address on the bridge",
        )  # fmt: skip
    else:
        yield Finding("ok", "tunnel", f"{config.tunnel_ip} on {devices[0]}, MTU {mtu}")


def _leftovers(state: HostState, config: AgentConfig) -> Iterator[Finding]:
    orphans = [one for one in state.table(Opaque).values() if "left by an earlier ovs-vswitchd" in one.line]
    for one in orphans:
        yield Finding("warn", "leftover", f"{one.source}: {one.line}", "the agent removes it; or: " + _deletion(one))
    ours = sorted(one.name for one in state.table(Netns).values() if one.name.startswith(("qrouter-", "fip-")))
    if ours and not Path(config.key_file).exists():
        yield Finding(
            "warn", "leftover", f"{len(ours)} namespaces of routers, and no key: no agent looks after them ({ours[0]}, …)",
            "floatway agent join TOKEN; or, if this host is to be none any more: ip netns delete NAME",
        )  # fmt: skip


def _deletion(one: Opaque) -> str:
    return f"{one.source.removesuffix(' link')} link delete {one.line.partition(':')[0]}"


def _agent(config: AgentConfig) -> Finding:
    try:
        fd = os.open(config.lock_file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return Finding("warn", "agent", "does not run", "systemctl enable --now floatway-agent")
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return Finding("ok", "agent", f"runs, process {os.pread(fd, 32, 0).decode(errors='replace').strip()}")
    finally:
        os.close(fd)
    return Finding("warn", "agent", "does not run", "systemctl enable --now floatway-agent")


def _server(config: AgentConfig, ask: Callable[[], "dict[str, float] | LinkError"]) -> Iterator[Finding]:
    if not Path(config.key_file).exists():
        yield Finding(
            "fail",
            "key",
            f"{config.key_file} is missing",
            "floatway agent token HOST, and here: floatway agent join TOKEN",
        )
        return
    mode = Path(config.key_file).stat().st_mode & 0o777
    if mode & 0o077:
        yield Finding("warn", "key", f"{config.key_file} can be read by others", f"chmod 600 {config.key_file}")
    for server in config.servers:
        if server.startswith("http://") and urllib.parse.urlsplit(server).hostname not in _LOOPBACK:
            yield Finding(
                "warn",
                "server",
                f"{server} is not encrypted: who listens on the way learns this host's key",
                'https://… and its fingerprint, as "floatway agent join" writes them',
            )
    sent = time.time()
    told = ask()
    if isinstance(told, Refused):
        yield Finding(
            "fail",
            "server",
            f"refuses this host: {told}",
            "where the API answers: floatway agent token HOST; then here: floatway agent join TOKEN",
        )
    elif isinstance(told, LinkError):
        yield Finding("fail", "server", str(told), "is it up, and is the address in the agent's configuration right?")
    else:
        yield Finding("ok", "server", f"answers; this host stands at revision {int(told.get('applied', 0))} there")
        skew = told.get("now", sent) - (sent + time.time()) / 2
        if abs(skew) > SKEW:
            yield Finding(
                "warn",
                "clock",
                f"is {abs(skew):.1f} s {'behind' if skew > 0 else 'ahead of'} the server's",
                "chronyc makestep",
            )
        else:
            yield Finding("ok", "clock", f"agrees with the server's to {abs(skew):.1f} s")


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def _number(path: str) -> int | None:
    text = _read(path)
    return int(text) if text is not None and text.isdigit() else None


def asked(link: Link) -> "Callable[[], dict[str, float] | LinkError]":
    """A question to one server, for ``examine``."""
    import asyncio  # noqa: PLC0415 (only here)

    def ask() -> dict[str, float] | LinkError:
        try:
            return dict(asyncio.run(link.shown()))
        except LinkError as error:
            return error

    return ask
