"""What Prometheus reads: bounded names, and nobody else's business."""

import asyncio
from collections.abc import Sequence

import pytest
from prometheus_client.parser import text_string_to_metric_families

from floatway.api.app import Finished
from floatway.api.engine import Engine
from floatway.api.metrics import MeasuredStore, Metrics, healthz
from floatway.control.errors import ApiError
from floatway.control.settings import Settings
from floatway.store.base import Change, Conflict, Snapshot, StoreError
from floatway.store.open import open_store


def finished(method: str, noun: str, status: int = 200) -> Finished:
    return Finished(method, "/v2.0/x", noun, status, 0.002, "req-1", "", "", 10)


def scope(peer: str, *headers: tuple[bytes, bytes]) -> dict[str, object]:
    return {"type": "http", "client": (peer, 1), "headers": list(headers)}


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Name and label values (by the label's name) -> value, as a scraper reads them."""
    text = metrics.page(["127.0.0.0/8"])(scope("127.0.0.1")).body.decode()
    families = text_string_to_metric_families(text)
    return {(s.name, *dict(sorted(s.labels.items())).values()): s.value for family in families for s in family.samples}


def test_requests_are_counted() -> None:
    metrics = Metrics()
    for _ in range(3):
        metrics.observe(finished("GET", "ports"))
    metrics.observe(finished("POST", "ports", 409))
    read = samples(metrics)
    assert read["floatway_http_requests_total", "GET", "ports", "200"] == 3
    assert read["floatway_http_requests_total", "POST", "ports", "409"] == 1
    assert read["floatway_http_request_seconds_bucket", "0.0025", "GET", "ports"] == 3
    assert read["floatway_http_request_seconds_count", "POST", "ports"] == 1


def test_a_client_cannot_make_names() -> None:
    metrics = Metrics()
    for number in range(50):
        metrics.observe(finished(f"X{number}", "other"))
    names = [key for key in samples(metrics) if key[0] == "floatway_http_requests_total"]
    assert names == [("floatway_http_requests_total", "other", "other", "200")]
    assert not metrics._children


@pytest.mark.parametrize(
    ("peer", "headers", "seen"),
    [
        ("127.0.0.1", (), True),
        ("::ffff:127.0.0.1", (), True),
        ("192.0.2.1", (), False),
        ("", (), False),
        ("127.0.0.1", ((b"X-Forwarded-For", b"127.0.0.1"),), False),
        ("127.0.0.1", ((b"forwarded", b"for=127.0.0.1"),), False),
    ],
)
def test_only_near_hosts_may_read(peer: str, headers: Sequence[tuple[bytes, bytes]], seen: bool) -> None:
    page = Metrics().page(["127.0.0.0/8", "::1/128"])
    if seen:
        assert page(scope(peer, *headers)).status == 200
    else:
        with pytest.raises(ApiError) as caught:
            page(scope(peer, *headers))
        assert caught.value.status == 404


class Store:
    """Does what it is told."""

    exclusive = True

    def __init__(self) -> None:
        self.error: Exception | None = None

    async def snapshot(self) -> Snapshot:
        return Snapshot(7, ())

    async def commit(self, expected: int, batches: Sequence[Sequence[Change]]) -> int:
        if self.error:
            raise self.error
        return expected + len(batches)

    async def head(self) -> int:
        if self.error:
            raise self.error
        return 7

    async def close(self) -> None:
        """Nothing to let go of."""


def test_the_store_is_measured_and_the_model_counted() -> None:
    async def run() -> dict[tuple[str, ...], float]:
        metrics, store = Metrics(), Store()
        measured = MeasuredStore(store, metrics)  # type: ignore[arg-type]
        engine = Engine(measured, Settings())
        await engine.start()
        metrics.watch(engine, lambda: 2)
        await measured.commit(7, [[], [], []])
        for store.error in (Conflict(9), StoreError("gone")):
            with pytest.raises(StoreError):
                await measured.commit(7, [[]])
        await engine.close()
        return samples(metrics)

    read = asyncio.run(run())
    assert read["floatway_store_commit_seconds_count",] == 1
    assert read["floatway_store_revisions_total",] == 3
    assert read["floatway_store_refused_total", "conflict"] == read["floatway_store_refused_total", "failed"] == 1
    assert read["floatway_revision",] == 7
    assert read["floatway_objects", "port"] == 0
    assert read["floatway_http_requests_in_flight",] == 2


def test_ready_only_while_the_store_answers() -> None:
    async def run() -> list[tuple[int, bytes]]:
        store = Store()
        engine = Engine(store, Settings())  # type: ignore[arg-type]
        await engine.start()
        answers = [await healthz(engine)(scope(""))]
        store.error = StoreError("no quorum")
        answers.append(await healthz(engine)(scope("")))
        store.error = None
        await engine.close()
        answers.append(await healthz(engine)(scope("")))
        return [(answer.status, answer.body) for answer in answers]

    ready, silent, closed = asyncio.run(run())
    assert ready == (200, b'{"status":"ready","revision":7}')
    assert silent[0] == closed[0] == 503
    assert b"no quorum" in silent[1]
    assert b"does not accept writes" in closed[1]


def test_a_measured_store_is_the_store(tmp_path: object) -> None:
    async def run() -> None:
        store = await open_store(f"sqlite://{tmp_path}/floatway.db")
        measured = MeasuredStore(store, Metrics())
        assert measured.exclusive == store.exclusive
        assert await measured.commit(0, [[Change("port", "a", b"x")]]) == 1
        assert await measured.head() == 1
        assert list((await measured.snapshot()).objects) == [("port", "a", b"x")]
        async for commit in measured.watch(0):
            assert commit.revision == 1
            break
        await measured.compact(1)
        await measured.close()

    asyncio.run(run())
