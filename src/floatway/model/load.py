"""A cloud from one YAML file: parsed at the border, every fault named with its file, line, path and rule.

networks:            lists of mappings, fields as in the Networking API
  - id: …            (both spellings: provider:network_type and provider_network_type)
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from floatway.model.cloud import Cloud
from floatway.model.fields import faults, nearest
from floatway.model.resources import (
    FloatingIp,
    Host,
    Network,
    Port,
    Router,
    SecurityGroup,
    Server,
    Subnet,
)
from floatway.model.shape import Finding, well_formed
from floatway.model.validate import validate

COLLECTIONS: dict[str, type[msgspec.Struct]] = {
    "networks": Network,
    "subnets": Subnet,
    "ports": Port,
    "routers": Router,
    "floating_ips": FloatingIp,
    "security_groups": SecurityGroup,
    "servers": Server,
    "hosts": Host,
}
SPELLINGS = {
    "provider:network_type": "provider_network_type",
    "provider:segmentation_id": "provider_segmentation_id",
    "provider:physical_network": "provider_physical_network",
    "router:external": "router_external",
    "binding:host_id": "binding_host_id",
    "tenant_id": "project_id",
    "security_group_rules": "rules",
}


DEPTH_MAX = 32  # a cloud takes 7


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong with a cloud file: where (``path`` like ``ports[2].mac_address``, ``line`` 0 when unknown) and the rule broken."""

    file: str
    path: str
    rule: str
    message: str
    line: int = 0

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.path or 'document'}: {self.message} ({self.rule})"


class CloudError(ValueError):
    """The file does not describe a cloud. Holds every problem found; its text is a line for each."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


# libyaml reads a cloud of 200 ports in a quarter of the time; PyYAML may have been built without it
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    """YAML 1.2's core scalars only: in YAML 1.1 a MAC such as 52:54:00:12:34:56 is a base-60 integer."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's own contract)


for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", "-+0123456789"),
    ("null", r"^(?:~|null|Null|NULL|)$", "~nN\0"),
    ("merge", r"^<<$", "<"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), [*_first, *([""] if "\0" in _first else [])]
    )


def load_cloud(path: Path) -> Cloud:
    """Read and check a cloud file. Raises CloudError with every problem found; an unreadable file is one of them."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CloudError((Problem(str(path), "", "readable-file", f"cannot be read: {reason}"),)) from error
    return cloud_from_text(text, str(path))


def cloud_from_text(text: str, source: str) -> Cloud:
    """The cloud that the YAML text describes; ``source`` names it in errors. Raises CloudError."""
    node, document = _parse(text, source)
    lines = dict(_lines(node)) if node is not None else {}

    def problem(path: str, rule: str, message: str) -> Problem:
        return Problem(source, path, rule, message, _nearest(lines, path))

    if node is None or not isinstance(document, dict):
        message = f"must be a mapping with the keys {', '.join(COLLECTIONS)}"
        raise CloudError((problem("", "document-is-a-mapping", message),))
    problems = [Problem(source, path, "unique-key", "is given twice", line) for path, line in _repeated(node)]
    collections: dict[str, dict[str, Any]] = {}
    positions: dict[tuple[str, str], str] = {}
    for key in document:
        if key not in COLLECTIONS:
            problems.append(problem(str(key), "known-key", f"unknown key{nearest(str(key), COLLECTIONS)}"))
    for key, kind in COLLECTIONS.items():
        collections[key] = {}
        items = [] if (given := document.get(key)) is None else given
        if not isinstance(items, list):
            problems.append(problem(key, "collection-is-a-list", "must be a list of mappings"))
            continue
        for index, item in enumerate(items):
            path = f"{key}[{index}]"
            try:
                resource: Any = msgspec.convert(item, kind)
            except msgspec.ValidationError:
                problems += [problem(at, "field-type", message) for at, message in faults(item, kind, path)]
                continue
            identity = resource.name if isinstance(resource, Host) else resource.id
            if identity in collections[key]:
                first = positions[key, identity]
                problems.append(problem(path, "unique-id", f"{identity} is already the id of {first}"))
                continue
            collections[key][identity] = resource
            positions[key, identity] = path
    cloud = Cloud(**collections)
    # what leans on other resources is asked only when all of them could be read
    findings = well_formed(cloud) if problems else validate(cloud)
    problems += [_place(finding, positions, problem) for finding in findings]
    if problems:
        raise CloudError(tuple(problems))
    return cloud


def _parse(text: str, source: str) -> tuple[yaml.Node | None, Any]:
    """The document as nodes, which know their lines, and as values, with field names in one spelling."""
    try:
        _refuse_depth(text)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            return node, _spell(loader.construct_document(node)) if node is not None else None
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 0
        what = getattr(error, "problem", None) or str(error)
        raise CloudError((Problem(source, "", "well-formed-yaml", f"is not YAML: {what}", line),)) from error
    except RecursionError as error:
        message = "an alias stands inside its own anchor"
        raise CloudError((Problem(source, "", "well-formed-yaml", message),)) from error


def _refuse_depth(text: str) -> None:
    """libyaml makes nodes by recursion in C: a document that is too deep would end the process, not the attempt."""
    loader, depth = _Loader(text), 0
    try:
        while loader.check_event():
            event = loader.get_event()
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEPTH_MAX:
                raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=event.start_mark)
    finally:
        loader.dispose()


def _place(finding: Finding, positions: dict[tuple[str, str], str], problem: Any) -> Problem:
    path = positions.get((finding.collection, finding.id), finding.collection)
    made: Problem = problem(f"{path}.{finding.field}" if finding.field else path, finding.rule, finding.message)
    return made


def _spell(item: Any) -> Any:
    """Field names in one spelling, at every depth."""
    if isinstance(item, dict):
        return {SPELLINGS.get(key, key): _spell(value) for key, value in item.items()}
    if isinstance(item, list):
        return [_spell(value) for value in item]
    return item


def _repeated(node: yaml.Node, path: str = "") -> Iterator[tuple[str, int]]:
    """(path, line) of every key that its mapping has already, under either spelling: YAML forbids it, PyYAML takes the last."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = SPELLINGS.get(str(key.value), str(key.value))
            at = f"{path}.{name}" if path else name
            if name in seen:
                yield at, key.start_mark.line + 1
            seen.add(name)
            yield from _repeated(value, at)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _repeated(value, f"{path}[{index}]")


def _lines(node: yaml.Node, path: str = "") -> Iterator[tuple[str, int]]:
    """Path -> line for every node of the document."""
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = SPELLINGS.get(str(key.value), str(key.value))
            yield from _lines(value, f"{path}.{name}" if path else name)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _lines(value, f"{path}[{index}]")


def _nearest(lines: dict[str, int], path: str) -> int:
    """The line of the path, or of the closest thing around it that the file has."""
    while path and path not in lines:
        path = re.sub(r"(\.[^.\[]*|\[[^\]]*\])$", "", path) if re.search(r"[.\[]", path) else ""
    return lines.get(path, 0)
