"""Which path is answered by what, below ``/v2.0``.

<collection>[/<id>[/<action> | /tags[/<tag>]]]      what all nouns have in common: ``Collections``
ports/P/bindings  floatingips/F/port_forwardings    collections below a parent: ``children``
agents/A/l3-routers  agents/A/dhcp-networks  …
quotas  extensions  availability_zones  …           what is no collection of entities: ``extras``
"""

import urllib.parse
from typing import Any, Final

from floatway.api.children import Forwardings, Schedule, Tags
from floatway.api.dispatch import Collections, method_not_allowed, nothing_there
from floatway.api.documents import encode
from floatway.api.extras import Extras
from floatway.api.http import Request, Response
from floatway.api.noun import Noun
from floatway.api.port_bindings import PortBindings
from floatway.control import entities as e
from floatway.control.caller import Caller
from floatway.control.decide import security_groups

__all__ = ["Api"]

_CORE: Final = ("network", "subnet", "port", "subnetpool")
_AGENT_LISTS: Final = {(e.Router.KIND, "l3-agents"), (e.Network.KIND, "dhcp-agents")}


class Api:
    """Answers everything below ``/v2.0``."""

    def __init__(self, collections: Collections, nouns: dict[str, Noun]) -> None:
        """``nouns`` by their singular."""
        self._collections = collections
        self._by_path: dict[str, Noun] = {}
        for noun in nouns.values():
            if noun.kind is not e.PortForwarding:
                self._by_path[noun.path] = self._by_path[noun.collection] = noun
        self._extras = Extras(collections, nouns)
        self._tags = Tags(collections)
        self._bindings = PortBindings(collections, nouns[e.Port.KIND])
        self._forwardings = Forwardings(collections, nouns[e.FloatingIp.KIND], nouns[e.PortForwarding.KIND])
        self._schedule = Schedule(collections, nouns)

    @property
    def nouns(self) -> frozenset[str]:
        """What metrics may name: the first parts of paths, with underscores."""
        return frozenset(path.replace("-", "_") for path in (*self._by_path, *self._extras.paths))

    async def __call__(self, request: Request, caller: Caller) -> Response:
        """The answer to a request.

        Raises:
            ApiError: what goes into the error document.
        """
        path = request.path
        if not path:
            return _layout(request)
        noun = self._by_path.get(path[0])
        if noun is None:
            if path[0] in self._extras.paths:
                return await self._extras.answer(path, request, caller)
            raise nothing_there()
        if len(path) == 1:
            return await self._collection(noun, request, caller)
        if len(path) == 2:
            return await self._member(noun, path[1], request, caller)
        return await self._below(noun, path[1], path[2:], request, caller)

    async def _collection(self, noun: Noun, request: Request, caller: Caller) -> Response:
        if request.method in {"GET", "HEAD"}:
            if noun.kind in {e.SecurityGroup, e.SecurityGroupRule}:
                await self._ensure_default_group(request, caller)
            return await self._collections.index(noun, request, caller)
        if request.method == "POST":
            return await self._collections.create(noun, request, caller)
        raise method_not_allowed()

    async def _member(self, noun: Noun, id_: str, request: Request, caller: Caller) -> Response:
        if request.method in {"GET", "HEAD"}:
            return await self._collections.show(noun, id_, request, caller)
        if request.method == "PUT":
            return await self._collections.update(noun, id_, request, caller)
        if request.method == "DELETE":
            return await self._collections.delete(noun, id_, request, caller)
        raise method_not_allowed()

    async def _below(self, noun: Noun, id_: str, rest: tuple[str, ...], request: Request, caller: Caller) -> Response:
        name = rest[0]
        if name == "tags" and noun.taggable:
            return await self._tags.answer(noun, id_, rest[1:], request, caller)
        if name == "bindings" and noun.kind is e.Port:
            return await self._bindings.answer(id_, rest[1:], request, caller)
        if name == "port_forwardings" and noun.kind is e.FloatingIp:
            return await self._forwardings.answer(id_, rest[1:], request, caller)
        if name in {"l3-routers", "dhcp-networks"} and noun.kind is e.Agent:
            return await self._schedule.of_agent(id_, rest, request, caller)
        if len(rest) == 1 and (noun.singular, name) in _AGENT_LISTS:
            return await self._schedule.agents_of(noun, id_, name, request, caller)
        action = noun.actions.get(name)
        if action is None or len(rest) > 1:
            raise nothing_there()
        if request.method != "PUT":
            raise method_not_allowed()
        return await self._collections.act(noun, id_, action, request, caller)

    async def _ensure_default_group(self, request: Request, caller: Caller) -> None:
        """Who looks at the security groups of a project, or their rules, finds its default group, as with Neutron."""
        project_id = caller.project_id
        if request.query and caller.sees_all:
            asked = dict(urllib.parse.parse_qsl(request.query))
            project_id = asked.get("project_id") or asked.get("tenant_id") or project_id
        engine = self._collections.engine
        if project_id and security_groups.default_of(engine.model, project_id) is None:
            await engine.write(lambda draft: security_groups.default_group(draft, project_id))


def _layout(request: Request) -> Response:
    """``GET /v2.0/``: the core collections."""
    if request.method not in {"GET", "HEAD"}:
        raise method_not_allowed()
    base = request.url.rstrip("/")
    resources: list[dict[str, Any]] = [
        {"name": name, "collection": f"{name}s", "links": [{"rel": "self", "href": f"{base}/{name}s"}]}
        for name in _CORE
    ]
    return Response(200, encode({"resources": resources}))
