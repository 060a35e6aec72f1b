"""ovs-appctl(8): ``fdb/show``, both ways.

port  VLAN  MAC                Age
   8     1  fa:16:3e:ae:b3:e7    0
"""

import re
from collections.abc import Iterable, Mapping

from floatway.host.records import OfPort, OvsFdb
from floatway.text.ofctl import LOCAL_PORT

HEADER = " port  VLAN  MAC                Age"
_ROW = re.compile(r"^\s*(\S+)\s+(\d+)\s+([0-9a-f:]{17})\s+(\d+|static)\s*$")


def parse_fdb(text: str, bridge: str, ports: Mapping[tuple[str, int], str]) -> list[OvsFdb]:
    """The learned MACs; ``ports`` maps (bridge, number) to a name, an unknown number stands for itself."""
    found: list[OvsFdb] = []
    for row in text.splitlines():
        match = _ROW.match(row)
        if match:
            number = LOCAL_PORT if match[1] == "LOCAL" else int(match[1]) if match[1].isdigit() else -1
            name = ports.get((bridge, number), match[1])
            age = int(match[4]) if match[4].isdigit() else 0
            found.append(OvsFdb(bridge=bridge, vlan=int(match[2]), mac=match[3], port=name, age=age))
    return found


def line(entry: OvsFdb, port: OfPort | None) -> str:
    """One row; without its number the port stands by name."""
    number = entry.port if port is None else "LOCAL" if port.ofport == LOCAL_PORT else str(port.ofport)
    return f"{number:>5}  {entry.vlan:4}  {entry.mac}  {entry.age:3}"


def render_fdb(entries: Iterable[OvsFdb], ports: Mapping[str, OfPort]) -> str:
    """``ovs-appctl fdb/show BRIDGE``."""
    rows = [line(entry, ports.get(entry.port)) for entry in sorted(entries, key=lambda e: -e.age)]
    return "\n".join([HEADER, *rows]) + "\n"
