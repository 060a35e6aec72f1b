"""Three etcd members, two API servers, six clients; any of the five processes is killed or paused at any time.

The recorded history must hold: no acknowledged write is lost; no address, MAC or segment is given twice, at no revision; no
answer is older than the client's last write, through whichever server.
"""

import asyncio
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from api.processes import Server, start
from cluster.clients import Client
from cluster.history import Progress, given_twice, history
from effort import FACTOR
from etcds import Cluster

CLIENTS = 6
BLOWS = 8
BETWEEN = 40  # acknowledged writes between two blows


class Pair:
    """Two servers on one store."""

    def __init__(self, directory: Path, url: Callable[[int], str]) -> None:
        self._directories = [directory / "server-0", directory / "server-1"]
        self._url = url
        for one in self._directories:
            one.mkdir()
        self.servers = [self._start(0), self._start(1)]

    def _start(self, number: int) -> Server:
        return start(self._directories[number], {"store": {"url": self._url(number)}, "log": {"access": False}})

    def ports(self) -> list[int]:
        return [server.port for server in self.servers]

    def kill(self, number: int) -> None:
        self.servers[number].stop(signal.SIGKILL)
        self.servers[number] = self._start(number)

    def pause(self, number: int) -> None:
        os.kill(self.servers[number].process.pid, signal.SIGSTOP)

    def resume(self, number: int) -> None:
        os.kill(self.servers[number].process.pid, signal.SIGCONT)

    def stop(self) -> None:
        for server in self.servers:
            server.stop(signal.SIGKILL)


def blow(chance: random.Random, cluster: Cluster, pair: Pair, progress: Progress) -> None:
    """Something fails; writes go on meanwhile; it is mended."""
    match chance.choice(
        ["kill member", "kill member", "pause member", "kill server", "kill server", "pause server", "all"]
    ):
        case "kill member":
            cluster.kill(chance.randrange(cluster.size))
        case "pause member":
            cluster.pause(chance.randrange(cluster.size))
        case "kill server":
            pair.kill(chance.randrange(2))
        case "pause server":
            number = chance.randrange(2)
            pair.pause(number)
            progress.more(1)  # by a client that does not wait for it
            pair.resume(number)
        case "all":
            for member in range(cluster.size):
                cluster.kill(member)
            cluster.revive()
    progress.more(BETWEEN)
    cluster.mend()


@pytest.mark.parametrize("reads", ["quorum", "local"])
@pytest.mark.parametrize("round_", range(FACTOR))
def test_the_history_of_two_servers(cluster: Cluster, tmp_path: Path, round_: int, reads: str) -> None:
    pair = Pair(tmp_path, lambda number: cluster.url("floatway", first=number) + f"?reads={reads}")
    progress, stop = Progress(), threading.Event()
    threads: list[threading.Thread] = []
    try:
        network = pair.servers[0].call("POST", "/v2.0/networks", {"network": {"name": "all"}}).body["network"]["id"]
        subnet = {"subnet": {"network_id": network, "ip_version": 4, "cidr": "10.0.0.0/26"}}
        assert pair.servers[1].call("POST", "/v2.0/subnets", subnet).status == 201
        assert pair.servers[1].call("PUT", "/v2.0/quotas/any", {"quota": {"network": -1, "port": -1}}).status == 200
        clients = [Client(f"client-{n}", pair.ports, network, progress.tell) for n in range(CLIENTS)]
        threads = [threading.Thread(target=client.run, args=(stop,), daemon=True) for client in clients]
        for thread in threads:
            thread.start()
        chance = random.Random()
        for _ in range(BLOWS):
            blow(chance, cluster, pair, progress)
        stop.set()
        for thread in threads:
            thread.join()
        answers = [server.call("GET", "/v2.0/ports").body["ports"] for server in pair.servers]
        assert sorted(port["id"] for port in answers[0]) == sorted(port["id"] for port in answers[1])
        for client in clients:
            for known in client.known:
                for number in (0, 1):
                    client.look(number, known)
        assert [complaint for client in clients for complaint in client.complaints] == []
        sums = Counter({what: sum(getattr(client, what) for client in clients) for what in ("acknowledged", "shown")})
        assert sums["acknowledged"] >= BLOWS * BETWEEN
        assert sums["shown"] >= sums["acknowledged"] / 2
        for server in pair.servers:
            assert [line for line in server.lines() if line["level"] == "error"] == []
    finally:
        stop.set()
        pair.stop()
    commits = asyncio.run(history(cluster.url("floatway")))
    assert [commit.revision for commit in commits] == list(range(1, len(commits) + 1))
    assert given_twice(commits) == []
    written = {change.id for commit in commits for change in commit.changes if change.body}
    assert {known.id for client in clients for known in client.known} <= written
