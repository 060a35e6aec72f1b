"""Agents, availability zones, service providers."""

from typing import Final

from floatway.api import converters as c
from floatway.api import validators as v
from floatway.api.attributes.base import UNSET, Attribute, table

AGENTS: Final = table(
    Attribute("id", validate=v.uuid, filter=True, sort=True),
    Attribute("admin_state_up", put=True, convert=c.to_bool, filter=True, sort=True),
    Attribute("agent_type", filter=True, sort=True),
    Attribute("alive", convert=c.to_bool, filter=True, sort=True),
    Attribute("availability_zone", filter=True),
    Attribute("binary", filter=True, sort=True),
    Attribute("configurations"),
    Attribute("created_at", sort=True),
    Attribute("description", put=True, validate=v.optional(v.string(255)), filter=True, sort=True),
    Attribute("heartbeat_timestamp", sort=True),
    Attribute("host", filter=True, sort=True),
    Attribute("resources_synced", default=UNSET),
    Attribute("started_at", sort=True),
    Attribute("topic", filter=True, sort=True),
)

AVAILABILITY_ZONES: Final = table(
    Attribute("name", filter=True),
    Attribute("resource", filter=True),
    Attribute("state", filter=True),
)

SERVICE_PROVIDERS: Final = table(
    Attribute("name", filter=True),
    Attribute("default", convert=c.to_bool, filter=True),
    Attribute("service_type", filter=True),
)
