"""The doctor on a host with an Open vSwitch: what is wrong is named, with what mends it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from floatway.agent import doctor, features
from floatway.agent.config import AgentConfig
from floatway.agent.doctor import Finding, examine
from floatway.agent.link import LinkError, Refused
from kernel.support import kill_vswitchd, sh, start_ovs, start_vswitchd

pytestmark = pytest.mark.kernel


def told(config: AgentConfig, answer: dict[str, float] | LinkError) -> dict[str, Finding]:
    return {finding.what: finding for finding in examine(config, lambda: answer)}


def with_key(tmp_path: Path, mode: int = 0o600) -> AgentConfig:
    key = tmp_path / "agent.key"
    key.touch(mode=mode)
    key.chmod(mode)
    return AgentConfig(key_file=str(key), lock_file=str(tmp_path / "lock"), tunnel_ip="192.0.2.77")


def test_what_stands_in_the_way_has_a_remedy(tmp_path: Path) -> None:
    config = AgentConfig(
        key_file=str(tmp_path / "none"),
        lock_file=str(tmp_path / "lock"),
        tunnel_ip="192.0.2.77",
        bridge_mappings={"physnet1": "br-ex"},
        bridge_nics={"br-ex": "none0"},
    )
    found = told(config, LinkError("nobody answers"))
    assert (found["key"].verdict, found["tunnel"].verdict) == ("fail", "fail")
    assert "no device has 192.0.2.77" in found["tunnel"].said
    assert found["agent"].verdict == "warn"
    assert all(finding.remedy for finding in found.values() if finding.verdict != "ok")


def test_key_server_and_clock(tmp_path: Path) -> None:
    found = told(with_key(tmp_path, 0o644), {"applied": 7, "now": 0.0})
    assert found["key"].remedy.startswith("chmod 600")
    assert found["server"].said.endswith("revision 7 there")
    assert (found["clock"].verdict, "ahead of" in found["clock"].said) == ("warn", True)
    refused = told(with_key(tmp_path), Refused(401, "This needs the key of the host"))
    assert refused["server"].verdict == "fail" and "floatway agent token HOST" in refused["server"].remedy


def test_a_key_that_goes_in_clear_is_warned_of(tmp_path: Path) -> None:
    def warned(*servers: str) -> list[str]:
        config = msgspec.structs.replace(with_key(tmp_path), servers=servers)
        found = examine(config, lambda: {"applied": 7, "now": time.time()})
        return [one.said for one in found if one.what == "server" and one.verdict == "warn"]

    assert (
        warned("https://a:9697", "unix:/run/floatway/agents.sock", "http://127.0.0.1:9697", "http://[::1]:9697") == []
    )
    (said,) = warned("https://a:9697", "http://controller:9697")
    assert said.startswith("http://controller:9697 is not encrypted")


def test_the_command_ends_with_one_when_something_is_in_the_way(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(f'host = "h"\nservers = ["unix:{tmp_path}/none.sock"]\nkey_file = "{tmp_path}/none"\n')
    argv = [sys.executable, "-m", "floatway", "doctor", "--config", str(config), "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, "NO_COLOR": "1"})
    assert done.returncode == 1
    assert {"root", "tools", "namespaces", "key"} <= {finding["what"] for finding in json.loads(done.stdout)}
    config.write_text("host = 5\n")
    assert subprocess.run(argv, capture_output=True, check=False).returncode == 2


def test_what_the_kernel_lacks_is_named_with_what_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def here() -> set[Path]:
        return {*Path("/run/netns").glob("*"), *Path("/sys/class/net").glob("*")}

    before = here()
    assert told(with_key(tmp_path), LinkError("nobody answers"))["kernel"].verdict == "ok"
    monkeypatch.setattr(features, "_RULES", (*features._RULES, ("magic", "filter", "-A FORWARD -j MAGIC", "xt_MAGIC")))
    lacking = told(with_key(tmp_path), LinkError("nobody answers"))["kernel"]
    assert (lacking.verdict, lacking.remedy) == ("fail", "modprobe xt_MAGIC")
    assert lacking.said.startswith("has not what magic take: iptables-restore: ")
    assert here() == before


def test_without_root_only_what_can_be_seen_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    found = told(with_key(tmp_path), LinkError("nobody answers"))
    assert found["root"].remedy == "sudo floatway doctor"
    assert not {"open-vswitch", "host", "tunnel", "kernel"} & found.keys(), "what is not seen is not said to be absent"


def test_many_ports_on_the_userspace_datapath_are_a_reason_for_another_allocator(tmp_path: Path) -> None:
    start_ovs()
    ports = " -- ".join(f"add-port br0 p{n} -- set interface p{n} type=internal" for n in range(doctor.MANY_PORTS + 1))
    sh(f"ovs-vsctl add-br br0 -- set bridge br0 datapath_type=netdev -- {ports}")
    remark = told(with_key(tmp_path), LinkError("nobody answers"))["allocator"]
    assert (remark.verdict, remark.said[:9]) == ("warn", "101 ports")
    drop_in = tmp_path / "ovs-vswitchd.service.d" / "jemalloc.conf"
    install = remark.remedy.partition("&& ")[2].partition(" && systemctl")[0]
    sh(install.replace("/etc/systemd/system/ovs-vswitchd.service.d", str(drop_in.parent)))
    (setting,) = [line for line in drop_in.read_text().splitlines() if line != "[Service]"]
    kill_vswitchd()
    os.environ.update([setting.removeprefix("Environment=").split("=")])
    start_vswitchd()
    assert "allocator" not in told(with_key(tmp_path), LinkError("nobody answers"))
