"""Who follows, what they were sent, what they have applied: the server's memory of its hosts. No sockets here.

    engine ──moved(model, changed)──▶ Parts ──Delta──▶ Stream of h1 ──▶ … the agent on h1
                                                   └─▶ Stream of h2 (slow): its next delta grows, it never queues

A stream holds one delta that is not sent yet; what comes meanwhile is merged into it, so a slow host costs memory for its own part
at most, and nobody waits for it. The models of the newest revisions that concerned a host are kept (they share all but what
differs): who was away for a short while is sent the difference from the revision that it stands at, who was away for longer begins
anew. A revision that concerned nobody is as good as the one before it, and costs nothing.
"""

import asyncio
import collections
import contextlib
from collections.abc import Callable, Collection
from typing import Any, Final

import msgspec
import structlog

from floatway.control import entities as e
from floatway.control.decide import agents
from floatway.control.parts import Parts, between, part
from floatway.control.scope import Key
from floatway.control.snapshot import Model
from floatway.model.stream import TABLES, Delta, Event, Report, Status, merged

__all__ = ["Ahead", "Hub", "Presence", "Stream", "whole"]

_LOG: Final = structlog.get_logger("floatway.agents")
_ENCODER: Final = msgspec.json.Encoder()
REPORTED: Final = ("ports", "floating_ips", "routers")
"""The tables whose resources have a status, and the fields of a report that hold it."""
KEPT: Final = 1024
"""Revisions that concerned some host, which an agent may have missed and still be sent the difference."""
KEPT_EVENTS: Final = 32
"""The newest that a host told of, kept and written to the log."""
_REASON: Final = 500
EVENTS: Final = ("repaired", "failed", "recovered")


class Ahead(Exception):  # noqa: N818 - a fact, no fault
    """The agent stands at a revision that this server has not reached yet (several servers): wait for ``revision``."""

    def __init__(self, revision: int) -> None:
        super().__init__(f"not yet at revision {revision}")
        self.revision = revision


class Presence(msgspec.Struct, kw_only=True):
    """What is known of one host. ``concerned``: the newest revision that changed its part; ``applied``: the one it stands at."""

    host: str
    connected: bool = False
    elsewhere: str = ""
    """The other server that it is connected to, by what that server said last."""
    concerned: int = 0
    sent: int = 0
    applied: int = 0
    heard: float = 0.0
    """Seconds since the epoch."""
    behind_since: float = 0.0
    """When it began to have something to apply; seconds since the epoch."""
    failures: dict[str, Status] = {}
    """What the host could not make: "ports/ID" and why."""
    events: tuple[Event, ...] = ()
    """The newest that the host told of."""
    due: dict[tuple[str, str], int] = {}
    """(table, id) of what the host was last told, and at which revision: an older word on it is out of date."""
    followed: bool = False
    """Whether ``due`` can be known: the host's agent has been connected here."""
    known_from: int = 0
    """The revision at which this server began to look what concerns the host."""


class Stream:
    """One connection of a host's agent: what it has to be sent next."""

    def __init__(self, host: str, first: Delta) -> None:
        """``first``: what leads the agent from where it stands to now."""
        self.host = host
        self.closed = False
        self.direct: Callable[[int, bytes], bool] = lambda *_: False
        """Sends a line at once if nothing is on its way to the agent. Most lines of most agents need no task to wake up."""
        self._pending: Delta | None = first
        self._line: bytes | None = None
        self._ready = asyncio.Event()
        self._ready.set()

    def offer(self, delta: Delta, line: bytes) -> None:
        """Send this next, together with what is waiting already. ``line`` is ``delta`` encoded."""
        if self._pending is None:
            if not self.closed and self.direct(delta.revision, line):
                return
            self._pending, self._line = delta, line
        else:
            self._pending, self._line = merged(self._pending, delta), None
        self._ready.set()

    def close(self) -> None:
        """Nothing comes any more."""
        self.closed = True
        self._ready.set()

    async def take(self, timeout: float) -> tuple[int, bytes] | None:
        """The next revision and its line; None when nothing came for ``timeout`` seconds, or the stream was closed."""
        # what comes in the moment in which time runs out must not be taken for silence: a heartbeat would say that it was sent
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._ready.wait()
        if self.closed or self._pending is None:
            return None
        delta, line = self._pending, self._line
        self._pending = self._line = None
        self._ready.clear()
        return delta.revision, line if line is not None else encoded(delta)


