"""What the API has that is no collection of stored things.

extensions   quotas   availability_zones   service-providers   floatingip_pools
network-ip-availabilities   auto-allocated-topology
"""

from collections.abc import Iterable
from typing import Any, Final

from floatway.api.attributes.body import QUERY_RULES
from floatway.api.dispatch import Collections, method_not_allowed, nothing_there
from floatway.api.documents import Shape, encode, shaped
from floatway.api.extensions import EXTENSIONS
from floatway.api.http import NO_CONTENT, Request, Response
from floatway.api.noun import Noun
from floatway.api.policy import Target
from floatway.api.query import Query, page, parse, predicates
from floatway.api.visibility import candidates, visible
from floatway.control import entities as e
from floatway.control import present_l3
from floatway.control.caller import Caller
from floatway.control.decide import auto_allocated, availability, availability_zones, quotas
from floatway.control.decide.service_providers import PROVIDERS
from floatway.control.draft import Draft
from floatway.control.errors import ApiError, bad_request, forbidden
from floatway.control.snapshot import Model

__all__ = ["Extras"]


class _Project:
    """A policy target that is a project and nothing else."""

    def __init__(self, project_id: str) -> None:
        self._project_id = project_id

    def field(self, name: str) -> Any:
        """Its id, by both names."""
        return self._project_id if name in {"project_id", "tenant_id"} else None


class Extras:
    """Answers what is no collection of entities."""

    def __init__(self, collections: Collections, nouns: dict[str, Noun]) -> None:
        """``nouns`` by their singular."""
        self._collections = collections
        self._nouns = nouns
        self._answers: Final = {
            "extensions": self._extensions,
            "quotas": self._quotas,
            "availability_zones": self._zones,
            "service_providers": self._providers,
            "floatingip_pools": self._pools,
            "network_ip_availabilities": self._availabilities,
            "auto_allocated_topology": self._topology,
        }
        # clients write either
        self.paths: Final = frozenset(self._answers) | {name.replace("_", "-") for name in self._answers}

    async def answer(self, path: tuple[str, ...], request: Request, caller: Caller) -> Response:
        """``path`` begins with one of ``paths``.

        Raises:
            ApiError: 403, 404, 405, and what the rules say.
        """
        return await self._answers[path[0].replace("-", "_")](path[1:], request, caller)

    async def _extensions(self, rest: tuple[str, ...], request: Request, caller: Caller) -> Response:
        del caller
        _only_get(request)
        if not rest:
            return Response(200, encode({"extensions": list(EXTENSIONS.values())}))
        found = EXTENSIONS.get(rest[0])
        if found is None or len(rest) > 1:
            raise ApiError(404, "HTTPNotFound", f"Extension with alias {rest[0]} does not exist")
        return Response(200, encode({"extension": found}))

    async def _zones(self, rest: tuple[str, ...], request: Request, caller: Caller) -> Response:
        _only_list(rest, request)
        seen = self._sees(caller, "get_availability_zone")
        rows = availability_zones.zones(await self._collections.engine.read()) if seen else []
        return _listed("availability_zones", rows, request)

    async def _providers(self, rest: tuple[str, ...], request: Request, caller: Caller) -> Response:
        _only_list(rest, request)
        rows = [dict(one) for one in PROVIDERS] if self._sees(caller, "get_service_provider") else []
        return _listed("service_providers", rows, request)

    async def _pools(self, rest: tuple[str, ...], request: Request, caller: Caller) -> Response:
        _only_list(rest, request)
        if not self._sees(caller, "get_floatingip_pool"):
            return _listed("floatingip_pools", [], request)
        model = await self._collections.engine.read()
        networks = [network for network in model.find(e.Network, "external", True) if visible(model, caller, network)]
        rows = present_l3.floating_ip_pools(model, networks, caller.project_id)
        return _listed("floatingip_pools", rows, request)

    async def _availabilities(self, rest: tuple[str, ...], request: Request, caller: Caller) -> Response:
        _only_get(request)
        if len(rest) > 1:
            raise nothing_there()
        seen = self._sees(caller, "get_network_ip_availability")
        model = await self._collections.engine.read()
        if rest:
            if not seen:
                raise nothing_there()
            network = self._collections.seen(model, self._nouns[e.Network.KIND], rest[0], caller)
            return Response(200, encode({"network_ip_availability": availability.of_network(model, network)}))
        networks = candidates(model, caller, e.Network) if seen else ()
        rows = [availability.of_network(model, network) for network in networks if isinstance(network, e.Network)]
        query = parse(request.query, QUERY_RULES["network_ip_availabilities"])
        versions = {str(version) for version in query.filters.pop("ip_version", ())}
        if versions:
            rows = [found for row in rows if (found := _of_version(row, versions)) is not None]
        return _rows("network_ip_availabilities", rows, query, "network_id")

    async def _topology(self, rest: tuple[str, ...], request: Request, caller: Caller) -> Response:
        if len(rest) != 1:
            raise nothing_there()
        project_id = caller.project_id if rest[0] in {"None", "null"} else rest[0]
        if project_id != caller.project_id and not caller.is_admin:
            raise forbidden("NotAuthorized", "Not authorized.")
        target = _Project(project_id)
        engine = self._collections.engine
        if request.method == "DELETE":
            self._may(caller, "delete_auto_allocated_topology", target)
            await engine.write(lambda draft: auto_allocated.delete(draft, project_id))
            return NO_CONTENT
        _only_get(request)
        self._may(caller, "get_auto_allocated_topology", target)
        fields = [part.partition("=")[2] for part in request.query.split("&") if part.startswith("fields=")]
        if "dry-run" in fields:
            await engine.write(auto_allocated.check)
            return _topology_document("dry-run=pass", project_id)
        if any(fields):
            raise bad_request("BadRequest", "Bad auto_allocate request: Unrecognized field.")
        written = await engine.write(lambda draft: auto_allocated.provide(draft, project_id))
        return _topology_document(written.result, project_id)

    async def _quotas(self, rest: tuple[str, ...], request: Request, caller: Caller) -> Response:
        engine = self._collections.engine
        if not rest:
            if request.method == "POST":
                raise ApiError(501, "HTTPNotImplemented", "POST requests are not supported on this resource.")
            _only_get(request)
            self._may(caller, "get_quota", _Project(caller.project_id))
            if not caller.is_admin:
                raise _only_for_admins()
            model = await engine.read()
            shown = [
                {"tenant_id": project, "project_id": project, **quotas.limits(model, engine.settings, project)}
                for project in quotas.projects(model)
            ]
            return Response(200, encode({"quotas": shown}))
        if rest[0] in {"tenant", "project"}:
            _only_get(request)
            return Response(200, encode({rest[0]: {f"{rest[0]}_id": caller.project_id}}))
        return await self._quota(rest[0], rest[1:], request, caller)

    async def _quota(self, project_id: str, rest: tuple[str, ...], request: Request, caller: Caller) -> Response:
        engine, target = self._collections.engine, _Project(project_id)
        if request.method in {"GET", "HEAD"}:
            return self._shown_quota(await engine.read(), project_id, rest, caller)
        if rest:
            raise method_not_allowed()
        if request.method == "PUT":
            self._may(caller, "update_quota", target)
            values = _quota_body(request)
            written = await engine.write(lambda draft: quotas.set_limits(draft, caller, project_id, values))
            return Response(200, encode({"quota": written.result}))
        if request.method == "DELETE":
            self._may(caller, "delete_quota", target)
            await engine.write(lambda draft: _forget(draft, project_id))
            return NO_CONTENT
        raise method_not_allowed()

    def _shown_quota(self, model: Model, project_id: str, rest: tuple[str, ...], caller: Caller) -> Response:
        """A project reads its own; an admin anybody's."""
        settings = self._collections.engine.settings
        if project_id != caller.project_id:
            if rest == ("details",) and not caller.is_admin:
                raise _only_for_admins()
            self._may(caller, "get_quota", _Project(project_id))
        if rest == ("default",):
            return _quota_document(quotas.defaults(settings))
        if rest == ("details",):
            return _quota_document(quotas.details(model, settings, project_id))
        if rest:
            raise nothing_there()
        return _quota_document(quotas.limits(model, settings, project_id))

    def _sees(self, caller: Caller, rule: str) -> bool:
        """Whether lists of what nobody owns have anything in them for the caller."""
        return self._collections.guard.policy.check(caller, rule, _Project(caller.project_id))

    def _may(self, caller: Caller, rule: str, target: Target | None = None) -> None:
        self._collections.guard.may(caller, rule, target or _Project(""))


