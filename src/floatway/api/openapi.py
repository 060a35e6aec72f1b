"""The API described for machines: an OpenAPI 3.1 document, made from the tables that answer requests.

    ATTRIBUTES ──▶ schemas: port, port_create, port_update            nouns ──▶ paths: /v2.0/ports, /v2.0/ports/{port_id}, …

``GET /openapi.json``. ``tests/unit/api/test_openapi.py`` holds it to the code: what it lists is answered, what it does not
list is not, and answers are of its forms.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from starlette.types import Scope

from floatway import __version__
from floatway.api.attributes import ATTRIBUTES
from floatway.api.attributes.base import REQUIRED
from floatway.api.documents import encode
from floatway.api.http import Response
from floatway.api.noun import Noun
from floatway.api.openapi_forms import TEXT, UUID, Schema, ref, request_form, response_form
from floatway.control.decide.quotas import DEFAULTS

__all__ = ["described", "openapi"]

_ROOT: Final = "/v2.0"
_READ: Final = {"4XX": {"$ref": "#/components/responses/Refused"}}
_ERROR: Final[Schema] = {
    "type": "object",
    "properties": {
        "NeutronError": {
            "type": "object",
            "properties": {"type": TEXT, "message": TEXT, "detail": TEXT},
            "required": ["type", "message", "detail"],
        },
        "error": {"type": "object", "description": "In place of NeutronError when it is not known who calls (401)."},
    },
    "minProperties": 1,
}
_PAGING: Final[tuple[tuple[str, Schema, str], ...]] = (
    ("limit", {"type": "integer", "minimum": 0}, "The most to be answered; links lead to the rest."),
    ("marker", TEXT, "The id of the last one of the page before."),
    ("page_reverse", {"type": "boolean"}, "The page before the marker instead."),
)

Operations = dict[str, Any]


def described(nouns: Mapping[str, Noun], bindings: Noun) -> Callable[[Scope], Response]:
    """What answers ``GET /openapi.json``; the document is made when first asked for."""
    text = cache(lambda: encode(openapi(nouns, bindings)))

    def answer(scope: Scope) -> Response:
        del scope
        return Response(200, text())

    return answer


def openapi(nouns: Mapping[str, Noun], bindings: Noun) -> dict[str, Any]:
    """The document of a server with these ``nouns``, by their singular; ``bindings`` are below ports."""
    paths: dict[str, Operations] = {"/": {"get": _get("Versions", {"type": "object"}, secured=False)}}
    schemas: dict[str, Schema] = {"Error": _ERROR}
    for noun in nouns.values():
        _schemas(schemas, noun)
        parent = f"{_ROOT}/floatingips/{{floatingip_id}}" if noun.singular == "port_forwarding" else _ROOT
        paths |= _collection(noun, parent)
    _schemas(schemas, bindings)
    within = schemas["security_group_rule"]["properties"] | {
        "tags": response_form("", "tags")
    }  # in its group's document
    schemas["security_group_rule_within"] = {**schemas["security_group_rule"], "properties": within}
    paths |= _bindings(bindings)
    paths |= _schedules()
    paths |= _extras()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Floatway: the OpenStack Networking API v2.0",
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}, {"basic": []}, {}],
        "paths": {path: {**_path_parameters(path), **operations} for path, operations in paths.items()},
        "components": {
            "schemas": schemas,
            "responses": {
                "Refused": {"description": "Why not.", "content": {"application/json": {"schema": ref("Error")}}},
            },
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
                "basic": {"type": "http", "scheme": "basic"},
            },
        },
    }


def _path_parameters(path: str) -> dict[str, Any]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    if not names:
        return {}
    return {
        "parameters": [
            {
                "name": name,
                "in": "path",
                "required": True,
                "schema": UUID if name.endswith("_id") else _PATHS.get(name, TEXT),
            }
            for name in names
        ]
    }


# below quotas, these are not projects but the question of which one the caller's is
_PATHS: Final[dict[str, Schema]] = {
    "project": {"type": "string", "minLength": 1, "not": {"enum": ["tenant", "project"]}}
}


def _schemas(schemas: dict[str, Schema], noun: Noun) -> None:
    """A noun's document, and the bodies that create and update it."""
    attributes = ATTRIBUTES[noun.collection]
    shown = {a.name: response_form(noun.collection, a.name) for a in attributes.values() if a.visible}
    if noun.shared:
        shown["shared"] = response_form(noun.collection, "shared")
    schemas[noun.singular] = {"type": "object", "properties": shown, "additionalProperties": False}
    if noun.create is not None or noun.singular == "binding":
        posted = [a for a in attributes.values() if a.post]
        schemas[f"{noun.singular}_create"] = {
            "type": "object",
            "properties": {a.name: request_form(a.name, a.default) for a in posted},
            "required": [a.name for a in posted if a.default is REQUIRED and a.name not in {"tenant_id", "project_id"}],
            "additionalProperties": False,
        }
    if noun.update is not None or noun.singular == "binding":
        schemas[f"{noun.singular}_update"] = {
            "type": "object",
            "properties": {a.name: request_form(a.name, a.default) for a in attributes.values() if a.put},
            "additionalProperties": False,
        }


