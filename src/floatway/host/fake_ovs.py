"""The in-memory Open vSwitch: bridges, ports and flows. A port that goes takes its internal device, wherever that is, and
leaves the flows that named it with a bare number."""

from floatway.host.fake_base import Tables, unname
from floatway.host.fake_ip import remove_link
from floatway.host.flow_ports import flow_ports
from floatway.host.records import Flow, Link, OvsBridge, OvsPort
from floatway.host.steps import BridgeDelete, BridgeSet, OfBundle, OvsOp, PortDelete, PortSet


def transact(tables: Tables, ops: tuple[OvsOp, ...]) -> None:
    """All operations of one transaction. Raises FakeError."""
    for op in ops:
        match op:
            case BridgeSet(bridge=bridge):
                _bridge_set(tables, bridge)
            case BridgeDelete(name=name):
                tables.need(tables.get(OvsBridge, name), f"there is no bridge {name}")
                remove_bridge(tables, name)
            case PortSet(port=port):
                _port_set(tables, port)
            case PortDelete(bridge=bridge, name=name):
                here = tables.get(OvsPort, name)
                tables.need(here and here.bridge == bridge, f"there is no port {name} on bridge {bridge}")
                assert here is not None
                remove_port(tables, here)


def _bridge_set(tables: Tables, bridge: OvsBridge) -> None:
    old = tables.get(OvsBridge, bridge.name)
    tables.need(
        old is None or old.datapath_type == bridge.datapath_type, f"another datapath makes bridge {bridge.name} anew"
    )
    tables.put(bridge)


def remove_bridge(tables: Tables, name: str) -> None:
    """The bridge goes, with its ports and flows."""
    for flow in [f for f in tables.of(Flow).values() if f.bridge == name]:
        tables.drop(flow)
    for port in [p for p in tables.of(OvsPort).values() if p.bridge == name]:
        remove_port(tables, port)
    tables.of(OvsBridge).pop((name,))


def _port_set(tables: Tables, port: OvsPort) -> None:
    tables.need(tables.get(OvsBridge, port.bridge), f"there is no bridge {port.bridge}")
    old = tables.get(OvsPort, port.name)
    if old is not None:
        tables.need(old.bridge == port.bridge, f"port {port.name} is on bridge {old.bridge}")
        tables.need(old.type == port.type, f"port {port.name} has type {old.type!r}")
    elif port.type == "internal":
        tables.need(tables.get(Link, "", port.name) is None, f"device {port.name} exists")
        tables.put(Link(netns="", name=port.name, kind="internal", mac="02:00:00:00:00:bb", up=False))
    elif port.type == "":
        tables.need(tables.get(Link, "", port.name), f"there is no device {port.name}")
    tables.put(port)


def remove_port(tables: Tables, port: OvsPort) -> None:
    """The port goes, and its internal device; strict: not while flows name it."""
    unname(tables, port)
    tables.drop(port)
    if port.type == "internal":
        for link in [x for x in tables.of(Link).values() if x.kind == "internal" and x.name == port.name]:
            remove_link(tables, link)


def bundle(tables: Tables, step: OfBundle) -> None:
    """Strict deletions, then additions."""
    tables.need(tables.get(OvsBridge, step.bridge), f"there is no bridge {step.bridge}")
    for flow in (*step.delete, *step.add):
        tables.need(flow.bridge == step.bridge, f"flow of bridge {flow.bridge}")
    for flow in step.delete:
        for name in flow_ports(flow, match_only=True):
            _need_port(tables, flow, name)
        tables.need(tables.get(Flow, *flow.key), f"there is no flow {flow.match!r} in table {flow.table}")
        tables.drop(flow)
    for flow in step.add:
        for name in flow_ports(flow):
            _need_port(tables, flow, name)
        tables.put(flow)


def _need_port(tables: Tables, flow: Flow, name: str) -> None:
    port = tables.get(OvsPort, name)
    known = name == flow.bridge or (port is not None and port.bridge == flow.bridge and has_device(tables, port))
    tables.need(known, f"flow {flow.match!r} names port {name}, which bridge {flow.bridge} has not")


def has_device(tables: Tables, port: OvsPort) -> bool:
    """Has the port an OpenFlow number: is its device there?"""
    if port.type == "":
        return tables.get(Link, "", port.name) is not None
    return port.type != "internal" or any(
        link.name == port.name for link in tables.of(Link).values() if link.kind == "internal"
    )
