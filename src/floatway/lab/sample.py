"""Clouds of any size for benchmarks and tests: the same arguments give the same cloud."""

import uuid
from random import Random

from floatway.model.cloud import Cloud
from floatway.model.resources import (
    OWNER_AGENT_GATEWAY,
    OWNER_COMPUTE,
    OWNER_ROUTER_INTERFACE,
    ExternalGateway,
    FixedIp,
    FloatingIp,
    Host,
    Network,
    Port,
    Router,
    SecurityGroup,
    SecurityGroupRule,
    Server,
    Subnet,
)


def big_cloud(*, ports: int = 200, routers: int = 20, floating_ips: int = 200, host: str = "h1") -> Cloud:
    """``ports`` instances on one host, spread over ``routers`` routers with a network each, the first ``floating_ips`` of them with
    a floating IP of one external network (192.168.0.0/16, gateway 192.168.0.1)."""
    random = Random(f"{ports} {routers} {floating_ips}")  # noqa: S311 (no secret)

    def identity() -> str:
        return str(uuid.UUID(int=random.getrandbits(128), version=4))

    def mac(kind: int, number: int) -> str:
        return f"fa:16:3e:{kind:02x}:{number >> 8:02x}:{number & 255:02x}"

    external, outer = identity(), identity()
    group = identity()
    rules = (
        SecurityGroupRule(id=identity(), direction="ingress", protocol="icmp"),
        SecurityGroupRule(id=identity(), direction="ingress", protocol="tcp", port_range_min=22, port_range_max=22),
        SecurityGroupRule(id=identity(), direction="ingress", remote_group_id=group),
        SecurityGroupRule(id=identity(), direction="egress"),
    )
    networks = {external: Network(id=external, name="public", provider_network_type="flat", provider_physical_network="physnet1",
                                  router_external=True, mtu=1500)}  # fmt: skip
    subnets = {outer: Subnet(id=outer, network_id=external, cidr="192.168.0.0/16", gateway_ip="192.168.0.1")}
    gateway = Port(id=identity(), network_id=external, mac_address=mac(255, 0), fixed_ips=(FixedIp(outer, "192.168.255.1"),),
                   binding_host_id=host, device_owner=OWNER_AGENT_GATEWAY, port_security_enabled=False)  # fmt: skip
    all_ports = {gateway.id: gateway}
    all_routers: dict[str, Router] = {}
    inner: list[tuple[Network, Subnet, Router]] = []
    for number in range(routers):
        net = Network(id=identity(), name=f"net{number}", provider_segmentation_id=1000 + number)
        subnet = Subnet(id=identity(), network_id=net.id, cidr=f"10.{number}.0.0/16", gateway_ip=f"10.{number}.0.1")
        router = Router(
            id=identity(), name=f"router{number}", external_gateway_info=ExternalGateway(network_id=external)
        )
        first = (FixedIp(subnet.id, f"10.{number}.0.1"),)
        interface = Port(id=identity(), network_id=net.id, mac_address=mac(254, number), fixed_ips=first,
                         device_id=router.id, device_owner=OWNER_ROUTER_INTERFACE, port_security_enabled=False)  # fmt: skip
        networks[net.id], subnets[subnet.id] = net, subnet
        all_routers[router.id], all_ports[interface.id] = router, interface
        inner.append((net, subnet, router))
    servers: dict[str, Server] = {}
    fips: dict[str, FloatingIp] = {}
    for number in range(ports):
        net, subnet, router = inner[number % routers]
        server = Server(id=identity(), name=f"vm{number}", host=host)
        at = 10 + number // routers
        fixed = f"10.{number % routers}.{at >> 8}.{at & 255}"
        port = Port(id=identity(), network_id=net.id, mac_address=mac(number >> 16, number), fixed_ips=(FixedIp(subnet.id, fixed),),
                    binding_host_id=host, device_id=server.id, device_owner=OWNER_COMPUTE, security_groups=(group,))  # fmt: skip
        servers[server.id], all_ports[port.id] = server, port
        if number < floating_ips:
            address = f"192.168.{1 + number // 250}.{1 + number % 250}"
            fip = FloatingIp(id=identity(), floating_network_id=external, floating_ip_address=address, port_id=port.id,
                             fixed_ip_address=fixed, router_id=router.id)  # fmt: skip
            fips[fip.id] = fip
    return Cloud(
        networks=networks,
        subnets=subnets,
        ports=all_ports,
        routers=all_routers,
        floating_ips=fips,
        security_groups={group: SecurityGroup(id=group, name="default", rules=rules)},
        servers=servers,
        hosts={
            host: Host(
                name=host, tunnel_ip="10.10.20.22", bridge_mappings={"physnet1": "br-ex"}, bridge_nics={"br-ex": "eth4"}
            )
        },
    )
