"""The Networking API as a client sees it: who we are from the environment or clouds.yaml, as the ``openstack`` command takes it.

    OS_CLOUD ─▶ clouds.yaml ┐
    OS_AUTH_TYPE, OS_…      ┴▶ Login ─▶ Networking.call("GET", "/v2.0/ports/…")

Nothing given: http://127.0.0.1:9696 without authentication, where ``floatway server`` listens by default.
"""

import base64
import http.client
import os
import ssl
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

__all__ = ["Login", "LoginError", "Networking", "NetworkingError", "Unreachable", "login"]

DEFAULT_ENDPOINT: Final = "http://127.0.0.1:9696"
SECONDS: Final = 30.0
_ENCODER: Final = msgspec.json.Encoder()
_PLACES: Final = ("clouds.yaml", "~/.config/openstack/clouds.yaml", "/etc/openstack/clouds.yaml")


class LoginError(Exception):
    """What the environment or clouds.yaml says is not enough, or not right. Names the variable or key."""


class NetworkingError(Exception):
    """The API refused. ``status`` is HTTP's, ``kind`` the API's name of the error (PortNotFound), ``document`` all that it said."""

    def __init__(self, status: int, kind: str, message: str, document: Any = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.document = document


class Unreachable(Exception):  # noqa: N818 - named by what the server is
    """Nobody answers there, or not in HTTP."""


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """Where the API is, and who asks. ``kind``: none, http_basic, password, token (the last two with Keystone at ``auth_url``)."""

    kind: str = "none"
    endpoint: str = ""
    auth_url: str = ""
    username: str = ""
    password: str = ""
    token: str = ""
    project_name: str = ""
    project_id: str = ""
    user_domain_name: str = "Default"
    project_domain_name: str = "Default"
    region_name: str = ""
    cacert: str = ""

    def __repr__(self) -> str:
        return f"Login({self.kind} {self.endpoint or self.auth_url})"


_KINDS: Final = {"none": "none", "http_basic": "http_basic", "password": "password", "v3password": "password",
                 "token": "token", "v3token": "token", "": ""}  # fmt: skip


def login(environment: Mapping[str, str] | None = None) -> Login:
    """What OS_CLOUD and clouds.yaml, or the variables OS_…, say.

    Raises:
        LoginError: not enough, or not right.
    """
    env = os.environ if environment is None else environment
    said: dict[str, str] = {}
    if name := env.get("OS_CLOUD", ""):
        said = _cloud(name, env)
    for field in Login.__struct_fields__[1:]:
        if given := env.get(f"OS_{field.upper()}"):
            said[field] = given
    kind = env.get("OS_AUTH_TYPE") or said.pop("auth_type", "") or ("password" if said.get("auth_url") else "none")
    if kind not in _KINDS:
        raise LoginError(f'OS_AUTH_TYPE "{kind}" is not known here: none, http_basic, password or token')
    kind = _KINDS[kind]
    known = {key: value for key, value in said.items() if key in Login.__struct_fields__}
    if kind in {"none", "http_basic"}:
        known.setdefault("endpoint", DEFAULT_ENDPOINT)
    wanted = {"http_basic": ("username", "password"), "password": ("auth_url", "username", "password"),
              "token": ("auth_url", "token")}.get(kind, ())  # fmt: skip
    if missing := [field for field in wanted if not known.get(field)]:
        raise LoginError(f"{', '.join(f'OS_{field.upper()}' for field in missing)}: not given, and {kind} needs it")
    return Login(kind=kind, **known)


def _cloud(name: str, env: Mapping[str, str]) -> dict[str, str]:
    """A cloud's entry in the first clouds.yaml there is, flat."""
    places = [env["OS_CLIENT_CONFIG_FILE"]] if env.get("OS_CLIENT_CONFIG_FILE") else list(_PLACES)
    for place in places:
        path = Path(place).expanduser()
        if not path.is_file():
            continue
        try:
            clouds = yaml.safe_load(path.read_text())["clouds"]
            if name not in clouds:
                raise LoginError(f"OS_CLOUD is {name}, and {path} knows {', '.join(clouds) or 'none'}")
            entry = clouds[name]
            flat = {**entry, **entry.get("auth", {})}
        except (OSError, yaml.YAMLError, TypeError, KeyError, AttributeError) as error:
            raise LoginError(f"{path}: no cloud {name} can be read there ({type(error).__name__}: {error})") from error
        if override := entry.get("network_endpoint_override"):
            flat["endpoint"] = override
        return {key: value for key, value in flat.items() if isinstance(value, str)}
    raise LoginError(f"OS_CLOUD is {name}, but there is no clouds.yaml: looked for {', '.join(places)}")


class Networking:
    """The API; one connection, kept open, opened anew when the server let go of it. Not for two threads at a time."""

    def __init__(self, who: Login, *, seconds: float = SECONDS) -> None:
        """``seconds`` is the longest wait for an answer."""
        self._who = who
        self._seconds = seconds
        self._endpoint = who.endpoint.rstrip("/").removesuffix("/v2.0")
        self._headers: dict[str, str] | None = None
        self._connection: http.client.HTTPConnection | None = None
        self.revision = 0
        """Of the cloud after the last write through here; 0 before."""

    @property
    def endpoint(self) -> str:
        """Where the API is, without /v2.0."""
        return self._endpoint

    def close(self) -> None:
        """Let go."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The answer's document; None when it has none.

        Raises:
            NetworkingError: it is refused.
            Unreachable: nobody answers.
            LoginError: Keystone does not let us in.
        """
        if self._headers is None:
            self._headers = self._log_in()
        data = b"" if body is None else _ENCODER.encode(body)
        status, headers, raw = self._send(method, path, data)
        if status == 401 and self._who.kind == "password":
            self._headers = self._log_in()  # the token was too old
            status, headers, raw = self._send(method, path, data)
        if status >= 400:
            raise _refusal(status, raw)
        if revision := headers.get("x-floatway-revision"):
            self.revision = int(revision)
        return msgspec.json.decode(raw) if raw else None

    def one(self, noun: str, name_or_id: str, plural: str = "") -> dict[str, Any]:
        """The one ``port``, ``network``, … of that id, or else of that name.

        Raises:
            NetworkingError: 404 there is none, 409 there are several of that name; as ``call``.
        """
        plural = plural or f"{noun}s"
        path = f"/v2.0/{plural.replace('_', '-')}"
        word = urllib.parse.quote(name_or_id, safe="")
        for field in ("id", "name"):
            found = self.call("GET", f"{path}?{field}={word}")[plural]
            if len(found) > 1:
                ids = ", ".join(one["id"] for one in found)
                raise NetworkingError(409, "NotUnique", f'several {plural} are named "{name_or_id}": {ids}')
            if found:
                return dict(found[0])
        raise NetworkingError(404, "NotFound", f'no {noun.replace("_", " ")} has the id or name "{name_or_id}"')

    def _send(self, method: str, path: str, data: bytes) -> tuple[int, dict[str, str], bytes]:
        headers = {**(self._headers or {}), "Accept": "application/json"}
        if data:
            headers["Content-Type"] = "application/json"
        kept = self._connection is not None
        while True:
            try:
                if self._connection is None:
                    self._connection = _connect(self._endpoint, self._who.cacert, self._seconds)
                self._connection.request(method, _prefix(self._endpoint) + path, data or None, headers)
                answer = self._connection.getresponse()
                raw = answer.read()
                return answer.status, {name.lower(): value for name, value in answer.getheaders()}, raw
            except (http.client.BadStatusLine, ConnectionError) as error:
                self.close()
                if not kept:
                    raise Unreachable(f"{self._endpoint}: {error}") from error
                kept = False  # the server had let go of an idle connection, which shows only now
            except (OSError, http.client.HTTPException) as error:
                self.close()
                raise Unreachable(f"{self._endpoint}: {error}") from error

    def _log_in(self) -> dict[str, str]:
        who = self._who
        if who.kind == "none":
            return {}
        if who.kind == "http_basic":
            pair = base64.b64encode(f"{who.username}:{who.password}".encode()).decode()
            return {"Authorization": f"Basic {pair}"}
        url = who.auth_url.rstrip("/")
        url = url if url.endswith("/v3") else f"{url}/v3"
        connection = _connect(url, who.cacert, self._seconds)
        try:
            body = _ENCODER.encode(_question(who))
            connection.request("POST", _prefix(url) + "/auth/tokens", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            raw = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"{url}: {error}") from error
        finally:
            connection.close()
        if answer.status != 201:
            raise LoginError(f"Keystone at {url} says {answer.status}: {_refusal(answer.status, raw)}")
        if not self._endpoint:
            self._endpoint = _catalogued(msgspec.json.decode(raw), who.region_name)
        return {"X-Auth-Token": answer.headers["X-Subject-Token"]}


def _question(who: Login) -> dict[str, Any]:
    """A request for a token (Identity API v3)."""
    user = {"name": who.username, "password": who.password, "domain": {"name": who.user_domain_name}}
    methods: dict[str, Any] = {"methods": ["password"], "password": {"user": user}}
    if who.kind == "token":
        methods = {"methods": ["token"], "token": {"id": who.token}}
    auth: dict[str, Any] = {"identity": methods}
    if who.project_id:
        auth["scope"] = {"project": {"id": who.project_id}}
    elif who.project_name:
        auth["scope"] = {"project": {"name": who.project_name, "domain": {"name": who.project_domain_name}}}
    return {"auth": auth}


def _catalogued(document: Any, region: str) -> str:
    for service in document["token"].get("catalog", ()):
        if service["type"] == "network":
            for one in service["endpoints"]:
                if one["interface"] == "public" and region in {"", one.get("region_id"), one.get("region")}:
                    return str(one["url"]).rstrip("/").removesuffix("/v2.0")
    raise LoginError("Keystone's catalogue has no public endpoint of type network; name it: OS_ENDPOINT")


def _connect(url: str, cacert: str, seconds: float) -> http.client.HTTPConnection:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise LoginError(f'"{url}" is no address of an API: http://HOST:PORT')
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=cacert or None)
        return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=seconds, context=context)
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=seconds)


def _prefix(url: str) -> str:
    return urllib.parse.urlsplit(url).path.rstrip("/")


def _refusal(status: int, raw: bytes) -> NetworkingError:
    """The error document's words: of the Networking API, of Keystone, or of something in between."""
    kind, message, document = "", "", None
    try:
        document = msgspec.json.decode(raw)
        error: Any = document.get("NeutronError") or next(iter(document.values()), {})
        kind, message = str(error.get("type") or error.get("title") or ""), str(error["message"])
    except (msgspec.DecodeError, AttributeError, KeyError, TypeError):
        message = raw[:200].decode(errors="replace").strip() or http.client.responses.get(status, "")
    return NetworkingError(status, kind, message or str(status), document)