class Hub:
    """All hosts of one server. Lives in the event loop's thread; ``moved`` is to be told of every revision."""

    def __init__(
        self,
        model: Model,
        *,
        clock: Callable[[], float],
        kept: int = KEPT,
        server: str = "",
        down_seconds: float = 75.0,
    ) -> None:
        """``clock`` gives seconds since the epoch. ``server`` names this one among several on one store, "" when it is alone; a
        host elsewhere, or one that has yet to come back, of which none has heard for ``down_seconds`` is not waited for."""
        self.server = server
        self._down_seconds = down_seconds
        self.parts = Parts(model)
        self.presences: dict[str, Presence] = {}
        self.clock = clock
        self._streams: dict[str, Stream] = {}
        self._models: collections.OrderedDict[int, Model] = collections.OrderedDict({model.revision: model})
        self._kept = kept
        self.events: collections.Counter[str] = collections.Counter()
        """What hosts told of, by kind."""
        self.observe: Callable[[float], None] = lambda _: None
        """Told how many seconds a host took to apply what concerned it."""
        self._waiting: set[asyncio.Event] = set()
        self._begun = clock()
        self._newest = max(map(agents.heard, model.all(e.Agent)), default=0.0)
        self._awaited: set[str] = set()
        """Hosts that were connected before this server, or its streams, began, and have yet to come back."""
        self.in_doubt = asyncio.Event()
        """Set when other servers' hosts may be behind by what was before this one looked; to be asked, and cleared."""
        if not server:
            self._awaited = {agent.host for agent in model.all(e.Agent) if agent.heartbeat_timestamp}
            for host in sorted(self._awaited):
                self._concern(self.present(host), model.revision)
        self._read_stands(model)

    @property
    def revision(self) -> int:
        """The newest revision that streams were told of."""
        return self.parts.model.revision

    # --- the engine's side ------------------------------------------------------------------------

    def moved(self, model: Model, changed: Collection[tuple[str, str]] | None) -> None:
        """The model is at its next revision. Never raises: a fault of ours ends the streams, and agents come back anew."""
        try:
            self._moved(model, changed)
        except Exception:
            _LOG.exception("streams are begun anew", revision=model.revision)
            self._restart(model)

    def _moved(self, model: Model, changed: Collection[tuple[str, str]] | None) -> None:
        if changed is None:
            self._restart(model)
            return
        self._void(changed, model)
        concerned = self.parts.move(model, changed)
        if concerned:
            self._keep(model)
        lines: dict[int, bytes] = {}
        for host, delta in concerned.items():
            presence = self.present(host)
            self._concern(presence, model.revision)
            _note_due(presence, delta)
            stream = self._streams.get(host)
            if stream is not None:
                if id(delta) not in lines:
                    lines[id(delta)] = encoded(delta)
                stream.offer(delta, lines[id(delta)])
        for kind, id_ in changed:
            if kind == e.HostStand.KIND:
                self._read_stand(model, id_)
        self._wake()

    def _void(self, changed: Collection[tuple[str, str]], after: Model) -> None:
        """End what was opened with a key that is good no more, whichever server took it back; and the stream of an agent that an
        operator has forgotten: it says anew what it is."""
        before = self.parts.model
        for kind, id_ in changed:
            if kind == e.HostKey.KIND:
                was, is_ = before.get(e.HostKey, id_), after.get(e.HostKey, id_)
                if is_ is None:
                    self.forget(id_)
                elif was is not None and was.secret != is_.secret:
                    self._end(id_)
            elif (
                kind == e.Agent.KIND
                and (agent := before.get(e.Agent, id_)) is not None
                and after.get(e.Agent, id_) is None
            ):
                self._end(agent.host)

    def _end(self, host: str) -> None:
        if (stream := self._streams.get(host)) is not None:
            self.left(stream)

    def _keep(self, model: Model) -> None:
        self._models[model.revision] = model
        while len(self._models) > self._kept:
            self._models.popitem(last=False)

    def _stood(self, presence: Presence, since: int) -> Model | None:
        """A model that has the host's part as it was at revision ``since``, if one is kept."""
        for revision in reversed(self._models):
            if revision <= since:
                return self._models[revision] if revision == since or presence.known_from <= revision else None
        return None

    def _restart(self, model: Model) -> None:
        self._models = collections.OrderedDict({model.revision: model})
        self.parts = Parts(model)
        self._awaited |= {host for host, presence in self.presences.items() if presence.connected}
        for host, presence in self.presences.items():
            self.parts.follow(host)
            self._concern(presence, model.revision)
        for stream in list(self._streams.values()):
            stream.close()
        self._streams.clear()
        for presence in self.presences.values():
            presence.connected = False
        self._read_stands(model)
        self._wake()

    def _read_stands(self, model: Model) -> None:
        """Where others' hosts stand. What concerned those before now nobody here knows: all of it, then."""
        for stand in model.all(e.HostStand):
            self._read_stand(model, stand.id)
            presence = self.presences.get(stand.id)
            if presence is not None and presence.elsewhere:
                self._concern(presence, model.revision)
                self.in_doubt.set()

    def _read_stand(self, model: Model, host: str) -> None:
        """What another server says of a host, unless we know better."""
        stand = model.get(e.HostStand, host)
        if not self.server or stand is None:
            return
        presence = self.present(host)
        presence.elsewhere = stand.server if stand.server != self.server else ""
        if presence.elsewhere and presence.connected:
            self._end(host)  # it has begun anew there; our end of a dead wire would stand for minutes
        elif presence.elsewhere:
            presence.applied = stand.applied
            self._awaited.discard(host)

    # --- the agents' side -------------------------------------------------------------------------

    def open(self, host: str, since: int | None) -> Stream:
        """A stream for the agent of ``host``, which stands at revision ``since`` (None: nowhere). An earlier one of the host ends.

        Raises:
            Ahead: it stands at a revision that is still to come.
        """
        now = self.parts.model
        if since is not None and since > now.revision:
            raise Ahead(since)
        if (earlier := self._streams.pop(host, None)) is not None:
            earlier.close()
        presence = self.present(host)
        stood = self._stood(presence, since) if since is not None else None
        first = between(stood, now, host) if stood is not None else whole(now, host)
        # what became otherwise and the same again meanwhile it is not told of: its word of where it stands will do
        presence.due = {key: min(revision, since or 0) for key, revision in presence.due.items()}
        if not presence.followed:
            presence.behind_since = self.clock()
        if not presence.followed or not first.empty:  # what it was sent before, by whomever, it need not have made
            self._concern(presence, now.revision)
            _note_due(presence, first)
        self._keep(now)
        presence.connected = presence.followed = True
        presence.elsewhere = ""
        self._awaited.discard(host)
        presence.heard = self.clock()
        stream = self._streams[host] = Stream(host, first)
        self._wake()
        return stream

    def sent(self, stream: Stream, revision: int) -> None:
        """The stream's agent has been sent everything up to ``revision``."""
        if self._streams.get(stream.host) is stream:
            self.presences[stream.host].sent = revision

    def left(self, stream: Stream) -> None:
        """The connection is gone."""
        stream.close()
        if self._streams.get(stream.host) is stream:
            del self._streams[stream.host]
            self.presences[stream.host].connected = False
            self._read_stand(self.parts.model, stream.host)
            self._wake()

    def present(self, host: str) -> Presence:
        """What is known of the host; it is followed from now on."""
        self.parts.follow(host)
        return self.presences.setdefault(host, Presence(host=host, known_from=self.revision))

    def _concern(self, presence: Presence, revision: int) -> None:
        if presence.applied >= presence.concerned:
            presence.behind_since = self.clock()
        presence.concerned = revision

    def silent(self, seconds: float) -> None:
        """Let go of agents that are connected and have said nothing for so long: what hangs is not waited for. They may come
        back."""
        before = self.clock() - seconds
        for host, presence in self.presences.items():
            if presence.connected and presence.heard < before:
                _LOG.warning("an agent is silent", host=host, seconds=round(self.clock() - presence.heard))
                self.left(self._streams[host])

    def heard(self, host: str, report: Report) -> Presence:
        """Take a report's word for where the host stands; what it says of resources is for the rules to store."""
        presence = self.present(host)
        presence.heard = self.clock()
        was_behind = presence.applied < presence.concerned
        if report.applied > presence.applied or report.fresh:
            presence.applied = report.applied
        if was_behind and presence.applied >= presence.concerned:
            self.observe(max(0.0, presence.heard - presence.behind_since))
        if report.fresh:
            presence.failures = {}
        failures = dict(presence.failures)
        for table in REPORTED:
            for id_, status in getattr(report, table).items():
                failures.pop(f"{table}/{id_}", None)
                if status.state == "ERROR" and self.parts.concerns(host, Key(table, id_)):
                    failures[f"{table}/{id_}"] = Status("ERROR", _short(status.reason))
        presence.failures = failures
        if report.events:
            self._note_events(presence, report.events)
        presence.due = {key: revision for key, revision in presence.due.items() if revision > report.applied}
        self._wake()
        return presence

    def _note_events(self, presence: Presence, events: tuple[Event, ...]) -> None:
        self.events.update(event.kind for event in events if event.kind in EVENTS)
        told = [Event(_short(event.kind), _short(event.what), event.seconds) for event in events[-KEPT_EVENTS:]]
        for event in told:
            _LOG.info("a host says", host=presence.host, kind=event.kind, what=event.what)
        presence.events = (*presence.events, *told)[-KEPT_EVENTS:]

    def forget(self, host: str) -> None:
        """The host is no more: its stream ends, nobody waits for it."""
        if (stream := self._streams.pop(host, None)) is not None:
            stream.close()
        self.presences.pop(host, None)
        self.parts.forget(host)
        self._wake()

    # --- who waits --------------------------------------------------------------------------------

    def behind(self, revision: int, hosts: Collection[str] | None = None) -> list[Presence]:
        """The hosts with an agent that follows which a revision up to ``revision`` concerns and that have not said that they stand
        there. Of ``hosts``, those without one too: they may be anywhere."""
        named = self.presences if hosts is None else dict.fromkeys(hosts)
        return [
            presence
            for presence in (self.presences.get(host) or Presence(host=host) for host in named)
            if self._lags(presence, revision, named=hosts is not None)
        ]

    def _lags(self, presence: Presence, revision: int, *, named: bool) -> bool:
        return presence.applied < min(revision, presence.concerned) if self.follows(presence) else named

    def _still(self, late: list[Presence], revision: int, hosts: Collection[str] | None) -> list[Presence]:
        """Who is behind, if these were. With every word of every host each who waits asks: one host of a thousand is enough."""
        first = self.presences.get(late[0].host) if late else None
        if first is not None and self._lags(first, revision, named=hosts is not None):
            return late
        return self.behind(revision, hosts)

    def follows(self, presence: Presence) -> bool:
        """Is the host's agent connected to any server, as far as is known here, or expected back?"""
        kept = presence.elsewhere or presence.host in self._awaited
        return presence.connected or bool(kept and self._is_alive(presence.host))

    def awaits(self, presence: Presence) -> bool:
        """Is the host's agent expected back, since it was connected before this server began?"""
        return presence.host in self._awaited and self.follows(presence)

    def _is_alive(self, host: str) -> bool:
        """Whether any server has heard of the host lately. While none ran none could: then what counts is when they stopped."""
        now = self.clock()
        if now < self._begun + self._down_seconds:
            now = min(now, self._newest)
        return any(
            agents.heard(agent) >= now - self._down_seconds for agent in self.parts.model.find(e.Agent, "host", host)
        )

    async def reached(self, revision: int, timeout: float, hosts: Collection[str] | None = None) -> list[Presence]:
        """Wait until no host is behind; those that still are after ``timeout`` seconds."""
        event = asyncio.Event()
        late: list[Presence] = []
        self._waiting.add(event)
        try:
            async with asyncio.timeout(timeout):
                while self.revision < revision or (late := self._still(late, revision, hosts)):
                    event.clear()
                    await event.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting.discard(event)
        return self.behind(revision, hosts)

    def _wake(self) -> None:
        for event in self._waiting:
            event.set()


def whole(model: Model, host: str) -> Delta:
    """The host's part from nothing."""
    cloud = part(model, host)
    puts: dict[str, Any] = {table: tuple(getattr(cloud, table).values()) for table in TABLES}
    return Delta(revision=model.revision, fresh=True, **puts)


def encoded(delta: Delta) -> bytes:
    """The delta as a line."""
    return _ENCODER.encode(delta) + b"\n"


def _short(text: str) -> str:
    """What a host says, at a bearable length: how it begins (the command) and how it ends (the kernel's word)."""
    half = _REASON // 2
    return text if len(text) <= _REASON else f"{text[: half - 3]} … {text[-half:]}"


def _note_due(presence: Presence, delta: Delta) -> None:
    for table in REPORTED:
        for one in getattr(delta, table):
            presence.due[table, one.id] = delta.revision
        for id_ in delta.removed.get(table, ()):
            presence.due.pop((table, id_), None)
            presence.failures.pop(f"{table}/{id_}", None)
