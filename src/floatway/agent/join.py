"""How a host gets its key and a configuration to begin with: one token, one command.

invitation ─▶ POST /v1/join ─▶ /etc/floatway/agent.key (0600), /etc/floatway/agent.toml (unless there is one: only what the token says)
"""

import re
from pathlib import Path
from typing import Any

import msgspec

from floatway.agent.link import Address, Link, LinkError
from floatway.model.invitation import Invitation

__all__ = ["join"]


async def join(invitation: Invitation, config: Path, key: Path) -> str:
    """Exchange the token for the host's key and write both files, each whole or not at all; the server that let us in.

    Raises:
        LinkError: no server lets us in.
        OSError: a file cannot be written.
    """
    failures: list[str] = []
    for server in invitation.servers:
        link = Link(Address.of(server), invitation.host, "", fingerprint=invitation.fingerprint)
        try:
            body = {"host": invitation.host, "secret": invitation.secret}
            given = await link.post("/v1/join", msgspec.json.encode(body))
        except LinkError as error:
            failures.append(str(error))
            continue
        finally:
            link.close()
        _write(key, given["key"] + "\n", 0o600)
        _write(config, _configured(config, invitation, key), 0o644)
        return server
    raise LinkError("; ".join(failures) or "the token names no server")


def _write(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.new")
    aside.unlink(missing_ok=True)
    aside.touch(mode=mode)
    aside.write_text(text)
    aside.replace(path)


def _configured(path: Path, invitation: Invitation, key: Path) -> str:
    """The file with what the token says in place; everything else in it stays as it is, comments too."""
    said: dict[str, Any] = {
        "host": invitation.host,
        "servers": list(invitation.servers),
        "key_file": str(key),
        "fingerprint": invitation.fingerprint,
    }
    lines = path.read_text().splitlines() if path.exists() else _BEGINNING.splitlines()
    tables = next((number for number, line in enumerate(lines) if line.lstrip().startswith("[")), len(lines))
    for name, value in said.items():
        line = f"{name} = {msgspec.json.encode(value).decode()}"
        at = next((n for n in range(tables) if re.match(rf"\s*{name}\s*=", lines[n])), None)
        if at is not None:
            lines[at] = line
        else:
            lines.insert(0, line)
            tables += 1
    return "\n".join(lines) + "\n"


_BEGINNING = """\
# What this host has; `floatway agent --help` and docs/how-to/join-a-host.md say more.
# tunnel_ip = "10.10.20.22"          this host's address for tunnels to other hosts
# agent_mode = "dvr"

# [bridge_mappings]                   physical networks
# physnet1 = "br-ex"
# [bridge_nics]                       the NIC on each of their bridges
# br-ex = "eth4"
"""
