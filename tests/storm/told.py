"""What a storm's client was told, and how it asks a server that is killed under it.

POST ports {description: "storm 17"} ─▶ no answer: the server died ─▶ started again ─▶ GET ports?description=storm 17
                                                                                         there: it was done; else asked again
"""

import time
from collections.abc import Callable
from typing import Any

from floatway.lab import lab, served
from floatway.lab.api import RefusedError, ask
from floatway.lab.errors import LabError

__all__ = ["COLLECTIONS", "Told", "differences"]

COLLECTIONS = {
    "network": "networks",
    "router": "routers",
    "port": "ports",
    "floatingip": "floatingips",
    "security_group": "security-groups",
    "security_group_rule": "security-group-rules",
}
"""Noun -> where it is in the API, for what a storm makes."""
PATIENCE = 60.0
"""Seconds that a request is tried for."""


class Told:
    """One client of a lab's server."""

    def __init__(self, raised: lab.Lab) -> None:
        self.lab = raised
        self.there: dict[str, dict[str, dict[str, Any]]] = {noun: {} for noun in COLLECTIONS}
        """Noun -> id -> the values that were acknowledged; what begins with "_" is the storm's own."""
        self.gone: set[str] = set()
        self.unanswered = 0
        """Requests that the server died under."""
        self._made = 0

    @property
    def server(self) -> served.Server:
        assert self.lab.server is not None
        return self.lab.server

    def ask(self, method: str, path: str, body: object = None, *, done: Callable[[], Any] | None = None) -> Any:
        """Ask until somebody answers. ``done``: after a death, what the request had made already, or None."""
        deadline, lost = time.monotonic() + PATIENCE, False
        while True:
            try:
                return ask(self.server.url, method, f"/v2.0/{path}", body)
            except RefusedError as refused:
                if lost and refused.status == 404 and method == "DELETE":
                    return None
                if refused.status != 503 or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            except LabError:
                if time.monotonic() > deadline:
                    raise
                self.unanswered += 1
                self.revive()
            lost = True
            if done is not None and (found := done()) is not None:
                return found

    def revive(self) -> None:
        """Start the server again if it does not run."""
        known = lab.load(self.lab.name)
        self.lab = lab.Lab(
            name=known.name, nodes=known.nodes, fabric=known.fabric, wires=known.wires,
            server=served.start_server(known.name, self.server),
        )  # fmt: skip
        lab._write(self.lab)

    def make(self, noun: str, **values: Any) -> dict[str, Any]:
        """Make one, once, however often the server dies meanwhile."""
        self._made += 1
        mark, collection = f"storm {self._made}", COLLECTIONS[noun]

        def done() -> dict[str, Any] | None:
            answer = self.ask("GET", f"{collection}?description={mark.replace(' ', '%20')}")
            found = answer[collection.replace("-", "_")]
            return {noun: found[0]} if found else None

        made: dict[str, Any] = self.ask("POST", collection, {noun: values | {"description": mark}}, done=done)[noun]
        self.there[noun][made["id"]] = made
        return made

    def put(self, noun: str, id_: str, **values: Any) -> None:
        """Change one; what the server answers is what is acknowledged."""
        answer = self.ask("PUT", f"{COLLECTIONS[noun]}/{id_}", {noun: values})[noun]
        self.there[noun][id_].update({key: answer[key] for key in values})

    def delete(self, noun: str, id_: str) -> dict[str, Any]:
        """Delete one, and give what was known of it."""
        self.ask("DELETE", f"{COLLECTIONS[noun]}/{id_}")
        self.gone.add(id_)
        return self.there[noun].pop(id_)


SAID = {
    "network": ("name", "admin_state_up"),
    "router": ("name", "admin_state_up", "routes", "external_gateway_info"),
    "port": (
        *("name", "admin_state_up", "network_id", "mac_address", "fixed_ips", "binding:host_id"),
        *("security_groups", "port_security_enabled", "allowed_address_pairs"),
    ),
    "floatingip": ("port_id", "floating_ip_address", "floating_network_id"),
    "security_group": ("name",),
    "security_group_rule": ("security_group_id", "direction", "protocol", "remote_ip_prefix", "remote_group_id", "port_range_min"),
}  # fmt: skip
"""What stays as it was told until a client changes it."""


def differences(told: Told) -> list[str]:
    """Acknowledged, and not there, or not so; deleted, and there."""
    found = []
    for noun, known in told.there.items():
        collection = COLLECTIONS[noun]
        answer = ask(told.server.url, "GET", f"/v2.0/{collection}")
        listed = {one["id"]: one for one in answer[collection.replace("-", "_")]}
        ours = {id_ for id_, one in listed.items() if (one.get("description") or "").startswith("storm ")}
        found += [f"{noun} {id_} is lost" for id_ in known if id_ not in listed]
        found += [f"{noun} {id_} is back" for id_ in listed if id_ in told.gone]
        found += [f"{noun} {id_} was made and told nobody" for id_ in ours - known.keys() - told.gone]
        for id_ in known.keys() & listed.keys():
            found += [
                f"{noun} {id_}: {key} is {listed[id_][key]}, was told {known[id_][key]}"
                for key in SAID[noun]
                if known[id_][key] != listed[id_][key]
            ]
    return found
