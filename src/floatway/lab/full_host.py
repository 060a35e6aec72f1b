"""A served lab with one host that is full: so many ports with a floating IP each. One instance lives; the others are their taps, as
far as the host can see. For benchmarks and tests.

    with full_host(200, name="full") as (raised, cloud): …        raised.nodes["compute1"], one instance, and outside
"""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from floatway.lab import enter, lab, ovs, served
from floatway.lab.api import ask, wait_applied, wait_until
from floatway.lab.sample import big_cloud
from floatway.model.cloud import Cloud

__all__ = ["HOST", "full_host"]

HOST = "compute1"


def at_once(raised: lab.Lab, told: Callable[[], None], there: Callable[[], None]) -> None:
    """The running agent is told of all ports."""
    told()
    there()


@contextmanager
def full_host(
    ports: int,
    *,
    name: str,
    loading: Callable[[lab.Lab, Callable[[], None], Callable[[], None]], None] = at_once,
) -> Iterator[tuple[lab.Lab, Cloud]]:
    """Raise it, and take it down at the end. ``loading`` calls what tells the server of all ports and what waits until they are ACTIVE (to
    time them). Raises LabError."""
    cloud = lab.with_datapath(
        big_cloud(ports=ports, routers=max(1, ports // 10), floating_ips=ports, host=HOST), ovs.datapath()
    )
    alive = next(iter(cloud.servers.values()))
    instances = [port for port in cloud.ports_by_host[HOST] if port.device_owner.startswith("compute:")]
    away = {port.id for port in instances if port.device_id != alive.id}
    small = msgspec.structs.replace(
        cloud,
        servers={alive.id: alive},
        ports={key: port for key, port in cloud.ports.items() if key not in away},
        # a gateway brings ports of the server's own making, with addresses that the cloud's ports are to have
        routers={key: msgspec.structs.replace(one, external_gateway_info=None) for key, one in cloud.routers.items()},
        floating_ips={},
    )
    lab.down(name)
    try:
        raised = lab.up(small, name=name, with_server=True)
        server = raised.server
        assert server is not None
        enter.call(raised.nodes[HOST], _make_taps, [f"tap{port[:11]}" for port in sorted(away)])

        def told() -> None:
            served.load(server, cloud, small)

        def active() -> bool:
            listed = ask(server.url, "GET", "/v2.0/ports?device_owner=compute:nova&status=ACTIVE&fields=id")["ports"]
            return len(listed) == len(instances)

        loading(raised, told, lambda: wait_until(active, f"{len(instances)} ports are ACTIVE", seconds=300))
        wait_applied(server.url)
        yield raised, cloud
    finally:
        lab.down(name)


def _make_taps(names: list[str]) -> None:
    batch = "".join(f"tuntap add dev {name} mode tap\nlink set {name} up\n" for name in names)
    subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True)
