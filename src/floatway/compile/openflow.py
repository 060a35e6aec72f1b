"""Flows in the spelling of ``ovs-ofctl -O OpenFlow14 --names dump-flows``, and Neutron's table numbers by name.

br-int   0 classify   1, 2 DVR MAC of another host (tunnel, provider)   3, 4 to this host's DVR MAC (tunnel, provider)
         23 canary    24 ARP spoofing   25 MAC spoofing   30, 31 extensions   58, 59 transient   60 output   62 canary
br-tun   0 classify   1 DVR out   2 patch   3 GRE  4 VXLAN  6 Geneve in   9 DVR not learnt   10 learn
         20 unicast   21 ARP responder   22 flood
provider 0 classify   1 DVR out   2 local VLAN out   3 DVR not learnt
"""

from functools import lru_cache

from floatway.host.ownership import ALIAS, COOKIE
from floatway.host.records import Flow, Pairs

LOCAL, DVR_TUNNEL, DVR_PROVIDER, TO_DVR_TUNNEL, TO_DVR_PROVIDER = 0, 1, 2, 3, 4
CANARY, ARP_SPOOF, MAC_SPOOF = 23, 24, 25
EXTENSION_IN, EXTENSION_OUT, TRANSIENT, TRANSIENT_LAST, OUTPUT, LAST_CANARY = 30, 31, 58, 59, 60, 62

TUN_DVR, TUN_PATCH, TUN_GRE, TUN_VXLAN, TUN_GENEVE, TUN_DVR_IN, TUN_LEARN = 1, 2, 3, 4, 6, 9, 10
TUN_UNICAST, TUN_ARP, TUN_FLOOD = 20, 21, 22

PROVIDER_DVR, PROVIDER_VLAN, PROVIDER_IN = 1, 2, 3

DEAD_VLAN = 4095
OWNED: Pairs = (("owner", ALIAS),)
UNICAST = "dl_dst=00:00:00:00:00:00/01:00:00:00:00:00"
MULTICAST = "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00"


@lru_cache(maxsize=65536)
def quoted(name: str) -> str:
    """A port name as ovs-ofctl prints it: bare when only letters and digits, else in quotes."""
    return name if name.isalnum() and name[0].isalpha() else f'"{name}"'


def flow(bridge: str, table: int, priority: int, match: str, actions: str) -> Flow:
    """A flow of ours."""
    return Flow(bridge=bridge, table=table, priority=priority, match=match, actions=actions, cookie=COOKIE)


def goto(table: int) -> str:
    """``goto_table:N``."""
    return f"goto_table:{table}"


def push_tag(tag: int, table: int) -> str:
    """Give an untagged frame the VLAN (OpenFlow 1.3 keeps CFI, bit 12, as "present") and go on."""
    return f"push_vlan:0x8100,set_field:{4096 + tag}->vlan_vid,goto_table:{table}"


def set_tag(tag: int, table: int) -> str:
    """Put the VLAN in place of the one that a tagged frame has and go on."""
    return f"set_field:{4096 + tag}->vlan_vid,goto_table:{table}"


def output(*ports: str) -> str:
    """``output:…`` for each port name."""
    return ",".join(f"output:{quoted(port)}" for port in ports)
