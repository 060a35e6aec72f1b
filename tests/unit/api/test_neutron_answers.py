"""Asked the same, we answer what Neutron answered: status, error type and message, every field of ports and bindings."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from control_cloud import a_draft, agent_of
from floatway.api.dispatch import Collections
from floatway.api.engine import Written
from floatway.api.guard import Guard
from floatway.api.http import Request, error_response
from floatway.api.nouns import nouns
from floatway.api.policy import Policy
from floatway.api.routes import Api
from floatway.control.caller import Caller
from floatway.control.draft import Draft
from floatway.control.errors import ApiError
from floatway.control.settings import Settings
from floatway.control.snapshot import Model
from neutron_answers import normal, same, steps_with, stories

SETTINGS = Settings(network_types=("local",), tenant_network_types=("local",), router_distributed=False)
EVERY_ROLE = frozenset({"admin", "member", "reader", "service"})


class _Engine:
    """A model in memory; what is refused is not kept."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.settings = SETTINGS

    async def read(self) -> Model:
        return self.model

    async def write(self, decide: Callable[[Draft], Any]) -> Written[Any]:
        draft = Draft(self.model, SETTINGS, seconds=1_795_000_000.0, seed=self.model.revision)
        result = decide(draft)
        self.model = draft.model.at(self.model.revision + 1)
        return Written(result, self.model)


class _Cloud:
    def __init__(self, agents: list[str]) -> None:
        draft = a_draft()
        for host in agents:
            agent_of(draft, host, ovs_hybrid_plug=None)
        collections = Collections(_Engine(draft.model), Guard(Policy()))  # type: ignore[arg-type]
        self._api = Api(collections, nouns(SETTINGS))

    async def answer(self, step: dict[str, Any]) -> tuple[int, Any]:
        admin = step.get("admin", True)
        caller = Caller(
            user_id="u",
            project_id=step.get("project", "p1"),
            roles=EVERY_ROLE if admin else frozenset({"member", "reader"}),
            is_admin=admin,
        )
        path = tuple(step["path"].split("/"))
        body = json.dumps(step["body"]).encode() if "body" in step else b""
        request = Request(step["method"], path, "", {}, body, "http://api/v2.0/" + step["path"])
        try:
            response = await self._api(request, caller)
        except ApiError as error:
            response = error_response(error)
        return response.status, json.loads(response.body) if response.body else None


@pytest.mark.parametrize("story", [pytest.param(story, id=story["name"]) for story in stories()])
def test_answers_are_neutron_s(story: dict[str, Any]) -> None:
    asyncio.run(_told(story))


async def _told(story: dict[str, Any]) -> None:
    cloud = _Cloud(story["agents"])
    ids: dict[str, str] = {}
    asked = json.dumps([step.get("body") for step in story["steps"]]).lower()
    wrong = []
    for step in story["steps"]:
        status, document = await cloud.answer(steps_with(step, ids))
        if "as" in step and status < 300:
            (made,) = document.values()
            ids[step["as"]] = made["id"]
        expected = step.get("differs", step)
        got = [status, normal(document, ids, asked)]
        want = [expected["status"], expected.get("answer")]
        if not same(got, want):
            wrong.append({"step": [step["method"], step["path"], step.get("body")], "ours": got, "neutron": want})
    assert wrong == []
