"""What an agent knows of its part of the cloud: made of a server's lines, kept when the server goes.

Delta(fresh) ─▶ part        Delta ─▶ part'        server gone ─▶ part' stays, and with it everything on the host
"""

import msgspec

from floatway.model.cloud import Cloud, put
from floatway.model.resources import Host
from floatway.model.stream import TABLES, Delta, applied

__all__ = ["Known"]


class Known(msgspec.Struct):
    """The newest complete view. ``part`` is None before the first one: nothing may be deleted for want of it."""

    host: Host
    """This host as its own configuration says: what counts here, whatever a server believes."""
    part: Cloud | None = None
    revision: int | None = None
    touched: set[tuple[str, str]] = msgspec.field(default_factory=set)
    """(table, id) of what deltas put since somebody last asked."""

    def take(self, delta: Delta) -> bool:
        """Take in a line; whether it changed anything but the revision."""
        before = Cloud() if delta.fresh or self.part is None else self.part
        self.revision = delta.revision
        if delta.empty and self.part is not None:
            return False
        part = applied(before, delta)
        self.part = part if part.hosts.get(self.host.name) is self.host else put(part, self.host)
        for table in TABLES:
            self.touched.update((table, one.id) for one in getattr(delta, table) if table != "hosts")
        return True