def _wrap(key: str, schema: Schema, *, closed: bool = False) -> Schema:
    shown: Schema = {"type": "object", "properties": {key: schema}, "required": [key]}
    return shown | ({"additionalProperties": False} if closed else {})


def _answer(description: str, schema: Schema) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _get(summary: str, schema: Schema, *, secured: bool = True, parameters: tuple[Schema, ...] = ()) -> Operations:
    operation: Operations = {"summary": summary, "responses": {"200": _answer(summary, schema), **_READ}}
    if parameters:
        operation["parameters"] = list(parameters)
    if not secured:
        operation["security"] = []
    return operation


def _write(summary: str, status: str, schema: Schema | None, body: Schema | None = None) -> Operations:
    answer = _answer(summary, schema) if schema is not None else {"description": summary}
    operation: Operations = {"summary": summary, "responses": {status: answer, **_READ}}
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return operation


def _delete(summary: str) -> Operations:
    return _write(summary, "204", None)


_PORT_OR_SUBNET: Final[Schema] = {
    "type": "object",
    "properties": {"port_id": UUID, "subnet_id": UUID},
    "minProperties": 1,
    "additionalProperties": False,
}
_ROUTES: Final = _wrap("router", _wrap("routes", request_form("routes", ())))
_BODIES: Final[dict[str, Schema]] = {
    "add_router_interface": _PORT_OR_SUBNET,
    "remove_router_interface": _PORT_OR_SUBNET,
    "add_extraroutes": _ROUTES,
    "remove_extraroutes": _ROUTES,
    "add_prefixes": _wrap("prefixes", request_form("prefixes", ())),
    "remove_prefixes": _wrap("prefixes", request_form("prefixes", ())),
    "onboard_network_subnets": _wrap("network_id", UUID),
    "add_addresses": _wrap("addresses", request_form("addresses", ())),
    "remove_addresses": _wrap("addresses", request_form("addresses", ())),
}
_IF_MATCH: Final[Schema] = {
    "name": "If-Match",
    "in": "header",
    "schema": {"type": "string", "pattern": "^revision_number=[0-9]{1,9}$"},
}


def _matched(operation: Operations) -> Operations:
    return {**operation, "parameters": [_IF_MATCH]}


def _query(name: str, schema: Schema, text: str = "", *, several: bool = False) -> Schema:
    shown: Schema = {"name": name, "in": "query", "schema": {"type": "array", "items": schema} if several else schema}
    return shown | ({"description": text} if text else {})


def _fields(collection: str) -> Schema:
    names = sorted(a.name for a in ATTRIBUTES[collection].values() if a.visible)
    return _query("fields", {"enum": names}, "Only these attributes.", several=True)


