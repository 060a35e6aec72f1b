"""Random clouds for property tests: valid by construction, small, with every kind of resource and rule."""

import uuid

from hypothesis import strategies as st

from floatway.model.cloud import Cloud
from floatway.model.resources import (
    OWNER_AGENT_GATEWAY,
    OWNER_COMPUTE,
    OWNER_ROUTER_INTERFACE,
    OWNER_ROUTER_SNAT,
    AddressPair,
    ExternalGateway,
    FixedIp,
    FloatingIp,
    Host,
    HostRoute,
    Network,
    Port,
    Router,
    SecurityGroup,
    SecurityGroupRule,
    Server,
    Subnet,
)

HOSTS = ("h1", "h2")


def identity(kind: int, number: int) -> str:
    """A readable UUID: the kind in the first digits, so that cut names differ."""
    return str(uuid.UUID(int=(kind << 120) | (number << 96) | (4 << 76) | (8 << 60) | number))


def mac(kind: int, number: int) -> str:
    return f"fa:16:3e:{kind:02x}:{number >> 8:02x}:{number & 255:02x}"


@st.composite
def rules(draw: st.DrawFn, groups: list[str], number: int) -> SecurityGroupRule:
    """Any opening; one for IPv6 opens nothing here, and must do no harm."""
    if draw(st.integers(0, 9)) == 0:
        return SecurityGroupRule(id=identity(0x5E, number), direction="ingress", ethertype="IPv6", protocol="ipv6-icmp")
    protocol = draw(st.sampled_from([None, "icmp", "tcp", "udp", "sctp", "47"]))
    low = high = None
    if protocol in ("tcp", "udp", "sctp") and draw(st.booleans()):
        low = draw(st.integers(1, 65535))
        high = draw(st.sampled_from([low, 65535]))
    elif protocol == "icmp" and draw(st.booleans()):
        low = draw(st.sampled_from([0, 3, 8]))
        high = draw(st.sampled_from([None, 0, 1]))
    remote = draw(st.sampled_from(["any", "prefix", "group"]))
    return SecurityGroupRule(
        id=identity(0x5E, number),
        direction=draw(st.sampled_from(["ingress", "egress"])),
        protocol=protocol,
        port_range_min=low,
        port_range_max=high,
        remote_ip_prefix=draw(st.sampled_from(["0.0.0.0/0", "10.0.0.0/8", "192.168.0.1/32"]))
        if remote == "prefix"
        else None,
        remote_group_id=draw(st.sampled_from(groups)) if remote == "group" else None,
    )