def _forget(draft: Draft, project_id: str) -> None:
    quotas.delete(draft, project_id)


def _only_get(request: Request) -> None:
    if request.method not in {"GET", "HEAD"}:
        raise method_not_allowed()


def _only_list(rest: tuple[str, ...], request: Request) -> None:
    _only_get(request)
    if rest:
        raise nothing_there()


def _quota_body(request: Request) -> dict[str, Any]:
    document = request.json()
    values = document.get("quota") if isinstance(document, dict) else None
    if not isinstance(values, dict):
        raise bad_request("HTTPBadRequest", "Unable to find 'quota' in request body")
    return values


def _quota_document(shown: dict[str, Any]) -> Response:
    return Response(200, encode({"quota": shown}))


def _only_for_admins() -> ApiError:
    return forbidden(
        "AdminRequired",
        "User does not have admin privileges: Only admin is authorized to access quotas for another project.",
    )


def _topology_document(id_: str, project_id: str) -> Response:
    shown = {"id": id_, "tenant_id": project_id, "project_id": project_id}
    return Response(200, encode({"auto_allocated_topology": shown}))


def _of_version(row: dict[str, Any], versions: Iterable[str]) -> dict[str, Any] | None:
    subnets = [subnet for subnet in row["subnet_ip_availability"] if str(subnet["ip_version"]) in versions]
    return {**row, **availability.total(subnets)} if subnets else None


def _getter(name: str) -> Any:
    return lambda row: row.get(name)


def _listed(collection: str, rows: list[dict[str, Any]], request: Request) -> Response:
    return _rows(collection, rows, parse(request.query, QUERY_RULES[collection]), "")


def _rows(collection: str, rows: list[dict[str, Any]], query: Query, key: str) -> Response:
    tests = predicates(query, _getter)
    rows = [row for row in rows if all(test(row) for test in tests)]
    if key:
        rows = page(rows, query, lambda name: _getter(key if name == "id" else name), collection)
    shape = Shape(fields=query.fields)
    return Response(200, encode({collection: [shaped(row, shape) for row in rows]}))