def _list_parameters(collection: str) -> tuple[Schema, ...]:
    attributes = ATTRIBUTES[collection].values()
    sortable = sorted(a.name for a in attributes if a.sort)
    filters = (_query(a.name, TEXT, several=True) for a in attributes if a.filter)
    order: tuple[Schema, ...] = ()
    if sortable:
        order = (
            _query("sort_key", {"enum": sortable}, "As many as sort_dir.", several=True),
            _query("sort_dir", {"enum": ["asc", "desc"]}, several=True),
        )
    return (*filters, _fields(collection), *order, *(_query(name, form, text) for name, form, text in _PAGING))


def _list_schema(noun: Noun) -> Schema:
    links = {"type": "array", "items": {"type": "object", "properties": {"rel": TEXT, "href": TEXT}}}
    return {
        "type": "object",
        "properties": {
            noun.collection: {"type": "array", "items": ref(noun.singular)},
            f"{noun.collection}_links": links,
        },
        "required": [noun.collection],
        "additionalProperties": False,
    }


def _collection(noun: Noun, parent: str) -> dict[str, Operations]:
    name, many = noun.singular, noun.collection
    base, one = f"{parent}/{noun.path}", f"{parent}/{noun.path}/{{{name}_id}}"
    document = _wrap(name, ref(name), closed=True)
    paths: dict[str, Operations] = {
        base: {"get": _get(f"List {many}", _list_schema(noun), parameters=_list_parameters(many))},
        one: {"get": _get(f"Show a {name}", document, parameters=(_fields(many),))},
    }
    if noun.create is not None:
        item = ref(f"{name}_create")
        single, several = _wrap(name, item, closed=True), _wrap(many, {"type": "array", "items": item}, closed=True)
        answers = {"anyOf": [document, _wrap(many, {"type": "array", "items": ref(name)}, closed=True)]}
        paths[base]["post"] = _write(f"Create a {name}, or several", "201", answers, {"anyOf": [single, several]})
    if noun.update is not None:
        paths[one]["put"] = _matched(_write(f"Change a {name}", "200", document, _wrap(name, ref(f"{name}_update"))))
    if noun.delete is not None:
        paths[one]["delete"] = _matched(_delete(f"Delete a {name}"))
    for action in noun.actions.values():
        done = _write(
            action.name.replace("_", " ").capitalize(), str(action.status), {"type": "object"}, {"type": "object"}
        )
        paths[f"{one}/{action.name}"] = {"put": _matched(done)}
    return paths | (_tags(one) if noun.taggable else {})


def _tags(one: str) -> dict[str, Operations]:
    tags = _wrap("tags", response_form("", "tags"), closed=True)
    return {
        f"{one}/tags": {
            "get": _get("List tags", tags),
            "put": _write("Replace tags", "200", tags, tags),
            "post": _write("Add tags", "200", tags, tags),
            "delete": _delete("Remove all tags"),
        },
        f"{one}/tags/{{tag}}": {
            "get": _delete("Whether there is such a tag"),
            "put": _write("Add a tag", "201", None),
            "delete": _delete("Remove a tag"),
        },
    }


def _bindings(noun: Noun) -> dict[str, Operations]:
    base = f"{_ROOT}/ports/{{port_id}}/bindings"
    document = _wrap("binding", ref("binding"), closed=True)
    return {
        base: {
            "get": _get("List a port's bindings", _list_schema(noun), parameters=_list_parameters("bindings")),
            "post": _write("Bind a port to a further host", "201", document, _wrap("binding", ref("binding_create"))),
        },
        f"{base}/{{host}}": {
            "get": _get("Show a binding", document, parameters=(_fields("bindings"),)),
            "put": _write("Change a binding", "200", document, _wrap("binding", ref("binding_update"))),
            "delete": _delete("Delete a binding"),
        },
        f"{base}/{{host}}/activate": {"put": _write("Make a binding the active one", "200", document)},
    }


