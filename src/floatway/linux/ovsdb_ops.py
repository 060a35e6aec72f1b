"""From wanted bridges and ports to the operations of one OVSDB transaction (RFC 7047, section 5.2).

Rows made in the transaction are named (``named-uuid``) and linked in at the end, one update of each set of references.
"""

from collections.abc import Sequence
from typing import Any

from floatway.host.records import OvsBridge, OvsPort, Pairs
from floatway.host.steps import BridgeDelete, BridgeSet, OvsOp, PortDelete, PortSet
from floatway.linux.errors import OvsdbError
from floatway.linux.ovsdb import Ovsdb, Row, Tables, pairs, records, uuids


def ovs_map(value: Pairs) -> list[Any]:
    """An OVSDB map."""
    return ["map", [[key, item] for key, item in value]]


def ovs_set(items: list[Any]) -> list[Any]:
    """An OVSDB set."""
    return ["set", items]


class Changes:
    """The operations collected for one transaction, against the tables as they were when it began."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self._ops: list[Row] = []
        self._bridges: dict[str, list[Any]] = {n: ["uuid", u] for n, u in tables.by_name("Bridge").items()}
        self._bridge_list: list[list[Any]] = [["uuid", u] for u in uuids(tables.root["bridges"])]
        self._port_lists: dict[str, list[list[Any]]] = {
            row["name"]: [["uuid", u] for u in uuids(row["ports"])] for row in tables.rows["Bridge"].values()
        }
        self._ports = tables.by_name("Port")
        self._made: dict[str, list[Any]] = {}
        self._new_bridges: dict[str, Row] = {}
        self._relinked: set[str] = set()
        self._bridges_changed = False
        self._names = 0

    def ops(self) -> list[Row]:
        """The operations, references last."""
        closing: list[Row] = []
        for name in sorted(self._relinked):
            ports = ovs_set(self._port_lists[name])
            if name in self._new_bridges:
                self._new_bridges[name]["ports"] = ports
            else:
                closing.append(_update("Bridge", self._bridges[name][1], {"ports": ports}))
        if self._bridges_changed:
            closing.append(
                _update("Open_vSwitch", self.tables.root["_uuid"][1], {"bridges": ovs_set(self._bridge_list)})
            )
        return self._ops + closing

    def set_bridge(self, bridge: OvsBridge) -> None:
        """``ovs-vsctl --may-exist add-br`` and everything set on it."""
        controllers = [self._insert("Controller", {"target": target}) for target in bridge.controller]
        row: Row = {
            "datapath_type": bridge.datapath_type,
            "fail_mode": bridge.fail_mode if bridge.fail_mode else ovs_set([]),
            "protocols": ovs_set(list(bridge.protocols)),
            "other_config": ovs_map(bridge.other_config),
            "external_ids": ovs_map(bridge.external_ids),
        }
        known = self._bridges.get(bridge.name)
        if known is not None:
            old = self.tables.rows["Bridge"][known[1]]
            targets = sorted(self.tables.rows["Controller"][u]["target"] for u in uuids(old["controller"]))
            if targets != sorted(bridge.controller):
                row["controller"] = ovs_set(controllers)
            else:  # a new Controller row would make vswitchd connect anew; an unreferenced one is collected at commit
                self._ops = self._ops[: len(self._ops) - len(controllers)]
            self._ops.append(_update("Bridge", known[1], row))
            return
        interface = self._insert("Interface", {"name": bridge.name, "type": "internal"})
        local = self._insert("Port", {"name": bridge.name, "interfaces": interface})
        row |= {"name": bridge.name, "controller": ovs_set(controllers), "ports": local}
        self._bridges[bridge.name] = self._insert("Bridge", row)
        self._new_bridges[bridge.name] = row
        self._port_lists[bridge.name] = [local]
        self._bridge_list.append(self._bridges[bridge.name])
        self._bridges_changed = True

    def delete_bridge(self, name: str) -> None:
        """``ovs-vsctl --if-exists del-br``: rows that nothing refers to vanish by themselves."""
        reference = self._bridges.pop(name, None)
        if reference is not None:
            self._bridge_list = [other for other in self._bridge_list if other != reference]
            self._relinked.discard(name)
            self._bridges_changed = True

    def set_port(self, port: OvsPort) -> None:
        """``ovs-vsctl --may-exist add-port`` and everything set on it."""
        if port.bridge not in self._bridges:
            raise OvsdbError(
                f"port {port.name}: there is no bridge {port.bridge}; make it with: ovs-vsctl add-br {port.bridge}"
            )
        port_row: Row = {
            "tag": ovs_set([] if port.tag is None else [port.tag]),
            "other_config": ovs_map(port.port_other_config),
        }
        interface_row: Row = {
            "type": port.type,
            "options": ovs_map(port.options),
            "external_ids": ovs_map(port.external_ids),
        }
        known = self._ports.get(port.name)
        if known is not None and ["uuid", known] not in self._port_lists[port.bridge]:
            self._unlink(["uuid", known])  # on another bridge: the same name is free again once it is gone from there
            known = None
        if known is not None:
            row = self.tables.rows["Port"][known]
            interface = uuids(row["interfaces"])[0]
            self._ops.append(_update("Port", known, port_row))
            old = self.tables.rows["Interface"][interface]
            if (
                old["type"] != port.type
                or pairs(old["options"]) != port.options
                or pairs(old["external_ids"]) != port.external_ids
            ):
                self._ops.append(_update("Interface", interface, interface_row))
            return
        made = self._insert("Interface", {"name": port.name, **interface_row})
        reference = self._insert("Port", {"name": port.name, "interfaces": made, **port_row})
        self._made[port.name] = reference
        self._port_lists[port.bridge].append(reference)
        self._relinked.add(port.bridge)

    def delete_port(self, bridge: str, name: str) -> None:
        """``ovs-vsctl --if-exists del-port BRIDGE PORT``."""
        known = self._ports.get(name)
        if known is not None and ["uuid", known] in self._port_lists.get(bridge, []):
            self._unlink(["uuid", known])

    def _unlink(self, reference: list[Any]) -> None:
        for bridge, references in self._port_lists.items():
            if reference in references:
                references.remove(reference)
                self._relinked.add(bridge)

    def _insert(self, table: str, row: Row) -> list[Any]:
        self._names += 1
        name = f"row{self._names}"
        self._ops.append({"op": "insert", "table": table, "row": row, "uuid-name": name})
        return ["named-uuid", name]


def _update(table: str, uuid: str, row: Row) -> Row:
    return {"op": "update", "table": table, "where": [["_uuid", "==", ["uuid", uuid]]], "row": row}


def apply(db: Ovsdb, steps: Sequence[OvsOp]) -> None:
    """Make bridges and ports be as the steps say, all or nothing, and wait until vswitchd has done so. Raises OvsdbError."""
    changes = Changes(db.tables())
    for step in steps:
        match step:
            case BridgeSet(bridge=bridge):
                changes.set_bridge(bridge)
            case BridgeDelete(name=name):
                changes.delete_bridge(name)
            case PortSet(port=port):
                changes.set_port(port)
            case PortDelete(bridge=bridge_name, name=name):
                changes.delete_port(bridge_name, name)
    db.commit(changes.ops(), changes.tables.root["_uuid"][1])
    db.check(step.port.name for step in steps if isinstance(step, PortSet))


def replug(db: Ovsdb, name: str) -> None:
    """Take a port off its bridge and put it back, unchanged: makes vswitchd create its vanished device anew. Raises OvsdbError."""
    tables = db.tables()
    port = next((record for record in records(tables) if isinstance(record, OvsPort) and record.name == name), None)
    if port is None:
        raise OvsdbError(f"port {name}: not in the database; see: ovs-vsctl list-ports br-int")
    apply(db, [PortDelete(bridge=port.bridge, name=name)])
    apply(db, [PortSet(port=port)])
