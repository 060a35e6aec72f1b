"""The server's configuration: one TOML file, each value of which an environment variable may override.

    /etc/floatway/server.toml         [auth.keystone]  url = "http://…"
    FLOATWAY_AUTH_KEYSTONE_URL        the same, for a container
    password_file = "/run/secrets/…"  a secret from a file of its own

A frozen struct for each table; its defaults and descriptions are the commented default file (``default_text``), so that there
is one place to change. Everything wrong in a file is told at once, each with its key and what is allowed there.
"""

import difflib
import ipaddress
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta

from floatway.control.settings import Settings

__all__ = [
    "AgentsConfig",
    "AuthConfig",
    "Config",
    "ConfigError",
    "HttpBasicConfig",
    "HttpBasicUser",
    "KeystoneConfig",
    "LogConfig",
    "MetricsConfig",
    "PolicyConfig",
    "Secret",
    "ServerConfig",
    "StoreConfig",
    "load",
    "secret",
    "unreadable",
]

PREFIX = "FLOATWAY_"


class Secret:
    """A value that no log, traceback or ``--print-config`` shows; ``reveal()`` is the value."""

    __slots__ = ("_value",)

    def __init__(self, value: str = "") -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself, for the one place that sends it."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "********" if self._value else ""


Seconds = Annotated[float, Meta(gt=0, le=86400)]


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where the server listens, and how much a client may ask of it."""

    bind: Annotated[str, Meta(description="Address to listen on, IPv4 or IPv6.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535, description="TCP port; 9696 is the Networking API's.")] = 9696
    tls_certificate: Annotated[str, Meta(description="PEM file with the certificate chain; empty for plain HTTP.")] = ""
    tls_key: Annotated[str, Meta(description="PEM file with the certificate's key.")] = ""
    max_connections: Annotated[int, Meta(ge=1, le=100_000, description="Open connections; further ones wait.")] = 4096
    max_body_bytes: Annotated[
        int, Meta(ge=1024, description="Longest request body; a longer one is refused with 413.")
    ] = 16777216
    header_timeout: Annotated[
        Seconds,
        Meta(description="Seconds in which a request's header must have come whole; an idle connection lives as long."),
    ] = 75.0
    body_timeout: Annotated[Seconds, Meta(description="Seconds in which a request's body must have come whole.")] = 60.0
    stop_timeout: Annotated[
        Seconds, Meta(description="Seconds that requests at work have to finish when the server stops.")
    ] = 30.0


class StoreConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where the cloud is kept."""

    url: Annotated[
        str,
        Meta(
            pattern=r"^(sqlite|etcd|etcds)://",
            description="sqlite:///PATH (three slashes and an absolute path), or etcd://HOST:2379,HOST:2379/PREFIX for several servers; "
            "?reads=local lets each answer reads without asking etcd.",
        ),
    ] = "sqlite:///var/lib/floatway/floatway.db"


class HttpBasicUser(msgspec.Struct, frozen=True, kw_only=True):
    """What a user of the htpasswd file is."""

    project_id: Annotated[str, Meta(min_length=1)]
    roles: tuple[str, ...] = ("member", "reader")


class HttpBasicConfig(msgspec.Struct, frozen=True, kw_only=True):
    """For mode = "http_basic"."""

    htpasswd: Annotated[str, Meta(description="File of user:hash lines, bcrypt only (htpasswd -B).")] = (
        "/etc/floatway/htpasswd"
    )
    users: Annotated[
        dict[str, HttpBasicUser],
        Meta(description='Project and roles of each user: alice = { project_id = "…", roles = ["member", "reader"] }.'),
    ] = {}
    users_file: Annotated[
        str, Meta(description="TOML file of such lines, which win over users; it is read again when it changes.")
    ] = ""


class KeystoneConfig(msgspec.Struct, frozen=True, kw_only=True):
    """For mode = "keystone": who we are there, to have callers' tokens checked."""

    url: Annotated[str, Meta(pattern="^https?://", description="Keystone's v3 address.")] = "http://127.0.0.1:5000/v3"
    username: Annotated[str, Meta(description="Our own user, with the role service in project_name.")] = "floatway"
    password: Annotated[
        Secret, Meta(description="Its password; better in a file of its own, or FLOATWAY_AUTH_KEYSTONE_PASSWORD.")
    ] = Secret()
    password_file: Annotated[str, Meta(description="File that holds nothing but the password.")] = ""
    user_domain_name: Annotated[str, Meta(description="The user's domain.")] = "Default"
    project_name: Annotated[str, Meta(description="Our own project.")] = "service"
    project_domain_name: Annotated[str, Meta(description="The project's domain.")] = "Default"
    www_authenticate_uri: Annotated[
        str, Meta(description="Keystone's address as callers reach it, told to those without a token; empty for url.")
    ] = ""
    ca_file: Annotated[
        str,
        Meta(
            description="PEM file with the authorities that Keystone's certificate may come from; empty for the system's."
        ),
    ] = ""
    timeout: Annotated[Seconds, Meta(description="Seconds to wait for Keystone.")] = 10.0
    cache_seconds: Annotated[
        float,
        Meta(ge=0, le=3600, description="How long a token that Keystone accepted counts as good without asking again."),
    ] = 300.0


class AuthConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Who may call."""

    mode: Annotated[
        Literal["none", "http_basic", "keystone"],
        Meta(
            description="none: everybody is administrator, only loopback may be bound; http_basic: a file of users; keystone: its tokens."
        ),
    ] = "none"
    http_basic: HttpBasicConfig = HttpBasicConfig()
    keystone: KeystoneConfig = KeystoneConfig()


class PolicyConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller may do."""

    files: Annotated[
        tuple[str, ...],
        Meta(
            description="oslo.policy files (YAML) with rules that differ from Neutron's secure-RBAC defaults; later ones win."
        ),
    ] = ()
    enforce_scope: Annotated[
        bool,
        Meta(
            description="Whether system-scoped and domain-scoped tokens are refused, as Neutron's rules, all for projects, want it."
        ),
    ] = True


class LogConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What is written to standard error."""

    format: Annotated[
        Literal["json", "console"], Meta(description="json: one object a line; console: for a person.")
    ] = "json"
    level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="The least that is written.")] = (
        "info"
    )
    access: Annotated[bool, Meta(description="A line for each request.")] = True


class MetricsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """GET /metrics, in Prometheus' format. It counts every project's objects, so it is not for every caller."""

    allow: Annotated[
        tuple[str, ...],
        Meta(description="Networks whose hosts may read it without a token; nobody through a proxy. Empty: off."),
    ] = ("127.0.0.0/8", "::1/128")


class AgentsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where the hosts' agents find the server, and how much one may ask of it. They have a door of their own."""

    bind: Annotated[str, Meta(description="Address to listen on for agents; empty: no agents over the network.")] = ""
    port: Annotated[int, Meta(ge=0, le=65535, description="TCP port for agents; 0 takes any that is free.")] = 9697
    socket: Annotated[str, Meta(description="Path of a Unix socket for agents of this machine; empty: none.")] = ""
    tls_certificate: Annotated[
        str,
        Meta(description="PEM file; empty: server.tls_certificate, or one of our own making if bind is no loopback."),
    ] = ""
    tls_key: Annotated[str, Meta(description="PEM file with the certificate's key.")] = ""
    urls: Annotated[
        tuple[str, ...],
        Meta(description="Where hosts that join are told to find servers; empty: this one, by its name."),
    ] = ()
    max_connections: Annotated[int, Meta(ge=1, description="Agents' connections; further ones are closed.")] = 10_000
    max_body_bytes: Annotated[int, Meta(ge=1024, description="Longest report.")] = 4 * 1024 * 1024
    heartbeat: Annotated[Seconds, Meta(description="Seconds of silence after which an agent is sent a heartbeat.")] = (
        5.0
    )
    idle_timeout: Annotated[Seconds, Meta(description="Seconds that a connection may idle between requests.")] = 120.0
    body_timeout: Annotated[Seconds, Meta(description="Seconds in which a report must have come whole.")] = 20.0
    slow_timeout: Annotated[Seconds, Meta(description="Seconds that an agent may leave unread what it was sent.")] = (
        20.0
    )


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file."""

    server: ServerConfig = ServerConfig()
    store: StoreConfig = StoreConfig()
    auth: AuthConfig = AuthConfig()
    policy: PolicyConfig = PolicyConfig()
    network: Settings = Settings()
    log: LogConfig = LogConfig()
    metrics: MetricsConfig = MetricsConfig()
    agents: AgentsConfig = AgentsConfig()


class ConfigError(Exception):
    """The configuration is not right. ``problems`` has a line for each thing: file, key, what is wrong and what is allowed."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load(path: str | Path | None, environment: Mapping[str, str]) -> Config:
    """Read a file (None: the defaults), then the environment's overrides.

    Raises:
        ConfigError: with everything that is wrong.
    """
    table: dict[str, Any] = {}
    name = str(path or "environment")
    if path is not None:
        try:
            table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError((f"{name}: {error.strerror}",)) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError((f"{name}: not TOML: {error}",)) from error
    problems = list(_override(table, environment))
    config: Config = _read(Config, table, (), name, problems)
    if not problems:
        problems = [f"{name}: {problem}" for problem in contradictions(config)]
    if problems:
        raise ConfigError(tuple(problems))
    return config


