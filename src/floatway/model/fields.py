"""A mapping made into a struct, or everything that is wrong with it: every field that is unknown, missing or of the wrong type.

msgspec stops at the first fault. Where it does, the faults are looked for field by field, down to the leaves::

    {mtu: big, nmae: x}  ->  ("id", "is missing"), ("mtu", "expected `int`, got `str`"), ("nmae", "unknown field; did you mean 'name'?")
"""

import difflib
import re
import types
import typing
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

_AT = re.compile(r" - at `\$?(?P<path>[^`]*)`$")


def faults(value: Any, kind: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """(path below the value, message) for everything that keeps ``value`` from being a ``kind``."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        found = list(_below(value, _without_none(kind), path))
        yield from found or [_sentence(str(error), value, path)]


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'mtu'?`` when some known word is close, else nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _below(value: Any, kind: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and isinstance(value, dict):
        fields = {field.name: field for field in msgspec.structs.fields(kind)}
        for key in value:
            if key not in fields:
                yield _join(path, str(key)), f"unknown field{nearest(str(key), fields)}"
        for name, field in fields.items():
            if name in value:
                yield from faults(value[name], field.type, _join(path, name))
            elif field.required:
                yield _join(path, name), "is missing"
    elif typing.get_origin(kind) is tuple and isinstance(value, list):
        for index, item in enumerate(value):
            yield from faults(item, typing.get_args(kind)[0], f"{path}[{index}]")
    elif typing.get_origin(kind) is dict and isinstance(value, dict):
        for key, item in value.items():
            yield from faults(item, typing.get_args(kind)[1], _join(path, str(key)))
    elif typing.get_origin(kind) is typing.Literal and isinstance(value, str):
        choices = typing.get_args(kind)
        yield path, f"{value!r} is none of {', '.join(repr(c) for c in choices)}{nearest(value, choices)}"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _without_none(kind: Any) -> Any:
    """``T`` of ``T | None``: None itself is never at fault there."""
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        rest = [part for part in typing.get_args(kind) if part is not types.NoneType]
        return rest[0] if len(rest) == 1 else kind
    return kind


def _sentence(text: str, value: Any, path: str) -> tuple[str, str]:
    """msgspec's sentence, its own path below ours, and how to mend the commonest fault of all."""
    match = _AT.search(text)
    message = text[: match.start()] if match else text
    for theirs, ours in (("`object`", "a mapping"), ("`array`", "a list"), ("`null`", "nothing")):
        message = message.replace(theirs, ours)
    inner = match["path"] if match and "[...]" not in match["path"] else ""
    if "expected `str" in message.lower() and isinstance(value, bool | int):
        message += "; put it in quotes"
    return path + inner, message[:1].lower() + message[1:]
