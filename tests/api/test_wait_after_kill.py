"""kill -9 right after a write was acknowledged, while a host is behind: whoever waits through the next server is not told too early."""

import asyncio
import signal
from pathlib import Path

import msgspec

from api.processes import Server, start
from floatway.agent.link import Address, Link
from floatway.model.stream import Report

AGENT = {"agent_type": "Open vSwitch agent", "host": "h1", "configurations": {"tunnel_types": ["vxlan"]}}


async def joined(api: Server, door: Path) -> str:
    """The host's key."""
    secret = api.call("POST", "/floatway/v1/hosts/h1/tokens").body["token"]["secret"]
    link = Link(Address.of(f"unix:{door}"), "h1", "")
    body = msgspec.json.encode({"host": "h1", "secret": secret})
    return str((await link.post("/v1/join", body))["key"])


def late(api: Server, revision: int) -> list[str]:
    """Who is said to be behind, without waiting for it."""
    answer = api.call("GET", f"/floatway/v1/wait?revision={revision}&timeout=0")
    assert (answer.status == 504) == bool(answer.body["late"])
    return [one["host"] for one in answer.body["late"]]


def test_a_wait_through_the_next_server_is_as_long_as_through_the_one_that_was_killed(tmp_path: Path) -> None:
    door = tmp_path / "agents.sock"

    async def story() -> None:
        api = start(tmp_path, {"agents": {"socket": str(door)}})
        try:
            link = Link(Address.of(f"unix:{door}"), "h1", await joined(api, door))
            stream = link.stream(None, 20.0)
            stood = (await anext(stream)).revision
            await link.report(Report(applied=stood, fresh=True, agents=(AGENT,)))
            network = api.call("POST", "/v2.0/networks", {"network": {"name": "a"}}).body["network"]["id"]
            port = {"network_id": network, "device_owner": "compute:a", "binding:host_id": "h1"}
            made = api.call("POST", "/v2.0/ports", {"port": port})
            revision = int(made.headers["x-floatway-revision"])
            known = stood
            while known < revision:
                known = (await anext(stream)).revision
            assert late(api, revision) == ["h1"]
            api.stop(signal.SIGKILL)
            link.close()
            api = start(tmp_path, {"agents": {"socket": str(door)}})
            assert late(api, revision) == ["h1"]  # it has yet to come back
            message = api.call("GET", f"/floatway/v1/wait?revision={revision}&timeout=0").body["NeutronError"][
                "message"
            ]
            assert "h1 has yet to come back" in message
            stream = link.stream(known, 20.0)
            await anext(stream)
            await link.report(Report(applied=stood, fresh=True, agents=(AGENT,)))
            assert late(api, revision) == ["h1"]  # it is at it
            waiting = asyncio.to_thread(api.call, "GET", f"/floatway/v1/wait?revision={revision}&timeout=20")
            answered = asyncio.ensure_future(waiting)
            await link.report(Report(applied=revision))
            assert (await answered).status == 200
            link.close()
        finally:
            api.stop(signal.SIGKILL)

    asyncio.run(story())
