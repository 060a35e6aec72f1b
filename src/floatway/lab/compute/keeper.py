"""Makes instances be what is wanted of them, again and again until they are; whatever dies in between, the next try goes on.

    want running   wishes ─▶ ports bound to the host ─▶ machine ─▶ interfaces ─▶ ports ACTIVE ─▶ vm_state active
    want stopped   machine gone; ports and their bindings stay
    want deleted   machine gone, ports given back, forgotten

Only what is in the file of records counts, so a process killed at any moment picks up where it was.
"""

import asyncio
import base64
import binascii
import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import structlog

from floatway.agent.networking import NetworkingError, Unreachable
from floatway.lab import fabric
from floatway.lab.compute import wiring
from floatway.lab.compute.ports import Ports
from floatway.lab.compute.records import Instance, Nic, Records, Wish
from floatway.lab.errors import LabError
from floatway.lab.node import Node

__all__ = ["Hosts", "Keeper", "Trouble"]

_LOG: Final = structlog.get_logger("floatway.lab.compute")
_LOOK: Final = 0.02
_RETRY: Final = 1.0

Hosts = Callable[[], Mapping[str, Node]]
"""The lab's compute hosts as they are now."""


class Trouble(Exception):  # noqa: N818 - becomes an instance's fault
    """An instance cannot be made to be as wanted."""


