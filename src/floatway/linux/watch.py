"""Hear at once what somebody does to a host, and say where to look. Nothing is polled but IP sets, of which the kernel says nothing.

    rtnetlink, nf_tables ─ each namespace of ours and the host's own ─┐
    namespaces that come and go ─ inotify on /run/netns ──────────────┤                      next() ─▶ Touched
    Open vSwitch ─ the database's monitor, each bridge's flow monitor ┼─ one epoll descriptor ─┤
    Open vSwitch restarted ─ inotify on its run directory ────────────┤                      what ours() did comes later
    IP sets ─ compared twice a second ────────────────────────────────┘

Open the watch before the first look at the host: what happens between the two is then heard. A change of our own is heard like
anybody's; it is told apart by its time alone and given out once things are quiet, so that what was done is proven, after the
packets flow, and damage done meanwhile by others is not taken for ours.

One instance taking its tap must not wait for that: :meth:`Watch.expect` names devices whose coming is always told at once.
"""

import asyncio
import os
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import structlog

from floatway.host.ownership import is_our_netns
from floatway.host.steps import Plan
from floatway.linux import netns
from floatway.linux.connection import HostConnection
from floatway.linux.errors import LinuxError
from floatway.linux.touched import EVERYTHING, Touched
from floatway.linux.watch_ears import Ears
from floatway.linux.watch_files import Files
from floatway.linux.watch_gather import Gathering
from floatway.linux.watch_netlink import Namespace
from floatway.linux.watch_ovs import OpenVSwitch
from floatway.linux.watch_sets import Sets

__all__ = ["Touched", "Watch"]

_LOG: Final = structlog.get_logger("floatway.watch")

_SWEEP = 300.0
_ANEW = 1.0
_SETS = 0.5
_SETS_SHARE = 1 / 400  # of a core, spent on comparing sets at most
_FIND = 0.25  # seconds between two tries to reach a daemon
_AGAIN = (0.005, 0.02, 0.1, 0.5, 1.0, 1.0, 1.0, 1.0)


