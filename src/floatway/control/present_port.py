"""Ports and their bindings as the API shows them.

{"port": {…, "fixed_ips": [{"subnet_id": …, "ip_address": "10.0.0.5"}],
          "dns_assignment": [{"ip_address": "10.0.0.5", "hostname": "web1", "fqdn": "web1.cloud.example."}]}}
"""

from collections.abc import Callable
from typing import Any, Final

from floatway.control.decide import ports_dns
from floatway.control.entities import Port, PortBinding
from floatway.control.present import basic
from floatway.control.settings import Settings
from floatway.control.snapshot import Readable

__all__ = ["DEPENDS", "PRESENT", "binding", "port", "presenter"]

Present = Callable[[Readable, Any], dict[str, Any]]
_DEFAULTS: Final = Settings()


def presenter(settings: Settings) -> Present:
    """How ports are shown in a cloud of these settings: its domain is part of their names."""

    def present(model: Readable, shown: Port) -> dict[str, Any]:
        del model
        document = basic(shown)
        document["dns_assignment"] = ports_dns.assignment(settings, shown.dns_name, shown.fixed_ips)
        return document

    return present


port: Final[Present] = presenter(_DEFAULTS)


def binding(model: Readable, shown: PortBinding) -> dict[str, Any]:
    """A binding: what its host offers, not whose it is."""
    del model
    return {
        "host": shown.host,
        "vif_type": shown.vif_type,
        "vif_details": shown.vif_details,
        "vnic_type": shown.vnic_type,
        "profile": shown.profile,
        "status": shown.status,
    }


PRESENT: Final[dict[str, Present]] = {Port.KIND: port, PortBinding.KIND: binding}
DEPENDS: Final[dict[str, Callable[[Readable, Any], tuple[object, ...]]]] = {}
