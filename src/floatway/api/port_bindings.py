"""The bindings of a port: a collection below ``ports/<id>``, keyed by host, whose active member is part of the port itself.

GET | POST            /v2.0/ports/P/bindings
GET | PUT | DELETE    /v2.0/ports/P/bindings/<host>
PUT                   /v2.0/ports/P/bindings/<host>/activate
"""

from collections.abc import Callable
from typing import Any, Final

from floatway.api.attributes.body import QUERY_RULES, prepare_create, prepare_update
from floatway.api.dispatch import Collections, method_not_allowed, nothing_there
from floatway.api.documents import Shape, encode, shaped
from floatway.api.guard import hidden_not_found
from floatway.api.http import NO_CONTENT, Request, Response
from floatway.api.noun import Noun
from floatway.api.query import NO_QUERY, links, page, parse, predicates
from floatway.api.targets import EntityTarget
from floatway.control import present_port
from floatway.control.caller import Caller
from floatway.control.decide import bindings
from floatway.control.draft import Draft
from floatway.control.entities import Port, PortBinding
from floatway.control.snapshot import Readable

__all__ = ["BINDINGS", "PortBindings"]

BINDINGS: Final = Noun(kind=PortBinding, collection="bindings", path="bindings", present=present_port.binding)


class PortBindings:
    """Answers what is asked below ``ports/<id>/bindings``."""

    def __init__(self, collections: Collections, ports: Noun) -> None:
        """``ports`` is the noun of the parent."""
        self._collections = collections
        self._engine = collections.engine
        self._guard = collections.guard
        self._ports = ports

    async def answer(self, port_id: str, rest: tuple[str, ...], request: Request, caller: Caller) -> Response:
        """``rest`` is the path below ``bindings``.

        Raises:
            ApiError: 404 for what is not there, 405 for what cannot be done to it.
        """
        method = "GET" if request.method == "HEAD" else request.method
        if not rest:
            if method == "GET":
                return await self._index(port_id, request, caller)
            if method == "POST":
                return await self._create(port_id, request, caller)
            raise method_not_allowed()
        host = rest[0]
        if len(rest) == 1:
            if method == "GET":
                return await self._show(port_id, host, request, caller)
            if method == "PUT":
                return await self._update(port_id, host, request, caller)
            if method == "DELETE":
                return await self._delete(port_id, host, caller)
            raise method_not_allowed()
        if rest[1:] != ("activate",):
            raise nothing_there()
        if method != "PUT":
            raise method_not_allowed()
        return await self._activate(port_id, host, caller)

    async def _index(self, port_id: str, request: Request, caller: Caller) -> Response:
        query = parse(request.query, QUERY_RULES[BINDINGS.collection])
        model = await self._engine.read()
        every = bindings.of_port(model, self._port(model, port_id, caller))
        tests = predicates(query, _getter)
        rows = [
            one
            for one in every
            if all(test(one) for test in tests)
            and self._guard.may_get(caller, BINDINGS, self._target(model, caller, one))
        ]
        rows = page(rows, query, _getter, BINDINGS.singular)
        document: dict[str, Any] = {
            BINDINGS.collection: [self._document(model, one, caller, query.fields) for one in rows]
        }
        if query.limit:
            url = request.url.partition("?")[0]
            document[f"{BINDINGS.collection}_links"] = links(url, [one.host for one in rows], query)
        return Response(200, encode(document))

    async def _show(self, port_id: str, host: str, request: Request, caller: Caller) -> Response:
        query = parse(request.query, QUERY_RULES[BINDINGS.collection]) if request.query else NO_QUERY
        model = await self._engine.read()
        one = self._binding(model, port_id, host, caller)
        if not self._guard.may_get(caller, BINDINGS, self._target(model, caller, one)):
            raise hidden_not_found()
        return _wrapped(200, self._document(model, one, caller, query.fields))

    async def _create(self, port_id: str, request: Request, caller: Caller) -> Response:
        bodies, _ = prepare_create(BINDINGS.collection, BINDINGS.singular, request.json(), caller, bulk=False)
        body = bodies[0]

        def decide(draft: Draft) -> PortBinding:
            self._port(draft, port_id, caller)
            body.values["port_id"] = port_id
            target = EntityTarget(draft, caller, PortBinding, values=body.values)
            self._guard.may_create(caller, BINDINGS, body, target)
            return bindings.create(draft, caller, body.values)

        written = await self._engine.write(decide)
        return _wrapped(201, self._document(written.model, written.result, caller))

    async def _update(self, port_id: str, host: str, request: Request, caller: Caller) -> Response:
        body = prepare_update(BINDINGS.collection, BINDINGS.singular, request.json(), caller)

        def decide(draft: Draft) -> PortBinding:
            one = self._binding(draft, port_id, host, caller)
            self._guard.may_update(caller, BINDINGS, body, self._target(draft, caller, one))
            return bindings.update(draft, caller, one, body.values)

        return await self._written(decide, caller)

    async def _delete(self, port_id: str, host: str, caller: Caller) -> Response:
        def decide(draft: Draft) -> None:
            one = self._binding(draft, port_id, host, caller)
            self._guard.may_delete(caller, BINDINGS, self._target(draft, caller, one))
            bindings.delete(draft, caller, one)

        await self._engine.write(decide)
        return NO_CONTENT

    async def _activate(self, port_id: str, host: str, caller: Caller) -> Response:
        def decide(draft: Draft) -> PortBinding:
            port = self._port(draft, port_id, caller)
            one = bindings.find(draft, port, host)
            self._guard.may(caller, "activate", self._target(draft, caller, one))
            return bindings.activate(draft, caller, port, host)

        return await self._written(decide, caller)

    async def _written(self, decide: Callable[[Draft], PortBinding], caller: Caller) -> Response:
        written = await self._engine.write(decide)
        return _wrapped(200, self._document(written.model, written.result, caller))

    def _port(self, model: Readable, port_id: str, caller: Caller) -> Port:
        port: Port = self._collections.seen(model, self._ports, port_id, caller)
        return port

    def _binding(self, model: Readable, port_id: str, host: str, caller: Caller) -> PortBinding:
        return bindings.find(model, self._port(model, port_id, caller), host)

    def _target(self, model: Readable, caller: Caller, one: PortBinding) -> EntityTarget:
        return EntityTarget(model, caller, PortBinding, entity=one)

    def _document(
        self, model: Readable, one: PortBinding, caller: Caller, fields: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        hidden = self._guard.hidden(caller, BINDINGS, self._target(model, caller, one))
        return shaped(present_port.binding(model, one), Shape(hidden, fields))


def _getter(name: str) -> Callable[[Any], Any]:
    field = "host" if name == "id" else name
    return lambda one: getattr(one, field, None)


def _wrapped(status: int, document: dict[str, Any]) -> Response:
    return Response(status, encode({BINDINGS.singular: document}))
