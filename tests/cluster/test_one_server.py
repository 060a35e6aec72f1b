"""One server on SQLite, six clients; the server is killed at any time and started again. What must hold is the same as with two."""

import asyncio
import signal
import threading
from pathlib import Path

import pytest

from api.processes import start
from cluster.clients import Client
from cluster.history import Progress, given_twice, history
from effort import FACTOR

CLIENTS = 6
KILLS = 5
BETWEEN = 150  # acknowledged writes between two kills


@pytest.mark.parametrize("round_", range(FACTOR))
def test_the_history_of_one_server(tmp_path: Path, round_: int) -> None:
    server = start(tmp_path, {"log": {"access": False}})
    progress, stop = Progress(), threading.Event()
    try:
        network = server.call("POST", "/v2.0/networks", {"network": {"name": "all"}}).body["network"]["id"]
        subnet = {"subnet": {"network_id": network, "ip_version": 4, "cidr": "10.0.0.0/26"}}
        assert server.call("POST", "/v2.0/subnets", subnet).status == 201
        assert server.call("PUT", "/v2.0/quotas/any", {"quota": {"network": -1, "port": -1}}).status == 200
        clients = [Client(f"client-{n}", lambda: [server.port] * 2, network, progress.tell) for n in range(CLIENTS)]
        threads = [threading.Thread(target=client.run, args=(stop,), daemon=True) for client in clients]
        for thread in threads:
            thread.start()
        for _ in range(KILLS):
            progress.more(BETWEEN)
            server.stop(signal.SIGKILL)
            server = start(tmp_path, {"log": {"access": False}})
        progress.more(BETWEEN)
        stop.set()
        for thread in threads:
            thread.join()
        for client in clients:
            for known in client.known:
                client.look(0, known)
        assert [complaint for client in clients for complaint in client.complaints] == []
        assert sum(client.lost for client in clients) >= KILLS
        assert [line for line in server.lines() if line["level"] == "error"] == []
    finally:
        stop.set()
        server.stop(signal.SIGKILL)
    commits = asyncio.run(history(f"sqlite://{tmp_path}/floatway.db"))
    assert [commit.revision for commit in commits] == list(range(1, len(commits) + 1))
    assert given_twice(commits) == []