class Keeper:
    """Keeps all instances as wanted, each in a task of its own. Start with ``start``, end with ``stop``."""

    def __init__(self, lab: str, records: Records, ports: Ports, hosts: Hosts, *, plugging_seconds: float) -> None:
        """``plugging_seconds``: how long an interface may take to become ACTIVE; 0 does not wait, for hosts without an agent."""
        self._lab = lab
        self._records = records
        self._ports = ports
        self._hosts = hosts
        self._plugging_seconds = plugging_seconds
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()

    def start(self) -> None:
        """Go on with what a process before this one began, and look whether all is as it was left."""
        self.observe()
        for id_, one in self._records.all.items():
            if one.task is not None or one.vm_state == "active" or one.want == "stopped":
                self.kick(id_)

    async def stop(self) -> None:
        """Leave everything as it is."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def kick(self, id_: str) -> None:
        """Look at an instance, since something else is wanted of it."""
        if id_ in self._tasks:
            self._again.add(id_)
        else:
            self._tasks[id_] = asyncio.create_task(self._keep(id_), name=f"instance {id_}")

    async def settled(self, id_: str) -> None:
        """Wait until nothing is under way with an instance."""
        while (task := self._tasks.get(id_)) is not None:
            await asyncio.wait([task])

    def observe(self) -> None:
        """An instance whose machine has died is stopped, as one that was switched off inside."""
        for id_, one in self._records.all.items():
            if one.vm_state == "active" and one.task is None and not one.runs:
                _LOG.warning("an instance has died", instance=id_, name=one.name)
                self._records.change(id_, vm_state="stopped", node=None, updated=time.time())

    async def _keep(self, id_: str) -> None:
        try:
            while True:
                self._again.discard(id_)
                await self._persist(id_)
                if id_ not in self._again:
                    return
        finally:
            del self._tasks[id_]

    async def _persist(self, id_: str) -> None:
        """Until it is as wanted, or cannot be."""
        while id_ in self._records.all:
            try:
                await self._converge(id_)
            except Unreachable as error:
                _LOG.warning("the Networking API is out of reach", instance=id_, error=str(error))
                await asyncio.sleep(_RETRY)
                continue
            except (NetworkingError, LabError, Trouble, OSError) as error:
                self._failed(id_, error)
            except Exception as error:
                _LOG.exception("an instance cannot be kept", instance=id_)
                self._failed(id_, error)
            return

    def _failed(self, id_: str, error: Exception) -> None:
        if (one := self._records.all.get(id_)) is None:
            return
        _LOG.warning("instance", instance=id_, name=one.name, error=str(error))
        self._records.change(id_, vm_state="error", task=None, fault=str(error), updated=time.time())

    async def _converge(self, id_: str) -> None:
        match self._records.all[id_].want:
            case "running":
                await self._run(id_)
            case "stopped":
                self._halt(id_)
                self._drop(id_)
                self._wishes(id_)
                self._records.change(id_, vm_state="stopped", task=None, fault="", updated=time.time())
            case "deleted":
                self._halt(id_)
                for nic in self._records.all[id_].nics:
                    self._ports.release(nic)
                for port in self._ports.of([id_])[id_]:  # one made just before a kill
                    self._ports.release(Nic(port["id"], "", made=True))
                self._records.drop(id_)

    def _halt(self, id_: str) -> None:
        """No machine, and no interfaces on its host."""
        one = self._records.all[id_]
        if (compute := self._hosts().get(one.host)) is not None:
            for nic in one.nics:
                wiring.unplug(compute, nic.port)
        wiring.kill(self._lab, id_)
        if one.node is not None:
            self._records.change(id_, node=None)

    async def _run(self, id_: str) -> None:
        one = self._records.all[id_]
        compute = self._hosts().get(one.host)
        if compute is None or not compute.alive:
            raise Trouble(f"host {one.host} is not there")
        self._drop(id_)
        self._wishes(id_)
        fresh = self._machine(id_)
        one = self._records.all[id_]
        assert one.node is not None  # just made, or found alive
        await self._interfaces(one, one.node, compute)
        if fresh or not self._records.console(id_).exists():
            self._console(one, one.node)
        now = time.time()
        self._records.change(id_, vm_state="active", task=None, fault="", updated=now, launched=one.launched or now)

    def _drop(self, id_: str) -> None:
        """Interfaces that are to go."""
        one = self._records.all[id_]
        compute = self._hosts().get(one.host)
        for nic in one.nics:
            if nic.port in one.drops:
                if compute is not None:
                    wiring.unplug(compute, nic.port)
                self._ports.release(nic)
                kept = tuple(other for other in self._records.all[id_].nics if other.port != nic.port)
                self._records.change(id_, nics=kept)
        if one.drops:
            self._records.change(id_, drops=())

    def _wishes(self, id_: str) -> None:
        """A port for each wish; remembered one by one."""
        while wishes := self._records.all[id_].wishes:
            self.take(id_, wishes[0], left=wishes[1:])

    def take(self, id_: str, wish: Wish, left: tuple[Wish, ...] = ()) -> Nic:
        """One more port, bound to the instance's host, to be plugged by the next kick; wishes that are ``left`` are remembered with it.

        Raises:
            NetworkingError, Unreachable: it is not to be had; nothing has changed.
        """
        one = self._records.all[id_]
        used = {nic.device for nic in one.nics}
        device = next(name for number in range(len(used) + 1) if (name := f"eth{number}") not in used)
        nic = self._ports.take(one, wish, device)
        self._records.change(id_, nics=(*one.nics, nic), wishes=left)
        return nic

    def _machine(self, id_: str) -> bool:
        """A live machine of the newest boot; whether it is a new one."""
        one = self._records.all[id_]
        if one.node is not None and one.node.alive and one.booted == one.boots:
            return False
        self._halt(id_)
        self._records.change(id_, node=wiring.boot(self._lab, _hostname(one.name), id_), booted=one.boots)
        return True

    async def _interfaces(self, one: Instance, machine: Node, compute: Node) -> None:
        """All of them, ACTIVE."""
        present = fabric.links(machine)
        waiting: list[str] = []
        for nic in one.nics:
            port = self._ports.show(nic.port)
            if port is None:
                continue  # deleted behind our back: the instance goes on without it, as with Nova
            if port["binding:host_id"] != one.host:
                port = self._ports.bind(one, nic.port)
            if port["binding:vif_type"] == "binding_failed" and self._plugging_seconds:
                raise Trouble(f"Binding failed for port {nic.port}: no agent of host {one.host} can take it; see: "
                              "openstack network agent list")  # fmt: skip
            if nic.device not in present:
                mtu, subnets = self._ports.mtu_and_subnets(port)
                plug = wiring.planned(nic.device, port, mtu, subnets, default=nic.device == one.nics[0].device)
                wiring.plug(machine, compute, plug)
            if port["admin_state_up"]:
                waiting.append(nic.port)
        deadline = time.monotonic() + self._plugging_seconds
        for port_id in waiting if self._plugging_seconds else ():
            while (port := self._ports.show(port_id)) is not None and port["status"] != "ACTIVE":
                if time.monotonic() > deadline:
                    raise Trouble(f"Virtual Interface creation failed: port {port_id} is {port['status']} still")
                await asyncio.sleep(_LOOK)

    def _console(self, one: Instance, machine: Node) -> None:
        path: Path = self._records.console(one.id)
        wiring.announce(machine, path, f"instance-{one.number:08x} starts for the {_ordinal(one.boots)} time")
        with contextlib.suppress(binascii.Error, ValueError):
            script = base64.b64decode(one.user_data)
            if script.startswith(b"#!") and one.boots == 1:
                wiring.start_script(machine, path, script)


def _hostname(name: str) -> str:
    """A name that a machine can have: letters, digits and dashes, 63 at most (RFC 1123)."""
    plain = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-.") else "-" for letter in name)
    return plain.strip("-.")[:63] or "instance"


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
