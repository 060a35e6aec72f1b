"""From a path to a rule and back to a document: what every collection of the API has in common.

    GET    /v2.0/ports?…            list       candidates ─ filters ─ policy ─ order ─ page ─ documents
    POST   /v2.0/ports              create     body ─ policy ─ rule ─ commit ─ document          (bulk: all or nothing)
    GET    /v2.0/ports/ID           show
    PUT    /v2.0/ports/ID           update     If-Match: revision_number=N
    DELETE /v2.0/ports/ID           delete
    PUT    /v2.0/routers/ID/add_router_interface   action

A write runs inside ``Engine.write``: policy, conditions and rules see one model, and nobody comes between.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from floatway.api.attributes.body import QUERY_RULES, Body, prepare_create, prepare_update
from floatway.api.documents import Documents, Shape, encode
from floatway.api.engine import Engine
from floatway.api.guard import Guard, hidden_not_found
from floatway.api.http import NO_CONTENT, Request, Response
from floatway.api.noun import Action, Noun
from floatway.api.query import NO_QUERY, Query, links, page, parse, predicates
from floatway.api.targets import EntityTarget
from floatway.api.visibility import candidates, shared, visible
from floatway.control import entities as e
from floatway.control.caller import Caller
from floatway.control.draft import Draft
from floatway.control.errors import ApiError, bad_request, not_found, precondition_failed
from floatway.control.snapshot import Model, Readable

__all__ = ["Collections", "method_not_allowed", "nothing_there"]

_IF_MATCH: Final = re.compile(r"revision_number=([^\s\",]*)")


def nothing_there() -> ApiError:
    """404: no such path."""
    return ApiError(404, "HTTPNotFound", "The resource could not be found.")


def method_not_allowed() -> ApiError:
    """405."""
    return ApiError(405, "HTTPMethodNotAllowed", "The method is not allowed for this resource.")


class Collections:
    """The nouns of one server: everything that is the same for each of them."""

    def __init__(self, engine: Engine, guard: Guard, documents: Documents | None = None) -> None:
        """``guard`` decides who may."""
        self.engine = engine
        self.guard = guard
        self.documents = documents or Documents()

    async def index(
        self, noun: Noun, request: Request, caller: Caller, *, among: Iterable[e.Entity] | None = None
    ) -> Response:
        """``GET /v2.0/<collection>``. ``among`` are the rows of a collection below a parent."""
        query = parse(request.query, QUERY_RULES[noun.collection])
        model = await self.engine.read()
        rows, shape_of = self._rows(noun, model, caller, query, among)
        texts = [self._text(noun, model, row, caller, shape_of) for row in rows]
        body = b'{"%s":[%s]' % (noun.collection.encode(), b",".join(texts))
        if query.limit:
            url = request.url.partition("?")[0]
            body += b',"%s_links":%s' % (noun.collection.encode(), encode(links(url, [row.id for row in rows], query)))
        return Response(200, body + b"}")

    async def show(self, noun: Noun, id_: str, request: Request, caller: Caller) -> Response:
        """``GET /v2.0/<collection>/<id>``."""
        model = await self.engine.read()
        entity = self.seen(model, noun, id_, caller)
        target = self.target(model, noun, caller, entity)
        if not self.guard.may_get(caller, noun, target):
            raise hidden_not_found(noun, target)
        query = parse(request.query, QUERY_RULES[noun.collection]) if request.query else NO_QUERY
        shape = Shape(self.guard.hidden(caller, noun, target), query.fields)
        return _wrapped(200, noun.singular, self._text(noun, model, entity, caller, shape))

    async def create(
        self, noun: Noun, request: Request, caller: Caller, *, extra: Mapping[str, Any] | None = None
    ) -> Response:
        """``POST /v2.0/<collection>``. ``extra`` are values that the path gives (a parent's id)."""
        create = noun.create
        if create is None:
            raise nothing_there()
        bodies, bulk = prepare_create(noun.collection, noun.singular, request.json(), caller, bulk=noun.bulk)

        def decide(draft: Draft) -> list[e.Entity]:
            for body in bodies:
                body.values.update(extra or {})
                self._may_create(draft, noun, caller, body)
            if noun.check_bulk is not None and bulk:
                noun.check_bulk([body.values for body in bodies])
            return [create(draft, caller, dict(body.values)) for body in bodies]

        written = await self.engine.write(decide)
        model = written.model
        # as it is at the end of the request: a later step of the same rule may have changed what an earlier one made
        made = [model.get(noun.kind, entity.id) or entity for entity in written.result]
        texts = [self._own_text(noun, model, entity, caller) for entity in made]
        if bulk:
            return Response(201, b'{"%s":[%s]}' % (noun.collection.encode(), b",".join(texts)))
        return _wrapped(201, noun.singular, texts[0])

    async def update(self, noun: Noun, id_: str, request: Request, caller: Caller) -> Response:
        """``PUT /v2.0/<collection>/<id>``."""
        change = noun.update
        if change is None:
            raise method_not_allowed()
        body = prepare_update(noun.collection, noun.singular, request.json(), caller)
        expected = _expected_revision(request)

        def decide(draft: Draft) -> e.Entity:
            entity = self.seen(draft, noun, id_, caller)
            _match(entity, expected)
            self.guard.may_update(caller, noun, body, self.target(draft, noun, caller, entity, body.values))
            return change(draft, caller, entity, dict(body.values))  # type: ignore[no-any-return]

        written = await self.engine.write(decide)
        entity = written.model.get(noun.kind, id_) or written.result
        return _wrapped(200, noun.singular, self._own_text(noun, written.model, entity, caller))

    async def delete(self, noun: Noun, id_: str, request: Request, caller: Caller) -> Response:
        """``DELETE /v2.0/<collection>/<id>``."""
        remove = noun.delete
        if remove is None:
            raise method_not_allowed()
        expected = _expected_revision(request)

        def decide(draft: Draft) -> None:
            entity = self.seen(draft, noun, id_, caller)
            _match(entity, expected)
            self.guard.may_delete(caller, noun, self.target(draft, noun, caller, entity))
            remove(draft, caller, entity)

        await self.engine.write(decide)
        return NO_CONTENT

    async def act(self, noun: Noun, id_: str, action: Action, request: Request, caller: Caller) -> Response:
        """``PUT /v2.0/<collection>/<id>/<action>``."""
        body = request.json() if request.body else {}
        expected = _expected_revision(request)

        def decide(draft: Draft) -> dict[str, Any] | None:
            entity = self.seen(draft, noun, id_, caller)
            _match(entity, expected)
            self.guard.may(caller, action.name, self.target(draft, noun, caller, entity), noun)
            return action.run(draft, caller, entity, body)

        written = await self.engine.write(decide)
        if written.result is None:
            return NO_CONTENT
        document = written.result
        if noun.singular in document and isinstance(document[noun.singular], e.Entity):
            entity = written.model.get(noun.kind, id_) or document[noun.singular]
            return _wrapped(action.status, noun.singular, self._own_text(noun, written.model, entity, caller))
        return Response(action.status, encode(document))

    def seen(self, model: Readable, noun: Noun, id_: str, caller: Caller) -> Any:
        """The entity, if it exists for the caller.

        Raises:
            ApiError: 404 in the noun's words.
        """
        entity = model.get(noun.kind, id_)
        if entity is None or not visible(model, caller, entity):
            raise not_found(noun.singular, id_)
        return entity

    def target(
        self, model: Readable, noun: Noun, caller: Caller, entity: e.Entity, changes: Mapping[str, Any] | None = None
    ) -> EntityTarget:
        """What policy may ask about ``entity`` as ``changes`` would leave it."""
        return EntityTarget(model, caller, noun.kind, entity=entity, values=changes, present=noun.present)

    def document(self, noun: Noun, model: Model, entity: e.Entity, caller: Caller) -> bytes:
        """The entity's document as the caller gets it."""
        return self._own_text(noun, model, entity, caller)

    def _may_create(self, draft: Draft, noun: Noun, caller: Caller, body: Body) -> None:
        target = EntityTarget(draft, caller, noun.kind, values=body.values)
        if noun.kind in {e.Port, e.Subnet} and not caller.sees_all:
            _seen(draft, caller, e.Network, body.values.get("network_id"))
        elif noun.kind is e.SecurityGroupRule:
            _seen(draft, caller, e.SecurityGroup, body.values["security_group_id"])
        self.guard.may_create(caller, noun, body, target)

    def _rows(
        self, noun: Noun, model: Model, caller: Caller, query: Query, among: Iterable[e.Entity] | None
    ) -> tuple[list[Any], Callable[[Any], Shape]]:
        getter = self._getter(noun, model, caller)
        tests = predicates(query, getter)
        guard = self.guard
        found = among if among is not None else _narrowed(model, noun, query)
        if found is None:
            seen: Iterable[e.Entity] = candidates(model, caller, noun.kind)
        else:
            seen = (entity for entity in found if visible(model, caller, entity))
        rows = [row for row in seen if all(test(row) for test in tests)] if tests else list(seen)
        rows = guard.readable(caller, noun, rows, EntityTarget(model, caller, noun.kind, present=noun.present))
        rows = page(rows, query, getter, noun.singular)

        def shape_of(row: Any) -> Shape:
            return Shape(guard.hidden(caller, noun, self.target(model, noun, caller, row)), query.fields)

        if not rows:
            return rows, shape_of
        first = shape_of(rows[0])
        return rows, lambda _row: first

    def _getter(self, noun: Noun, model: Model, caller: Caller) -> Callable[[str], Callable[[Any], Any]]:
        fields = _field_names(noun.kind)

        def getter(name: str) -> Callable[[Any], Any]:
            if name == "shared" and noun.shared:
                return lambda row: shared(model, row, caller.project_id)
            field = fields.get("project_id" if name == "tenant_id" else name)
            if field is not None:
                return lambda row: getattr(row, field)
            return lambda row: noun.present(model, row).get(name)

        return getter

    def _own_text(self, noun: Noun, model: Model, entity: e.Entity, caller: Caller) -> bytes:
        shape = Shape(self.guard.hidden(caller, noun, self.target(model, noun, caller, entity)))
        return self._text(noun, model, entity, caller, shape)

    def _text(
        self, noun: Noun, model: Model, entity: Any, caller: Caller, shape: Shape | Callable[[Any], Shape]
    ) -> bytes:
        mine = shared(model, entity, caller.project_id) if noun.shared else None
        wanted = shape if isinstance(shape, Shape) else shape(entity)
        return self.documents.text(noun, model, entity, wanted, shared=mine)


def _wrapped(status: int, name: str, text: bytes) -> Response:
    return Response(status, b'{"%s":%s}' % (name.encode(), text))


def _seen(draft: Readable, caller: Caller, kind: type[e.Entity], id_: Any) -> None:
    """What is made below a parent needs one that exists for the caller; policy says whether it may be made there."""
    parent = draft.get(kind, str(id_))
    if parent is None or not visible(draft, caller, parent):
        raise not_found(kind.KIND, str(id_))


def _expected_revision(request: Request) -> int | None:
    """``If-Match: revision_number=N``; other tags say nothing."""
    header = request.headers.get("if-match")
    if header is None:
        return None
    numbers = _IF_MATCH.findall(header)
    if not numbers:
        return None
    if len(numbers) > 1:
        raise bad_request("BadRequest", "Bad if-match request: Multiple revision_number etags are not supported.")
    try:
        return int(numbers[0])
    except ValueError:
        raise bad_request(
            "BadRequest", "Bad if-match request: Revision number etag must be in the format of revision_number=<int>."
        ) from None


def _match(entity: e.Entity, expected: int | None) -> None:
    if expected is not None and isinstance(entity, e.Standard) and entity.revision_number != expected:
        raise precondition_failed(f"Constrained to {expected}, but current revision is {entity.revision_number}")


_BY_INDEX: Final = {
    "network_id": "network",
    "device_id": "device",
    "name": "name",
    "project_id": "project",
    "security_group_id": "group",
    "port_id": "port",
    "router_id": "router",
    "floating_network_id": "network",
    "floating_ip_address": "address",
    "subnetpool_id": "pool",
}


def _narrowed(model: Model, noun: Noun, query: Query) -> list[Any] | None:
    """The rows that an index gives for one of the filters, or None when no index helps."""
    ids = query.filters.get("id")
    if ids:
        return [entity for id_ in dict.fromkeys(ids) if (entity := model.get(noun.kind, str(id_))) is not None]
    for name, index in _BY_INDEX.items():
        wanted = query.filters.get(name)
        if not wanted or "" in wanted or (noun.singular, index) not in model.indexes:
            continue
        return [entity for value in dict.fromkeys(wanted) for entity in model.find(noun.kind, index, value)]
    if noun.kind is e.Port and "fixed_ips" in query.filters:
        return _ports_at(model, query.filters["fixed_ips"])
    return None


def _ports_at(model: Model, pairs: Iterable[tuple[str, str]]) -> list[e.Port] | None:
    for name, index in (("ip_address", "ip"), ("subnet_id", "subnet")):
        values = dict.fromkeys(value for key, value in pairs if key == name)
        if values:
            found = {port.id: port for value in values for port in model.find(e.Port, index, value)}
            return list(found.values())
    return None


_FIELDS: Final[dict[type[e.Entity], dict[str, str]]] = {}


def _field_names(kind: type[e.Entity]) -> dict[str, str]:
    names = _FIELDS.get(kind)
    if names is None:
        names = _FIELDS[kind] = dict(zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True))
    return names
