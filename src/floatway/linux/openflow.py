"""OpenFlow through ovs-ofctl: dumps of several bridges at once, changes as one bundle per bridge.

A bundle (OpenFlow 1.4, section 6.9) is atomic and ordered: no packet sees the flows half changed.
"""

from collections.abc import Collection
from concurrent.futures import Future
from typing import Final

from floatway.host.flow_ports import flow_ports, numbered
from floatway.host.records import Flow, OfPort
from floatway.linux import relay, spawn
from floatway.linux.connection import HostConnection
from floatway.linux.errors import OvsdbError
from floatway.linux.spawn import Later
from floatway.text.ofctl import parse_flows, parse_show

VERSION = ("-O", "OpenFlow14")
_FEW: Final = 64
"""Ports whose numbers are asked one by one."""


def _target(conn: HostConnection, bridge: str) -> str:
    return f"unix:{conn.ovs_rundir / bridge}.mgmt"


def flows(conn: HostConnection, bridges: list[str]) -> Later[Flow]:
    """All flows of these bridges."""
    argv = ["ovs-ofctl", *VERSION, "--names", "--no-stats", "dump-flows"]
    dumps = [(bridge, spawn.start([*argv, _target(conn, bridge)])) for bridge in bridges]

    def finish() -> list[Flow]:
        found: list[Flow] = []
        for bridge, dump in dumps:
            text = dump.result()
            known = conn.flow_texts.get(bridge)
            if known is None or known[0] != text:
                known = conn.flow_texts[bridge] = (text, parse_flows(text, bridge))
            found += known[1]
        return found

    return finish


def ports(conn: HostConnection, bridges: list[str]) -> Later[OfPort]:
    """The ports with their numbers (``ovs-ofctl show``)."""
    shows = [(bridge, spawn.start(["ovs-ofctl", *VERSION, "show", _target(conn, bridge)])) for bridge in bridges]
    return lambda: [port for bridge, show in shows for port in parse_show(show.result(), bridge)]


def bundle_line(verb: str, flow: Flow) -> str:
    """One line of a flow file: ``add …`` or ``delete_strict …``. A deletion names the cookie, so that it can hit no other flow."""
    cookie = f"cookie={flow.cookie:#x}" + ("/-1" if verb == "delete_strict" else "")
    words = [f"table={flow.table}", f"priority={flow.priority}", cookie]
    if verb == "add":
        words += [f"idle_timeout={flow.idle_timeout}"] if flow.idle_timeout else []
        words += [f"hard_timeout={flow.hard_timeout}"] if flow.hard_timeout else []
    if flow.match:
        words.append(flow.match)
    if verb == "add":
        words.append(f"actions={flow.actions}")
    return f"{verb} {','.join(words)}"


def start_bundle(conn: HostConnection, bridge: str, delete: tuple[Flow, ...], add: tuple[Flow, ...]) -> "Future[str]":
    """Delete strictly, then add, in one bundle. The result must be asked for: it raises ToolError."""
    numbers = _numbers(conn, set().union(*(flow_ports(flow) for flow in (*delete, *add))))
    spelling = "--names" if numbers is None else "--no-names"
    if numbers is not None:
        delete, add = (tuple(numbered(flow, numbers) for flow in flows) for flows in (delete, add))
    lines = [bundle_line("delete_strict", flow) for flow in delete] + [bundle_line("add", flow) for flow in add]
    argv, text = ["ovs-ofctl", *VERSION, spelling, "--bundle", "add-flows"], "\n".join(lines) + "\n"
    if numbers is None:
        return spawn.start([*argv, _target(conn, bridge), "-"], stdin=text)
    return spawn.pool().submit(relay.run, argv, conn.ovs_rundir / f"{bridge}.mgmt", text)


def _numbers(conn: HostConnection, names: Collection[str]) -> dict[str, int] | None:
    """The numbers of these ports; None when ovs-ofctl had better find out itself: there are many, or one has no number, of which it
    says more. To know a single name it asks vswitchd for all ports of the bridge: 60 ms of a bridge with 900."""
    if len(names) > _FEW:
        return None
    try:
        numbers = conn.ovsdb.port_numbers(names)
    except (OvsdbError, OSError):
        return None  # the server restarted meanwhile; the next step connects anew
    return numbers if len(numbers) == len(names) else None
