"""``bin/bench api``: requests per second and the time of one, of the whole server over loopback HTTP.

Each store (SQLite; etcd, three members) with 1,000 and with 20,000 ports. The client is bench/load.py in a process of its own, on the
same cores. Aims are the issue's for 1,000 ports on SQLite; with 20,000 they may be missed by a factor of 1.5. "Neutron" is what
Neutron 29 did on such a machine (2 cores, MariaDB, 2 API workers). The reference is ``GET /`` on the same server: HTTP, logging and
metrics with nothing behind them.
"""

import base64
import contextlib
import datetime
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import api_server
import load
import msgspec
from api_server import Api
from measure import Machine

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks-api.md"
SIZES = (1000, 20_000)
CLIENTS = 8
REPEATS = 3
"""The figure is the run in the middle: the machine is not ours alone."""
LATER = 1.5
"""The factor by which 20,000 ports may be slower than 1,000."""


class Row(msgspec.Struct, frozen=True):
    """One measured thing. ``aim`` is requests/s at least when ``aim_is`` is "rate", milliseconds (median) at most when "time", MiB at
    most when "memory"."""

    what: str
    store: str
    ports: int
    clients: int = 0
    per_second: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    cpu_ms: float = 0.0
    """Processor time of the server for one request: what stays the same on a machine that has other things to do."""
    size: int = 0
    mib: float = 0.0
    aim: float = 0.0
    aim_is: str = ""
    neutron: str = ""
    reference: float = 0.0
    """Requests/s of ``GET /`` at the same time, with as many clients."""

    @property
    def met(self) -> bool | None:
        """Whether the aim is reached; None without one."""
        match self.aim_is:
            case "rate":
                return self.per_second >= self.aim
            case "time":
                return self.p50 <= self.aim
            case "memory":
                return self.mib <= self.aim
        return None


class Report(msgspec.Struct, frozen=True):
    """A run."""

    date: str
    commit: str
    machine: Machine
    rows: tuple[Row, ...]


