"""What operators ask that the Networking API has no word for, below ``/floatway/v1``.

GET    revision                              the newest revision
GET    wait?revision=N&timeout=S&host=H      200 once the hosts concerned have applied it, 504 with who has not and why
GET    hosts, hosts/H                        who is connected, where each stands, what failed     administrators
POST   hosts/H/tokens                        lets a host join, once, within an hour               administrators
DELETE hosts/H/key                           lets nobody speak for it any more                    administrators
GET    cloud                                 all of it, as hosts realise it                       administrators
POST   cloud                                 a cloud with its ids, all or nothing                 administrators
"""

import urllib.parse
from typing import Any, Final

import msgspec

from floatway.api.agents.hub import Hub, Presence
from floatway.api.agents.keys import Keys
from floatway.api.agents.listener import public
from floatway.api.agents.tls import Identity
from floatway.api.documents import encode
from floatway.api.engine import Engine
from floatway.api.http import NO_CONTENT, Request, Response
from floatway.control.caller import Caller
from floatway.control.decide.host_keys import JOINING_SECONDS
from floatway.control.decide.load import load
from floatway.control.entities import Agent
from floatway.control.errors import ApiError, bad_request, forbidden
from floatway.control.view import cloud_view
from floatway.model.cloud import Cloud
from floatway.model.invitation import Invitation
from floatway.model.stream import failing

__all__ = ["Operator"]

_WAIT: Final = 30.0
_LONGEST: Final = 600.0


class Loaded(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be there, and ids by table of what is to go."""

    cloud: Cloud = Cloud()
    remove: dict[str, tuple[str, ...]] = {}


_LOADED: Final = msgspec.json.Decoder(Loaded)


class Operator:
    """Answers everything below ``/floatway/v1``."""

    def __init__(self, engine: Engine, hub: Hub, keys: Keys, identity: Identity) -> None:
        """``hub`` follows ``engine``; ``identity`` is what hosts are told of the server."""
        self._identity = identity
        self._engine = engine
        self._hub = hub
        self._keys = keys

    async def __call__(self, request: Request, caller: Caller) -> Response:
        """The answer to a request.

        Raises:
            ApiError: what goes into the error document.
        """
        match request.method, request.path:
            case "GET", ("revision",):
                return _json({"revision": (await self._engine.read()).revision})
            case "GET", ("wait",):
                return await self._wait(request, caller)
            case "GET", ("hosts",):
                _administrators(caller)
                return _json({"hosts": [public(one) for one in self._hub.presences.values()]})
            case "GET", ("hosts", host):
                _administrators(caller)
                presence = self._hub.presences.get(host)
                if presence is None:
                    raise ApiError(404, "HostNotFound", f"No agent of host {host} was heard by this server.")
                return _json({"host": public(presence)})
            case "POST", ("hosts", host, "tokens"):
                _administrators(caller)
                secret = await self._keys.invite(host)
                ours = self._identity
                token = Invitation(host, secret, ours.servers, ours.fingerprint).text
                told = {"host": host, "secret": secret, "seconds": JOINING_SECONDS, "token": token}
                return _json({"token": told}, 201)
            case "DELETE", ("hosts", host, "key"):
                _administrators(caller)
                if not await self._keys.revoke(host):
                    raise ApiError(404, "HostNotFound", f"Host {host} has no key.")
                return NO_CONTENT
            case "GET", ("cloud",):
                _administrators(caller)
                model = await self._engine.read()
                return _json({"revision": model.revision, "cloud": cloud_view(model)})
            case "POST", ("cloud",):
                _administrators(caller)
                return await self._load(request)
        raise ApiError(404, "HTTPNotFound", "The resource could not be found.")

    async def _load(self, request: Request) -> Response:
        try:
            asked = _LOADED.decode(request.body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise bad_request("HTTPBadRequest", f"This is no cloud: {error}") from error
        written = await self._engine.write(lambda draft: load(draft, asked.cloud, asked.remove))
        return _json({"revision": written.model.revision})

    async def _wait(self, request: Request, caller: Caller) -> Response:
        asked = urllib.parse.parse_qs(request.query)
        model = await self._engine.read()
        newest = model.revision
        revision = _number(asked, "revision", newest)
        if revision > newest:
            raise bad_request("HTTPBadRequest", f"Revision {revision:g} is still to come: the newest is {newest}.")
        timeout = min(_number(asked, "timeout", _WAIT), _LONGEST)
        hosts = asked.get("host") if caller.is_admin else None
        for host in hosts or ():
            if host not in self._hub.presences and not model.find(Agent, "host", host):
                raise ApiError(404, "HostNotFound", f"No agent of host {host} was ever heard.")
        late = await self._hub.reached(int(revision), timeout, hosts)
        document: dict[str, Any] = {"revision": int(revision), "applied": not late}
        if caller.is_admin:
            document["hosts"] = {
                one.host: one.applied
                for one in self._hub.presences.values()
                if self._hub.follows(one) and (hosts is None or one.host in hosts)
            }
            document["late"] = [public(one) for one in late]
        if late:
            said = "; ".join(self._late(one) for one in late) if caller.is_admin else f"{len(late)} hosts are behind"
            document["NeutronError"] = {"type": "NotApplied", "message": f"Not applied: {said}.", "detail": ""}
        return _json(document, 504 if late else 200)

    def _late(self, one: Presence) -> str:
        """Who is behind, and why as far as it is known."""
        if self._hub.awaits(one):
            return f"the agent of {one.host} has yet to come back since this server began"
        if not self._hub.follows(one):
            return f"no agent of {one.host} is connected; see there: systemctl status floatway-agent"
        said = f"{one.host} stands at revision {one.applied} of {one.concerned}"
        reasons = {what: why.reason for what, why in one.failures.items()} or failing(one.events)
        failed = [f"{what}: {reason}" for what, reason in reasons.items()]
        return f"{said} ({', '.join(failed)})" if failed else said


def _administrators(caller: Caller) -> None:
    if not caller.is_admin:
        raise forbidden("PolicyNotAuthorized", "This is for administrators.")


def _number(asked: dict[str, list[str]], name: str, default: float) -> float:
    given = asked.get(name, [""])[0]
    if not given:
        return default
    try:
        value = float(given)
    except ValueError:
        value = -1.0
    if not 0 <= value < 2**53:
        raise bad_request("HTTPBadRequest", f"{name} is a number, 0 or more; '{given[:64]}' is not.")
    return value


def _json(document: dict[str, Any], status: int = 200) -> Response:
    return Response(status, encode(document))
