"""A host is let in, over real TLS: the server's own certificate, a token, a key, and who is not the server learns nothing."""

import asyncio
import random
import socket
import stat
import tomllib
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from control_cloud import agent_of
from floatway.agent.config import AgentConfig, load
from floatway.agent.join import JoinError, join
from floatway.agent.link import Address, Link, LinkError, Refused
from floatway.api.agents.hub import Hub
from floatway.api.agents.keys import Keys
from floatway.api.agents.listener import Listener
from floatway.api.agents.tls import identity
from floatway.api.config import AgentsConfig, Config
from floatway.api.engine import Engine
from floatway.cli.main import cli
from floatway.control.settings import Settings
from floatway.model.invitation import Invitation, InvitationError
from sim.store import MemoryStore

LIMIT = 30.0
HOST = "cy2-compute02"


def _port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Door:
    """A server with a certificate of its own making, as one without any configured has."""

    def __init__(self, path: Path) -> None:
        self.now = 0.0
        self.engine = Engine(MemoryStore(random.Random(1)), Settings(), clock=lambda: self.now)
        self.keys = Keys(self.engine)
        self.port = _port()
        made = identity(Config(agents=AgentsConfig(bind="0.0.0.0")), path / "agents.pem")
        self.tls, self.fingerprint = made.context(), made.fingerprint
        self.url = f"https://127.0.0.1:{self.port}"

    async def __aenter__(self) -> "Door":
        await self.engine.start()
        await self.engine.write(lambda draft: agent_of(draft, HOST))
        hub = Hub(self.engine.model, clock=lambda: self.now)
        self.engine.listen(hub.moved)
        config = AgentsConfig(bind="127.0.0.1", port=self.port)
        self.listener = Listener(config, self.engine, hub, authenticate=self.keys.authenticate, join=self.keys.join)
        await self.listener.start(self.tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.listener.stop()
        await self.engine.close()

    async def invitation(self, *before: str) -> Invitation:
        secret = await self.keys.invite(HOST)
        return Invitation(HOST, secret, (*before, self.url), self.fingerprint)


def run(story: Callable[[Door, Path], Awaitable[None]], directory: Path) -> None:
    async def limited() -> None:
        async with asyncio.timeout(LIMIT), Door(directory) as door:
            await story(door, directory / "etc")

    asyncio.run(limited())


async def shown(config: AgentConfig) -> str:
    key = Path(config.key_file).read_text().strip()
    link = Link(Address.of(config.servers[-1]), config.name, key, fingerprint=config.fingerprint)
    try:
        return str((await link.shown())["host"])
    finally:
        link.close()


def test_a_token_typed_gives_a_key_that_is_good(tmp_path: Path) -> None:
    async def story(door: Door, etc: Path) -> None:
        nobody = f"https://127.0.0.1:{_port()}"
        typed = (await door.invitation(nobody)).text
        assert await join(Invitation.of(typed), etc / "agent.toml", etc / "agent.key") == door.url
        assert stat.S_IMODE((etc / "agent.key").stat().st_mode) == 0o600
        config = load(etc / "agent.toml", {})
        assert config.servers == (nobody, door.url)
        assert await shown(config) == HOST
        assert sorted(path.name for path in etc.iterdir()) == ["agent.key", "agent.toml"]

    run(story, tmp_path)


def test_a_token_is_good_once_and_for_an_hour(tmp_path: Path) -> None:
    async def story(door: Door, etc: Path) -> None:
        invitation = await door.invitation()
        await join(invitation, etc / "agent.toml", etc / "agent.key")
        before = (etc / "agent.key").read_text()
        late = await door.invitation()
        door.now += 3700
        for bad in (invitation, late, msgspec.structs.replace(late, secret="guessed")):
            with pytest.raises(LinkError, match="unknown, used or older"):
                await join(bad, etc / "agent.toml", etc / "agent.key")
        assert (etc / "agent.key").read_text() == before

    run(story, tmp_path)


def test_joining_again_voids_the_old_key_and_keeps_what_was_written_by_hand(tmp_path: Path) -> None:
    async def story(door: Door, etc: Path) -> None:
        file, key = etc / "agent.toml", etc / "agent.key"
        await join(await door.invitation(), file, key)
        file.write_text(file.read_text() + '# mine\n[bridge_mappings]\nphysnet1 = "br-ex"\n')
        old = key.read_text().strip()
        await join(await door.invitation(), file, key)
        assert "# mine" in file.read_text()
        assert tomllib.loads(file.read_text())["bridge_mappings"] == {"physnet1": "br-ex"}
        assert await shown(load(file, {})) == HOST
        assert door.keys.authenticate({"authorization": f"Bearer {old}"}) is None
        assert await door.keys.revoke(HOST)
        with pytest.raises(Refused) as refused:
            await shown(load(file, {}))
        assert refused.value.status == 401

    run(story, tmp_path)


def test_another_certificate_learns_no_secret_and_uses_up_no_token(tmp_path: Path) -> None:
    async def story(door: Door, etc: Path) -> None:
        invitation = await door.invitation()
        with pytest.raises(LinkError, match="fingerprint"):
            await join(msgspec.structs.replace(invitation, fingerprint="0" * 64), etc / "agent.toml", etc / "agent.key")
        assert not etc.exists()
        await join(invitation, etc / "agent.toml", etc / "agent.key")

    run(story, tmp_path)


@pytest.mark.parametrize(
    ("config", "key", "words"),
    [
        ("etc/agent.toml", "file/agent.key", "is no directory"),
        ("file/agent.toml", "etc/agent.key", "is no directory"),
        ("etc/agent.toml", "directory", "cannot be written"),
        ("many_lines.toml", "etc/agent.key", "must have a line each"),
        ("latin.toml", "etc/agent.key", "can't decode"),
    ],
)
def test_files_that_cannot_be_written_use_up_no_token(tmp_path: Path, config: str, key: str, words: str) -> None:
    many = 'servers = [\n  "https://a:9697",\n]\n'
    (tmp_path / "file").write_text("")
    (tmp_path / "directory").mkdir()
    (tmp_path / "many_lines.toml").write_text(many)
    (tmp_path / "latin.toml").write_bytes(b"# \xe4\n")

    async def story(door: Door, etc: Path) -> None:
        invitation = await door.invitation()
        with pytest.raises(JoinError, match=words):
            await join(invitation, tmp_path / config, tmp_path / key)
        assert (tmp_path / "many_lines.toml").read_text() == many and not etc.exists()
        await join(invitation, etc / "agent.toml", etc / "agent.key")

    run(story, tmp_path)


def test_a_token_is_read_from_standard_input(tmp_path: Path) -> None:
    async def story(door: Door, etc: Path) -> None:
        typed = (await door.invitation()).text + "\n"
        argv = ["agent", "join", "-", "--config", str(etc / "agent.toml"), "--key", str(etc / "agent.key")]
        said = await asyncio.to_thread(CliRunner().invoke, cli, argv, input=typed)
        assert said.exit_code == 0, said.output
        assert await shown(load(etc / "agent.toml", {})) == HOST

    run(story, tmp_path)


def test_the_servers_own_certificate_is_made_once_and_is_for_it_alone(tmp_path: Path) -> None:
    config, own = Config(agents=AgentsConfig(bind="0.0.0.0")), tmp_path / "agents.pem"
    assert identity(config, own) == identity(config, own)
    assert stat.S_IMODE(own.stat().st_mode) == 0o600
    assert identity(config, tmp_path / "other.pem").fingerprint != identity(config, own).fingerprint


@pytest.mark.parametrize("text", ["", "eyJ", "eyJob3N0IjoiYSJ9", "ü", "not a token"])
def test_what_is_no_token_is_said_to_be_none(text: str) -> None:
    with pytest.raises(InvitationError, match="no join token"):
        Invitation.of(text)
