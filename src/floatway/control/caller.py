"""Who asks: what authentication found out about a request's sender."""

import msgspec

__all__ = ["ADMIN", "AccessRule", "Caller"]


class AccessRule(msgspec.Struct, frozen=True):
    """What an application credential was narrowed down to: a method and a path (``*`` one part, ``**`` any, ``{x}`` one)."""

    method: str
    path: str


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """A user in a project. ``is_admin`` is decided by policy (``context_is_admin``), once, when the caller is made.

    ``domain_id`` is that of a domain-scoped token: with it, or with ``system_scope``, there is no project.
    ``service_roles`` are those of the service that passes the user's request on (``X-Service-Token``).
    """

    user_id: str = ""
    user_name: str = ""
    project_id: str = ""
    project_name: str = ""
    domain_id: str = ""
    roles: frozenset[str] = frozenset()
    service_roles: frozenset[str] = frozenset()
    is_admin: bool = False
    system_scope: bool = False
    access_rules: tuple[AccessRule, ...] | None = None
    request_id: str = ""

    @property
    def sees_all(self) -> bool:
        """Whether every project's resources exist for the caller: admins, and services, which act for others (Nova)."""
        return self.is_admin or "service" in self.roles


ADMIN = Caller(user_id="floatway", roles=frozenset({"admin", "member", "reader"}), is_admin=True)
