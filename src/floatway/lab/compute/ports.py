"""What the compute endpoint asks of the Networking API for its instances, as Nova does.

wish: --network net1   ─▶ POST /v2.0/ports    device_id, device_owner compute:nova, binding:host_id
wish: --port port1     ─▶ PUT  /v2.0/ports/…  the same; given back when the instance goes
"""

import urllib.parse
from collections.abc import Iterable
from typing import Any, Final

from floatway.agent.networking import Networking, NetworkingError
from floatway.lab.compute.records import Instance, Nic, Wish

__all__ = ["OWNER", "Conflict", "Invalid", "Ports"]

OWNER: Final = "compute:nova"
_FREE: Final = {"device_id": "", "device_owner": "", "binding:host_id": ""}


class Invalid(Exception):  # noqa: N818 - becomes an answer
    """What was asked for makes no sense (400)."""


class Conflict(Exception):  # noqa: N818 - becomes an answer
    """What was asked for is taken, or cannot be told from others (409)."""


class Ports:
    """Ports of instances. All methods raise NetworkingError when the API refuses, Unreachable when nobody answers."""

    def __init__(self, api: Networking) -> None:
        """``api`` as an administrator."""
        self._api = api

    def project(self) -> str:
        """Whose the caller's own things are."""
        return str(self._api.call("GET", "/v2.0/quotas/tenant")["tenant"]["tenant_id"])

    def wishes(self, asked: list[dict[str, Any]] | None) -> tuple[Wish, ...]:
        """The interfaces that a request's ``networks`` ask for, all of which can be had at this moment.

        Raises:
            Invalid: a network or port is not there, or says too little.
            Conflict: a port is in use, or there is more than one network to choose from.
        """
        if asked is None:
            return self._only()
        found: list[Wish] = []
        for one in asked:
            if port := one.get("port"):
                shown = self._shown(f"/v2.0/ports/{_word(port)}", f"Port {port} could not be found.")["port"]
                if shown["device_id"]:
                    raise Conflict(f"Port {port} is still in use.")
                if not shown["fixed_ips"]:
                    raise Invalid(f"Port {port} requires a FixedIP in order to be used.")
                found.append(Wish(network=shown["network_id"], port=port))
            elif network := one.get("uuid"):
                document = self._shown(f"/v2.0/networks/{_word(network)}", f"Network {network} could not be found.")
                if not document["network"]["subnets"]:
                    raise Invalid(f"Network {network} requires a subnet in order to boot instances on.")
                found.append(Wish(network=network, fixed_ip=one.get("fixed_ip") or ""))
            else:
                raise Invalid("Bad networks format: network uuid is not in proper format (None)")
        return tuple(found)

    def _only(self) -> tuple[Wish, ...]:
        """Without a word about networks: the one there is, if there is just one."""
        every = self._api.call("GET", "/v2.0/networks?router:external=false")["networks"]
        usable = [one["id"] for one in every if one["subnets"]]
        if len(usable) > 1:
            raise Conflict("Multiple possible networks found, use a Network ID to be more specific.")
        return tuple(Wish(network=id_) for id_ in usable)

    def _shown(self, path: str, missing: str) -> Any:
        try:
            return self._api.call("GET", path)
        except NetworkingError as error:
            if error.status == 404:
                raise Invalid(missing) from error
            raise

    def groups(self, asked: Iterable[dict[str, Any]]) -> tuple[str, ...]:
        """Ids of security groups, given by id or name.

        Raises:
            Invalid: one is not there, or there are several of that name.
        """
        found: list[str] = []
        for one in asked:
            try:
                found.append(self._api.one("security_group", str(one.get("name", "")))["id"])
            except NetworkingError as error:
                raise Invalid(f"Security group: {error}") from error
        return tuple(found)

    def of(self, instance_ids: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
        """The ports of these instances, in no order."""
        ids = list(instance_ids)
        found: dict[str, list[dict[str, Any]]] = {id_: [] for id_ in ids}
        query = "&".join(f"device_id={_word(id_)}" for id_ in ids) if len(ids) == 1 else ""
        for port in self._api.call("GET", f"/v2.0/ports?{query}")["ports"] if ids else ():
            if port["device_id"] in found:
                found[port["device_id"]].append(port)
        return found

    def take(self, instance: Instance, wish: Wish, device: str) -> Nic:
        """A port for a wish, bound to the instance's host. One that an earlier try made is taken instead of a second."""
        known = {nic.port for nic in instance.nics}
        bound = {"device_id": instance.id, "device_owner": OWNER, "binding:host_id": instance.host}
        if wish.port:
            self._api.call("PUT", f"/v2.0/ports/{wish.port}", {"port": bound})
            return Nic(wish.port, device, made=False)
        asked = {one.port for one in instance.wishes if one.port}
        for port in self.of([instance.id])[instance.id]:
            if port["network_id"] == wish.network and port["id"] not in known | asked:
                return Nic(port["id"], device, made=True)
        body: dict[str, Any] = {"network_id": wish.network, "tenant_id": instance.project_id, **bound}
        if wish.fixed_ip:
            body["fixed_ips"] = [{"ip_address": wish.fixed_ip}]
        if instance.security_groups:
            body["security_groups"] = list(instance.security_groups)
        return Nic(self._api.call("POST", "/v2.0/ports", {"port": body})["port"]["id"], device, made=True)

    def bind(self, instance: Instance, port_id: str) -> dict[str, Any]:
        """Bind a port that the instance has already to its host."""
        bound = {"port": {"binding:host_id": instance.host}}
        return dict(self._api.call("PUT", f"/v2.0/ports/{port_id}", bound)["port"])

    def release(self, nic: Nic) -> None:
        """Give a port back, or delete it if it was made for the instance. Gone already is fine."""
        try:
            if nic.made:
                self._api.call("DELETE", f"/v2.0/ports/{nic.port}")
            else:
                self._api.call("PUT", f"/v2.0/ports/{nic.port}", {"port": _FREE})
        except NetworkingError as error:
            if error.status != 404:
                raise

    def show(self, port_id: str) -> dict[str, Any] | None:
        """A port; None when it is gone."""
        try:
            return dict(self._api.call("GET", f"/v2.0/ports/{port_id}")["port"])
        except NetworkingError as error:
            if error.status == 404:
                return None
            raise

    def mtu_and_subnets(self, port: dict[str, Any]) -> tuple[int, dict[str, dict[str, Any]]]:
        """The port's network's MTU, and its subnets by id."""
        network = self._api.call("GET", f"/v2.0/networks/{port['network_id']}")["network"]
        subnets = self._api.call("GET", f"/v2.0/subnets?network_id={port['network_id']}")["subnets"]
        return int(network["mtu"]), {one["id"]: one for one in subnets}

    def set_groups(self, port_id: str, group_ids: list[str]) -> None:
        """A port's security groups from now on."""
        self._api.call("PUT", f"/v2.0/ports/{port_id}", {"port": {"security_groups": group_ids}})

    def surroundings(self) -> tuple[dict[str, str], dict[str, list[dict[str, Any]]], dict[str, str]]:
        """Names of networks by id, floating IPs by port, names of security groups by id."""
        networks = self._api.call("GET", "/v2.0/networks?fields=id&fields=name")["networks"]
        groups = self._api.call("GET", "/v2.0/security-groups?fields=id&fields=name")["security_groups"]
        floating: dict[str, list[dict[str, Any]]] = {}
        for one in self._api.call("GET", "/v2.0/floatingips")["floatingips"]:
            if one["port_id"]:
                floating.setdefault(one["port_id"], []).append(one)
        return {one["id"]: one["name"] for one in networks}, floating, {one["id"]: one["name"] for one in groups}


def _word(text: object) -> str:
    return urllib.parse.quote(str(text), safe="")
