"""Collections below a parent: tags of anything, port forwardings of a floating IP, what agents have.

GET | PUT | POST | DELETE  <collection>/<id>/tags              GET | PUT | DELETE  <collection>/<id>/tags/<tag>
floatingips/F/port_forwardings[/<id>]
GET | POST agents/A/l3-routers    DELETE agents/A/l3-routers/R      GET routers/R/l3-agents       (dhcp-networks, dhcp-agents alike)
"""

import urllib.parse
from collections.abc import Callable
from typing import Any, Final

from floatway.api.dispatch import Collections, method_not_allowed, nothing_there
from floatway.api.documents import encode
from floatway.api.http import NO_CONTENT, Request, Response
from floatway.api.noun import Noun
from floatway.control import entities as e
from floatway.control.caller import Caller
from floatway.control.decide import schedulers, tags
from floatway.control.draft import Draft
from floatway.control.errors import ApiError, not_found
from floatway.control.snapshot import Readable

__all__ = ["Forwardings", "Schedule", "Tags"]


class Tags:
    """The tags of one noun's entities."""

    def __init__(self, collections: Collections) -> None:
        """``collections`` finds the entities."""
        self._collections = collections

    async def answer(self, noun: Noun, id_: str, rest: tuple[str, ...], request: Request, caller: Caller) -> Response:
        """``rest`` is the path below ``tags``.

        Raises:
            ApiError: 400, 403, 404, 405.
        """
        if len(rest) > 1:
            raise nothing_there()
        tag = urllib.parse.unquote(rest[0]) if rest else None
        if request.method in {"GET", "HEAD"}:
            model = await self._collections.engine.read()
            entity = self._allowed(model, "get", noun, id_, caller)
            if tag is None:
                return Response(200, encode({"tags": entity.tags}))
            if tag not in entity.tags:
                raise ApiError(404, "TagNotFound", f"Tag {tag} could not be found.")
            return NO_CONTENT
        change = self._change(noun, id_, tag, request, caller)
        written = await self._collections.engine.write(change)
        if written.result is None:
            return Response(201) if request.method == "PUT" else NO_CONTENT
        return Response(200, encode(written.result))

    def _change(
        self, noun: Noun, id_: str, tag: str | None, request: Request, caller: Caller
    ) -> Callable[[Draft], dict[str, Any] | None]:
        method = request.method
        if method == "POST" and tag is not None:
            raise method_not_allowed()
        wanted = tags.wanted(request.json()) if tag is None and method in {"PUT", "POST"} else ()
        if tag is not None:
            tags.check(tag)

        def change(draft: Draft) -> dict[str, Any] | None:
            action = {"PUT": "update", "POST": "create", "DELETE": "delete"}.get(method)
            if action is None:
                raise method_not_allowed()
            entity = self._allowed(draft, action, noun, id_, caller)
            if method == "DELETE":
                tags.clear(draft, entity) if tag is None else tags.remove(draft, entity, tag)
                return None
            if tag is not None:
                tags.add(draft, entity, (tag,))
                return None
            changed = tags.replace(draft, entity, wanted) if method == "PUT" else tags.add(draft, entity, wanted)
            return {"tags": wanted if method == "POST" else changed.tags}

        return change

    def _allowed(self, model: Readable, action: str, noun: Noun, id_: str, caller: Caller) -> Any:
        collections = self._collections
        entity = collections.seen(model, noun, id_, caller)
        collections.guard.may(caller, f"{action}_{noun.singular}:tags", collections.target(model, noun, caller, entity))
        return entity


