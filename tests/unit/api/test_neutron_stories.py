"""Asked the same by the same, we answer what Neutron answered: status, error type and message, every field of the document."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from floatway.api.dispatch import Collections
from floatway.api.engine import Written
from floatway.api.guard import Guard
from floatway.api.http import Request, error_response
from floatway.api.nouns import nouns
from floatway.api.policy import Policy
from floatway.api.routes import Api
from floatway.control.caller import Caller
from floatway.control.decide import agents, default_rules
from floatway.control.draft import Draft
from floatway.control.errors import ApiError
from floatway.control.settings import Settings
from floatway.control.snapshot import EMPTY
from neutron_stories import PROJECT_ROLES, Story, filled, named, normal, same, stories

NOW = 1_795_000_000.0
POLICY = Policy()
_AGENTS = {
    "ovs": ("Open vSwitch agent", "neutron-openvswitch-agent", "N/A", None),
    "l3": ("L3 agent", "neutron-l3-agent", "l3_agent", "nova"),
    "dhcp": ("DHCP agent", "neutron-dhcp-agent", "dhcp_agent", "nova"),
}


class _Engine:
    """A model in memory; what is refused is not kept."""

    def __init__(self, settings: Settings) -> None:
        self.model = EMPTY
        self.settings = settings

    async def read(self) -> Any:
        return self.model

    async def write(self, decide: Callable[[Draft], Any]) -> Written[Any]:
        draft = Draft(self.model, self.settings, seconds=NOW, seed=self.model.revision)
        result = decide(draft)
        self.model = draft.model.at(self.model.revision + 1)
        return Written(result, self.model)


class _Cloud:
    def __init__(self, story: Story) -> None:
        settings = Settings(
            router_distributed=False,
            default_quotas=story.get("quotas", {}),
            vlan_ranges={"physnet1": ((1000, 1099),), "physnet2": ((200, 300),)},
        )
        self._engine = _Engine(settings)
        self._api = Api(Collections(self._engine, Guard(POLICY)), nouns(settings, lambda: NOW))  # type: ignore[arg-type]

    async def begin(self, reporting: list[str]) -> dict[str, str]:
        """The templates and agents that the story begins with; the agents' ids by their names."""
        await self._engine.write(default_rules.bootstrap)
        ids = {}
        for kind, host, mode in (agent.split("@") for agent in reporting):
            type_, binary, topic, zone = _AGENTS[kind]
            values = {"agent_type": type_, "host": host, "binary": binary, "topic": topic, "availability_zone": zone}
            values["configurations"] = {"agent_mode": mode}
            written = await self._engine.write(lambda draft, values=values: agents.report(draft, values))
            ids[f"{kind}-{host}"] = written.result.id
        return ids

    async def answer(self, step: dict[str, Any]) -> tuple[int, Any]:
        role = step.get("role", "admin")
        caller = Caller(
            user_id="u",
            project_id=step.get("project", "p1"),
            roles=frozenset(PROJECT_ROLES[role]),
            is_admin=role == "admin",
        )
        path, _, query = step["path"].partition("?")
        body = json.dumps(step["body"]).encode() if "body" in step else b""
        url = f"http://localhost/v2.0/{path}"
        try:
            response = await self._api(Request(step["method"], tuple(path.split("/")), query, {}, body, url), caller)
        except ApiError as error:
            response = error_response(error)
        return response.status, json.loads(response.body) if response.body else None


@pytest.mark.parametrize("story", [pytest.param(story, id=name) for name, story in stories()])
def test_answers_are_neutron_s(story: Story) -> None:
    asyncio.run(_told(story))


async def _told(story: Story) -> None:
    cloud = _Cloud(story)
    ids = await cloud.begin(story["agents"])
    asked = json.dumps([step.get("body") for step in story["steps"]]).lower()
    wrong = []
    for number, step in enumerate(story["steps"]):
        status, document = await cloud.answer(filled(step, ids))
        if status < 300:
            ids |= named(step, document)
        got = normal(document, ids, asked)
        if status != step["status"] or not same(got, step["answer"]):
            wrong.append({"step": number, **step, "ours": [status, got]})
    assert wrong == []