class Watch:
    """The ears of one host, for one asyncio loop. ``sweep``: in so many seconds all of it is to be looked at once, piece by
    piece, for what cannot be heard; ``sets``: seconds between two looks at the IP sets. 0 is never."""

    def __init__(self, conn: HostConnection, *, sweep: float = _SWEEP, sets: float = _SETS) -> None:
        self._netns_dir, self._rundir = conn.netns_dir, conn.ovs_rundir
        self._sweep_seconds, self._sets_seconds = sweep, sets
        self._spaces: dict[str, Namespace] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._round = 1

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._ears = Ears(self._failed)
        self._gathering = Gathering(self._ears.ready)
        self._files, self._sets = Files(), Sets()
        self._ovs = OpenVSwitch(
            self._rundir, self._ears, self._gathering.heard, lambda: self._at("ovs", _FIND, self._find_ovs)
        )
        self._netns_dir.mkdir(parents=True, exist_ok=True)
        self._files.add(self._netns_dir)
        self._ears.read(self._files, self._hear_files)
        self._listen("")
        self._find_namespaces()
        self._find_ovs()
        self._gathering.clear()  # what is there already is for the first look
        self._loop.add_reader(self._ears.fileno(), self._ears.ready)
        self._compare_sets()
        self._sweep()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.remove_reader(self._ears.fileno())
        self._gathering.close()
        for timer in self._timers.values():
            timer.cancel()
        for name in list(self._spaces):
            self._deafen(name)
        self._ovs.close()
        self._files.close()
        self._sets.close()
        self._ears.close()

    async def next(self) -> Touched:
        """Where to look next; waits until there is something. All that was heard since the last call comes at once."""
        return await self._gathering.next()

    def ours(self) -> AbstractContextManager[Callable[[Plan], None]]:
        """What happens while the block runs is most likely our own doing: it is told when things are quiet, but for what the plan
        explains that was run in the block, if it is given to the function that the block gets."""
        return self._gathering.ours()

    def expect(self, devices: Collection[str]) -> None:
        """Devices of the host's own namespace that somebody waits for: each sign of them is told at once."""
        self._gathering.expect(devices)

    def again(self, touched: Touched, seconds: float) -> None:
        """Tell this again after so many seconds: for a look that failed."""
        self._loop.call_later(seconds, self._gathering.put, touched)

    def _at(self, what: str, seconds: float, function: Callable[[], None]) -> None:
        if (before := self._timers.pop(what, None)) is not None:
            before.cancel()
        self._timers[what] = self._loop.call_later(max(seconds, 0.0), function)

    def _failed(self, error: Exception) -> None:
        """What cannot happen has happened: say so, listen to everything anew, and have everything looked at."""
        _LOG.error("hearing failed", error=f"{type(error).__name__}: {error}")
        self._at("anew", _ANEW, self._listen_anew)

    def _listen_anew(self) -> None:
        for name in list(self._spaces):
            self._deafen(name)
        self._ovs.close()
        self._ears.forget(self._files)
        self._ears.read(self._files, self._hear_files)
        if not self._listen(""):
            self._at("anew", _ANEW, self._listen_anew)
        self._find_namespaces()
        self._find_ovs()
        self._gathering.put(EVERYTHING)

    # --- names that come and go

    def _hear_files(self) -> None:
        for directory, name in self._files.read():
            if directory == self._netns_dir:
                self._find_namespaces()
            elif not name or name == "db.sock" or name.endswith(".mgmt") or directory / name == self._rundir:
                self._find_ovs()

    def _find_ovs(self) -> None:
        if not self._files.add(self._rundir):
            self._files.add(self._rundir.parent)
        self._ovs.find()

    def _find_namespaces(self, attempt: int = 0) -> None:
        """Listen in the namespaces that are there. A name comes first and is bound to its namespace a moment later."""
        try:
            names = {entry.name for entry in os.scandir(self._netns_dir) if is_our_netns(entry.name)}
        except OSError:
            names = set()
        for name, space in list(self._spaces.items()):
            if name and (name not in names or space.inode != _inode(self._netns_dir / name)):
                self._deafen(name)
                self._gathering.heard("namespaces", name)
        unbound = False
        for name in names - self._spaces.keys():
            if self._listen(name):
                self._gathering.heard("namespaces", name)
            else:
                unbound = True
        if unbound and attempt < len(_AGAIN):
            self._at("namespaces", _AGAIN[attempt], lambda: self._find_namespaces(attempt + 1))

    def _listen(self, name: str) -> bool:
        try:
            fd = netns.open_fd(self._netns_dir, name) if name else os.open(netns.OWN, os.O_RDONLY | os.O_CLOEXEC)
        except (LinuxError, OSError):
            return False
        try:
            with netns.inside(fd):
                space = self._spaces[name] = Namespace(name, os.fstat(fd).st_ino)
        finally:
            os.close(fd)
        self._ears.read(space.route, lambda: space.hear_route(self._gathering.heard))
        self._ears.read(space.netfilter, lambda: space.hear_netfilter(self._gathering.heard))
        return True

    def _deafen(self, name: str) -> None:
        space = self._spaces.pop(name)
        self._ears.forget(space.route)
        self._ears.forget(space.netfilter)
        space.close()

    # --- what nobody tells

    def _compare_sets(self) -> None:
        if not self._sets_seconds:
            return
        begin = time.thread_time()
        if self._sets.changed():
            self._gathering.heard("sets", "")
        # a host with very many members is looked at less often
        seconds = max(self._sets_seconds, (time.thread_time() - begin) / _SETS_SHARE)
        self._at("sets", seconds, self._compare_sets)

    def _sweep(self, pieces: tuple[Touched, ...] = ()) -> None:
        """Against what is not said and words that were lost: all of the host once a round, in pieces that hold up nobody."""
        if not self._sweep_seconds:
            return
        if pieces:
            self._gathering.put(pieces[0])
        self._find_namespaces()
        self._find_ovs()
        left = pieces[1:] or self._pieces()
        self._at("sweep", self._sweep_seconds / self._round, lambda: self._sweep(left))

    def _pieces(self) -> tuple[Touched, ...]:
        spaces = [frozenset({name}) for name in sorted(self._spaces)]
        pieces = [Touched(addressing=one, chains=one, sets=one, settings=one) for one in spaces]
        pieces += (Touched(bridges=frozenset({name})) for name in sorted(self._ovs.ours))
        pieces.append(Touched(database=True))
        self._round = len(pieces)
        return tuple(pieces)


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return -1
