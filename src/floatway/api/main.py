"""The server as a whole: store, model, application, sockets, in the order in which they come and go.

open the store ─ load the model ─ serve ──── SIGTERM ──── requests at work end ─ what was decided is durable ─ close the store
"""

import asyncio
import contextlib
import gc
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog
import uvloop

from floatway import __version__
from floatway.api import logs
from floatway.api.agents import gauges
from floatway.api.agents.hub import Hub
from floatway.api.agents.keys import Keys
from floatway.api.agents.listener import Listener
from floatway.api.agents.tls import Identity, identity
from floatway.api.app import App, Finished, Limits
from floatway.api.auth import Authenticator, make_authenticator
from floatway.api.config import AgentsConfig, Config
from floatway.api.dispatch import Collections
from floatway.api.engine import Engine
from floatway.api.guard import Guard
from floatway.api.metrics import MeasuredStore, Metrics, healthz
from floatway.api.nouns import nouns
from floatway.api.openapi import described
from floatway.api.operator import Operator
from floatway.api.policy import Policy, PolicyError
from floatway.api.port_bindings import BINDINGS
from floatway.api.routes import Api
from floatway.api.serve import ServeError, serve
from floatway.store.base import StoreError
from floatway.store.open import open_store, shown

__all__ = ["application", "run", "serve_config"]

_LOG: Final = structlog.get_logger("floatway.server")
_OLDEST: Final = 2
_THOROUGH_SECONDS: Final = 6 * 3600.0


def run(config: Config) -> int:
    """Serve until a signal says stop; the exit status."""
    logs.configure(config.log)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(serve_config(config))
        except (ServeError, StoreError) as error:
            _LOG.error("cannot go on", error=str(error))
            return 1
    return 0


async def serve_config(config: Config) -> None:
    """The server's whole life.

    Raises:
        ServeError: it cannot listen, its users or rules are not right, or requests had to be cut off.
        StoreError: the store cannot be opened.
    """
    policy, authenticator = _callers(config)
    metrics = Metrics()
    store = await open_store(config.store.url)
    engine = Engine(MeasuredStore(store, metrics), config.network)
    listener: Listener | None = None
    try:
        await engine.start()
        _LOG.info("loaded", version=__version__, store=shown(config.store.url), revision=engine.model.revision)
        name = "" if store.exclusive else uuid.uuid4().hex
        down = config.network.agent_down_seconds
        hub, keys = Hub(engine.model, clock=time.time, server=name, down_seconds=down), Keys(engine)
        engine.listen(hub.moved)
        gauges.watch(metrics.registry, hub)
        ours = _identity(config)
        operator = Operator(engine, hub, keys, ours)
        app = application(config, engine, metrics, policy, authenticator, operator=operator)
        listener = Listener(config.agents, engine, hub, authenticate=keys.authenticate, join=keys.join)
        await _listen(listener, config.agents, ours)
        settle()
        await serve(config.server, app)
    finally:
        if listener is not None:
            await listener.stop()
        await authenticator.close()
        await engine.close()
        _LOG.info("stopped", revision=engine.model.revision)


def _identity(config: Config) -> Identity:
    try:
        return identity(config)
    except (OSError, ValueError) as error:
        raise ServeError(f"agents.tls_certificate: {error}") from error


async def _listen(listener: Listener, config: AgentsConfig, ours: Identity) -> None:
    try:
        await listener.start(ours.context())
    except OSError as error:
        raise ServeError(f"agents.bind, agents.port, agents.socket: {error.strerror or error}") from error
    if config.bind or config.socket:
        _LOG.info("serving agents", bind=config.bind, port=config.port if config.bind else 0, socket=config.socket)


def application(
    config: Config,
    engine: Engine,
    metrics: Metrics,
    policy: Policy,
    authenticator: Authenticator,
    *,
    operator: Operator | None = None,
) -> App:
    """The application with what surrounds it."""
    every = nouns(config.network)
    api = Api(Collections(engine, Guard(policy)), every)
    observers: list[Callable[[Finished], None]] = [metrics.observe]
    if config.log.access:
        observers.append(logs.access_log(config.log))
    app = App(
        api,
        authenticator,
        nouns=api.nouns,
        operator=operator,
        revision=lambda: engine.model.revision,
        plain={
            "/healthz": healthz(engine),
            "/metrics": metrics.page(config.metrics.allow),
            "/openapi.json": described(every, BINDINGS),
        },
        observers=observers,
        limits=Limits(body=config.server.max_body_bytes, body_seconds=config.server.body_timeout),
    )
    metrics.watch(engine, lambda: app.in_flight)
    return app


def _callers(config: Config) -> tuple[Policy, Authenticator]:
    """Who may call, and what they may do."""
    try:
        policy = Policy([Path(file) for file in config.policy.files], enforce_scope=config.policy.enforce_scope)
    except PolicyError as error:
        raise ServeError(f"policy.files: {error}") from error
    for rule in policy.idle:
        _LOG.warning("policy rule that nothing asks for", rule=rule)
    try:
        return policy, make_authenticator(config.auth, policy.is_admin)
    except (OSError, ValueError) as error:
        raise ServeError(f"auth.{config.auth.mode}: {error}") from error


def settle() -> None:
    """What was loaded stays: the collector need not look at it again with every generation. Nor at what comes later and lives
    long: looking at all of 20,000 ports takes half a second, in which nobody is answered. Once in a while it does."""
    loop = asyncio.get_running_loop()

    def collected(phase: str, info: dict[str, int]) -> None:
        if phase == "stop" and info["generation"] == _OLDEST:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(gc.freeze)

    def thorough() -> None:
        gc.unfreeze()
        gc.collect()
        loop.call_later(_THOROUGH_SECONDS, thorough)

    gc.callbacks.append(collected)
    thorough()
