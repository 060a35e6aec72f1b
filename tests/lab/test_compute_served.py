"""``lab up`` and then only the command ``openstack``, as the reference shows it: packets follow before the prompt is back.

outside 192.168.0.1 -- br-ex -- br-int -- fip -- qrouter -- br-int -- qbr -- test 172.12.10.4 (192.168.10.106)
                                                                         └── second, made by a person
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.processes import plain_environment
from api.test_openstack_client import Client
from floatway.lab import lab, node
from floatway.lab.api import wait_until
from floatway.lab.compute import control
from floatway.lab.served import VAR
from floatway.model.load import load_cloud
from lab.support import REFERENCE, Sh, lab_name

pytestmark = pytest.mark.lab

NAME = lab_name("compute-served")
TEST = "aac0a6c0-4235-4543-b80d-bf7dcd349f77"
GATEWAY, FLOATING = "192.168.0.1", "192.168.10.106"
TRANSCRIPT = Path(__file__).parents[1] / "golden" / "reference" / "openstack.server-show.txt"


class Cloud:
    """The lab, and a person who uses it."""

    def __init__(self) -> None:
        lab.up(load_cloud(REFERENCE), name=NAME, with_server=True)
        self.client = Client("", OS_CLIENT_CONFIG_FILE=str(VAR / NAME / "clouds.yaml"), OS_CLOUD="floatway")

    @property
    def sh(self) -> Sh:
        """The lab's machines as they are now."""
        return Sh(lab.load(NAME))

    def openstack(self, words: str, *more: str) -> Any:
        """What a command shows."""
        done = self.client.run([*words.split(), *more, "-f", "json"])
        assert done["status"] == 0, f"openstack {words}: {done['err']}"
        return json.loads(done["out"])

    def do(self, words: str) -> None:
        """A command that shows nothing."""
        done = self.client.run(words.split())
        assert done["status"] == 0, f"openstack {words}: {done['err']}"


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    try:
        one = Cloud()
        yield one
        one.client.close()
    finally:
        lab.down(NAME)


def shown(text: str) -> dict[str, str]:
    """The rows of a table of fields."""
    rows = (re.fullmatch(r"\| (\S+) +\| (.*?) *\|", line.strip()) for line in text.splitlines())
    return {row[1]: row[2] for row in rows if row and row[1] != "Field"}


def test_the_reference_server_is_shown_as_the_reference_shows_it(cloud: Cloud) -> None:
    """Every field of the transcript is there; what does not depend on the day, a volume or a key is the same."""
    done = cloud.client.run(["server", "show", "test"])
    assert done["status"] == 0, done["err"]
    ours, reference = shown(done["out"]), shown(TRANSCRIPT.read_text())
    assert reference["hostId"].startswith("525330417c94af77")
    assert reference.keys() <= ours.keys()
    differ = {field for field, value in reference.items() if ours[field] != value}
    assert differ == {
        "OS-EXT-SRV-ATTR:instance_name", "OS-SRV-USG:launched_at", "created", "updated", "image", "key_name", "user_id",
        "volumes_attached",
    }  # fmt: skip
    assert ours["image"] == "N/A (booted from volume)"  # what today's client makes of the reference's empty field


def test_a_new_server_is_on_the_network_with_the_prompt(cloud: Cloud) -> None:
    made = cloud.openstack("server create --flavor m1.tiny --image namespace --network selfservice2 second")
    assert made["status"] == "ACTIVE"
    (port,) = cloud.openstack("port list --server second")
    assert port["Status"] == "ACTIVE"
    assert cloud.sh.ping("second", "172.12.10.1")
    assert cloud.sh.ping("second", GATEWAY) is False  # it has no floating IP, and the lab no centralised SNAT
    address = cloud.openstack("floating ip create provider")["floating_ip_address"]
    cloud.do(f"server add floating ip second {address}")
    wait_until(lambda: cloud.sh.ping("second", GATEWAY), "the way out by the floating IP")
    cloud.do(f"server remove floating ip second {address}")
    wait_until(lambda: not cloud.sh.ping("second", GATEWAY), "the way out to be closed")
    cloud.do(f"floating ip delete {address}")
    trace = {name: node.role for name, node in lab.load(NAME).nodes.items()}
    assert trace["second"] == "instance"
    assert lab.cloud_of(NAME).servers[made["id"]].name == "second"
    cloud.do("server delete second")
    assert [one["Name"] for one in cloud.openstack("server list")] == ["test"]
    assert "second" not in lab.load(NAME).nodes
    assert "second" not in {one.name for one in lab.status(NAME).nodes}


