"""``floatway plug`` on a host of a served lab, and the how-to pages typed there as they stand.

web  eth0 ==== tap…  cy2-compute02 -- br-int -- qrouter 172.12.10.1
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.processes import plain_environment
from floatway.lab import enter, lab, served
from floatway.lab.api import ask, wait_until
from floatway.model.load import load_cloud
from lab.support import REFERENCE, lab_name

pytestmark = pytest.mark.lab

NAME = lab_name("plug")
HOST, NETWORK, GATEWAY = "cy2-compute02", "5f1c2a9e-7d34-4a0b-9c55-2f6f3f8f7a01", "172.12.10.1"
HERE = Path(__file__).parent
HOW_TO = HERE.parents[1] / "docs" / "how-to"


class Host:
    """The lab's compute host, with a way to the server."""

    def __init__(self, raised: lab.Lab) -> None:
        assert raised.server is not None
        self.url, self.node = raised.server.url, raised.nodes[HOST]

    def sh(self, script: str, directory: Path | None = None) -> "subprocess.CompletedProcess[str]":
        """A script there, where ``openstack`` and ``floatway`` are at hand."""
        found = f"{HERE / 'standins'}:{Path(sys.executable).parent}:{HERE.parents[1] / 'bin'}"
        env = f'export PATH="{found}:$PATH" OS_AUTH_TYPE=none OS_ENDPOINT={self.url} PYTHONWARNINGS=ignore; cd {directory or "/run"}\n'
        return enter.run(self.node, ["bash", "-ec", env + script], capture_output=True, text=True, timeout=120)

    def plug(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return self.sh(f"floatway plug {' '.join(words)} --host {HOST}")

    def unplug(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return self.sh(f"floatway unplug {' '.join(words)} --host {HOST}")

    def ask(self, method: str, path: str, body: object = None) -> Any:
        return ask(self.url, method, f"/v2.0/{path}", body)

    def port(self, **fields: object) -> dict[str, Any]:
        return dict(self.ask("POST", "ports", {"port": {"network_id": NETWORK, **fields}})["port"])

    def shown(self, port: dict[str, Any]) -> dict[str, Any]:
        return dict(self.ask("GET", f"ports/{port['id']}")["port"])

    def taps(self) -> set[str]:
        links = json.loads(self.sh("ip -j link").stdout)
        return {one["ifname"] for one in links if one["ifname"].startswith(("tap", "plg"))}


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    try:
        yield Host(lab.up(load_cloud(REFERENCE), name=NAME, with_server=True))
    finally:
        lab.down(NAME)


@pytest.fixture(autouse=True)
def clean(host: Host) -> Iterator[None]:
    """A namespace ``web``; afterwards neither it nor a tap or port of the test is there."""
    before = host.taps(), {port["id"] for port in host.ask("GET", "ports")["ports"]}
    host.sh("ip netns add web")
    yield
    host.sh("ip netns delete web")
    for port in host.ask("GET", "ports")["ports"]:
        if port["id"] not in before[1]:
            host.ask("DELETE", f"ports/{port['id']}")
    wait_until(lambda: host.taps() == before[0], "no tap to be left")


def test_plugged_it_is_on_the_network_and_unplugged_nothing_is_left(host: Host) -> None:
    before = host.taps()
    port = host.port(name="web-port")
    done = host.plug("web-port", "--netns", "web", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    address = port["fixed_ips"][0]["ip_address"]
    assert said["status"] == "ACTIVE"
    assert said["addresses"] == [f"{address}/24"]
    assert said["changed"] is True
    shown = host.shown(port)
    assert shown["status"] == "ACTIVE"
    assert (shown["binding:host_id"], shown["device_id"], shown["device_owner"]) == (
        HOST,
        "netns-web",
        "compute:floatway",
    )
    assert host.sh(f"ip netns exec web ping -n -c 1 -W 2 {GATEWAY}").returncode == 0
    inside = json.loads(host.sh("ip -n web -j link show eth0").stdout)[0]
    assert (inside["address"], inside["mtu"]) == (port["mac_address"], 1450)
    again = host.plug(port["id"], "--netns", "web")
    assert again.returncode == 0
    assert "was plugged already" in again.stdout
    assert host.taps() == before | {f"tap{port['id']}"[:14]}
    assert "is unplugged" in host.unplug("web-port").stdout
    assert host.taps() == before
    freed = host.shown(port)
    assert (freed["binding:host_id"], freed["device_id"], freed["device_owner"]) == ("", "", "")
    assert "was not plugged" in host.unplug("web-port").stdout


def test_two_ports_in_one_namespace(host: Host) -> None:
    host.port(name="first")
    host.port(name="second")
    assert host.plug("first", "--netns", "web").returncode == 0
    taken = host.plug("second", "--netns", "web")
    assert taken.returncode == 1
    assert "has a device eth0 already" in taken.stderr
    assert host.plug("second", "--netns", "web", "--name", "eth1", "--no-route").returncode == 0
    assert host.sh("ip -n web route show default").stdout.split()[:5] == ["default", "via", GATEWAY, "dev", "eth0"]
    host.unplug("first")
    host.unplug("second")


def test_what_fails_leaves_nothing(host: Host) -> None:
    before = host.taps()
    port = host.port(name="web-port")
    untouched = host.shown(port)
    used = host.ask("GET", "ports?device_owner=compute:nova")["ports"][0]["id"]
    for words, status, said in [
        (["web-port", "--netns", "nowhere"], 2, "there is no namespace nowhere"),
        (["web-port", "--netns", "/proc/self/nothing"], 2, "there is no namespace"),
        (["web-port", "--netns", "web", "--name", "a/b"], 2, "is no name for a device"),
        (["no-such-port", "--netns", "web"], 2, "no port has the id or name"),
        ([used, "--netns", "web"], 1, "is in use: compute:nova"),
    ]:
        failed = host.plug(*words)
        assert failed.returncode == status, failed.stdout
        assert said in failed.stderr
    elsewhere = host.sh("floatway plug web-port --netns web --host nobody")
    assert elsewhere.returncode == 1
    assert "no agent of host nobody" in elsewhere.stderr
    assert host.taps() == before
    changed = {key for key, value in host.shown(port).items() if untouched[key] != value}
    assert changed <= {"revision_number", "updated_at"}
    assert "eth0" not in host.sh("ip -n web link").stdout


def test_a_port_that_does_not_become_active_is_taken_out(host: Host) -> None:
    """The agent is stopped: it holds its place, and does nothing."""
    before = host.taps()
    port = host.port(name="web-port")
    assert served.pause(host.node, stop=True)
    try:
        failed = host.plug("web-port", "--netns", "web", "--timeout", "0.3")
    finally:
        served.pause(host.node, stop=False)
    assert failed.returncode == 1
    assert "still" in failed.stderr
    assert host.taps() == before
    assert host.shown(port)["binding:host_id"] == ""


def test_killed_in_the_middle_it_goes_on(host: Host) -> None:
    """What a kill leaves: a port that is bound, a pair under its first name, or a tap without its addresses."""
    port = host.port(name="web-port")
    host.ask("PUT", f"ports/{port['id']}", {"port": {"binding:host_id": HOST, "device_owner": "compute:floatway"}})
    host.sh(f"ip link add plg{port['id'][:11]} type veth peer name eth0 netns web")
    done = host.plug("web-port", "--netns", "web")
    assert done.returncode == 1  # an eth0 that nobody can tell to be ours
    host.sh("ip -n web link delete eth0")
    assert host.plug("web-port", "--netns", "web").returncode == 0
    host.sh("ip netns delete web; ip netns add web")  # the namespace goes, and its devices with it
    assert host.plug("web-port", "--netns", "web").returncode == 0
    assert host.sh(f"ip netns exec web ping -n -c 1 -W 2 {GATEWAY}").returncode == 0
    host.ask("DELETE", f"ports/{port['id']}")
    assert "is unplugged" in host.unplug(port["id"]).stdout


def test_taps_of_others_are_left_alone(host: Host) -> None:
    port = host.port(name="web-port")
    tap = f"tap{port['id']}"[:14]
    host.sh(f"ip tuntap add dev {tap} mode tap")
    failed = host.plug("web-port", "--netns", "web")
    assert failed.returncode == 1
    assert "not of our making" in failed.stderr
    assert "was not made by floatway plug" in host.unplug("web-port").stderr
    assert tap in host.taps()
    host.sh(f"ip link delete {tap}")


@pytest.mark.parametrize("page", ["plug-a-namespace", "plug-a-container", "plug-libvirt"])
def test_the_page_as_it_stands(host: Host, page: str, tmp_path: Path) -> None:
    """Every shell block of the page, in order, on the host; podman and virsh are small stand-ins."""
    host.sh("ip netns delete web")
    before = host.taps()
    text = (HOW_TO / f"{page}.md").read_text().partition("\n## In the lab\n")[0]
    blocks = [re.sub(r"^   ", "", block, flags=re.M) for block in re.findall(r" *```sh\n(.*?)```", text, re.DOTALL)]
    script = "\n".join(blocks)
    script = script.replace("floatway plug ", f"floatway plug --host {HOST} ").replace(
        "unplug ", f"unplug --host {HOST} "
    )
    shown = "openstack port show guest1-port -c status"
    script = script.replace(shown, f"{until('guest1-port')}{shown}")
    done = host.sh("set -x\n" + script, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "ACTIVE" in done.stdout
    assert host.taps() == before


def test_the_lab_s_page_as_it_stands(host: Host, tmp_path: Path) -> None:
    """What a person with a lab types, outside of it, whatever cloud else is configured."""
    host.sh("ip netns delete web")
    before = host.taps()
    section = (HOW_TO / "plug-a-namespace.md").read_text().partition("\n## In the lab\n")[2]
    (script,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    script = script.replace("lab exec ", f"lab exec --lab {NAME} ")
    found = f"{Path(sys.executable).parent}:{HERE.parents[1] / 'bin'}:{os.environ['PATH']}"
    known = {**plain_environment(), "PATH": found, "OS_AUTH_TYPE": "http_basic", "OS_ENDPOINT": "http://192.0.2.1:9696"}
    done = subprocess.run(
        ["bash", "-exc", script], env=known, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "; ACTIVE" in done.stdout and "1 received" in done.stdout and "is unplugged" in done.stdout
    assert host.taps() == before
    host.sh("ip netns add web")


def until(port: str) -> str:
    """A person reads on before typing the next line; a script must wait."""
    return f"until openstack port show {port} -c status -f value | grep ACTIVE; do :; done\n"
