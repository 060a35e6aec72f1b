"""All hosts as other hosts know them: the same for every part, so found once for as long as no agent changes.

agents' table ──▶ {h1: Host(tunnel_ip, …), h2: …} ──▶ part of h1, part of h2, … of a thousand that come back at once

Heartbeats make a new table and leave what agents say of their hosts as it is: then only who is there is counted anew.
"""

from collections import OrderedDict, defaultdict
from typing import Any, Final

from floatway.control import entities as e
from floatway.control import view
from floatway.control.snapshot import Model
from floatway.model.resources import Host

__all__ = ["Neighbours", "neighbours"]

_TABLES: Final = 4


class Neighbours:
    """What was found last, by the agents' table that it follows from."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._found: OrderedDict[int, tuple[object, dict[str, Host]]] = OrderedDict()
        self._said: dict[str, tuple[list[tuple[str, Any]], Host]] = {}

    def __call__(self, model: Model) -> dict[str, Host]:
        """By name. Not to be changed."""
        table = model.tables[e.Agent.KIND]
        if (known := self._found.get(id(table))) is not None:  # the table is held with it, so that its id stays its own
            return known[1]
        hosts: defaultdict[str, list[tuple[str, Any]]] = defaultdict(list)
        for agent in model.all(e.Agent):
            hosts[agent.host].append((agent.agent_type, agent.configurations))
        found = {name: self._host(model, name, said) for name, said in hosts.items()}
        self._said = {name: self._said[name] for name in found}
        self._found[id(table)] = table, found
        while len(self._found) > _TABLES:
            self._found.popitem(last=False)
        return found

    def _host(self, model: Model, name: str, said: list[tuple[str, Any]]) -> Host:
        said.sort(key=lambda one: one[0])
        last = self._said.get(name)
        same = (
            last is not None
            and len(last[0]) == len(said)
            and all(a[0] == b[0] and a[1] is b[1] for a, b in zip(last[0], said, strict=True))
        )
        if last is None or not same:
            last = self._said[name] = said, view.neighbour(view.host(model, name))
        return last[1]


neighbours: Final = Neighbours()
