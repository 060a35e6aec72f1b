"""Real Keystone on loopback: SQLite, one process with one thread, projects and users as the suites want them.

    state/keystone/   keystone.conf  keystone.db  fernet-keys/  credential-keys/
    http://127.0.0.1:PORT/v3

One process, because its role cache is the process's own; one thread, because SQLite has one writer.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import daemon
from rest import answers, call, wait_for

REGION = "RegionOne"
ADMIN_PASSWORD = "peers-admin"
USER_PASSWORD = "peers-user"
PROJECTS = 8
"""How many projects of pre-provisioned accounts there are; each of two workers takes up to three at once."""

SERVE = Path(__file__).with_name("serve_keystone.py")

CONF = """\
[DEFAULT]
log_file = {home}/keystone.log
max_token_size = 512
[database]
connection = sqlite:///{home}/keystone.db?timeout=30
[cache]
enabled = true
backend = oslo_cache.dict
[token]
provider = fernet
expiration = 86400
[fernet_tokens]
key_repository = {home}/fernet-keys
[credential]
key_repository = {home}/credential-keys
[identity]
# the suites make hundreds of users; the cost of a password is not under test
password_hash_rounds = 4
[oslo_policy]
enforce_scope = true
enforce_new_defaults = true
"""


class Keystone(NamedTuple):
    """Where it is."""

    url: str


def up(state: Path, venv: Path, port: int, network_url: str) -> Keystone:
    """Start it, or use the one that runs; its catalog says ``network_url``."""
    url = f"http://127.0.0.1:{port}/v3"
    if not (daemon.running("keystone", state) and answers(url)):
        daemon.stop("keystone", state)
        start(state, venv, port, url)
    seed(url, network_url)
    return Keystone(url)


def down(state: Path) -> None:
    """End it; its database stays."""
    daemon.stop("keystone", state)


def start(state: Path, venv: Path, port: int, url: str) -> None:
    """Make keys and tables at the first start, then serve."""
    home = state / "keystone"
    for keys in ("fernet-keys", "credential-keys"):
        (home / keys).mkdir(parents=True, exist_ok=True, mode=0o700)
    config = home / "keystone.conf"
    config.write_text(CONF.format(home=home))
    if not (home / "seeded").exists():
        initialise(venv, config, url)
        (home / "seeded").touch()
    argv = [venv / "bin/python", "-I", SERVE, str(port)]
    env = {"OS_KEYSTONE_CONFIG_DIR": str(home), "OS_KEYSTONE_CONFIG_FILES": str(config)}
    daemon.start("keystone", state, argv, env)
    if not wait_for(url, lambda: daemon.running("keystone", state)):
        raise SystemExit(f"keystone did not come up: its last words are in {state}/keystone.log")


def initialise(venv: Path, config: Path, url: str) -> None:
    """Tables, keys, the administrator and the catalog's entry for Keystone itself."""
    owner = ["--keystone-user", str(os.geteuid()), "--keystone-group", str(os.getegid())]
    bootstrap = ["bootstrap", "--bootstrap-password", ADMIN_PASSWORD, "--bootstrap-region-id", REGION]
    for interface in ("admin", "public", "internal"):
        bootstrap += [f"--bootstrap-{interface}-url", url]
    for words in (["db_sync"], ["fernet_setup", *owner], ["credential_setup", *owner], bootstrap):
        argv = [str(venv / "bin/keystone-manage"), "--config-file", str(config), *words]
        done = subprocess.run(
            argv, capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": "ignore"}, check=False
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(argv)}: {done.returncode}\n{done.stderr[-3000:]}")


def admin_token(url: str) -> str:
    """A token of the administrator in project admin."""
    return token(url, "admin", ADMIN_PASSWORD, "admin")


def token(url: str, user: str, password: str, project: str) -> str:
    """A project-scoped token."""
    identity = {
        "methods": ["password"],
        "password": {"user": {"name": user, "domain": {"id": "default"}, "password": password}},
    }
    scope = {"project": {"name": project, "domain": {"id": "default"}}}
    return call("POST", f"{url}/auth/tokens", {"auth": {"identity": identity, "scope": scope}}).headers[
        "X-Subject-Token"
    ]


def seed(url: str, network_url: str) -> None:
    """The network service's entry, and the accounts. What is there already stays."""
    admin = admin_token(url)

    def ensure(kind: str, match: dict[str, str], more: dict[str, str]) -> str:
        query = "&".join(f"{name}={value}" for name, value in match.items())
        found = call("GET", f"{url}/{kind}?{query}", token=admin).body[kind]
        if found:
            return str(found[0]["id"])
        single = kind.removesuffix("s")
        return str(call("POST", f"{url}/{kind}", {single: match | more}, admin).body[single]["id"])

    service = ensure("services", {"type": "network"}, {"name": "neutron"})
    for endpoint in call("GET", f"{url}/endpoints?service_id={service}", token=admin).body["endpoints"]:
        if endpoint["url"] != network_url:
            call("DELETE", f"{url}/endpoints/{endpoint['id']}", token=admin)
    for interface in ("public", "internal", "admin"):
        ensure("endpoints", {"service_id": service, "interface": interface}, {"region_id": REGION, "url": network_url})
    roles: dict[str, str] = {}
    for project, user, password, names in accounts():
        project_id = ensure("projects", {"name": project, "domain_id": "default"}, {})
        if not user:
            continue
        user_id = ensure("users", {"name": user, "domain_id": "default"}, {"password": password})
        for name in names:
            roles[name] = roles.get(name) or ensure("roles", {"name": name}, {})
            call("PUT", f"{url}/projects/{project_id}/users/{user_id}/roles/{roles[name]}", token=admin)


def accounts() -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    """Project, user, password, roles."""
    yield "service", "floatway", USER_PASSWORD, ("admin", "service")
    yield "demo", "", "", ()  # openstackclient's suite wants a project of this name
    for number in range(1, PROJECTS + 1):
        yield f"peers-{number}", f"member-{number}", USER_PASSWORD, ("member",)
        yield f"peers-{number}", f"reader-{number}", USER_PASSWORD, ("reader",)
