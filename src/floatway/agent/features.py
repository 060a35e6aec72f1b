"""What the agent asks of the kernel, tried in a namespace that is gone a moment later: which of it is missing, and what brings it.

new namespace ─▶ ip rule add …, ip link add … type veth, ipset create …, iptables-restore … ─▶ kernel's word ─▶ namespace gone

The host is as before, but for modules that the kernel has loaded by itself, as it would for the agent.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from floatway.linux.errors import ToolError
from floatway.linux.netns import anonymous
from floatway.linux.spawn import run

__all__ = ["Missing", "missing"]


class Missing(msgspec.Struct, frozen=True):
    """A feature that the kernel does not have: what does not work without it, the kernel's word, and what mends it."""

    what: str
    said: str
    remedy: str


_DEVICES: Final = (
    ("rules that choose a table by the sender", ["ip", "rule", "add", "from", "192.0.2.1", "lookup", "16"],
     "a kernel with CONFIG_IP_MULTIPLE_TABLES"),
    ("pairs of devices", ["ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1"], "modprobe veth"),
    ("bridges", ["ip", "link", "add", "bridge0", "type", "bridge"], "modprobe bridge"),
    ("sets of addresses", ["ipset", "create", "set0", "hash:net"], "modprobe ip_set_hash_net"),
)  # fmt: skip

_RULES: Final = (
    ("floating IPs", "nat", "-A PREROUTING -d 192.0.2.1/32 -j DNAT --to-destination 192.0.2.2", "xt_nat"),
    ("floating IPs", "nat", "-A POSTROUTING -s 192.0.2.2/32 -j SNAT --to-source 192.0.2.1 --random-fully", "xt_nat"),
    ("the way to metadata", "nat", "-A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 9697", "xt_REDIRECT"),
    ("security groups", "raw", "-A PREROUTING -j CT --zone 4097", "xt_CT"),
    ("security groups", "filter", "-A FORWARD -m state --state RELATED,ESTABLISHED -j RETURN", "xt_conntrack"),
    ("security groups", "filter", "-A FORWARD -m mac --mac-source fa:16:3e:00:00:01 -j RETURN", "xt_mac"),
    ("security groups", "filter", "-A FORWARD -p tcp -m tcp -m multiport --dports 1:2 -j RETURN", "xt_multiport"),
    ("remote groups", "filter", "-A FORWARD -m set --match-set set0 src -j RETURN", "xt_set"),
    ("comments on rules", "filter", "-A FORWARD -m comment --comment why -j RETURN", "xt_comment"),
    ("marks", "mangle", "-A PREROUTING -m mark --mark 0x1/0xffff -j MARK --set-xmark 0x2/0xffff", "xt_mark"),
    ("marks of connections", "mangle", "-A PREROUTING -m connmark --mark 0x1 -j CONNMARK --restore-mark", "xt_connmark"),
)  # fmt: skip
# not physdev: its module brings br_netfilter along, which changes what happens on everybody's bridges


def missing() -> Iterator[Missing]:
    """All that does not work here, the first of what is missing for the same reason. Tools must be there.

    Raises:
        OSError: there can be no namespace.
    """
    told: set[str] = set()
    with anonymous() as fd:
        for what, argv, remedy in _DEVICES:
            if said := _refusal(argv, fd):
                yield Missing(what, said, remedy)
        for what, table, rule, module in _RULES:
            said = _refusal(["iptables-restore", "--noflush"], fd, f"*{table}\n{rule}\nCOMMIT\n")
            if said and module not in told:
                told.add(module)
                yield Missing(what, said, f"modprobe {module}")


def _refusal(argv: list[str], fd: int, stdin: str = "") -> str:
    try:
        run(argv, fd=fd, stdin=stdin)
    except ToolError as error:
        lines = error.text.splitlines()
        return f"{argv[0]}: {lines[0] if lines else error.status}"
    return ""
