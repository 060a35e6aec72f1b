"""Instances, flavors and images as the Compute API v2.1 and the Image API v2 show them; every field that Nova shows is there."""

import hashlib
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from floatway.lab.compute.records import Flavor, Image, Instance

__all__ = ["Surroundings", "brief", "fault", "flavor", "image", "image_schema", "interface", "server", "versions"]

Surroundings = tuple[dict[str, str], dict[str, list[dict[str, Any]]], dict[str, str]]
"""Names of networks by id, floating IPs by port id, names of security groups by id."""

_RUNNING, _SHUTDOWN, _NOSTATE = 1, 4, 0
_REBOOTING: Final = {"rebooting": "REBOOT", "rebooting_hard": "HARD_REBOOT"}
_MADE: Final = "2026-01-01T00:00:00Z"


def server(one: Instance, ports: Iterable[dict[str, Any]], around: Surroundings, base: str) -> dict[str, Any]:
    """An instance in all detail. ``base`` is the API's address."""
    ports = list(ports)
    groups = dict.fromkeys(around[2].get(id_, id_) for port in ports for id_ in port["security_groups"])
    document: dict[str, Any] = {
        **brief(one, base),
        "status": status(one),
        "tenant_id": one.project_id,
        "user_id": one.user_id,
        "metadata": one.metadata,
        "hostId": host_id(one),
        "image": _reference("images", one.image, base) if one.image else "",
        "flavor": _reference("flavors", one.flavor, base),
        "created": iso(one.created),
        "updated": iso(one.updated),
        "addresses": addresses(one, ports, around),
        "accessIPv4": "",
        "accessIPv6": "",
        "OS-DCF:diskConfig": "AUTO",
        "progress": 0 if one.vm_state != "error" else None,
        "OS-EXT-AZ:availability_zone": one.zone,
        "config_drive": "",
        "key_name": one.key_name,
        "OS-SRV-USG:launched_at": precise(one.launched),
        "OS-SRV-USG:terminated_at": None,
        "OS-EXT-SRV-ATTR:host": one.host,
        "OS-EXT-SRV-ATTR:instance_name": f"instance-{one.number:08x}",
        "OS-EXT-SRV-ATTR:hypervisor_hostname": one.host,
        "OS-EXT-STS:task_state": one.task,
        "OS-EXT-STS:vm_state": one.vm_state,
        "OS-EXT-STS:power_state": power_state(one),
        "os-extended-volumes:volumes_attached": [],
    }
    if groups:
        document["security_groups"] = [{"name": name} for name in groups]
    if one.vm_state == "error":
        document["fault"] = {"code": 500, "created": iso(one.updated), "message": one.fault}
        del document["progress"]
    return document


def brief(one: Instance, base: str) -> dict[str, Any]:
    """An instance's id and name."""
    return {"id": one.id, "name": one.name, "links": _links("servers", one.id, base)}


def status(one: Instance) -> str:
    """The one word for states and tasks."""
    if one.vm_state == "active":
        return _REBOOTING.get(one.task or "", "ACTIVE")
    return {"building": "BUILD", "stopped": "SHUTOFF", "error": "ERROR"}[one.vm_state]


def power_state(one: Instance) -> int:
    """Nova's number: 1 running, 4 switched off, 0 not known yet."""
    if one.runs:
        return _RUNNING
    return _NOSTATE if one.vm_state == "building" else _SHUTDOWN


def host_id(one: Instance) -> str:
    """The host as a project may tell it from others: a hash of both names."""
    return hashlib.sha224(f"{one.project_id}{one.host}".encode()).hexdigest() if one.host else ""