def test_stopped_it_is_down_and_started_it_is_back(cloud: Cloud) -> None:
    cloud.do("server stop test")
    assert cloud.openstack("server show test")["status"] == "SHUTOFF"
    (port,) = cloud.openstack("port list --server test")
    wait_until(lambda: cloud.openstack(f"port show {port['ID']}")["status"] == "DOWN", "the port to be DOWN")
    assert not cloud.sh.ping("outside", FLOATING)
    cloud.do("server start test")
    assert cloud.openstack("server show test")["status"] == "ACTIVE"
    assert cloud.openstack(f"port show {port['ID']}")["status"] == "ACTIVE"
    assert cloud.sh.ping("test", GATEWAY)
    assert cloud.sh.ping("outside", FLOATING)
    log = cloud.client.run(["console", "log", "show", "test"])["out"]
    assert "starts for the 2nd time" in log
    assert "172.12.10.4/24" in log


def test_raised_again_what_died_is_back_and_the_rest_is_as_it_was(cloud: Cloud) -> None:
    made = cloud.openstack("server create --flavor m1.tiny --image namespace --network selfservice2 kept")["id"]
    before = control.instances(VAR / NAME / control.DIRECTORY)
    compute = lab.load(NAME).compute
    assert compute is not None
    os.kill(compute.pid, signal.SIGKILL)
    one = before[TEST].node
    assert one is not None
    os.kill(one.pid, signal.SIGKILL)
    wait_until(lambda: not compute.alive and not one.alive, "both to be dead")
    lab.up(load_cloud(REFERENCE), name=NAME)
    after = control.instances(VAR / NAME / control.DIRECTORY)
    assert after[made].node == before[made].node
    assert after[TEST].node != one
    assert cloud.sh.ping("test", GATEWAY)
    assert cloud.sh.ping("outside", FLOATING)
    assert cloud.sh.ping("kept", "172.12.10.1")
    cloud.do("server delete kept")


def test_instances_outlive_the_machines_of_a_host_that_died(cloud: Cloud) -> None:
    for name in ("kept", "off"):
        cloud.openstack(f"server create --flavor m1.tiny --image namespace --network selfservice2 {name}")
    cloud.do("server stop off")
    host = lab.load(NAME).nodes["cy2-compute02"]
    node.kill(host.pid)
    lab.up(None, name=NAME)
    shown = {one["Name"]: one["Status"] for one in cloud.openstack("server list")}
    assert shown == {"test": "ACTIVE", "kept": "ACTIVE", "off": "SHUTOFF"}
    assert cloud.sh.ping("kept", "172.12.10.1") and cloud.sh.ping("outside", FLOATING)
    cloud.do("server start off")
    assert cloud.sh.ping("off", "172.12.10.1")
    cloud.do("server delete kept off")


def test_the_page_as_it_stands(cloud: Cloud) -> None:
    """Every shell block of docs/how-to/openstack-in-the-lab.md, in order."""
    root = Path(__file__).parents[2]
    text = (root / "docs" / "how-to" / "openstack-in-the-lab.md").read_text()
    blocks = re.findall(r" *```sh\n(.*?)```", text, re.DOTALL)
    script = re.sub("^   ", "", "\n".join(blocks), flags=re.M).replace("lab exec ", f"lab exec --lab {NAME} ")
    found = f"{Path(sys.executable).parent}:{root / 'bin'}:{os.environ['PATH']}"
    environment = {**plain_environment(), "PATH": found, "OS_CLIENT_CONFIG_FILE": str(VAR / NAME / "clouds.yaml")}
    done = subprocess.run(
        ["bash", "-exc", script], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "1 packets transmitted, 1 received" in done.stdout
    assert [one["Name"] for one in cloud.openstack("server list")] == ["test"]
