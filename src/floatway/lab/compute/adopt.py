"""Instances that a cloud.yaml names: their ids are given, and their ports are there already.

aac0a6c0-… "test" on cy2-compute02 ─▶ an instance like any other: openstack server show | stop | start | delete test
"""

import time
from typing import Any

import msgspec

from floatway.lab.compute.keeper import Keeper
from floatway.lab.compute.ports import Ports
from floatway.lab.compute.records import USER, Instance, Nic, Records

__all__ = ["Told", "adopt"]


class Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An instance as a cloud.yaml names it."""

    id: str
    name: str
    host: str
    project_id: str = ""


def adopt(told: Told, records: Records, keeper: Keeper, ports: Ports) -> None:
    """Know it from now on, and see that it runs where it is said to be. Raises as ``Ports``."""
    known = records.all.get(told.id)
    now = time.time()
    one = known or Instance(
        id=told.id, number=records.number(), name=told.name, user_id=USER, host=told.host, flavor="3", created=now,
        updated=now, project_id=told.project_id or ports.project(), task="spawning",
    )  # fmt: skip
    changes: dict[str, Any] = {"name": told.name, **_nics(one, ports.of([told.id])[told.id])}
    if known is not None and known.host != told.host:  # a new machine on the other host
        changes |= {"host": told.host, "boots": known.boots + 1, "task": "migrating", "want": "running"}
    elif known is not None and known.want == "running" and known.vm_state != "active" and known.task is None:
        changes |= {"boots": known.boots + 1, "task": "powering-on"}  # it died, or could not be made
    changed = msgspec.structs.replace(one, **changes)
    if changed != known:
        records.put(msgspec.structs.replace(changed, updated=now))
        keeper.kick(told.id)


def _nics(one: Instance, found: list[dict[str, Any]]) -> dict[str, Any]:
    """An interface for each port that there is now; those whose ports are gone go."""
    ids = {port["id"] for port in found}
    nics = list(one.nics)
    for port in found:
        if port["id"] not in {nic.port for nic in nics}:
            taken = {nic.device for nic in nics}
            free = next(name for number in range(len(taken) + 1) if (name := f"eth{number}") not in taken)
            nics.append(Nic(port["id"], free, made=True))
    return {"nics": tuple(nics), "drops": tuple(nic.port for nic in nics if nic.port not in ids)}
