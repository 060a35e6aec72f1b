"""What is checked of a recorded history: the acknowledged writes while it is made, the store's log afterwards."""

import threading
from typing import Any

import msgspec

from floatway.store.base import Commit
from floatway.store.open import open_store


class Progress:
    """Acknowledged writes, to wait for more of them."""

    def __init__(self) -> None:
        self._count = 0
        self._moved = threading.Condition()

    def tell(self) -> None:
        with self._moved:
            self._count += 1
            self._moved.notify_all()

    def more(self, count: int) -> None:
        with self._moved:
            wanted = self._count + count
            assert self._moved.wait_for(lambda: self._count >= wanted, 120), "the servers stand still"


async def history(url: str) -> list[Commit]:
    store = await open_store(url)
    head = await store.head()
    commits = []
    async for commit in store.watch(0):
        commits.append(commit)
        if commit.revision >= head:
            break
    await store.close()
    return commits


def given_twice(commits: list[Commit]) -> list[str]:
    """Every address, MAC or segment that two had at one revision."""
    owned: dict[tuple[str, str], set[tuple[str, ...]]] = {}
    owners: dict[tuple[str, ...], str] = {}
    wrong = []
    for commit in commits:
        holds: dict[tuple[str, str], set[tuple[str, ...]]] = {}
        for change in commit.changes:
            value = msgspec.msgpack.decode(change.body) if change.body else {}
            for what in owned.pop((change.kind, change.id), set()):
                owners.pop(what, None)
            holds[change.kind, change.id] = set(claims(change.kind, value))
        for who, claimed in holds.items():
            for what in claimed:
                if (owner := owners.setdefault(what, who[1])) != who[1]:
                    wrong.append(f"revision {commit.revision}: {what}: {owner} and {who[1]}")
            owned[who] = claimed
    return wrong


def claims(kind: str, value: dict[str, Any]) -> list[tuple[str, ...]]:
    if kind == "port" and value:
        addresses = [("address", ip["subnet_id"], ip["ip_address"]) for ip in value.get("fixed_ips", ())]
        return [*addresses, ("mac", value["network_id"], value["mac_address"])]
    if kind == "network" and value:
        segment = value.get("provider:segmentation_id")
        return [("segment", value["provider:network_type"], str(segment))] if segment is not None else []
    return []
