"""Random clouds of a bounded size: whatever the model allows on one host, in any combination."""

import random
import uuid

from floatway.model.cloud import Cloud
from floatway.model.resources import (
    OWNER_AGENT_GATEWAY,
    OWNER_COMPUTE,
    OWNER_ROUTER_INTERFACE,
    AddressPair,
    ExternalGateway,
    FixedIp,
    FloatingIp,
    Network,
    Port,
    Router,
    SecurityGroup,
    SecurityGroupRule,
    Server,
    Subnet,
)
from kernel.reference_host import HOST, reference


class _Dice:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._macs = 0

    def id(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def mac(self) -> str:
        self._macs += 1
        return f"fa:16:3e:55:{self._macs >> 8:02x}:{self._macs & 255:02x}"

    def one_in(self, number: int) -> bool:
        return self.random.randrange(number) == 0


def random_cloud(seed: int) -> Cloud:
    """Up to 3 networks, 2 routers, 6 ports with floating IPs, address pairs and security groups, on the reference's host."""
    dice = _Dice(seed)
    base = reference()
    external = next(net for net in base.networks.values() if net.router_external)
    gateways = [port for port in base.ports.values() if port.device_owner == OWNER_AGENT_GATEWAY]
    networks, ports = {external.id: external}, {port.id: port for port in gateways}
    subnets = {subnet.id: subnet for subnet in base.subnets.values() if subnet.network_id == external.id}
    groups = {group.id: group for group in (_group(dice, []) for _ in range(2))}
    groups |= {group.id: group for group in (_group(dice, list(groups)) for _ in range(2))}
    routers, servers, fips = {}, {}, {}
    for _ in range(dice.random.randint(0, 2)):
        router = Router(
            id=dice.id(), external_gateway_info=None if dice.one_in(3) else ExternalGateway(network_id=external.id)
        )
        routers[router.id] = router
    for number in range(dice.random.randint(1, 3)):
        network = Network(id=dice.id(), provider_segmentation_id=100 + number, mtu=dice.random.choice([1450, 1400]))
        subnet = Subnet(id=dice.id(), network_id=network.id, cidr=f"10.{number}.0.0/24", gateway_ip=f"10.{number}.0.1")
        networks[network.id], subnets[subnet.id] = network, subnet
        router = dice.random.choice(list(routers.values())) if routers and not dice.one_in(4) else None
        if router:
            interface = Port(
                id=dice.id(), network_id=network.id, mac_address=dice.mac(), device_id=router.id,
                device_owner=OWNER_ROUTER_INTERFACE, fixed_ips=(FixedIp(subnet.id, f"10.{number}.0.1"),),
            )  # fmt: skip
            ports[interface.id] = interface
        for member in range(dice.random.randint(0, 2)):
            address = f"10.{number}.0.{member + 10}"
            server = Server(id=dice.id(), name=f"s{number}{member}", host=HOST)
            port = Port(
                id=dice.id(), network_id=network.id, mac_address=dice.mac(), fixed_ips=(FixedIp(subnet.id, address),),
                binding_host_id=HOST, device_id=server.id, device_owner=OWNER_COMPUTE,
                port_security_enabled=not dice.one_in(5),
                security_groups=tuple(dice.random.sample(list(groups), dice.random.randint(0, 2))),
                allowed_address_pairs=(AddressPair(ip_address=f"10.{number}.0.200"),) if dice.one_in(4) else (),
            )  # fmt: skip
            servers[server.id], ports[port.id] = server, port
            if router and router.external_gateway_info and dice.one_in(2):
                fip = FloatingIp(
                    id=dice.id(), floating_network_id=external.id, floating_ip_address=f"192.168.{20 + number}.{member + 10}",
                    port_id=port.id, fixed_ip_address=address, router_id=router.id,
                )  # fmt: skip
                fips[fip.id] = fip
    return Cloud(
        networks=networks, subnets=subnets, ports=ports, routers=routers, floating_ips=fips, security_groups=groups,
        servers=servers, hosts={HOST: base.hosts[HOST]},
    )  # fmt: skip


def _group(dice: _Dice, others: list[str]) -> SecurityGroup:
    rules = []
    for _ in range(dice.random.randint(0, 4)):
        protocol = dice.random.choice([None, "tcp", "udp", "icmp"])
        low: int | None = None
        high: int | None = None
        if protocol in {"tcp", "udp"} and not dice.one_in(3):
            low = dice.random.choice([1, 22, 80, 8000])
            high = dice.random.choice([low, low + 10, 65535])
        if protocol == "icmp" and dice.one_in(2):
            low, high = 8, dice.random.choice([None, 0])
        remote = dice.random.choice([None, "10.9.0.0/16", "10.8.0.1/32", "group"])
        rules.append(
            SecurityGroupRule(
                id=dice.id(), direction=dice.random.choice(["ingress", "egress"]), protocol=protocol,
                port_range_min=low, port_range_max=high,
                remote_ip_prefix=remote if remote and remote != "group" else None,
                remote_group_id=dice.random.choice(others) if remote == "group" and others else None,
            )
        )  # fmt: skip
    return SecurityGroup(id=dice.id(), rules=tuple(rules))
