"""What the cloud knows that a trace does not: who is meant by a port of the API, and the very command that mends."""

import pytest

from floatway.lab import api, intent
from floatway.lab.lab import Lab
from floatway.lab.node import Node
from floatway.lab.served import Server
from floatway.model.cloud import Cloud
from floatway.net.packet import Packet
from floatway.trace.result import Disposition, Trace, Walk
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


def failed(repair: str) -> Trace:
    packet = Packet(src_mac="fa:16:3e:00:00:01", dst_mac="fa:16:3e:00:00:02")
    return Trace(packet=packet, hops=(), disposition=Disposition.EXITS_NETWORK, reason="", repair=repair)


def test_a_repair_that_leaves_a_choice_becomes_what_the_cloud_wants() -> None:
    differs = [
        intent.Difference("h1", "floating_ip 1", ("ip -n qrouter-1 rule add priority 40000 from 10.0.0.9 lookup 16",)),
        intent.Difference("h1", "floating_ip 2", ("ip -n qrouter-2 rule add priority 50000 from 10.0.0.9 lookup 16",)),
    ]
    open_ = "ip netns exec qrouter-2 ip rule add from 10.0.0.9 lookup 16 priority 32768…72767"
    other = open_.replace("10.0.0.9", "10.0.0.99")
    walk = Walk(source="vm", target="out", forward=failed(open_), reply=failed(other))
    named = intent.with_names(Cloud(), walk, differs)
    assert named.forward.repair == "ip -n qrouter-2 rule add priority 50000 from 10.0.0.9 lookup 16"
    assert named.reply is not None and named.reply.repair == other
    assert intent.with_names(Cloud(), walk).forward.repair == open_
