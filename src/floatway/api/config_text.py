"""The configuration as text: the commented default file, and a configuration as it was understood.

# TCP port; 9696 is the Networking API's.
# port = 9696
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, get_args, get_origin

import msgspec

from floatway.api.config import Config, Secret, is_table
from floatway.store.open import shown

__all__ = ["default_text", "meaning", "printable", "tables", "toml"]

WIDTH = 100
HEAD = """\
# floatway server. Every value here is the default; remove the "# " before a key to change it.
# An environment variable overrides it: FLOATWAY_SERVER_PORT=9697, FLOATWAY_AUTH_KEYSTONE_URL=...
# floatway server --config FILE --check says whether a file is right, --print-config what the server makes of it."""


def default_text() -> str:
    """The default file, every key commented out below what it means."""
    return "\n".join([HEAD, *_lines(Config(), commented=True)]) + "\n"


def printable(config: Config) -> str:
    """A file that says what this configuration says, secrets hidden."""
    store = msgspec.structs.replace(config.store, url=shown(config.store.url))
    hidden = msgspec.structs.replace(config, store=store)
    return "\n".join(_lines(hidden, commented=False)).lstrip("\n") + "\n"


def tables(value: msgspec.Struct, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], msgspec.Struct]]:
    """The tables of a configuration in the file's order, those with no keys of their own left out."""
    fields = msgspec.structs.fields(value)
    if any(not is_table(field.type) for field in fields):
        yield path, value
    for field in fields:
        if is_table(field.type):
            yield from tables(getattr(value, field.name), (*path, field.name))


def _lines(config: Config, *, commented: bool) -> Iterator[str]:
    for path, value in tables(config):
        yield ""
        if commented:
            yield from _comment((type(value).__doc__ or "").strip())
        yield f"[{'.'.join(path)}]"
        for field in msgspec.structs.fields(value):
            if not is_table(field.type):
                line = f"{field.name} = {toml(getattr(value, field.name))}"
                if commented:
                    yield ""
                    yield from _comment(meaning(field.type))
                yield f"# {line}" if commented else line


def meaning(kind: Any) -> str:
    """What is said about a key, with the values it may have where they are few."""
    said = [meta.description or "" for meta in get_args(kind)[1:] if isinstance(meta, msgspec.Meta)]
    if get_origin(kind) is Annotated and not is_table(get_args(kind)[0]):
        return " ".join(filter(None, said))
    return ""


def _comment(text: str) -> Iterator[str]:
    """Lines of a comment, broken at words."""
    line = "#"
    for word in text.split():
        if len(line) + 1 + len(word) > WIDTH:
            yield line
            line = "#"
        line += f" {word}"
    if line != "#":
        yield line


def toml(value: object) -> str:
    """A value as TOML writes it."""
    match value:
        case bool():
            return "true" if value else "false"
        case Secret():
            return toml(repr(value))
        case str():
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            return '"' + "".join(c if c >= " " and c != "\x7f" else f"\\u{ord(c):04x}" for c in escaped) + '"'
        case Mapping():
            inner = ", ".join(f"{toml(str(key))} = {toml(item)}" for key, item in value.items())
            return f"{{ {inner} }}" if inner else "{}"
        case tuple() | list():
            return f"[{', '.join(map(toml, value))}]"
        case msgspec.Struct():
            return toml(msgspec.structs.asdict(value))
        case float():
            return repr(value)
    return str(value)
