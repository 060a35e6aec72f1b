"""What Prometheus reads at ``/metrics``, and the answer of ``/healthz``.

floatway_http_requests_total{method="GET",noun="ports",status="200"} 1042
floatway_http_request_seconds_bucket{method="GET",noun="ports",le="0.005"} 1040
floatway_store_commit_seconds_bucket{le="0.005"} 97
floatway_revision 1311
floatway_objects{kind="port"} 1000
"""

import asyncio
import ipaddress
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from starlette.types import Scope

from floatway.api.app import Finished, plain_text
from floatway.api.engine import Engine
from floatway.api.http import Response
from floatway.control.entities import KINDS
from floatway.control.errors import ApiError
from floatway.store.base import Change, Commit, Conflict, Snapshot, Store, StoreError

__all__ = ["MeasuredStore", "Metrics", "healthz"]

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
REQUEST_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
COMMIT_BUCKETS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5)
HEALTH_SECONDS: Final = 2.0


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        """All zero."""
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "floatway_http_requests", "Requests answered.", ["method", "noun", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "floatway_http_request_seconds",
            "Time from a request's header to its answer.",
            ["method", "noun"],
            buckets=REQUEST_BUCKETS,
            registry=self.registry,
        )
        self.commits = Histogram(
            "floatway_store_commit_seconds",
            "Time of one transaction of the store, durable at its end.",
            buckets=COMMIT_BUCKETS,
            registry=self.registry,
        )
        self.committed = Counter(
            "floatway_store_revisions", "Revisions that this server committed.", registry=self.registry
        )
        self.refused = Counter(
            "floatway_store_refused", "Transactions that the store did not do.", ["why"], registry=self.registry
        )
        ProcessCollector(registry=self.registry)
        self._children: dict[tuple[str, str, int], tuple[Callable[[], None], Callable[[float], None]]] = {}

    def observe(self, finished: Finished) -> None:
        """Count a request."""
        key = (finished.method, finished.noun, finished.status)
        children = self._children.get(key)
        if children is None:
            method = finished.method if finished.method in METHODS else "other"
            children = (
                self._requests.labels(method, finished.noun, str(finished.status)).inc,
                self._seconds.labels(method, finished.noun).observe,
            )
            if method == finished.method:
                self._children[key] = children
        children[0]()
        children[1](finished.seconds)

    def watch(self, engine: Engine, in_flight: Callable[[], int]) -> None:
        """Let every scrape look at the model."""
        self.registry.register(_Model(engine, in_flight))

    def page(self, allow: Sequence[str]) -> Callable[[Scope], Response]:
        """What answers ``/metrics``, to hosts of these networks only."""
        networks = [ipaddress.ip_network(network) for network in allow]

        def answer(scope: Scope) -> Response:
            if not near(scope, networks):
                raise ApiError(404, "HTTPNotFound", "The resource could not be found.")
            return plain_text(generate_latest(self.registry), CONTENT_TYPE_LATEST)

        return answer


def near(scope: Scope, networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    """Whether the request comes from a host of these networks itself, not through a proxy there."""
    if any(name.lower() in {b"x-forwarded-for", b"forwarded", b"via"} for name, _ in scope["headers"]):
        return False
    client = scope.get("client")
    try:
        address = ipaddress.ip_address(client[0] if client else "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in networks)


class _Model(Collector):
    """Gauges read off the model when somebody asks."""

    def __init__(self, engine: Engine, in_flight: Callable[[], int]) -> None:
        self._engine = engine
        self._in_flight = in_flight

    def collect(self) -> Iterator[Metric]:
        """The gauges now."""
        model = self._engine.model
        yield GaugeMetricFamily("floatway_revision", "The newest revision of the model.", value=model.revision)
        yield GaugeMetricFamily("floatway_http_requests_in_flight", "Requests at work.", value=self._in_flight())
        objects = GaugeMetricFamily("floatway_objects", "Objects in the model.", labels=["kind"])
        for name, kind in sorted(KINDS.items()):
            objects.add_metric([name], model.count(kind))
        yield objects


class MeasuredStore:
    """A store whose transactions are timed."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        """Everything goes to ``store``."""
        self._store = store
        self._metrics = metrics
        self.exclusive = store.exclusive

    async def commit(self, expected: int, batches: Sequence[Sequence[Change]]) -> int:
        """As the store does it."""
        begin = time.perf_counter()
        try:
            head = await self._store.commit(expected, batches)
        except Conflict:
            self._metrics.refused.labels("conflict").inc()
            raise
        except StoreError:
            self._metrics.refused.labels("failed").inc()
            raise
        self._metrics.commits.observe(time.perf_counter() - begin)
        self._metrics.committed.inc(len(batches))
        return head

    async def snapshot(self) -> Snapshot:
        """As the store does it."""
        return await self._store.snapshot()

    def watch(self, from_revision: int) -> AsyncIterator[Commit]:
        """As the store does it."""
        return self._store.watch(from_revision)

    async def compact(self, keep_from: int) -> None:
        """As the store does it."""
        await self._store.compact(keep_from)

    async def head(self) -> int:
        """As the store does it."""
        return await self._store.head()

    async def restore(self, snapshot: Snapshot) -> None:
        """As the store does it."""
        await self._store.restore(snapshot)

    async def close(self) -> None:
        """As the store does it."""
        await self._store.close()


def healthz(engine: Engine) -> Callable[[Scope], Awaitable[Response]]:
    """What answers ``/healthz``: 200 while writes can succeed and the store answers, else 503 and why."""

    async def answer(_scope: Scope) -> Response:
        problem = "" if engine.healthy else "the server does not accept writes"
        if not problem:
            try:
                async with asyncio.timeout(HEALTH_SECONDS):
                    await engine.store.head()
            except TimeoutError:
                problem = f"the store did not answer within {HEALTH_SECONDS:g} s"
            except StoreError as error:
                problem = f"the store does not answer: {error}"
        document: dict[str, object] = {"status": "not ready", "reason": problem} if problem else {"status": "ready"}
        document["revision"] = engine.model.revision
        return Response(503 if problem else 200, msgspec.json.encode(document))

    return answer
