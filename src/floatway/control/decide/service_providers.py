"""Who provides what: one provider for routers, the distributed one; GET /v2.0/service-providers."""

from typing import Any, Final

__all__ = ["PROVIDERS"]

PROVIDERS: Final[tuple[dict[str, Any], ...]] = ({"service_type": "L3_ROUTER_NAT", "name": "dvr", "default": True},)
