"""The reference's transcript, command by command, against the same cloud raised here.

Every permitted difference is a named rule of ``floatway.text.normalise``.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from floatway.lab import lab
from floatway.model.load import load_cloud
from floatway.text.normalise import Command, normalise
from lab.support import REFERENCE, Sh, lab_name

pytestmark = pytest.mark.lab

GOLDEN = Path(__file__).parent.parent / "golden" / "reference"
HOST = "cy2-compute02"
QROUTER = "qrouter-d3218b9c-73bb-4788-87e4-5828625fe586"
FIP = "fip-eddc07d8-7544-4f3a-b9f4-27f005fb114f"


@pytest.fixture(scope="module", params=[True, False], ids=["served", "plain"])
def sh(request: pytest.FixtureRequest) -> Iterator[Sh]:
    raised = lab.up(load_cloud(REFERENCE), name=lab_name("golden"), with_server=request.param)
    shell = Sh(raised)
    shell.text("test", "ping -n -c 2 -i 0.2 192.168.0.1")
    shell.text("outside", "ping -n -c 2 -i 0.2 192.168.10.106 && ping -n -c 1 192.168.10.103")
    yield shell
    lab.down(lab_name("golden"))


CASES: list[tuple[str, Command, str, str, str]] = [
    ("instance.ip-a", "ip a", "test", "", "ip a"),
    ("instance.route-n", "route -n", "test", "", "route -n"),
    ("instance.arp-a", "arp -a", "test", "", "arp -an"),
    ("host.brctl-show", "brctl show", HOST, "", "brctl show"),
    ("host.iptables-S.8aa5", "iptables -S", HOST, "", "iptables -S | grep 8aa5"),
    ("host.ovs-vsctl-show", "ovs-vsctl show", HOST, "", "ovs-vsctl show"),
    ("host.ofctl-show.br-int", "ofctl show", HOST, "", "ovs-ofctl show br-int"),
    ("host.ip-netns", "ip netns", HOST, "", "ip netns"),
    ("qrouter.ip-a", "ip a", HOST, QROUTER, "ip a"),
    ("qrouter.iptables-S.nat", "iptables -S", HOST, QROUTER, "iptables -S -t nat"),
    ("qrouter.route-n", "route -n", HOST, QROUTER, "route -n"),
    ("qrouter.ip-rule", "ip rule", HOST, QROUTER, "ip rule ls"),
    ("qrouter.ip-route.16", "ip route", HOST, QROUTER, "ip route ls table 16"),
    ("qrouter.arp-a", "arp -a", HOST, QROUTER, "arp -an | grep -F '(172.12.10.4)'"),
    ("fip.ip-a", "ip a", HOST, FIP, "ip a"),
    ("fip.ip-rule", "ip rule", HOST, FIP, "ip rule"),
    ("fip.ip-route.2852022899", "ip route", HOST, FIP, "ip route ls table 2852022899"),
    ("fip.route-n", "route -n", HOST, FIP, "route -n"),
    ("outside.arp-a.fip", "arp -a", "outside", "", "arp -an | grep -F '(192.168.10.106)'"),
    ("outside.arp-a.mac", "arp -a", "outside", "", "arp -an | grep fa:16:3e:30:c9:5b"),
]


@pytest.mark.parametrize(("golden", "command", "node", "netns", "typed"), CASES, ids=[case[0] for case in CASES])
def test_transcript(sh: Sh, golden: str, command: Command, node: str, netns: str, typed: str) -> None:
    wanted = normalise((GOLDEN / f"{golden}.txt").read_text(), command)
    assert normalise(sh.text(node, typed, netns), command) == wanted


@pytest.mark.parametrize(
    ("mac", "vlan", "port"),
    [
        ("fa:16:3e:78:d6:60", "1", "qr-56718ce4-c6"),
        ("fa:16:3e:ae:b3:e7", "1", "qvo8aa5e3b4-6c"),
        ("90:9f:33:65:47:02", "2", "int-br-ex"),
    ],
)
def test_learned_macs_lead_where_the_reference_says(sh: Sh, mac: str, vlan: str, port: str) -> None:
    names = dict(
        line.strip().split(")")[0].split("(")
        for line in sh.text(HOST, "ovs-ofctl show br-int").splitlines()
        if "): addr:" in line
    )
    rows = [line.split() for line in sh.text(HOST, "ovs-appctl fdb/show br-int").splitlines()]
    assert [(names[row[0]], row[1]) for row in rows if row[2:3] == [mac]] == [(port, vlan)]


def test_each_named_difference_is_needed() -> None:
    """A rule that changes no golden text and none of ours would hide something some day: it must at least name its commands."""
    from floatway.text.normalise import CHOSEN, TOOL_AGE

    names = [difference.name for difference in (*TOOL_AGE, *CHOSEN)]
    assert len(set(names)) == len(names)
    assert all(difference.commands and difference.reason for difference in (*TOOL_AGE, *CHOSEN))
