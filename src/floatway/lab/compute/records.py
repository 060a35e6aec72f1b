"""What the lab's compute endpoint remembers: its instances, in one file that is always whole.

/run/floatway/lab/NAME/compute/instances.json      each instance, what is wanted of it, and the machine that it is
                               console/ID          what each said while it started
"""

from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from floatway.lab.node import Node

__all__ = ["FLAVORS", "IMAGE", "USER", "Flavor", "Image", "Instance", "Nic", "Records", "Want", "Wish", "read"]

Want = Literal["running", "stopped", "deleted"]
VmState = Literal["building", "active", "stopped", "error"]


class Flavor(msgspec.Struct, frozen=True):
    """A size, in MiB, GiB and processors. Namespaces take what they need; the numbers are for those who expect some."""

    id: str
    name: str
    ram: int
    disk: int
    vcpus: int


FLAVORS: Final = {
    one.id: one
    for one in (
        Flavor("1", "m1.tiny", 512, 1, 1),
        Flavor("2", "m1.small", 2048, 20, 1),
        Flavor("3", "m1.medium", 4096, 40, 2),
        Flavor("4", "m1.large", 8192, 80, 4),
        Flavor("5", "m1.xlarge", 16384, 160, 8),
    )
}


class Image(msgspec.Struct, frozen=True):
    """What instances start from: here always this machine's own files."""

    id: str
    name: str


IMAGE: Final = Image("6f1c2f8a-6d1e-4b0e-9c5d-2f6f3f8f7a10", "namespace")


USER: Final = "floatway"
"""Whose the instances are, where nobody manages users."""


class Wish(msgspec.Struct, frozen=True):
    """An interface asked for: an existing ``port``, or a new one on ``network`` (with ``fixed_ip``, if given)."""

    network: str = ""
    port: str = ""
    fixed_ip: str = ""


class Nic(msgspec.Struct, frozen=True):
    """An interface: its port and its name inside. ``made``: the port was made for it, and goes with it."""

    port: str
    device: str
    made: bool


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """One instance. ``number`` makes its name on the host; ``boots`` counts how often it was asked to start anew.

    ``task`` is what is under way; times are seconds since the epoch. ``wishes`` become ``nics``; ``drops`` are ports to be taken out.
    """

    id: str
    number: int
    name: str
    project_id: str
    user_id: str
    host: str
    flavor: str
    image: str = ""
    key_name: str | None = None
    zone: str = "nova"
    created: float
    updated: float
    launched: float | None = None
    metadata: dict[str, str] = {}
    user_data: str = ""
    security_groups: tuple[str, ...] = ()
    want: Want = "running"
    boots: int = 1
    vm_state: VmState = "building"
    task: str | None = "scheduling"
    fault: str = ""
    wishes: tuple[Wish, ...] = ()
    nics: tuple[Nic, ...] = ()
    drops: tuple[str, ...] = ()
    node: Node | None = None
    booted: int = 0

    @property
    def runs(self) -> bool:
        """Does its machine live?"""
        return self.node is not None and self.node.alive


class _File(msgspec.Struct, frozen=True):
    number: int = 0
    instances: dict[str, Instance] = {}


class Records:
    """All instances, and the file that they are in."""

    def __init__(self, directory: Path) -> None:
        """Reads what is there. Raises msgspec.DecodeError when the file is none of ours."""
        self._path = directory / "instances.json"
        self._console = directory / "console"
        self._console.mkdir(parents=True, exist_ok=True)
        self._state = read(directory)

    @property
    def all(self) -> dict[str, Instance]:
        """By id, oldest first."""
        return self._state.instances

    def number(self) -> int:
        """The next instance's."""
        return self._state.number + 1

    def put(self, instance: Instance) -> Instance:
        """Remember it: the file is written when this returns."""
        number = max(self._state.number, instance.number)
        self._write(_File(number, {**self._state.instances, instance.id: instance}))
        return instance

    def change(self, id_: str, **fields: Any) -> Instance:
        """Remember it with other fields."""
        return self.put(msgspec.structs.replace(self._state.instances[id_], **fields))

    def drop(self, id_: str) -> None:
        """Forget it, and what it said."""
        self._write(_File(self._state.number, {key: one for key, one in self._state.instances.items() if key != id_}))
        self.console(id_).unlink(missing_ok=True)

    def console(self, id_: str) -> Path:
        """The file with what an instance said."""
        return self._console / id_

    def _write(self, state: _File) -> None:
        aside = self._path.with_suffix(".new")
        aside.write_bytes(msgspec.json.encode(state))
        aside.replace(self._path)
        self._state = state


def read(directory: Path) -> _File:
    """What the file in ``directory`` says; nothing when there is none."""
    try:
        return msgspec.json.decode((directory / "instances.json").read_bytes(), type=_File)
    except FileNotFoundError:
        return _File()