def contradictions(config: Config) -> Iterator[str]:
    """Values that are right one by one, and wrong together."""
    server, auth = config.server, config.auth
    try:
        bind = ipaddress.ip_address(server.bind)
    except ValueError:
        yield f"server.bind: {server.bind!r} is no IPv4 or IPv6 address"
    else:
        if auth.mode == "none" and not bind.is_loopback:
            yield f'server.bind: {server.bind} with auth.mode = "none" would make all who reach it administrators; allowed: 127.0.0.1, ::1'
    if bool(server.tls_certificate) != bool(server.tls_key):
        missing = "tls_key" if server.tls_certificate else "tls_certificate"
        yield f"server.{missing}: missing; certificate and key go together"
    if auth.mode == "keystone" and not (auth.keystone.password or auth.keystone.password_file):
        yield 'auth.keystone.password: missing; auth.mode = "keystone" needs it, password_file, or FLOATWAY_AUTH_KEYSTONE_PASSWORD'
    for network in config.metrics.allow:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            yield f"metrics.allow: {error}"


def unreadable(config: Config) -> Iterator[str]:
    """Files that the configuration names and that cannot be read here and now (``--check`` and start)."""
    named = {
        "server.tls_certificate": config.server.tls_certificate,
        "server.tls_key": config.server.tls_key,
    }
    if config.auth.mode == "http_basic":
        named["auth.http_basic.htpasswd"] = config.auth.http_basic.htpasswd
        named["auth.http_basic.users_file"] = config.auth.http_basic.users_file
    if config.auth.mode == "keystone":
        named["auth.keystone.password_file"] = config.auth.keystone.password_file
        named["auth.keystone.ca_file"] = config.auth.keystone.ca_file
    named |= {f"policy.files[{number}]": file for number, file in enumerate(config.policy.files)}
    for key, file in named.items():
        if file:
            try:
                with Path(file).open("rb"):
                    pass
            except OSError as error:
                yield f"{key}: {file}: {error.strerror}"


def secret(value: Secret, file: str) -> Secret:
    """The secret itself: as given, or else the file's content without the newline at its end."""
    return value if value or not file else Secret(Path(file).read_text(encoding="utf-8").rstrip("\n"))


# --- Tables to structs --------------------------------------------------------------------------------


def _read(kind: type[Any], table: object, path: tuple[str, ...], file: str, problems: list[str]) -> Any:
    """The struct of a table; what is wrong goes to ``problems``, and the default stands in for it."""
    where = ".".join(path)
    if not isinstance(table, dict):
        problems.append(f"{file}: {where}: must be a table, [{where}]")
        return kind()
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    for name in [name for name in table if name not in fields]:
        key = ".".join((*path, name))
        near = difflib.get_close_matches(name, fields, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        problems.append(f"{file}: {key}: no such key{meant} (allowed: {', '.join(fields)})")
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name not in table:
            continue
        if is_table(field.type):
            values[name] = _read(field.type, table[name], (*path, name), file, problems)
            continue
        try:
            values[name] = msgspec.convert(table[name], field.type, dec_hook=_decode)
        except msgspec.ValidationError as error:
            problems.append(f"{file}: {'.'.join((*path, name))}: {_said(error, field.type)}")
    return kind(**values)


def is_table(kind: Any) -> bool:
    """Whether a field is a table of its own."""
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _decode(kind: type[Any], value: object) -> object:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise msgspec.ValidationError("must be a string")


def _said(error: msgspec.ValidationError, kind: Any) -> str:
    text, _, at = str(error).partition(" - at ")
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if get_origin(bare) is Literal:
        return f"allowed: {', '.join(map(repr, get_args(bare)))}"
    place = at.strip("`").removeprefix("$")
    return f"{text}{f' at {place}' if place else ''}"


# --- Environment --------------------------------------------------------------------------------------


def _override(table: dict[str, Any], environment: Mapping[str, str]) -> Iterator[str]:
    """Put the environment's values into the table; gives what is wrong."""
    known = {PREFIX + "_".join(path).upper(): path for path, _ in leaves(Config)}
    sections = tuple(f"{PREFIX}{name.upper()}_" for name in Config.__struct_fields__)
    for name in sorted(environment):
        if not name.startswith(sections):
            continue
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            yield f"{name}: no such variable" + (f"; did you mean {near[0]}?" if near else "")
            continue
        *tables, last = known[name]
        inner = table
        for step in tables:
            inner = inner.setdefault(step, {})
        if isinstance(inner, dict):
            inner[last] = _typed(environment[name], known[name])


def _typed(text: str, path: tuple[str, ...]) -> object:
    """A variable's text: itself where a string is wanted, else as it would stand in the file."""
    kind = dict(leaves(Config))[path]
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if bare in {str, Secret} or get_origin(bare) is Literal:
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def leaves(kind: type[msgspec.Struct], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every key with its type."""
    for field in msgspec.structs.fields(kind):
        if is_table(field.type):
            yield from leaves(field.type, (*path, field.name))
        else:
            yield (*path, field.name), field.type
