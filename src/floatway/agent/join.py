"""How a host gets its key and a configuration to begin with: one token, one command.

invitation ─▶ POST /v1/join ─▶ /etc/floatway/agent.key (0600), /etc/floatway/agent.toml (unless there is one: only what the token says)
"""

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from floatway.agent.link import Address, Link, LinkError
from floatway.model.invitation import Invitation

__all__ = ["JoinError", "join"]


class JoinError(Exception):
    """The host's files cannot take what the token says; it was not used. Says which file and why."""


async def join(invitation: Invitation, config: Path, key: Path) -> str:
    """Exchange the token for the host's key and write both files, each whole or not at all; the server that let us in.

    Raises:
        JoinError: a file cannot be written, or the configuration is none; the token is still good.
        LinkError: no server lets us in.
        OSError: a file could not be written after all.
    """
    configured = _configured(config, invitation, key)
    for path in (config, key):
        _check_writable(path)
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
        _write(config, configured, 0o644)
        return server
    raise LinkError("; ".join(failures) or "the token names no server")


def _write(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.new")
    aside.unlink(missing_ok=True)
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())  # the token is used up: what it was exchanged for must outlive a power cut
    aside.replace(path)


def _check_writable(path: Path) -> None:
    there = next(parent for parent in path.absolute().parents if parent.exists())
    if not there.is_dir():
        raise JoinError(f"{path}: {there} is no directory")
    if path.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise JoinError(f"{path}: cannot be written")


def _configured(path: Path, invitation: Invitation, key: Path) -> str:
    """The file with what the token says in place; everything else in it stays as it is, comments too."""
    said: dict[str, Any] = {
        "host": invitation.host,
        "servers": list(invitation.servers),
        "key_file": str(key),
        "fingerprint": invitation.fingerprint,
    }
    try:
        lines = (path.read_text() if path.exists() else _BEGINNING).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise JoinError(f"{path}: {error}") from error
    tables = next((number for number, line in enumerate(lines) if line.lstrip().startswith("[")), len(lines))
    for name, value in said.items():
        line = f"{name} = {msgspec.json.encode(value).decode()}"
        at = next((n for n in range(tables) if re.match(rf"\s*{name}\s*=", lines[n])), None)
        if at is not None:
            lines[at] = line
        else:
            lines.insert(0, line)
            tables += 1
    text = "\n".join(lines) + "\n"
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise JoinError(f"{path}: {error}; {', '.join(said)} must have a line each") from error
    return text


_BEGINNING = """\
# What this host has; `floatway agent --help` and docs/how-to/join-a-host.md say more.
# tunnel_ip = "10.10.20.22"          this host's address for tunnels to other hosts
# agent_mode = "dvr"

# [bridge_mappings]                   physical networks
# physnet1 = "br-ex"
# [bridge_nics]                       the NIC on each of their bridges
# br-ex = "eth4"
"""
