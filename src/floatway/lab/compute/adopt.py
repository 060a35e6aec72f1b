"""Instances that a cloud.yaml names: their ids are given, their ports are there already, and so may their machines be.

aac0a6c0-… "test" on cy2-compute02 ─▶ an instance like any other: openstack server show | stop | start | delete test
"""

import time

import msgspec

from floatway.lab.compute import wiring
from floatway.lab.compute.keeper import Keeper
from floatway.lab.compute.ports import Ports
from floatway.lab.compute.records import USER, Instance, Nic, Records
from floatway.lab.node import Node

__all__ = ["Told", "adopt"]


class Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An instance as a cloud.yaml names it: its ports are there already, and so may its machine."""

    id: str
    name: str
    host: str
    project_id: str = ""
    node: Node | None = None


def adopt(told: Told, records: Records, keeper: Keeper, ports: Ports) -> None:
    """Know it from now on, and see that it runs where it is said to be. Raises as ``Ports``."""
    known = records.all.get(told.id)
    if known is not None and known.host == told.host:
        if known.name != told.name:
            records.change(told.id, name=told.name, updated=time.time())
        return
    now = time.time()
    base = known or Instance(
        id=told.id, number=records.number(), name=told.name, user_id=USER, host=told.host, flavor="3", created=now,
        updated=now, project_id=told.project_id or ports.project(), node=told.node, booted=1 if told.node else 0,
        task="spawning",
    )  # fmt: skip
    found = ports.of([told.id])[told.id]
    names = {mac: device for device, mac in wiring.devices(told.node).items()} if told.node else {}
    nics = tuple(
        Nic(port["id"], names.get(port["mac_address"], f"eth{number}"), made=True) for number, port in enumerate(found)
    )
    if known is not None:  # it moves: a new machine on the other host
        base = msgspec.structs.replace(base, host=told.host, boots=base.boots + 1, task="migrating", updated=now)
    records.put(msgspec.structs.replace(base, nics=nics, want="running"))
    keeper.kick(told.id)
