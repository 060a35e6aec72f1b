"""Every test marked ``kernel`` runs in namespaces of its own; nothing of it is visible in the machine's."""

import os
import shutil

import pytest

from kernel.support import isolated

_TOOLS = ("ip", "iptables-save", "ipset", "conntrack", "ovs-ofctl", "ovs-vswitchd", "ovsdb-server", "ovsdb-tool")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Say what is missing instead of failing."""
    if item.get_closest_marker("kernel") is None:
        return
    if os.geteuid() != 0:
        pytest.skip("needs root; run with: sudo bin/test")
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}; get them with: bin/test")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run the test's body isolated. Its fixtures are made outside: they must be plain values."""
    if pyfuncitem.get_closest_marker("kernel") is None:
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    isolated(lambda: pyfuncitem.obj(**arguments))
    return True