@st.composite
def clouds(draw: st.DrawFn, *, max_ports: int = 4, max_networks: int = 3, hosts: tuple[str, ...] = HOSTS) -> Cloud:
    """A valid cloud on one or two hosts, the first of which carries most of it."""
    external, outer = identity(0xE0, 1), identity(0xE1, 1)
    networks = {
        external: Network(
            id=external,
            provider_network_type="flat",
            provider_physical_network="physnet1",
            router_external=True,
            mtu=1500,
        )
    }
    subnets = {outer: Subnet(id=outer, network_id=external, cidr="192.168.0.0/16", gateway_ip="192.168.0.1")}
    group_ids = [identity(0x50 + number, number) for number in range(draw(st.integers(1, 2)))]
    groups = {
        group: SecurityGroup(
            id=group,
            rules=tuple(draw(rules(group_ids, 100 * number + index)) for index in range(draw(st.integers(0, 4)))),
        )
        for number, group in enumerate(group_ids)
    }
    ports: dict[str, Port] = {}
    for number, host in enumerate(hosts):
        gateway = identity(0xF0 + number, number + 1)
        ports[gateway] = Port(
            id=gateway, network_id=external, mac_address=mac(0xFF, number), fixed_ips=(FixedIp(outer, f"192.168.255.{number + 1}"),),
            binding_host_id=host, device_owner=OWNER_AGENT_GATEWAY, port_security_enabled=False,
        )  # fmt: skip
    routers: dict[str, Router] = {}
    inner: list[tuple[Network, tuple[Subnet, ...], Router | None]] = []
    for number in range(draw(st.integers(1, max_networks))):
        vlan = draw(st.sampled_from([False, False, True]))
        net = Network(
            id=identity(0x10 + number, number),
            provider_network_type="vlan" if vlan else "vxlan",
            provider_physical_network="physnet1" if vlan else None,
            provider_segmentation_id=100 + number,
            mtu=draw(st.sampled_from([1450, 1400])),
        )
        networks[net.id] = net
        on_net = []
        for third in range(draw(st.sampled_from([1, 1, 2]))):
            subnet = Subnet(
                id=identity(0x20 + number, 16 * third + number),
                network_id=net.id,
                cidr=f"10.{number}.{third}.0/24",
                gateway_ip=f"10.{number}.{third}.1",
            )
            subnets[subnet.id] = subnet
            on_net.append(subnet)
        kind = draw(st.sampled_from(["gateway", "gateway", "inside", "none", *(["shared"] if routers else [])]))
        router = None
        if kind == "shared":
            router = draw(st.sampled_from(list(routers.values())))
        elif kind != "none":
            info = ExternalGateway(network_id=external, enable_snat=draw(st.booleans())) if kind == "gateway" else None
            extra = (HostRoute(f"10.200.{number}.0/24", f"10.{number}.0.250"),) if draw(st.booleans()) else ()
            router = Router(id=identity(0x30 + number, number), external_gateway_info=info, routes=extra)
            routers[router.id] = router
        for third, subnet in enumerate(on_net if router else ()):
            assert router is not None
            inside = (FixedIp(subnet.id, str(subnet.gateway_ip)),)
            one = identity(0x40 + number, 16 * third + number)
            ports[one] = Port(
                id=one, network_id=net.id, mac_address=mac(0xFE, 16 * third + number), fixed_ips=inside,
                device_id=router.id, device_owner=OWNER_ROUTER_INTERFACE, port_security_enabled=False,
            )  # fmt: skip
            if router.external_gateway_info and draw(st.booleans()):
                snat = identity(0xC0 + number, 16 * third + number)
                ports[snat] = Port(
                    id=snat, network_id=net.id, mac_address=mac(0xFD, 16 * third + number),
                    fixed_ips=(FixedIp(subnet.id, f"10.{number}.{third}.2"),),
                    binding_host_id=hosts[-1], device_id=router.id, device_owner=OWNER_ROUTER_SNAT, port_security_enabled=False,
                )  # fmt: skip
        inner.append((net, tuple(on_net), router))
    servers: dict[str, Server] = {}
    fips: dict[str, FloatingIp] = {}
    for number in range(draw(st.integers(1, max_ports))):
        net, on_net, router = draw(st.sampled_from(inner))
        host = hosts[0] if number == 0 else draw(st.sampled_from(hosts))
        server = Server(id=identity(0x70, number), name=f"vm{number}", host=host)
        homes = draw(st.lists(st.sampled_from(on_net), min_size=1, max_size=2, unique=True))
        fixed_ips = tuple(FixedIp(home.id, home.cidr.replace("0/24", str(10 + number))) for home in homes)
        pairs = draw(
            st.sampled_from([(), (), (AddressPair("10.99.0.0/24"),), (AddressPair("10.98.0.1", "fa:16:3e:77:00:01"),)])
        )
        port = Port(
            id=identity(0x80 + number, number), network_id=net.id, mac_address=mac(number, number), fixed_ips=fixed_ips,
            binding_host_id=host, device_id=server.id, device_owner=OWNER_COMPUTE, allowed_address_pairs=pairs,
            security_groups=tuple(draw(st.lists(st.sampled_from(group_ids), unique=True))),
            port_security_enabled=draw(st.sampled_from([True, True, True, False])),
            admin_state_up=draw(st.sampled_from([True, True, True, False])),
        )  # fmt: skip
        servers[server.id], ports[port.id] = server, port
        if router and router.external_gateway_info and draw(st.booleans()):
            fip = identity(0x90 + number, number)
            fips[fip] = FloatingIp(
                id=fip, floating_network_id=external, floating_ip_address=f"192.168.1.{number + 1}", port_id=port.id,
                fixed_ip_address=draw(st.sampled_from(fixed_ips)).ip_address, router_id=router.id,
            )  # fmt: skip
    if draw(st.booleans()):
        spare = identity(0xA0, 1)
        fips[spare] = FloatingIp(id=spare, floating_network_id=external, floating_ip_address="192.168.2.1")
    modes = {hosts[-1]: draw(st.sampled_from(["dvr", "dvr_snat"]))}
    return Cloud(
        networks=networks,
        subnets=subnets,
        ports=ports,
        routers=routers,
        floating_ips=fips,
        security_groups=groups,
        servers=servers,
        hosts={
            host: Host(
                name=host, tunnel_ip=f"10.10.20.{number + 1}", agent_mode=modes.get(host, "dvr"), datapath_type="netdev",
                bridge_mappings={"physnet1": "br-ex"}, bridge_nics={"br-ex": "eth4"},
            )
            for number, host in enumerate(hosts)
        },
    )  # fmt: skip
