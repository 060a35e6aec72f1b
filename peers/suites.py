"""The suites, and how each is run: stestr in the suites' environment, two workers, its subunit stream read as it comes.

suite       tests of                                          talks to us with
tempest     tempest.api.network                               tempest's own client
neutron     neutron_tempest_plugin.api                        the same
sdk         openstack.tests.functional.network                openstacksdk
client      openstackclient.tests.functional.network          the command `openstack`
ansible     ansible/*.yaml beside this file                   Ansible's openstack.cloud modules

Ansible's is no suite of tests but a playbook that is run twice: modules that find the cloud as they want it must say so.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from cloud import OUTSIDE, PHYSNET, Cloud, fill
from environments import site_packages
from identity import ADMIN_PASSWORD, USER_PASSWORD

PLAYBOOKS = Path(__file__).with_name("ansible")
READER = Path(__file__).with_name("subunit_lines.py")


class Suite(msgspec.Struct, frozen=True):
    """One suite. ``path`` is below site-packages; ``regex`` picks its tests there."""

    name: str
    path: str
    regex: str


SUITES = (
    Suite("tempest", "tempest/test_discover", r"^tempest\.api\.network\."),
    Suite("neutron", "tempest/test_discover", r"^neutron_tempest_plugin\.api\."),
    Suite("sdk", "openstack/tests/functional/network", r"^openstack\.tests\.functional\.network\."),
    Suite("client", "openstackclient/tests/functional/network", r"^openstackclient\.tests\.functional\.network\."),
)


ANSIBLE = "ansible"
PLAYS = (
    ("present makes what is not there", "present", True),
    ("present again changes nothing", "present", False),
    ("absent takes it away", "absent", True),
    ("absent again changes nothing", "absent", False),
)


class Result(msgspec.Struct, frozen=True):
    """One test's end. ``status`` is subunit's: success, fail, skip, xfail, uxsuccess, or inprogress when it died on the way."""

    test: str
    status: str
    seconds: float = 0.0
    reason: str = ""
    traceback: str = ""


def prepare(state: Path, cloud: Cloud) -> None:
    """Write what the suites read."""
    aliases = ",".join(cloud.aliases)
    (state / "etc").mkdir(exist_ok=True)
    (state / "etc/tempest.conf").write_text(
        fill(
            "tempest.conf",
            STATE=str(state),
            ADMIN_PASSWORD=ADMIN_PASSWORD,
            KEYSTONE=cloud.keystone,
            OUTSIDE=OUTSIDE,
            OUTSIDE_ID=cloud.outside,
            PHYSNET=PHYSNET,
            ALIASES=aliases,
        )
    )
    (state / "etc/clouds.yaml").write_text(
        fill("clouds.yaml", KEYSTONE=cloud.keystone, ADMIN_PASSWORD=ADMIN_PASSWORD, USER_PASSWORD=USER_PASSWORD)
    )


def run(suite: Suite, venv: Path, state: Path, regex: str, workers: int) -> Iterator[Result]:
    """Each test's end as it happens. ``regex`` picks among the suite's tests."""
    where = state / f"stestr-{suite.name}"
    where.mkdir(exist_ok=True)
    packages = site_packages(venv)
    base = [venv / "bin/stestr", "--test-path", packages / suite.path, "--top-dir", packages]
    if not (where / ".stestr").exists():
        subprocess.run([*base, "init"], cwd=where, check=True)
    # openstackclient's suite drops every OS_ variable: the command then looks in the directory where it stands
    (where / "clouds.yaml").write_bytes((state / "etc/clouds.yaml").read_bytes())
    chosen = list(tests(base, suite, state, venv, regex))
    if not chosen:
        return
    (where / "tests").write_text("\n".join(chosen) + "\n")
    argv = [*base, "run", "--subunit", "--concurrency", str(workers), "--load-list", where / "tests"]
    with (where / "stderr").open("wb") as errors:
        stream = subprocess.Popen(argv, cwd=where, env=surroundings(state, venv), stdout=subprocess.PIPE, stderr=errors)
        reader = subprocess.Popen([venv / "bin/python", "-I", READER], stdin=stream.stdout, stdout=subprocess.PIPE)
        assert stream.stdout is not None
        assert reader.stdout is not None
        stream.stdout.close()
        for line in reader.stdout:
            yield msgspec.json.decode(line, type=Result)
        stream.wait()
        reader.wait()


def run_ansible(venv: Path, state: Path) -> Iterator[Result]:
    """The playbooks, each twice."""
    env = surroundings(state, venv) | {
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        "ANSIBLE_HOME": f"{state}/ansible",
    }
    for name, play, changes in PLAYS:
        argv = [
            venv / "bin/ansible-playbook",
            "-e",
            f"ansible_python_interpreter={venv}/bin/python",
            PLAYBOOKS / f"{play}.yaml",
        ]
        began = time.monotonic()
        done = subprocess.run(argv, cwd=state, env=env, capture_output=True, text=True, check=False)
        said = done.stdout[done.stdout.find("{") :]
        changed = msgspec.json.decode(said)["stats"]["localhost"]["changed"] if done.returncode == 0 else -1
        status = "success" if (changed > 0) is changes and changed >= 0 else "fail"
        yield Result(
            f"ansible: {name}",
            status,
            time.monotonic() - began,
            traceback="" if status == "success" else done.stdout + done.stderr,
        )


def tests(base: list[str | Path], suite: Suite, state: Path, venv: Path, regex: str) -> Iterator[str]:
    """The names of the suite's tests that the regular expression picks."""
    listed = subprocess.run(
        [*base, "list"],
        cwd=state / f"stestr-{suite.name}",
        env=surroundings(state, venv),
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        print(listed.stdout[-2000:], listed.stderr[-2000:], file=sys.stderr)
        raise SystemExit(f"{suite.name}: its tests cannot be listed")
    for name in listed.stdout.splitlines():
        if re.search(suite.regex, name) and re.search(regex, name):
            yield name


def surroundings(state: Path, venv: Path) -> dict[str, str]:
    """The suites' environment variables: nothing of the caller's clouds."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "OPENSTACK"))}
    return kept | {
        "PATH": f"{venv}/bin:{os.environ['PATH']}",
        "TEMPEST_CONFIG_DIR": f"{state}/etc",
        "TEMPEST_CONFIG": "tempest.conf",
        "OS_CLIENT_CONFIG_FILE": f"{state}/etc/clouds.yaml",
        "OS_TEST_TIMEOUT": "300",
        "PYTHONWARNINGS": "ignore",
    }
