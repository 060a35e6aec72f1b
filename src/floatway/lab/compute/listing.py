"""Which instances a list shows: ``openstack server list --name '^web' --status ACTIVE --limit 10``."""

import re
from collections.abc import Iterable, Mapping

from floatway.lab.compute import documents
from floatway.lab.compute.ports import Invalid
from floatway.lab.compute.records import Instance

__all__ = ["found"]


def found(instances: Iterable[Instance], query: Mapping[str, str]) -> list[Instance]:
    """Those that are asked for, newest first, as Nova lists them; ``instances`` come oldest first.

    Raises:
        Invalid: a pattern or a marker is none.
    """
    every = list(instances)[::-1]
    if "name" in query:
        try:
            pattern = re.compile(query["name"])
        except re.error as error:
            raise Invalid(f"Invalid filter name: {error}") from error
        every = [one for one in every if pattern.search(one.name)]
    for field, told in (
        ("status", documents.status), ("host", lambda one: one.host), ("tenant_id", lambda one: one.project_id),
        ("project_id", lambda one: one.project_id), ("uuid", lambda one: one.id), ("flavor", lambda one: one.flavor),
        ("image", lambda one: one.image), ("user_id", lambda one: one.user_id),
    ):  # fmt: skip
        if query.get(field):
            every = [one for one in every if told(one) == query[field]]
    if marker := query.get("marker"):
        ids = [one.id for one in every]
        if marker not in ids:
            raise Invalid(f"marker [{marker}] not found")
        every = every[ids.index(marker) + 1 :]
    limit = query.get("limit", "")
    return every[: int(limit)] if limit.isdigit() else every