def _schedules() -> dict[str, Operations]:
    paths: dict[str, Operations] = {}
    for below, many, one, agents in (
        ("l3-routers", "routers", "router", "l3-agents"),
        ("dhcp-networks", "networks", "network", "dhcp-agents"),
    ):
        base = f"{_ROOT}/agents/{{agent_id}}/{below}"
        listed = _wrap(many, {"type": "array", "items": ref(one)})
        paths[base] = {
            "get": _get(f"List an agent's {many}", listed),
            "post": _write(f"Give an agent a {one}", "201", {}, _wrap(f"{one}_id", UUID)),
        }
        paths[f"{base}/{{{one}_id}}"] = {"delete": _delete(f"Take a {one} from an agent")}
        hosting = _wrap("agents", {"type": "array", "items": ref("agent")})
        paths[f"{_ROOT}/{many}/{{{one}_id}}/{agents}"] = {"get": _get(f"List a {one}'s agents", hosting)}
    return paths


def _listed(path: str, many: str) -> dict[str, Operations]:
    """A collection that can only be listed, and has neither pages nor an order."""
    attributes = [a for a in ATTRIBUTES[many].values() if a.visible]
    row: Schema = {
        "type": "object",
        "properties": {a.name: response_form(many, a.name) for a in attributes},
        "additionalProperties": False,
    }
    filters = tuple(_query(a.name, TEXT, several=True) for a in ATTRIBUTES[many].values() if a.filter)
    listed = _wrap(many, {"type": "array", "items": row})
    return {f"{_ROOT}/{path}": {"get": _get(f"List {many}", listed, parameters=(*filters, _fields(many)))}}


def _extras() -> dict[str, Operations]:
    limits: Schema = {
        "type": "object",
        "properties": {name: {"type": "integer", "minimum": -1, "maximum": 2**31 - 1} for name in DEFAULTS},
    }
    quota, one = _wrap("quota", {"type": "object"}), f"{_ROOT}/quotas/{{project}}"
    extension: Schema = {
        "type": "object",
        "properties": dict.fromkeys(("alias", "name", "updated", "description"), TEXT) | {"links": {"type": "array"}},
        "required": ["alias", "name", "updated", "description", "links"],
        "additionalProperties": False,
    }
    availability = _listed("network-ip-availabilities", "network_ip_availabilities")
    topology = {"type": "object", "properties": dict.fromkeys(("id", "tenant_id", "project_id"), TEXT)}
    return {
        f"{_ROOT}/": {"get": _get("The core collections", _wrap("resources", {"type": "array"}))},
        f"{_ROOT}/extensions": {
            "get": _get("List extensions", _wrap("extensions", {"type": "array", "items": extension}))
        },
        f"{_ROOT}/extensions/{{alias}}": {"get": _get("Show an extension", _wrap("extension", extension))},
        **_listed("availability_zones", "availability_zones"),
        **_listed("service-providers", "service_providers"),
        **_listed("floatingip_pools", "floatingip_pools"),
        **availability,
        f"{_ROOT}/network-ip-availabilities/{{network_id}}": {
            "get": _get("How many addresses a network has left", _wrap("network_ip_availability", {"type": "object"}))
        },
        f"{_ROOT}/auto-allocated-topology/{{project}}": {
            "get": _get("A project's topology, made on demand", _wrap("auto_allocated_topology", topology)),
            "delete": _delete("Delete a project's topology"),
        },
        f"{_ROOT}/quotas": {
            "get": _get("List quotas that differ from the default", _wrap("quotas", {"type": "array"}))
        },
        one: {
            "get": _get("Show a project's quotas", quota),
            "put": _write("Change a project's quotas", "200", quota, _wrap("quota", limits)),
            "delete": _delete("Back to the defaults"),
        },
        f"{one}/default": {"get": _get("Show the default quotas", quota)},
        f"{one}/details": {"get": _get("Show what is used of them", quota)},
    }
