"""IP sets of a namespace: asked by netlink whether there are any (IPSET_CMD_LIST, names only), read and written with ipset(8)."""

from floatway.host.records import Ipset
from floatway.linux import spawn
from floatway.linux.connection import HostConnection, NetnsHandle
from floatway.linux.errors import NetlinkError
from floatway.linux.netlink import attr, u8
from floatway.linux.spawn import Later
from floatway.text.ipset import parse_save

_CMD_LIST = (6 << 8) | 7
_ATTR_PROTOCOL, _ATTR_FLAGS, _LIST_SETNAME = 1, 6, 2
_PROTOCOL = 7
_NFGENMSG = b"\x02\0\0\0"


def any_sets(handle: NetnsHandle) -> bool:
    """Has the namespace an IP set at all? True also where the kernel cannot say."""
    flags = attr(_ATTR_FLAGS | 0x4000, _LIST_SETNAME.to_bytes(4, "big"))  # network byte order
    try:
        return bool(handle.netfilter.dump(_CMD_LIST, _NFGENMSG + u8(_ATTR_PROTOCOL, _PROTOCOL) + flags))
    except NetlinkError:
        return True


def sets(conn: HostConnection, names: list[str]) -> Later[Ipset]:
    """All sets of these namespaces with their members."""
    present = [conn.handle(name) for name in names if any_sets(conn.handle(name))]
    saves = [(handle.name, spawn.start(["ipset", "save"], netns=handle.name, fd=handle.fd)) for handle in present]
    return lambda: [record for name, save in saves for record in parse_save(save.result(), name)]


def restore(conn: HostConnection, netns: str, text: str) -> None:
    """One ``ipset restore``; what exists already may exist (-exist). Raises ToolError."""
    conn.run(["ipset", "-exist", "restore"], netns=netns, stdin=text)
