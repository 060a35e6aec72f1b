"""The way to centralised SNAT: instances without a floating IP leave by the network node.

from 172.12.10.1/24 lookup 2886470145          table 2886470145: default via 172.12.10.16 (the SNAT port), dev qr-…
(priority and table are the gateway's address as a number, so they need no allocation and name their subnet)
"""

from floatway.compile import names
from floatway.compile.view import Interface
from floatway.host.records import Record, Route, Rule
from floatway.net.address import ip_int


def snat_redirect(router_id: str, one: Interface, device: str, snat_address: str) -> list[Record]:
    """Instances without a floating IP leave through the central SNAT port; rule and table carry the gateway address as number."""
    number = ip_int(one.address)
    source = f"{one.address}/{one.subnet.cidr.partition('/')[2]}"
    netns = names.qrouter(router_id)
    return [
        Rule(netns=netns, priority=number, src=source, table=number),
        Route(netns=netns, prefix="default", table=number, via=snat_address, dev=device),
    ]
