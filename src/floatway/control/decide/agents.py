"""The rules of agents: what a host runs, as it reports it, and whether it still does.

report ─▶ Agent(heartbeat_timestamp)          alive: heard within ``agent_down_seconds``
"""

import datetime
from typing import Any

import msgspec

from floatway.control import entities as e
from floatway.control.caller import Caller
from floatway.control.decide import claims, dvr_ports, placement
from floatway.control.draft import Draft
from floatway.control.errors import bad_request
from floatway.control.settings import Settings

__all__ = ["create", "delete", "heard", "is_alive", "is_usable", "report", "update"]

_FORMAT = "%Y-%m-%d %H:%M:%S"


def stamp(seconds: float) -> str:
    """As agents' times are written: UTC, ``2026-11-23 08:00:00``."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime(_FORMAT)


def heard(agent: e.Agent) -> float:
    """When the agent reported last, in seconds since the epoch; 0 if never."""
    if not agent.heartbeat_timestamp:
        return 0.0
    return datetime.datetime.strptime(agent.heartbeat_timestamp, _FORMAT).replace(tzinfo=datetime.UTC).timestamp()


def alive_at(agent: e.Agent, settings: Settings, seconds: float) -> bool:
    """Whether it was heard lately, as of ``seconds`` since the epoch."""
    return seconds - heard(agent) <= settings.agent_down_seconds


def is_alive(draft: Draft, agent: e.Agent) -> bool:
    """Whether it was heard lately."""
    return alive_at(agent, draft.settings, draft.seconds)


def is_usable(draft: Draft, agent: e.Agent) -> bool:
    """Whether ports and routers may be given to it: it was heard lately, or never, being of a host that is described and yet to come."""
    return not agent.heartbeat_timestamp or is_alive(draft, agent)


def report(draft: Draft, values: dict[str, Any], *, itself: bool = True) -> e.Agent:
    """What an agent says of itself: ``agent_type``, ``host``, ``binary``, ``configurations``, ``availability_zone``, ``topic``.
    Not ``itself``: what somebody else says of it, who cannot say that it lives.

    An agent is known by its type and host; what was there before keeps its id and what an operator said of it.
    """
    now = stamp(draft.seconds)
    known = draft.find(e.Agent, "type_host", (values["agent_type"], values["host"]))
    said = {
        name: values[name]
        for name in ("binary", "configurations", "availability_zone", "topic", "resources_synced")
        if name in values
    }
    if known:
        started = {"started_at": now} if values.get("started") or not known[0].started_at else {}
        agent = draft.put(msgspec.structs.replace(known[0], heartbeat_timestamp=now, **said, **started))
    else:
        agent = draft.put(
            e.Agent(
                id=draft.new_id(),
                agent_type=values["agent_type"],
                host=values["host"],
                created_at=now,
                started_at=now if itself else "",
                heartbeat_timestamp=now if itself else "",
                **{"binary": "", **said},
            )
        )
    if not known or _mode(known[0]) != _mode(agent) or not is_alive(draft, known[0]):
        dvr_ports.agent_changed(draft, agent.host)
        placement.agent_came(draft, agent)
    return agent


def _mode(agent: e.Agent) -> object:
    return agent.configurations.get("agent_mode")


def create(draft: Draft, caller: Caller, values: dict[str, Any]) -> e.Agent:
    """Agents report themselves.

    Raises:
        ApiError: 400, always.
    """
    raise bad_request("BadRequest", "Bad agents request: Agent creation using API is not supported..")


def update(draft: Draft, caller: Caller, agent: e.Agent, values: dict[str, Any]) -> e.Agent:
    """An operator takes it out of service, or describes it."""
    del caller
    changed = {name: values[name] for name in ("admin_state_up", "description") if name in values}
    return draft.put(msgspec.structs.replace(agent, **changed))


def delete(draft: Draft, caller: Caller, agent: e.Agent) -> None:
    """Forget it, what was scheduled to it, and with a host's last agent what that said; if it still runs it reports again."""
    del caller
    bindings = draft.find(e.AgentBinding, "agent", agent.id)
    for binding in bindings:
        draft.remove(binding)
    draft.remove(agent)
    dvr_ports.agent_changed(draft, agent.host)
    placement.agent_gone(draft, [binding.object_id for binding in bindings])
    if not draft.has(e.Agent, "host", agent.host):
        claims.take_back(draft, agent.host)
