"""Connections are forgotten as conntrack(8) forgets them, whatever is in the table."""

import random
import re
import subprocess

import pytest

from floatway.host.commands import commands
from floatway.host.steps import ConntrackDelete, Plan, Restore
from floatway.linux import conntrack
from floatway.linux.connection import HostConnection
from floatway.linux.execute import execute
from floatway.linux.iptables import Restoring
from kernel.support import sh

pytestmark = pytest.mark.kernel
ADDRESSES = [f"10.0.0.{n}" for n in range(1, 7)]
ZONES = [None, 4097, 4098]


def filled(space: str, count: int) -> None:
    """A namespace whose table always has the same connections."""
    chance = random.Random(7)
    sh(f"ip netns add {space}; ip -n {space} link set lo up")
    lines = []
    for number in range(count):
        src, dst = chance.sample(ADDRESSES, 2)
        proto = chance.choice(["udp", "tcp --state ESTABLISHED"])
        zone = chance.choice(ZONES)
        nat = f" -g {chance.choice(ADDRESSES)}" if chance.random() < 0.3 else ""
        lines.append(
            f"conntrack -I -p {proto} -s {src} -d {dst} --sport {1000 + number} --dport 80 -t 600{nat}"
            + (f" --zone {zone}" if zone else "")
        )
    sh(" && ".join(f"{line} 2>/dev/null" for line in lines) + " >/dev/null", space)


def table(space: str) -> list[str]:
    return sorted(
        re.sub(r"(udp|tcp) +\d+ \d+ ", r"\1 ", line) for line in sh("conntrack -L 2>/dev/null", space).splitlines()
    )


def drawn(count: int) -> list[tuple[str, str, int | None]]:
    chance = random.Random(8)
    places = ["orig-src", "orig-dst", "reply-src", "reply-dst"]
    return [(chance.choice(places), chance.choice(ADDRESSES), chance.choice([*ZONES, 5000])) for _ in range(count)]


@pytest.mark.parametrize("count", [1, 3, 9])
def test_what_is_left_is_what_the_tool_would_have_left(count: int) -> None:
    for space in ("one", "two"):
        filled(space, 60)
    assert table("one") == table("two")
    assert len(table("one")) > 40
    with HostConnection() as conn:
        steps = [ConntrackDelete(netns="one", direction=d, address=a, zone=z) for d, a, z in drawn(count)]  # type: ignore[arg-type]
        execute(conn, Plan(steps=tuple(steps)))
        for d, a, z in drawn(count):
            for line in commands(ConntrackDelete(netns="two", direction=d, address=a, zone=z)):  # type: ignore[arg-type]
                subprocess.run(["sh", "-c", line], capture_output=True, check=False)
        assert table("one") == table("two")
        assert len(table("one")) < 60 or count == 1
        conntrack.forget(conn, steps)  # again: nothing is there, and nothing is wrong


GRE = "conntrack -I -p gre -s 10.0.0.1 -d 10.0.0.2 --srckey 1 --dstkey 2 -t 600 2>/dev/null"
PING = "conntrack -I -p icmp -s 10.0.0.1 -d 10.0.0.2 --icmp-type 8 --icmp-code 0 --icmp-id 7 -t 600 2>/dev/null"


@pytest.mark.parametrize("short", [True, False])
def test_a_short_table_is_read_from_its_file_before_the_dump(monkeypatch: pytest.MonkeyPatch, *, short: bool) -> None:
    for space in ("one", "two"):
        filled(space, 60)
        sh(PING, space)
    if not short:
        monkeypatch.setattr(conntrack, "_SHORT", 20)
    wanted = [*drawn(9), ("orig-src", "10.0.0.1", None)]
    steps = [ConntrackDelete(netns="one", direction=d, address=a, zone=z) for d, a, z in wanted]  # type: ignore[arg-type]
    for d, a, z in wanted:
        for line in commands(ConntrackDelete(netns="two", direction=d, address=a, zone=z)):  # type: ignore[arg-type]
            subprocess.run(["sh", "-c", line], capture_output=True, check=False)
    sh(GRE, "one")
    with HostConnection() as conn:
        seen = conntrack.look(conn, "one")
        assert (seen is None) == short
        sock = conn.handle("one").conntrack
        with monkeypatch.context() as without:
            without.setattr(sock, "dump", lambda *_: [])
            conntrack.forget(conn, steps, seen)
        left = [line for line in table("one") if not (short and line.startswith("gre"))]
        assert left == table("two") and 0 < len(left) < 60
        assert len(table("one")) == len(left) + short, "the file is not read for GRE"
        conntrack.forget(conn, steps)
        assert table("one") == table("two")


def test_several_namespaces_at_once() -> None:
    for space in ("one", "two"):
        filled(space, 20)
    with HostConnection() as conn:
        steps = [
            ConntrackDelete(netns=space, direction="orig-src", address=address)
            for address in ADDRESSES
            for space in ("one", "two")
        ]
        execute(conn, Plan(steps=tuple(steps)))
    assert table("one") == table("two") == []


def test_connections_that_began_while_somebody_else_wrote_rules_are_forgotten_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the host's own namespace the generation of the rules may be moved by others: then ours may not have been in yet."""
    keep = "conntrack -I -p udp -s 10.0.0.1 -d 10.0.0.2 --sport 5 --dport 6 -t 600"
    ends: list[bool] = []

    def end(self: Restoring) -> bool:
        sh(keep)
        self._going.result()
        ends.append(len(ends) == 1)
        return ends[-1]

    monkeypatch.setattr(Restoring, "end", end)
    steps = (
        Restore(netns="", text="*filter\n:ours - [0:0]\nCOMMIT\n", chains=()),
        ConntrackDelete(netns="", direction="orig-src", address="10.0.0.1", zone=None),
    )
    with HostConnection() as conn:
        sh(keep)
        execute(conn, Plan(steps=steps))
        assert table("") == [] and ends == [False]
        execute(conn, Plan(steps=steps))
        assert len(table("")) == 1 and ends == [False, True], "nobody wrote: once is enough"
