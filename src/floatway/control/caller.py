"""Who asks: what authentication found out about a request's sender."""

import msgspec

__all__ = ["ADMIN", "Caller"]


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """A user in a project. ``is_admin`` is decided by policy (``context_is_admin``), once, when the caller is made."""

    user_id: str = ""
    user_name: str = ""
    project_id: str = ""
    project_name: str = ""
    domain_id: str = ""
    roles: frozenset[str] = frozenset()
    is_admin: bool = False
    system_scope: bool = False
    request_id: str = ""


ADMIN = Caller(user_id="floatway", roles=frozenset({"admin", "member", "reader"}), is_admin=True)
