"""What a list request asks for: filters, fields, order, page; and which documents that leaves.

    ?name=a&name=b          either name                     ?fixed_ips=subnet_id=S&fixed_ips=ip_address=10.0.0.5    nested
    ?fields=id&fields=name  only these                      ?tags=red,blue  both;  tags-any  either;  not-tags, not-tags-any
    ?sort_key=name&sort_dir=desc                            ?limit=10&marker=ID&page_reverse=True

The API's rules for each: https://docs.openstack.org/api-ref/network/v2/ (Filtering, Sorting, Pagination).
"""

import urllib.parse
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from floatway.control.errors import bad_request, not_found

__all__ = ["NO_QUERY", "Query", "Rule", "links", "page", "parse", "predicates"]

_RESERVED = frozenset({"fields", "sort_key", "sort_dir", "limit", "marker", "page_reverse"})
_TAGS = ("tags", "tags-any", "not-tags", "not-tags-any")
_DIRECTIONS = ("asc", "desc")


class Rule(msgspec.Struct, frozen=True):
    """What may be done with one attribute in a query. ``convert`` takes the text of a value."""

    filter: bool
    sort: bool
    convert: Callable[[Any], Any] | None = None


class Query(msgspec.Struct, frozen=True):
    """A list request, parsed. ``filters`` are ORed within a key and ANDed between keys."""

    filters: dict[str, tuple[Any, ...]] = {}
    tags: dict[str, frozenset[str]] = {}
    fields: tuple[str, ...] = ()
    sorts: tuple[tuple[str, bool], ...] = ()
    limit: int = 0
    marker: str = ""
    page_reverse: bool = False
    parameters: tuple[tuple[str, str], ...] = ()


NO_QUERY = Query()


def parse(text: str, rules: Mapping[str, Rule]) -> Query:
    """The query string of a list request on a collection whose attributes have these ``rules``.

    Raises:
        ApiError: 400; an unknown filter or sort key, or a value that is not of the attribute's form.
    """
    if not text:
        return NO_QUERY
    parameters = tuple(urllib.parse.parse_qsl(text, keep_blank_values=True))
    given: dict[str, list[str]] = {}
    for key, value in parameters:
        given.setdefault(key, []).append(value)
    tags = {
        key: frozenset(tag for value in given.pop(key) for tag in value.split(",")) for key in _TAGS if key in given
    }
    keys = [key for key in given if key not in _RESERVED]
    unknown = [key for key in keys if key not in rules or not rules[key].filter]
    if unknown:
        raise bad_request("HTTPBadRequest", f"{unknown} is invalid attribute for filtering")
    return Query(
        filters={_PROJECT.get(key, key): _converted(rules[key], given[key], key) for key in keys},
        tags=tags,
        fields=tuple(name for name in given.get("fields", ()) if name),
        sorts=_sorts(given, rules),
        limit=_limit(given),
        marker=given.get("marker", [""])[-1],
        page_reverse=given.get("page_reverse", [""])[-1].lower() == "true",
        parameters=parameters,
    )


_PROJECT = {"tenant_id": "project_id"}


def _converted(rule: Rule, values: Sequence[str], key: str) -> tuple[Any, ...]:
    if key == "fixed_ips":
        return tuple(_pair(value) for value in values)
    if rule.convert is None:
        return tuple(values)
    return tuple(rule.convert(value) if value != "" else value for value in values)


def _pair(value: str) -> tuple[str, str]:
    name, equals, rest = value.partition("=")
    if not equals or not rest:
        raise bad_request("InvalidInput", f"Invalid input for operation: '{value}' is not of the form <key>=[value].")
    return name.strip(), rest.strip()


def _sorts(given: Mapping[str, Sequence[str]], rules: Mapping[str, Rule]) -> tuple[tuple[str, bool], ...]:
    keys = [key for key in given.get("sort_key", ()) if key]
    directions = [direction for direction in given.get("sort_dir", ()) if direction]
    if len(keys) != len(directions):
        raise bad_request("HTTPBadRequest", "The number of sort_keys and sort_dirs must be same")
    absent = [key for key in keys if key not in rules or not rules[key].sort]
    if absent:
        raise bad_request("HTTPBadRequest", f"{absent} is invalid attribute for sort_keys")
    invalid = [direction for direction in directions if direction not in _DIRECTIONS]
    if invalid:
        raise bad_request(
            "HTTPBadRequest", f"{invalid} is invalid value for sort_dirs, valid value is 'asc' and 'desc'"
        )
    return tuple((key, direction == "asc") for key, direction in zip(keys, directions, strict=True))


