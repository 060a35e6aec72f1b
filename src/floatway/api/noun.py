"""What the dispatch has to know of a noun: its paths, its rules, how it is shown."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from floatway.control.caller import Caller
from floatway.control.draft import Draft
from floatway.control.entities import Entity
from floatway.control.snapshot import Readable

__all__ = ["Action", "Noun"]


class Action(msgspec.Struct, frozen=True):
    """``PUT <collection>/<id>/<name>``. ``run(draft, caller, entity, body)`` gives the document of the answer, None for no content."""

    name: str
    run: Callable[[Draft, Caller, Any, Any], dict[str, Any] | None]
    status: int = 200


class Noun(msgspec.Struct, frozen=True, kw_only=True):
    """One collection. What is None is not there to be done: 404 or 405, as Neutron answers.

    ``collection`` is the plural in documents (``security_groups``), ``path`` the one in URLs (``security-groups``).
    ``bulk`` says whether one POST may make several; ``check_bulk`` is what the bodies of one POST must be to each other.
    ``shared`` says that the document has an attribute ``shared``, which depends on who asks.
    """

    kind: type[Entity]
    collection: str
    path: str
    present: Callable[[Readable, Any], dict[str, Any]]
    depends: Callable[[Readable, Any], tuple[object, ...]] | None = None
    create: Callable[[Draft, Caller, dict[str, Any]], Any] | None = None
    update: Callable[[Draft, Caller, Any, dict[str, Any]], Any] | None = None
    delete: Callable[[Draft, Caller, Any], None] | None = None
    bulk: bool = True
    check_bulk: Callable[[Sequence[dict[str, Any]]], None] | None = None
    actions: dict[str, Action] = {}
    shared: bool = False
    taggable: bool = False

    @property
    def singular(self) -> str:
        """The key of one in a document: ``security_group``."""
        return self.kind.KIND
