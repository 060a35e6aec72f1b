"""What each kind of caller may do, request by request, as Neutron 29 answered: ``tests/golden/neutron-29/permissions.json``.

    ["PUT", "networks/$N$", {"network": {"shared": true}}, "200 403 403 …"]      a status for each of the callers

``setup`` makes the resources ($N$ and so on), ``blocks`` are asked by one caller after the other. The answers were recorded
from Neutron's whole application (ML2 with Open vSwitch, L3, tags, port forwarding) on the same requests.
"""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from floatway.api.dispatch import Collections
from floatway.api.engine import Written
from floatway.api.guard import Guard
from floatway.api.http import Request, error_response
from floatway.api.nouns import nouns
from floatway.api.policy import Policy
from floatway.api.routes import Api
from floatway.control.caller import Caller
from floatway.control.decide import agents
from floatway.control.draft import Draft
from floatway.control.errors import ApiError
from floatway.control.settings import Settings
from floatway.control.snapshot import EMPTY, Model

GOLDEN = json.loads((Path(__file__).parents[2] / "golden/neutron-29/permissions.json").read_text())
ROLES = {
    "admin": {"admin", "member", "reader"},
    "manager": {"manager", "member", "reader"},
    "member": {"member", "reader"},
    "reader": {"reader"},
    "service": {"service"},
    "nobody": set(),
}
SETTINGS = Settings(router_distributed=False)
POLICY = Policy()


class Moving:
    """An engine without a store."""

    def __init__(self) -> None:
        self.model = EMPTY
        self.settings = SETTINGS

    async def read(self) -> Model:
        return self.model

    async def write(self, decide: Callable[[Draft], Any]) -> Written[Any]:
        revision = self.model.revision
        draft = Draft(self.model, SETTINGS, seconds=1_795_000_000.0 + revision, seed=revision)
        result = decide(draft)
        self.model = draft.model.at(revision + 1)
        return Written(result, self.model)


class Session:
    """Requests of several callers, and the ids that stand for names."""

    def __init__(self) -> None:
        self.engine = Moving()
        self._api = Api(Collections(self.engine, Guard(POLICY)), nouns(SETTINGS))  # type: ignore[arg-type]
        self.ids: dict[str, str] = {}

    async def agent(self, kind: str, binary: str, host: str, configurations: dict[str, Any]) -> str:
        said = {"agent_type": kind, "binary": binary, "host": host, "configurations": configurations}
        written = await self.engine.write(lambda draft: agents.report(draft, said))
        return str(written.result.id)

    async def ask(self, method: str, path: str, body: Any, role: str, project: str) -> tuple[int, Any]:
        text = json.dumps([path, body]).replace("%", role + project)
        for name, id_ in self.ids.items():
            text = text.replace(f"${name}$", id_)
        path, body = json.loads(text)
        where, _, query = path.partition("?")
        sent = b"" if body is None else json.dumps(body).encode()
        request = Request(method, tuple(where.split("/")), query, {}, sent, f"http://api/v2.0/{where}")
        caller = Caller(user_id="u", project_id=project, roles=frozenset(ROLES[role]), is_admin=role == "admin")
        assert caller.is_admin is POLICY.is_admin(caller)
        try:
            response = await self._api(request, caller)
        except ApiError as error:
            response = error_response(error)
        return response.status, json.loads(response.body) if response.body else None


async def made() -> Session:
    session = Session()
    for host in ("h1", "h2"):
        switch = {"tunnel_types": ["vxlan"], "bridge_mappings": {"physnet1": "br-ex"}, "integration_bridge": "br-int"}
        await session.agent("Open vSwitch agent", "neutron-openvswitch-agent", host, switch)
    session.ids["l3-h1"] = await session.agent("L3 agent", "neutron-l3-agent", "h1", {"agent_mode": "dvr_snat"})
    for method, path, body, role, project, name in GOLDEN["setup"]:
        status, document = await session.ask(method, path, body, role, project)
        if name:
            assert status == 201, document
            session.ids[name] = next(iter(document.values()))["id"]
    return session


async def differences() -> list[str]:
    session, found = await made(), []
    for block in GOLDEN["blocks"]:
        for number, (role, project) in enumerate(GOLDEN["callers"]):
            for method, path, body, statuses in block:
                theirs = int(statuses.split()[number])
                ours, document = await session.ask(method, path, body, role, project)
                if ours != theirs and not deliberate(path, role, ours, theirs):
                    found.append(f"{role} {project}: {method} {path} {body}: {theirs}, ours {ours} {document}")
    return found


def deliberate(path: str, role: str, ours: int, theirs: int) -> bool:
    """Where we do not follow Neutron: it tells a project that something of another's is there, or shows a quota of another's."""
    if (theirs, ours) == (403, 404):
        return True
    if path.startswith("quotas"):
        return role == "manager" and (theirs, ours) == (200, 403)
    return path.startswith("auto-allocated-topology") and (theirs, ours) == (409, 403)


def test_every_caller_may_do_what_neutron_lets_them() -> None:
    assert asyncio.run(differences()) == []
