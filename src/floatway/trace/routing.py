"""Where an IPv4 packet goes next: policy rules by priority, in each table the longest prefix with the lowest metric.

ip rule   0 local · 32766 main · 32767 default · 57481 from 172.12.10.4 lookup 16
table 16  default via 169.254.106.115 dev rfp-…
"""

import msgspec

from floatway.host.records import Route, Rule
from floatway.net.address import in_prefix, ip_int
from floatway.trace import evidence
from floatway.trace.index import Index
from floatway.trace.result import Evidence

LOCAL_TABLE = 255
REFUSED = frozenset({"unreachable", "blackhole", "prohibit"})


class Found(msgspec.Struct, frozen=True):
    """The answer of a lookup. ``route`` None: no route. ``local``: the address is the namespace's own, on ``device``.
    ``looked`` are the rules whose tables were searched in vain."""

    route: Route | None = None
    rule: Rule | None = None
    local: bool = False
    device: str = ""
    looked: tuple[Rule, ...] = ()

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """The rule (unless it is one that every namespace has) and the route."""
        shown: list[Evidence] = []
        if self.rule is not None and (
            self.rule.src != "all" or self.rule.iif or self.rule.table not in evidence.TABLES
        ):
            shown.append(evidence.rule(self.rule))
        if self.route is not None:
            shown.append(evidence.route(self.route))
        return tuple(shown)


def lookup(known: Index, netns: str, dst: str, src: str = "", iif: str = "lo") -> Found:
    """Route ``dst`` as a packet from ``src`` that came in by ``iif`` ("lo" for one made here)."""
    looked: list[Rule] = []
    for rule in known.rules_of(netns):
        if rule.iif and rule.iif != iif:
            continue
        if rule.src not in ("all", "0.0.0.0/0") and not (src and in_prefix(src, rule.src)):
            continue
        if rule.table == LOCAL_TABLE and (own := known.local.get((netns, dst))) is not None:
            return Found(rule=rule, local=True, device=own.link, looked=tuple(looked))
        route = longest(known, netns, rule.table, dst)
        if route is None or route.type == "throw":
            looked.append(rule)
            continue
        return Found(route=route, rule=rule, local=route.type == "local", device=route.dev, looked=tuple(looked))
    return Found(looked=tuple(looked))


def longest(known: Index, netns: str, table: int, dst: str) -> Route | None:
    """The table's best usable route: one through a missing device, or one that is down, is none."""
    wanted = ip_int(dst)
    for length, networks in known.routes(netns, table).items():
        for route in networks.get(wanted >> (32 - length) << (32 - length), ()):
            if not route.dev or route.dev == "lo" or ((link := known.link(netns, route.dev)) is not None and link.up):
                return route
    return None


def source(known: Index, netns: str, found: Found, dst: str) -> str:
    """The source address the kernel would choose for a packet made here; "" when it has none."""
    if found.local:
        return dst
    route = found.route
    if route is None:
        return ""
    if route.src:
        return route.src
    connected = known.connected(netns, route.dev, route.via or dst)
    if connected is not None:
        return connected.cidr.partition("/")[0]
    candidates = known.on_device(netns, route.dev) or [
        address for address in known.addresses.get(netns, ()) if address.scope == "global"
    ]
    return candidates[0].cidr.partition("/")[0] if candidates else ""


def reverse_path_fails(known: Index, netns: str, device: str, src: str, dst: str) -> str:
    """Why rp_filter drops a packet from ``src`` on ``device`` (RFC 3704; 1 strict, 2 loose); "" when it does not."""
    mode = known.conf(netns, device, "rp_filter")
    if mode == 0:
        return ""
    back = lookup(known, netns, src, dst, "lo")
    if back.local:
        return f"{src} is the namespace's own address"
    if back.route is None or back.route.type != "unicast":
        return f"there is no route back to {src}"
    if mode == 1 and back.route.dev != device:
        return f"the way back to {src} is by {back.route.dev}, not {device}"
    return ""
