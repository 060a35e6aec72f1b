"""What the compute endpoint answers: of the Compute API v2.1 what people do with instances, and what clients look up on the way.

    /compute/v2.1    servers, their actions, interfaces and console; flavors
    /image/v2        images: the one there is
    /identity/v3     that there is no more to it
    /lab/v1          servers with the ids that a cloud.yaml gives them (the lab's own word)

It belongs to the lab: everybody on this machine is the administrator, as with the lab's server.
"""

import asyncio
import contextlib
import time
import urllib.parse
import uuid
from pathlib import Path
from typing import Any, Final

import msgspec

from floatway.agent.networking import NetworkingError, Unreachable
from floatway.lab.compute import documents
from floatway.lab.compute.adopt import Told, adopt
from floatway.lab.compute.doors import Doors
from floatway.lab.compute.keeper import Hosts, Keeper
from floatway.lab.compute.listing import found
from floatway.lab.compute.ports import Conflict, Invalid, Ports
from floatway.lab.compute.records import FLAVORS, IMAGE, USER, Instance, Records
from floatway.lab.errors import LabError

__all__ = ["Answer", "App"]

_NAME_BYTES: Final = 255
_PROMPT_SECONDS: Final = 2.0


class Answer(msgspec.Struct, frozen=True):
    """A status, and a document or nothing."""

    status: int
    document: Any = None


class NotFound(Exception):  # noqa: N818 - becomes an answer
    """There is none (404)."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a request to create a server that means something here; the rest of Nova's fields are taken and ignored."""

    name: str
    flavorRef: str  # noqa: N815 - Nova's words
    imageRef: str = ""  # noqa: N815
    networks: list[dict[str, Any]] | str | None = None
    security_groups: list[dict[str, Any]] = []
    availability_zone: str | None = None
    key_name: str | None = None
    metadata: dict[str, str] = {}
    user_data: str = ""
    min_count: int = 1
    max_count: int | None = None