def run(here: Machine, tell: Callable[[str], None], *, quick: bool = False) -> None:
    """Measure, tell, and write the results and the page (``quick``: 1,000 ports on SQLite only, and nothing written)."""
    rows = []
    for row in measured((SIZES[0],) if quick else SIZES, etcd=not quick):
        rows.append(row)
        tell(line(row))
    if quick:
        return
    today = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    commit = subprocess.run(
        ["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    report = Report(today, commit.stdout.strip(), here, tuple(rows))
    path = ROOT / "bench" / "results" / f"{today}-api.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    PAGE.write_text(page(report))
    tell(f"written: {path.relative_to(ROOT)}, {PAGE.relative_to(ROOT)}")


def measured(sizes: Sequence[int], *, etcd: bool) -> Iterator[Row]:
    """Every figure."""
    stores = ["SQLite"]
    if etcd and not shutil.which("etcd"):
        print("etcd is not installed (apt-get install etcd-server): SQLite only", file=sys.stderr)
    elif etcd:
        stores += ["etcd", "etcd, reads=local"]
    for ports in sizes:
        for store in stores:
            with opened(store) as api:
                yield from one(store, api, ports)


@contextlib.contextmanager
def opened(store: str) -> Iterator[Api]:
    """A server on a fresh store of that kind."""
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(api_server.scratch())
        if store == "SQLite":
            url = f"sqlite://{directory}/floatway.db"
        else:
            url = stack.enter_context(api_server.etcd(directory)) + ("?reads=local" if "local" in store else "")
        yield stack.enter_context(api_server.serving(url, directory))


def one(store: str, api: Api, ports: int) -> Iterator[Row]:
    """The figures of one server with one store and one number of ports."""
    factor = 1.0 if ports == SIZES[0] else LATER
    sqlite = store == "SQLite"
    ids = api.fill(ports)
    shows = [get(f"/v2.0/ports/{id_}") for id_ in ids[:: max(1, len(ids) // 1000)]]
    yield Row("memory, filled", store, ports, mib=api.rss_mib(), aim=100 * factor, aim_is="memory")
    root = {n: send(api, [get("/")], 4000 * n, n).per_second for n in (1, CLIENTS)}

    def row(
        what: str,
        requests: Sequence[bytes],
        count: int,
        clients: int,
        aim: float = 0,
        aim_is: str = "",
        neutron: str = "",
    ) -> Row:
        again = 1 if len(requests) == count else REPEATS
        begin = api.cpu_seconds()
        runs = sorted(
            (send(api, requests, count // again, clients) for _ in range(again)), key=lambda run: run.per_second
        )
        cpu_ms = 1000 * (api.cpu_seconds() - begin) / sum(run.count + run.warm for run in runs)
        got = runs[again // 2]
        return Row(
            what=what,
            store=store,
            ports=ports,
            clients=clients,
            per_second=got.per_second,
            p50=got.p50,
            p99=got.p99,
            cpu_ms=round(cpu_ms, 3),
            size=got.size,
            mib=api.rss_mib(),
            aim=aim,
            aim_is=aim_is,
            neutron=neutron,
            reference=root[clients],
        )

    yield Row("GET / (the reference)", store, ports, CLIENTS, root[CLIENTS], reference=root[CLIENTS])
    yield row("show port", shows, 30_000, CLIENTS, 5000 / factor, "rate", "61/s")
    yield row("show port", shows, 3000, 1, neutron="33 ms")
    network = api.call("GET", "/v2.0/networks?fields=id&limit=1")["networks"][0]["id"]
    of_one = f"/v2.0/ports?network_id={network}"
    yield row("list 1,000 ports", [get(of_one)], 60, 1, 20 * factor, "time", "1,413 ms")
    yield row("list 1,000 ports, fields=id", [get(f"{of_one}&fields=id")], 60, 1, neutron="1,296 ms")
    yield row(
        f"list 100 of {ports:,} ports, sorted by name", [get("/v2.0/ports?limit=100&sort_key=name&sort_dir=asc")], 60, 1
    )
    if ports > SIZES[0]:
        yield row(f"list {ports:,} ports", [get("/v2.0/ports")], 5, 1)
    made = [post("/v2.0/ports", {"port": {"network_id": network, "name": "bench"}})]
    yield row("create port", made, 500, 1, 3 * factor if sqlite else 0, "time" if sqlite else "", "328 ms")
    yield row("create port", made, 4000, CLIENTS, (500 if sqlite else 200) / factor, "rate", "5.3/s")
    named = [put(f"/v2.0/ports/{id_}", {"port": {"name": f"renamed{n}"}}) for n, id_ in enumerate(ids[:500])]
    yield row("update port", named, 500, 1, neutron="209 ms")
    yield row("delete port", [delete(f"/v2.0/ports/{id_}") for id_ in ids[:500]], 500, 1, neutron="233 ms")
    yield row("create network", [post("/v2.0/networks", {"network": {"name": "bench"}})], 300, 1, neutron="165 ms")
    yield Row("memory, afterwards", store, ports, mib=api.rss_mib())


def send(api: Api, requests: Sequence[bytes], count: int, clients: int) -> load.Result:
    """Run the client in a process of its own. Requests that must each be sent once are not repeated to warm up."""
    once = len(requests) == count
    spec = load.Spec(
        host="127.0.0.1",
        port=api.port,
        requests=tuple(base64.b64encode(request).decode() for request in requests),
        count=count,
        connections=clients,
        warm=0 if once else max(1, count // 20),
    )
    done = subprocess.run(
        [sys.executable, load.__file__], input=msgspec.json.encode(spec), capture_output=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr.decode())
    result = msgspec.json.decode(done.stdout, type=load.Result)
    if refused := [status for status in result.statuses if status >= "400"]:
        raise SystemExit(f"{requests[0][:100]!r}: answered with {refused}: {result.statuses}")
    return result


def get(path: str) -> bytes:
    """A request without a body."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\nUser-Agent: bench\r\n\r\n".encode()


def delete(path: str) -> bytes:
    """The same, to delete."""
    return get(path).replace(b"GET", b"DELETE", 1)


def post(path: str, body: object) -> bytes:
    """A request with a JSON body."""
    text = json.dumps(body)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
    return (head + text).encode()


def put(path: str, body: object) -> bytes:
    """The same, to change."""
    return post(path, body).replace(b"POST", b"PUT", 1)


def line(row: Row) -> str:
    """A row on a terminal."""
    who = f"{row.store}, {row.ports:,} ports: {row.what}"
    if not row.per_second:
        return f"{who}: {row.mib} MiB{aim(row)}"
    clients = f"{row.clients} client{'s' * (row.clients != 1)}"
    return f"{who}, {clients}: {row.per_second:,.0f}/s, median {row.p50:.2f} ms, p99 {row.p99:.2f} ms, cpu {row.cpu_ms:.2f} ms{aim(row)}"


def aim(row: Row) -> str:
    """What was hoped for, and whether it came true."""
    if row.met is None:
        return ""
    said = {"rate": f"≥ {row.aim:,.0f}/s", "time": f"≤ {row.aim:g} ms", "memory": f"≤ {row.aim:g} MiB"}[row.aim_is]
    return f" (aim {said}: {'reached' if row.met else 'MISSED'})"


def page(report: Report) -> str:
    """docs/benchmarks-api.md."""
    m = report.machine
    tables = []
    for store, ports in dict.fromkeys((row.store, row.ports) for row in report.rows):
        rows = [row for row in report.rows if (row.store, row.ports) == (store, ports)]
        tables.append(f"## {store}, {ports:,} ports\n\n{HEADER}" + "".join(map(cells, rows)))
    return f"""<!-- Written by bin/bench api. -->

# Benchmarks of the API

Measured {report.date} at {report.commit} on {m.cores} cores ({m.cpu}), {m.memory_gib} GiB, Linux {m.kernel}, Python {m.python};
the client runs on the same cores, and every acknowledged write is durable. Trust ratios: "of GET /" divides by the requests that
the same server answers when there is nothing to do but HTTP, a log line and a counter; "processor" is the server's processor
time for one request. Neutron 29 is as measured on such a machine, with two API workers.

{chr(10).join(tables)}
## What bounds it

One process has one thread of Python, so requests/s end where the processor column times requests is a second: for `show` that is parsing
HTTP, the caller, the log line and the client on the other core, for a list the documents of all its ports, for `create` the rule and the
policy. What a single create waits for beyond its processor time is durability: SQLite's one fsync, or etcd's majority. Creates that come
together share it (one transaction for all that queued while the last one ran), so eight clients are bound by the processor again. Reads
on etcd ask it for its newest revision once for all requests that wait meanwhile; with `reads=local` they ask nobody.

`bin/bench api` measures again and rewrites this page; the raw figures are in `bench/results/`.
"""


HEADER = "| what | clients | requests/s | of GET / | median | p99 | processor | aim | Neutron |\n|---|---|---|---|---|---|---|---|---|\n"


def cells(row: Row) -> str:
    """A row of the page."""
    hoped = aim(row).strip(" ()").removeprefix("aim ")
    if not row.per_second:
        return f"| {row.what}: {row.mib} MiB | | | | | | | {hoped} | {row.neutron} |\n"
    times = f"{row.p50:.2f} ms | {row.p99:.2f} ms" if row.p50 else " | "
    times += f" | {row.cpu_ms:.2f} ms" if row.cpu_ms else " | "
    share = f"{row.per_second / row.reference:.2f}"
    return f"| {row.what} | {row.clients} | {row.per_second:,.0f} | {share} | {times} | {hoped} | {row.neutron} |\n"
