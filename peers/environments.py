"""The suites' virtual environments: locked versions from PyPI, made once in the state directory.

FLOATWAY_PEERS_SUITES, FLOATWAY_PEERS_KEYSTONE and FLOATWAY_PEERS_ANSIBLE name environments that are there already.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

LOCKS = Path(__file__).with_name("locks")
PROOF = {"suites": "stestr", "keystone": "keystone-manage", "ansible": "ansible-playbook"}
"""A command that each environment has when it is whole."""


def environment(name: str, state: Path) -> Path:
    """The environment of that name, ready."""
    if given := os.environ.get(f"FLOATWAY_PEERS_{name.upper()}"):
        if not (Path(given) / "bin" / PROOF[name]).exists():
            raise SystemExit(f"FLOATWAY_PEERS_{name.upper()}: no {PROOF[name]} in {given}/bin")
        return Path(given)
    venv, lock = state / f"venv-{name}", LOCKS / f"{name}.lock"
    stamp = venv / "lock"
    if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
        print(f"==> installing {name} (peers/locks/{name}.lock) into {venv}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
        pip = [venv / "bin/python", "-m", "pip", "install", "-qq", "--no-compile", "--require-hashes", "--no-deps"]
        subprocess.run([*pip, "-r", lock], check=True)
        shutil.copy(lock, stamp)
    return venv


def site_packages(venv: Path) -> Path:
    """Where its packages are."""
    return next((venv / "lib").glob("python3*/site-packages"))
