"""Who is meant by a port of the API: the machine that has it, and the port's own address where the machine has several."""

import pytest

from floatway.lab import api, intent
from floatway.lab.lab import Lab
from floatway.lab.node import Node
from floatway.lab.served import Server
from floatway.trace.world import Endpoint, Wire


def a_lab(*devices: str) -> Lab:
    wires = tuple(Wire(f"tap-{one}", (Endpoint("vm", one), Endpoint("h1", f"tap-{one}"))) for one in devices)
    nodes = {"vm": Node(name="vm", role="instance", pid=1, started=1, id="server-1")}
    fabric = Node(name="fabric", role="fabric", pid=1, started=1)
    return Lab(name="x", nodes=nodes, fabric=fabric, wires=wires, server=Server("http://127.0.0.1:1", 1, 1))


@pytest.mark.parametrize(
    ("devices", "device_id", "expected"),
    [
        (["eth0"], "server-1", "vm"),
        (["eth0", "eth1"], "server-1", "10.0.0.9"),
        (["eth0"], "netns-web", "10.0.0.9"),
    ],
    ids=["the instance's only port", "one of its two", "plugged in elsewhere"],
)
def test_a_port_by_name(monkeypatch: pytest.MonkeyPatch, devices: list[str], device_id: str, expected: str) -> None:
    port = {"device_id": device_id, "fixed_ips": [{"ip_address": "2001:db8::9"}, {"ip_address": "10.0.0.9"}]}

    def ask(url: str, method: str, path: str) -> object:
        return {"floatingips": []} if "floatingips" in path else {"ports": [port] if path.endswith("name=more") else []}

    monkeypatch.setattr(api, "ask", ask)
    assert intent.meant(a_lab(*devices), ["more", "vm", None]) == {"more": expected}
