"""Clients of two servers that remember what they were told, and complain when a later answer contradicts it.

Each client has ports and networks of its own, so what it must be shown is simple: what it wrote last. When an answer was lost
both may be shown, the old and the new; once the new one was, never again the old one.
"""

import contextlib
import http.client
import itertools
import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

TIMEOUT = 10.0  # seconds for an answer; then it is lost
GONE = None
"""The value of what is deleted."""


class Lost(Exception):  # noqa: N818
    """No answer: it may have been done."""


@dataclass
class Known:
    """What a client knows of one resource: the names that it may be shown with."""

    collection: str
    id: str
    allowed: list[str | None]
    document: dict[str, Any]


@dataclass
class Client:
    """One client: a thread, a sequence of requests. ``urls`` gives the servers' ports as they are now."""

    name: str
    ports_of: Callable[[], list[int]]
    network: str
    told: Callable[[], None]
    complaints: list[str] = field(default_factory=list)
    known: list[Known] = field(default_factory=list)
    maybe: set[str] = field(default_factory=set)
    acknowledged: int = 0
    lost: int = 0
    refused: int = 0
    shown: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.name)
        self.count = itertools.count()

    def run(self, stop: threading.Event) -> None:
        """Until told to stop."""
        try:
            while not stop.is_set():
                self.step()
        except Exception as error:
            self.complaints.append(f"{self.name}: {error!r}")
            raise

    def step(self) -> None:
        """One request, and a look at what it did through the other server."""
        first, other = self.chance.choice([(0, 1), (1, 0)])
        live = [known for known in self.known if GONE not in known.allowed]
        what = self.chance.random()
        if what < 0.35 or not live:
            known = self.create(first)
        elif what < 0.7:
            known = self.update(first, self.chance.choice(live))
        elif what < 0.85 or len(live) > 12:
            known = self.delete(first, self.chance.choice(live))
        else:
            known = self.chance.choice(self.known)
        if known:
            self.look(other, known)

    def create(self, server: int) -> Known | None:
        name = f"{self.name}-{next(self.count)}"
        collection, body = self.chance.choice([("ports", {"network_id": self.network}), ("networks", {})])
        self.maybe.add(name)
        try:
            status, answer = self.call(server, "POST", f"/v2.0/{collection}", {collection[:-1]: {**body, "name": name}})
        except Lost:
            return None
        if status == 409:  # no address is left
            self.refused += 1
            self.maybe.discard(name)
            return None
        if status != 201:
            self.complaints.append(f"{name}: create: {status} {answer}")
            return None
        self.acknowledge()
        self.maybe.discard(name)
        document = answer[collection[:-1]]
        known = Known(collection, document["id"], [name], document)
        self.known.append(known)
        return known

    def update(self, server: int, known: Known) -> Known:
        name = f"{self.name}-{next(self.count)}"
        body = {known.collection[:-1]: {"name": name}}
        try:
            status, answer = self.call(server, "PUT", f"/v2.0/{known.collection}/{known.id}", body)
        except Lost:
            known.allowed.append(name)
            return known
        if status != 200 or answer[known.collection[:-1]]["name"] != name:
            self.complaints.append(f"{known}: update: {status} {answer}")
        self.acknowledge()
        known.allowed = [name]
        return known

    def delete(self, server: int, known: Known) -> Known:
        try:
            status, answer = self.call(server, "DELETE", f"/v2.0/{known.collection}/{known.id}")
        except Lost:
            known.allowed.append(GONE)
            return known
        if status != 204:
            self.complaints.append(f"{known}: delete: {status} {answer}")
        self.acknowledge()
        known.allowed = [GONE]
        return known

    def look(self, server: int, known: Known) -> None:
        """What the other server shows must be what was written last."""
        try:
            status, answer = self.call(server, "GET", f"/v2.0/{known.collection}/{known.id}")
        except Lost:
            return
        self.shown += 1
        shown = answer[known.collection[:-1]]["name"] if status == 200 else GONE
        if status not in {200, 404} or shown not in known.allowed:
            self.complaints.append(f"{self.name}: {known}: server {server} shows {status} {answer}")
        elif shown != known.allowed[0]:
            known.allowed = known.allowed[known.allowed.index(shown) :]

    def acknowledge(self) -> None:
        self.acknowledged += 1
        self.told()

    def call(self, server: int, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """One request.

        Raises:
            Lost: there was no answer, or the server said that it does not know (503).
        """
        port = self.ports_of()[server]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        try:
            with contextlib.closing(connection):
                text = None if body is None else json.dumps(body)
                connection.request(method, path, text, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                data = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.lost += 1
            if isinstance(error, ConnectionRefusedError):
                time.sleep(0.01)  # it is being started again
            raise Lost from error
        if answer.status == 503:
            self.lost += 1
            raise Lost
        return answer.status, json.loads(data) if data else None