def _limit(given: Mapping[str, Sequence[str]]) -> int:
    text = given.get("limit", ["0"])[-1]
    if text.isascii() and text.isdigit() and len(text) < 19:
        return int(text)
    raise bad_request("BadRequest", f"Bad limit request: Limit must be an integer 0 or greater and not '{text}'.")


Getter = Callable[[Any], Any]
Predicate = Callable[[Any], bool]


def predicates(query: Query, getter: Callable[[str], Getter]) -> list[Predicate]:
    """One test per filter. ``getter(name)`` gives the function that reads attribute ``name`` of a row."""
    tests: list[Predicate] = []
    for key, wanted in query.filters.items():
        if key == "fixed_ips":
            tests.append(_fixed_ips(wanted, getter(key)))
        elif wanted:
            tests.append(_among(key, wanted, getter(key)))
    if query.tags:
        tests.extend(_tagged(query.tags, getter("tags")))
    return tests


def _among(key: str, wanted: tuple[Any, ...], get: Getter) -> Predicate:
    if key == "mac_address":
        macs = {str(mac).lower() for mac in wanted}
        return lambda row: str(get(row)).lower() in macs

    def test(row: Any) -> bool:
        value = get(row)
        if isinstance(value, tuple | list):
            return any(one in wanted for one in value) or (not value and "" in wanted)
        if isinstance(value, int) and not isinstance(value, bool) and str(value) in wanted:
            return True
        return value in wanted or (value is None and "" in wanted)

    return test


def _fixed_ips(pairs: Iterable[tuple[str, str]], get: Getter) -> Predicate:
    wanted: dict[str, set[str]] = {}
    for name, value in pairs:
        wanted.setdefault(name, set()).add(value)
    subnets, addresses, parts = (wanted.get(name) for name in ("subnet_id", "ip_address", "ip_address_substr"))

    def test(row: Any) -> bool:
        ips = get(row)
        return (
            (subnets is None or any(ip.subnet_id in subnets for ip in ips))
            and (addresses is None or any(ip.ip_address in addresses for ip in ips))
            and (parts is None or any(part in ip.ip_address for ip in ips for part in parts))
        )

    return test


def _tagged(tags: Mapping[str, frozenset[str]], get: Getter) -> list[Predicate]:
    tests: dict[str, Callable[[frozenset[str]], Predicate]] = {
        "tags": lambda wanted: lambda row: wanted.issubset(get(row)),
        "tags-any": lambda wanted: lambda row: not wanted.isdisjoint(get(row)),
        "not-tags": lambda wanted: lambda row: not wanted.issubset(get(row)),
        "not-tags-any": lambda wanted: lambda row: wanted.isdisjoint(get(row)),
    }
    return [tests[key](wanted) for key, wanted in tags.items()]


def page(rows: list[Any], query: Query, getter: Callable[[str], Getter], kind: str) -> list[Any]:
    """Sorted by the query's keys, then by id; cut to the page it asks for.

    Raises:
        ApiError: 404 when the marker is no row.
    """
    identity = getter("id")
    rows.sort(key=identity)
    for name, ascending in reversed(query.sorts):
        read = getter(name)
        # stable sorts from the last key to the first; None comes first, lists and mixed types by their text
        rows.sort(key=lambda row, read=read: _sortable(read(row)), reverse=not ascending)  # type: ignore[misc]
    if not query.limit:
        return rows
    start = len(rows) if query.page_reverse else 0
    if query.marker:
        for position, row in enumerate(rows):
            if identity(row) == query.marker:
                start = position if query.page_reverse else position + 1
                break
        else:
            raise not_found(kind, query.marker)
    if query.page_reverse:
        return rows[max(start - query.limit, 0) : start]
    return rows[start : start + query.limit]


def _sortable(value: Any) -> tuple[int, Any]:
    if value is None:
        return (0, "")
    if isinstance(value, bool | int):
        return (1, int(value))
    return (2, str(value))


def links(url: str, ids: Sequence[str], query: Query) -> list[dict[str, str]]:
    """The ``next`` and ``previous`` links of a page whose rows have these ``ids``. ``url`` is without its query."""
    if not query.limit:
        return []
    rest = [(name, value) for name, value in query.parameters if name not in {"marker", "page_reverse"}]
    found: list[dict[str, str]] = []
    if query.page_reverse or len(ids) >= query.limit:
        found.append({"rel": "next", "href": _link(url, [*rest, *([("marker", ids[-1])] if ids else [])])})
    if not query.page_reverse or len(ids) >= query.limit:
        marked = [*rest, *([("marker", ids[0])] if ids else []), ("page_reverse", "True")]
        found.append({"rel": "previous", "href": _link(url, marked)})
    return found


def _link(url: str, parameters: Sequence[tuple[str, str]]) -> str:
    return f"{url}?{urllib.parse.urlencode(parameters)}"
