"""A lab comes up again over what is there, and leaves nothing behind whatever was killed."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from floatway.host.records import Netns
from floatway.lab import enter, lab, node, ovs
from floatway.lab.errors import LabError
from floatway.lab.world import observe_world
from floatway.model.cloud import Cloud
from floatway.model.load import load_cloud
from lab.support import REFERENCE, Sh

pytestmark = pytest.mark.lab
NAME = f"lifecycle-{os.getpid()}"
HOST = "cy2-compute02"


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    lab.down(NAME)
    yield load_cloud(REFERENCE)
    lab.down(NAME)


def traces() -> dict[str, object]:
    """What a lab of this name could leave on the machine."""
    links = subprocess.run(["ip", "-br", "link"], capture_output=True, text=True, check=True).stdout
    return {
        "links": sorted(line.split()[0] for line in links.splitlines()),
        "mounts": sorted(line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()),
        "named": sorted(path.name for path in Path("/run/netns").glob("*")) if Path("/run/netns").exists() else [],
        "inits": list(node.inits(NAME)),
        "files": (lab.BASE / NAME).exists(),
    }


def works(raised: lab.Lab) -> bool:
    return Sh(raised).ping("outside", "192.168.10.106") and Sh(raised).ping("test", "192.168.0.1")


def test_up_twice_then_down_leaves_nothing(cloud: Cloud) -> None:
    before = traces()
    first = lab.up(cloud, name=NAME)
    assert works(first)
    again = lab.up(cloud, name=NAME)
    assert again.nodes == first.nodes
    assert works(again)
    pids = [one.pid for one in (*first.nodes.values(), first.fabric)]
    lab.down(NAME)
    lab.down(NAME)
    assert traces() == before
    assert not any(node.start_time(pid) for pid in pids)


def test_no_machine_keeps_a_file_of_who_raised_it(cloud: Cloud, tmp_path: Path) -> None:
    """flock(1) hands its lock down: held by a machine it would not be free until the lab is down."""
    with (tmp_path / "lock").open("w") as lock:
        os.set_inheritable(lock.fileno(), True)
        raised = lab.up(cloud, name=NAME)
        inits = [one.pid for one in (*raised.nodes.values(), raised.fabric)]
        held = {str(file.readlink()) for pid in inits for file in Path(f"/proc/{pid}/fd").iterdir()}
        assert held == {"/dev/null"}


@pytest.mark.parametrize("victim", [HOST, "test", "outside", "fabric"])
def test_a_killed_machine(cloud: Cloud, victim: str) -> None:
    before = traces()
    raised = lab.up(cloud, name=NAME)
    node.kill(raised.fabric.pid if victim == "fabric" else raised.nodes[victim].pid)
    assert works(lab.up(cloud, name=NAME))
    node.kill(lab.load(NAME).fabric.pid if victim == "fabric" else lab.load(NAME).nodes[victim].pid)
    lab.down(NAME)
    assert traces() == before


@pytest.mark.parametrize("daemon", ["ovs-vswitchd", "ovsdb-server"])
def test_a_killed_daemon_is_started_again(cloud: Cloud, daemon: str) -> None:
    raised = lab.up(cloud, name=NAME)
    status, said = Sh(raised).run(HOST, f"kill -9 $(cat /run/openvswitch/{daemon}.pid)")
    assert status == 0, said
    assert not lab.status(NAME).healthy
    raised = lab.up(cloud, name=NAME)
    assert ovs.running(raised.nodes[HOST])
    _, mapped = Sh(raised).run(HOST, "cat /proc/$(cat /run/openvswitch/ovs-vswitchd.pid)/maps")
    assert ("libjemalloc" in mapped) == (ovs.datapath() == "netdev"), "bin/_setup.sh installs it"
    assert works(raised)


def test_up_killed_at_any_time_can_be_taken_down(cloud: Cloud) -> None:
    before = traces()
    for patience in (0.05, 0.15, 0.3):
        child = os.fork()
        if child == 0:
            try:
                lab.up(cloud, name=NAME)
            finally:
                os._exit(0)
        ended = os.pidfd_open(child)
        import select

        select.select([ended], [], [], patience)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ended)
        lab.down(NAME)
        assert traces() == before


def test_up_goes_on_where_a_killed_one_stopped(cloud: Cloud) -> None:
    (lab.BASE / NAME).mkdir(parents=True)
    orphan = node.create(NAME, "test", "instance")
    raised = lab.up(cloud, name=NAME)
    assert not orphan.alive
    assert works(raised)


def test_a_lost_state_file_is_no_leak(cloud: Cloud) -> None:
    before = traces()
    lab.up(cloud, name=NAME)
    (lab.BASE / NAME / "lab.json").unlink()
    lab.down(NAME)
    assert traces() == before


def test_exit_status_and_namespaces(cloud: Cloud) -> None:
    raised = lab.up(cloud, name=NAME)
    host = raised.nodes[HOST]
    assert enter.run(host, ["sh", "-c", "exit 7"]).returncode == 7
    assert enter.run(host, ["sh", "-c", "kill -9 $$"]).returncode == -9
    spaces = [netns.name for netns in observe_world(raised).machines[HOST].state.table(Netns).values()]
    router = next(name for name in spaces if name.startswith("qrouter-"))
    shown = enter.run(host, ["ip", "-br", "address"], netns=router, capture_output=True, text=True).stdout
    assert "172.12.10.1/24" in shown
    assert enter.run(host, ["hostname"], capture_output=True, text=True).stdout.strip() == HOST
    with pytest.raises(LabError, match="there is no namespace nowhere here"):
        enter.run(host, ["true"], netns="nowhere")
    with pytest.raises(FileNotFoundError):
        enter.run(host, ["no-such-command"])


def test_instances_come_and_go(cloud: Cloud) -> None:
    raised = lab.up(cloud, name=NAME)
    port = next(p for p in cloud.ports.values() if p.device_owner == "compute:nova")
    server = next(iter(cloud.servers.values()))
    second = msgspec.structs.replace(server, id="bbc0a6c0-4235-4543-b80d-bf7dcd349f77", name="second")
    fixed = msgspec.structs.replace(port.fixed_ips[0], ip_address="172.12.10.9")
    other = msgspec.structs.replace(port, id="9bb5e3b4-6c0b-4d77-8c45-146cacf576ec", mac_address="fa:16:3e:00:00:09",
                                    fixed_ips=(fixed,), device_id=second.id)  # fmt: skip
    both = msgspec.structs.replace(
        cloud, servers={**cloud.servers, second.id: second}, ports={**cloud.ports, other.id: other}
    )
    lab.apply(raised, both)
    assert Sh(lab.load(NAME)).ping("second", "172.12.10.4")
    outcomes = lab.apply(raised, cloud)
    assert "second" not in lab.load(NAME).nodes
    assert not outcomes[HOST].waiting
    assert works(lab.load(NAME))


def test_bad_names_change_nothing(cloud: Cloud) -> None:
    before = traces()
    server = next(iter(cloud.servers.values()))
    clash = msgspec.structs.replace(cloud, servers={server.id: msgspec.structs.replace(server, name="outside")})
    with pytest.raises(LabError, match="outside"):
        lab.up(clash, name=NAME)
    with pytest.raises(LabError, match="is not a name"):
        lab.up(cloud, name="../etc")
    with pytest.raises(LabError, match="nothing to raise"):
        lab.up(Cloud(hosts=cloud.hosts), name=NAME)
    assert traces() == before