class Forwardings:
    """The port forwardings of floating IPs."""

    def __init__(self, collections: Collections, parent: Noun, noun: Noun) -> None:
        """``parent`` is the floating IP's noun, ``noun`` the forwarding's."""
        self._collections = collections
        self._parent = parent
        self._noun = noun

    async def answer(self, parent_id: str, rest: tuple[str, ...], request: Request, caller: Caller) -> Response:
        """``rest`` is the path below ``port_forwardings``.

        Raises:
            ApiError: 404, 405, and what the rules say.
        """
        collections, noun, method = self._collections, self._noun, request.method
        model = await collections.engine.read()
        collections.seen(model, self._parent, parent_id, caller)
        if not rest:
            if method in {"GET", "HEAD"}:
                rows = model.find(e.PortForwarding, "floatingip", parent_id)
                return await collections.index(noun, request, caller, among=rows)
            if method == "POST":
                return await collections.create(noun, request, caller, extra={"floatingip_id": parent_id})
            raise method_not_allowed()
        if len(rest) > 1:
            raise nothing_there()
        forwarding = model.get(e.PortForwarding, rest[0])
        if forwarding is None or forwarding.floatingip_id != parent_id:
            raise not_found(noun.singular, rest[0])
        if method in {"GET", "HEAD"}:
            return await collections.show(noun, rest[0], request, caller)
        if method == "PUT":
            return await collections.update(noun, rest[0], request, caller)
        if method == "DELETE":
            return await collections.delete(noun, rest[0], request, caller)
        raise method_not_allowed()


_OF_AGENT: Final[dict[str, tuple[type[e.Entity], str, str]]] = {
    "l3-routers": (e.Router, "l3-router", "routers"),
    "dhcp-networks": (e.Network, "dhcp-network", "networks"),
}


class Schedule:
    """Which agents have which routers and networks, from both sides."""

    def __init__(self, collections: Collections, nouns: dict[str, Noun]) -> None:
        """``nouns`` by their singular."""
        self._collections = collections
        self._nouns = nouns

    async def of_agent(self, agent_id: str, rest: tuple[str, ...], request: Request, caller: Caller) -> Response:
        """``agents/A/l3-routers`` and ``agents/A/dhcp-networks``; ``rest`` begins with which.

        Raises:
            ApiError: 403, 404, 405, 409.
        """
        kind, rule, collection = _OF_AGENT[rest[0]]
        agents, noun = self._nouns[e.Agent.KIND], self._nouns[kind.KIND]
        collections = self._collections
        if request.method in {"GET", "HEAD"} and len(rest) == 1:
            model = await collections.engine.read()
            agent = collections.seen(model, agents, agent_id, caller)
            collections.guard.may(caller, f"get_{rule}s", collections.target(model, agents, caller, agent))
            shown = [
                collections.document(noun, model, one, caller) for one in schedulers.objects_of(model, agent, kind)
            ]
            return Response(200, b'{"%s":[%s]}' % (collection.encode(), b",".join(shown)))
        body = request.json() if request.method == "POST" and len(rest) == 1 else None

        def change(draft: Draft) -> None:
            agent = collections.seen(draft, agents, agent_id, caller)
            action = "create" if request.method == "POST" else "delete"
            collections.guard.may(caller, f"{action}_{rule}", collections.target(draft, agents, caller, agent))
            _schedule(draft, agent, kind, rest[1:], body)

        if not (request.method == "POST" and len(rest) == 1) and not (request.method == "DELETE" and len(rest) == 2):
            raise method_not_allowed()
        await collections.engine.write(change)
        return Response(201, b"null") if request.method == "POST" else NO_CONTENT

    async def agents_of(self, noun: Noun, id_: str, which: str, request: Request, caller: Caller) -> Response:
        """``routers/R/l3-agents`` and ``networks/N/dhcp-agents``; ``which`` is the last part.

        Raises:
            ApiError: 403, 404, 405.
        """
        if request.method not in {"GET", "HEAD"}:
            raise method_not_allowed()
        collections, agents = self._collections, self._nouns[e.Agent.KIND]
        model = await collections.engine.read()
        entity = collections.seen(model, noun, id_, caller)
        collections.guard.may(caller, f"get_{which}", collections.target(model, noun, caller, entity))
        shown = [collections.document(agents, model, agent, caller) for agent in schedulers.agents_of(model, id_)]
        return Response(200, b'{"agents":[%s]}' % b",".join(shown))


def _schedule(draft: Draft, agent: e.Agent, kind: type[e.Entity], gone: tuple[str, ...], body: Any) -> None:
    if kind is e.Router:
        schedulers.remove_router(draft, agent, gone[0]) if gone else schedulers.add_router(draft, agent, body)
    elif gone:
        schedulers.remove_network(draft, agent, gone[0])
    else:
        schedulers.add_network(draft, agent, body)
