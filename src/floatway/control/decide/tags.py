"""The rules of tags: words on anything standard, at most 50 of at most 255 characters."""

from collections.abc import Iterable
from typing import Any, Final, TypeVar

import msgspec

from floatway.control import entities as e
from floatway.control.draft import Draft
from floatway.control.errors import ApiError, bad_request, invalid_input

__all__ = ["add", "check", "clear", "remove", "replace", "wanted"]

_MOST: Final = 50
_LONGEST: Final = 255
S = TypeVar("S", bound=e.Standard)


def wanted(body: Any) -> tuple[str, ...]:
    """The tags of a body ``{"tags": [...]}``.

    Raises:
        ApiError: 400.
    """
    if not isinstance(body, dict) or "tags" not in body:
        raise invalid_input("Invalid tags body")
    tags = body["tags"]
    if not isinstance(tags, list):
        raise invalid_input(f"'{tags}' is not a list")
    duplicates = [str(tag) for at, tag in enumerate(tags) if tag in tags[:at]]
    if duplicates:
        raise invalid_input(f"Duplicate items in the list: '{', '.join(duplicates)}'")
    for tag in tags:
        check(tag)
    return tuple(tags)


def check(tag: Any) -> None:
    """Whether it is a tag.

    Raises:
        ApiError: 400.
    """
    if not isinstance(tag, str):
        raise invalid_input(f"'{tag}' is not a valid string")
    if len(tag) > _LONGEST:
        raise invalid_input(f"'{tag}' exceeds maximum length of {_LONGEST}")


def replace(draft: Draft, entity: S, tags: Iterable[str]) -> S:
    """Just these, in order of the alphabet."""
    found = tuple(sorted(set(tags)))
    if len(found) > _MOST:
        raise bad_request(
            "BadRequest", f"Bad {entity.KIND}s request: The number of tags exceed the per-resource limit of {_MOST}."
        )
    return draft.put(msgspec.structs.replace(entity, tags=found))


def add(draft: Draft, entity: S, tags: Iterable[str]) -> S:
    """These too."""
    return replace(draft, entity, (*entity.tags, *tags))


def remove(draft: Draft, entity: S, tag: str) -> S:
    """Not this one any more.

    Raises:
        ApiError: 404 TagNotFound.
    """
    if tag not in entity.tags:
        raise ApiError(404, "TagNotFound", f"Tag {tag} could not be found.")
    return replace(draft, entity, (one for one in entity.tags if one != tag))


def clear(draft: Draft, entity: S) -> S:
    """None."""
    return replace(draft, entity, ())