def addresses(one: Instance, ports: list[dict[str, Any]], around: Surroundings) -> dict[str, list[dict[str, Any]]]:
    """By the network's name, in the order of the interfaces: each fixed address, then the floating ones that lead to it."""
    found: dict[str, list[dict[str, Any]]] = {}
    order = {nic.port: number for number, nic in enumerate(one.nics)}
    for port in sorted(ports, key=lambda port: order.get(port["id"], len(order))):
        mine = found.setdefault(around[0].get(port["network_id"], port["network_id"]), [])
        for fixed in port["fixed_ips"]:
            mine.append(_address(fixed["ip_address"], port["mac_address"], "fixed"))
            mine += [
                _address(floating["floating_ip_address"], port["mac_address"], "floating")
                for floating in around[1].get(port["id"], ())
                if floating["fixed_ip_address"] == fixed["ip_address"]
            ]
    return found


def _address(address: str, mac: str, kind: str) -> dict[str, Any]:
    version = 6 if ":" in address else 4
    return {"version": version, "addr": address, "OS-EXT-IPS:type": kind, "OS-EXT-IPS-MAC:mac_addr": mac}


def interface(port: Mapping[str, Any]) -> dict[str, Any]:
    """An interface of an instance."""
    return {
        "port_id": port["id"],
        "net_id": port["network_id"],
        "mac_addr": port["mac_address"],
        "port_state": port["status"],
        "fixed_ips": port["fixed_ips"],
    }


def flavor(one: Flavor, base: str) -> dict[str, Any]:
    """A flavor in all detail."""
    return {
        "id": one.id,
        "name": one.name,
        "ram": one.ram,
        "disk": one.disk,
        "vcpus": one.vcpus,
        "swap": "",
        "OS-FLV-EXT-DATA:ephemeral": 0,
        "OS-FLV-DISABLED:disabled": False,
        "os-flavor-access:is_public": True,
        "rxtx_factor": 1.0,
        "links": _links("flavors", one.id, base),
    }


def image(one: Image) -> dict[str, Any]:
    """An image as the Image API shows it."""
    return {
        "id": one.id,
        "name": one.name,
        "status": "active",
        "visibility": "public",
        "protected": True,
        "os_hidden": False,
        "container_format": "bare",
        "disk_format": "raw",
        "min_disk": 0,
        "min_ram": 0,
        "size": 0,
        "virtual_size": None,
        "checksum": None,
        "owner": None,
        "tags": [],
        "created_at": _MADE,
        "updated_at": _MADE,
        "file": f"/v2/images/{one.id}/file",
        "self": f"/v2/images/{one.id}",
        "schema": "/v2/schemas/image",
    }


def image_schema() -> dict[str, Any]:
    """What fields images have."""
    return {"name": "image", "properties": {}}


def versions(service: str, base: str) -> dict[str, Any]:
    """A service's one version, for discovery."""
    known = {"compute": "v2.1", "image": "v2.0", "identity": "v3.14"}
    if service == "compute":
        about: dict[str, Any] = {"status": "CURRENT", "version": "2.1", "min_version": "2.1"}
    else:
        about = {"status": "CURRENT" if service == "image" else "stable"}
    return {"id": known[service], **about, "links": [{"rel": "self", "href": f"{base}/"}], "updated": _MADE}


def fault(status_code: int, message: str) -> dict[str, Any]:
    """Nova's error document."""
    kind = {400: "badRequest", 403: "forbidden", 404: "itemNotFound", 409: "conflictingRequest"}
    return {kind.get(status_code, "computeFault"): {"code": status_code, "message": message}}


def iso(seconds: float) -> str:
    """2018-11-25T08:30:10Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def precise(seconds: float | None) -> str | None:
    """2018-11-25T08:30:49.000000, as columns of Nova's tables are shown."""
    return None if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%S.000000", time.gmtime(seconds))


def _reference(plural: str, id_: str, base: str) -> dict[str, Any]:
    return {"id": id_, "links": [{"rel": "bookmark", "href": f"{base}/{plural}/{id_}"}]}


def _links(plural: str, id_: str, base: str) -> list[dict[str, str]]:
    return [{"rel": "self", "href": f"{base}/{plural}/{id_}"}, {"rel": "bookmark", "href": f"{base}/{plural}/{id_}"}]