class App:
    """Answers requests. ``url`` is where clients find it."""

    def __init__(self, url: str, records: Records, keeper: Keeper, ports: Ports, hosts: Hosts, *, doors: Doors) -> None:
        self._url = url
        self._base = f"{url}/compute/v2.1"
        self._records = records
        self._keeper = keeper
        self._ports = ports
        self._hosts = hosts
        self._doors = doors

    async def __call__(self, method: str, path: tuple[str, ...], query: str, body: bytes) -> Answer:
        """The answer to a request; ``path`` is split at its slashes and has no empty parts."""
        asked = {name: values[-1] for name, values in urllib.parse.parse_qs(query, keep_blank_values=True).items()}
        try:
            document = msgspec.json.decode(body) if body else {}
            return await self._route(method, path, asked, document)
        except (Invalid, msgspec.DecodeError) as error:
            return Answer(400, documents.fault(400, str(error)))
        except NotFound as error:
            return Answer(404, documents.fault(404, str(error)))
        except Conflict as error:
            return Answer(409, documents.fault(409, str(error)))
        except NetworkingError as error:
            return Answer(error.status, documents.fault(error.status, str(error)))
        except (Unreachable, LabError) as error:
            return Answer(503, documents.fault(503, str(error)))

    async def _route(self, method: str, path: tuple[str, ...], asked: dict[str, str], document: Any) -> Answer:
        match path:
            case ("compute", "v2.1", *rest):
                return await self._compute(method, tuple(rest), asked, document)
            case ("image", "v2", *rest):
                return _images(method, tuple(rest), asked)
            case ("lab", "v1", "servers") if method == "POST":
                return await self._tell(document)
            case (service,) | (service, _) if service in {"compute", "image", "identity"} and method == "GET":
                return self._versions(service, len(path) > 1)
        raise NotFound("The resource could not be found.")

    def _versions(self, service: str, one: bool) -> Answer:
        version = documents.versions(service, f"{self._url}/{service}/{'v2.1' if service == 'compute' else 'v3'}")
        if service == "image":
            version = documents.versions(service, f"{self._url}/image/v2")
            return Answer(300, {"versions": [version]})
        if one:
            return Answer(200, {"version": version})
        return Answer(300, {"versions": {"values": [version]} if service == "identity" else [version]})

    # --- Compute ------------------------------------------------------------------------------------

    async def _compute(self, method: str, path: tuple[str, ...], query: dict[str, str], body: Any) -> Answer:
        self._keeper.observe()
        match method, path:
            case "GET", ():
                return self._versions("compute", True)
            case "GET", ("flavors",) | ("flavors", "detail"):
                return Answer(200, {"flavors": [documents.flavor(one, self._base) for one in FLAVORS.values()]})
            case "GET", ("flavors", id_):
                return Answer(200, {"flavor": documents.flavor(_flavor(id_, NotFound), self._base)})
            case "GET", ("flavors", id_, "os-extra_specs"):
                _flavor(id_, NotFound)
                return Answer(200, {"extra_specs": {}})
            case "GET", ("extensions",):
                return Answer(200, {"extensions": []})
            case "GET", ("servers",):
                return Answer(
                    200,
                    {"servers": [documents.brief(one, self._base) for one in found(self._records.all.values(), query)]},
                )
            case "GET", ("servers", "detail"):
                return Answer(200, {"servers": self._shown(found(self._records.all.values(), query))})
            case "POST", ("servers",):
                return await self._create(body)
            case _, ("servers", id_, *rest):
                return await self._server(method, self._one(id_), tuple(rest), body)
        raise NotFound("The resource could not be found.")

    async def _server(self, method: str, one: Instance, path: tuple[str, ...], body: Any) -> Answer:
        match method, path:
            case "GET", ():
                return Answer(200, {"server": self._shown([one])[0]})
            case "PUT", ():
                return self._rename(one, body)
            case "DELETE", ():
                self._want(one, "deleted", "deleting")
                await self._shortly([one.id])
                return Answer(204)
            case "POST", ("action",):
                answer = self._act(one, body)
                await self._shortly([one.id])
                return answer
            case "GET", ("os-interface",):
                ports = self._ports.of([one.id])[one.id]
                return Answer(200, {"interfaceAttachments": [documents.interface(port) for port in ports]})
            case "GET", ("os-interface", port_id):
                return Answer(200, {"interfaceAttachment": documents.interface(self._port(one, port_id))})
            case "POST", ("os-interface",):
                return await self._attach(one, body)
            case "DELETE", ("os-interface", port_id):
                return self._detach(one, port_id)
            case "GET", ("metadata",):
                return Answer(200, {"metadata": one.metadata})
            case (("POST" | "PUT"), ("metadata",)):
                new = _text_pairs(_part(body, "metadata"))
                kept = one.metadata if method == "POST" else {}
                return Answer(200, {"metadata": self._change(one, metadata={**kept, **new}).metadata})
            case "DELETE", ("metadata", key):
                if key not in one.metadata:
                    raise NotFound("Metadata item was not found")
                self._change(one, metadata={name: value for name, value in one.metadata.items() if name != key})
                return Answer(204)
        raise NotFound("The resource could not be found.")

    def _one(self, id_: str) -> Instance:
        found = self._records.all.get(id_)
        if found is None:
            raise NotFound(f"Instance {id_} could not be found.")
        return found

    def _shown(self, instances: list[Instance]) -> list[dict[str, Any]]:
        if not instances:
            return []
        ports, around = self._ports.of([one.id for one in instances]), self._ports.surroundings()
        return [documents.server(one, ports[one.id], around, self._base) for one in instances]

    def _port(self, one: Instance, port_id: str) -> dict[str, Any]:
        port = self._ports.show(port_id)
        if port is None or port["device_id"] != one.id:
            raise NotFound(f"Port {port_id} is not attached to instance {one.id}.")
        return port

    async def _create(self, body: Any) -> Answer:
        asked = msgspec.convert(_part(body, "server"), Asked)
        if not asked.name.strip() or len(asked.name) > _NAME_BYTES:
            raise Invalid("Invalid input for field/attribute name: 1 to 255 characters.")
        _flavor(asked.flavorRef, Invalid)
        if asked.imageRef not in {"", IMAGE.id}:
            raise Invalid(f"Can not find requested image {asked.imageRef}.")
        networks = asked.networks if asked.networks != "auto" else None
        wishes = self._ports.wishes([] if isinstance(networks, str) else networks)
        groups = self._ports.groups(asked.security_groups)
        project = self._ports.project()
        count = max(asked.min_count, asked.max_count or 1)
        if count > 1 and any(wish.port or wish.fixed_ip for wish in wishes):
            raise Invalid("Unable to launch multiple instances with a single configured port ID or address.")
        made: list[Instance] = []
        for number in range(1, count + 1):
            now = time.time()
            one = Instance(
                id=str(uuid.uuid4()),
                number=self._records.number(),
                name=asked.name if count == 1 else f"{asked.name}-{number}",
                project_id=project,
                user_id=USER,
                host=self._place(asked.availability_zone or ""),
                flavor=asked.flavorRef,
                image=asked.imageRef,
                key_name=asked.key_name,
                metadata=_text_pairs(asked.metadata),
                user_data=asked.user_data,
                security_groups=groups,
                task="spawning",
                created=now,
                updated=now,
                wishes=wishes,
            )
            made.append(self._records.put(one))
            self._keeper.kick(one.id)
        await self._shortly([one.id for one in made])
        links = documents.brief(made[0], self._base)["links"]
        shown = {"id": made[0].id, "links": links, "OS-DCF:diskConfig": "AUTO"}
        return Answer(202, {"server": {**shown, "security_groups": asked.security_groups or [{"name": "default"}]}})

    def _place(self, zone: str) -> str:
        """The host for a new instance: the one named after the zone's colon, else that with the fewest.

        Raises:
            Invalid: there is none of that name, or none at all.
        """
        wanted = zone.partition(":")[2]
        alive = [name for name, node in self._hosts().items() if node.alive]
        if wanted and wanted not in alive:
            raise Invalid(f"Compute host {wanted} could not be found; there are: {', '.join(alive) or 'none'}")
        if zone.partition(":")[0] not in {"", "nova"}:
            raise Invalid("The requested availability zone is not available; there is: nova")
        if not alive:
            raise Invalid("No valid host was found: the lab has no compute host that lives.")
        used = [one.host for one in self._records.all.values()]
        return wanted or min(alive, key=lambda name: (used.count(name), name))

    async def _tell(self, body: Any) -> Answer:
        """Instances that the lab knows already; those named in ``remove`` are forgotten, and their machines ended."""
        told = msgspec.convert(body.get("servers", []), list[Told])
        removed = msgspec.convert(body.get("remove", []), list[str])
        await self._doors.open()  # there may be new hosts
        for one in told:
            adopt(one, self._records, self._keeper, self._ports)
        for id_ in removed:
            if (known := self._records.all.get(id_)) is not None:
                self._want(known, "deleted", "deleting")
        return Answer(200, {"servers": [one.id for one in told], "remove": removed})

    def _rename(self, one: Instance, body: Any) -> Answer:
        name = _part(body, "server").get("name", one.name)
        if not isinstance(name, str) or not name.strip() or len(name) > _NAME_BYTES:
            raise Invalid("Invalid input for field/attribute name: 1 to 255 characters.")
        return Answer(200, {"server": self._shown([self._change(one, name=name)])[0]})

    # --- What can be done with an instance ------------------------------------------------------------

    def _act(self, one: Instance, body: Any) -> Answer:
        if not isinstance(body, dict) or len(body) != 1:
            raise Invalid("Invalid input: one action is wanted.")
        ((action, how),) = body.items()
        match action:
            case "os-stop":
                _in_state(one, action, "active", "error")
                self._want(one, "stopped", "powering-off")
            case "os-start":
                _in_state(one, action, "stopped", "error")
                self._want(self._change(one, boots=one.boots + 1), "running", "powering-on")
            case "reboot":
                _in_state(one, action, "active", "stopped", "error")
                hard = isinstance(how, dict) and how.get("type") == "HARD"
                self._want(self._change(one, boots=one.boots + 1), "running", "rebooting_hard" if hard else "rebooting")
            case "os-getConsoleOutput":
                return Answer(200, {"output": _tail(self._records.console(one.id), how)})
            case "addSecurityGroup" | "removeSecurityGroup":
                self._group(one, how, add=action == "addSecurityGroup")
            case _:
                raise Invalid(
                    f"There is no such action: {action}; the lab has start, stop, reboot and the console's log"
                )
        return Answer(202)

    def _group(self, one: Instance, how: Any, *, add: bool) -> None:
        (group,) = self._ports.groups([how if isinstance(how, dict) else {}])
        for port in self._ports.of([one.id])[one.id]:
            others = [id_ for id_ in port["security_groups"] if id_ != group]
            if not add and len(others) == len(port["security_groups"]):
                raise Conflict(f"Security group {group} not associated with the instance {one.id}")
            self._ports.set_groups(port["id"], [*others, group] if add else others)

    async def _attach(self, one: Instance, body: Any) -> Answer:
        wanted = _part(body, "interfaceAttachment")
        fixed = (wanted.get("fixed_ips") or [{}])[0].get("ip_address")
        asked = {"port": wanted.get("port_id"), "uuid": wanted.get("net_id"), "fixed_ip": fixed}
        (wish,) = self._ports.wishes([asked] if asked["port"] or asked["uuid"] else None) or (None,)
        if wish is None:
            raise Invalid("There is no network to attach to.")
        _in_state(one, "attach an interface", "active", "stopped")
        nic = self._keeper.take(one.id, wish)
        self._keeper.kick(one.id)
        await self._keeper.settled(one.id)
        port = self._ports.show(nic.port)
        if port is None:
            raise Conflict(f"Port {nic.port} is gone.")
        return Answer(200, {"interfaceAttachment": documents.interface(port)})

    def _detach(self, one: Instance, port_id: str) -> Answer:
        if port_id not in {nic.port for nic in one.nics}:
            raise NotFound(f"Port {port_id} is not attached to instance {one.id}.")
        self._change(one, drops=(*one.drops, port_id))
        self._keeper.kick(one.id)
        return Answer(202)

    async def _shortly(self, ids: list[str]) -> None:
        """Answer when it is done, if that is soon: a person then sees the end, and clients that wait in steps of seconds need not."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PROMPT_SECONDS):
                for id_ in ids:
                    await self._keeper.settled(id_)

    def _want(self, one: Instance, want: str, task: str) -> None:
        self._change(one, want=want, task=task)
        self._keeper.kick(one.id)

    def _change(self, one: Instance, **fields: Any) -> Instance:
        return self._records.change(one.id, **fields, updated=time.time())


def _images(method: str, path: tuple[str, ...], query: dict[str, str]) -> Answer:
    match method, path:
        case "GET", ("images",):
            ids = query.get("id", "").removeprefix("in:")
            wanted = (not ids or IMAGE.id in ids.split(",")) and query.get("name", IMAGE.name) == IMAGE.name
            found = [documents.image(IMAGE)] if wanted and "marker" not in query else []
            return Answer(200, {"images": found, "first": "/v2/images", "schema": "/v2/schemas/images"})
        case "GET", ("images", id_) if id_ == IMAGE.id:
            return Answer(200, documents.image(IMAGE))
        case "GET", ("schemas", "image"):
            return Answer(200, documents.image_schema())
        case "GET", ():
            return Answer(300, {"versions": [documents.versions("image", "/image/v2")]})
    raise NotFound("The resource could not be found.")


def _part(body: Any, key: str) -> dict[str, Any]:
    part = body.get(key) if isinstance(body, dict) else None
    if not isinstance(part, dict):
        raise Invalid(f"Invalid input: '{key}' is a required property.")
    return part


def _text_pairs(pairs: dict[str, Any]) -> dict[str, str]:
    if any(not isinstance(value, str) or not 0 < len(key) <= 255 or len(value) > 255 for key, value in pairs.items()):
        raise Invalid("Invalid input for field/attribute metadata: texts of 255 characters at most.")
    return dict(pairs)


def _flavor(id_: str, error: type[Exception]) -> Any:
    if id_ not in FLAVORS:
        raise error(f"Flavor {id_} could not be found.")
    return FLAVORS[id_]


def _in_state(one: Instance, action: str, *states: str) -> None:
    if one.task is not None:
        raise Conflict(f"Cannot '{action}' instance {one.id} while it is in task_state {one.task}")
    if one.vm_state not in states:
        raise Conflict(f"Cannot '{action}' instance {one.id} while it is in vm_state {one.vm_state}")


def _tail(console: Path, how: Any) -> str:
    """What an instance said: all of it, or as many lines from the end as are asked for."""
    length = how.get("length") if isinstance(how, dict) else None
    if length is not None and not str(length).isdigit():
        raise Invalid(f"Invalid input for field/attribute length. Value: {length}.")
    try:
        text = console.read_text(errors="replace")
    except FileNotFoundError:
        return ""
    lines = text.splitlines(keepends=True)
    return text if length is None else "".join(lines[max(len(lines) - int(length), 0) :])
