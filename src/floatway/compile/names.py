"""Neutron's names for what a port, router or network becomes on a host (R1 of the reference).

tap/qbr/qvb/qvo/qr-/fg- + port id, rfp-/fpr- + router id, all cut to 14 characters (IFNAMSIZ leaves 15)
"""

import hashlib
from functools import lru_cache

from floatway.net.address import ip_int

DEVICE_LENGTH = 14
CHAIN_LENGTH = 28
PATCH_LENGTH, PATCH_HASH = 15, 6
SET_LENGTH = 29  # the kernel takes 31; Neutron leaves room for the "-n" of a set to be swapped in
WRAP = "neutron-openvswi"

BR_INT, BR_TUN = "br-int", "br-tun"
PATCH_TUN, PATCH_INT = "patch-tun", "patch-int"


def device(prefix: str, identity: str) -> str:
    """``qvo`` + port id, ``rfp-`` + router id …, cut to 14 characters."""
    return (prefix + identity)[:DEVICE_LENGTH]


def port_chain(direction: str, port_id: str) -> str:
    """A port's chain: ``i`` to the instance, ``o`` from it, ``s`` its spoof check; cut to 28 characters."""
    return f"{WRAP}-{direction}{port_id}"[:CHAIN_LENGTH]


def group_set(group_id: str) -> str:
    """The ipset with the IPv4 addresses of a security group's members, cut to 29 characters."""
    return f"NIPv4{group_id}"[:SET_LENGTH]


def qrouter(router_id: str) -> str:
    """A router's namespace."""
    return f"qrouter-{router_id}"


def fip(network_id: str) -> str:
    """The namespace of an external network's floating IPs."""
    return f"fip-{network_id}"


def tunnel_port(kind: str, remote_ip: str) -> str:
    """``vxlan-0a0a140b``: the tunnel to 10.10.20.11."""
    return f"{kind}-{ip_int(remote_ip):08x}"


def integration_patch(bridge: str) -> str:
    """br-int's end of the patch to a provider bridge."""
    return _patch("int-", bridge)


def provider_patch(bridge: str) -> str:
    """The provider bridge's end of the patch to br-int."""
    return _patch("phy-", bridge)


def _patch(prefix: str, bridge: str) -> str:
    """OpenFlow tells ports by the first 15 characters: a longer name ends in a hash, as Neutron's do."""
    name = prefix + bridge
    if len(name) <= PATCH_LENGTH:
        return name
    digest = hashlib.sha1(bridge.encode(), usedforsecurity=False).hexdigest()[:PATCH_HASH]
    return name[: PATCH_LENGTH - PATCH_HASH] + digest


@lru_cache(maxsize=65536)
def made_up_mac(host: str, name: str) -> str:
    """A MAC that is the same at every compile: hash of host and device, locally administered, unicast (IEEE 802)."""
    digest = bytearray(hashlib.blake2b(f"{host}/{name}".encode(), digest_size=6).digest())
    digest[0] = digest[0] & 0xFC | 0x02
    return ":".join(f"{byte:02x}" for byte in digest)


@lru_cache(maxsize=4096)
def dvr_mac(host: str) -> str:
    """The MAC a host's routers use towards other hosts (Neutron's dvr_base_mac fa:16:3f:00:00:00)."""
    digest = hashlib.blake2b(host.encode(), digest_size=3).digest()
    return "fa:16:3f:" + ":".join(f"{byte:02x}" for byte in digest)
