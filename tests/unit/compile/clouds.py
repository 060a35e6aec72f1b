"""Clouds of these tests: the reference's, that of a real Neutron host, and one with everything that is unusual."""

from importlib import resources
from typing import TypeVar

import msgspec

from floatway.compile.allocations import Allocations, allocate
from floatway.compile.host import compile_host
from floatway.host.state import HostState
from floatway.model.cloud import Cloud
from floatway.model.load import cloud_from_text
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
    Pins,
    Port,
    Resource,
    Router,
    SecurityGroup,
    SecurityGroupRule,
    Server,
    Subnet,
)

REFERENCE_HOST = "cy2-compute02"
R = TypeVar("R", bound=Resource)


def reference() -> Cloud:
    """The reference's cloud."""
    path = resources.files("floatway.lab") / "clouds" / "reference.yaml"
    return cloud_from_text(path.read_text(), str(path))


def built(cloud: Cloud, host: str, allocations: Allocations = Allocations()) -> HostState:  # noqa: B008 (frozen)
    """The host's state, from nothing."""
    return compile_host(cloud, host, allocate(cloud, host, allocations))


def by_id(*resources_: R) -> dict[str, R]:
    return {resource.id: resource for resource in resources_}


def changed(cloud: Cloud, port_id: str, **fields: object) -> Cloud:
    """The cloud with a port's fields set."""
    port = msgspec.structs.replace(cloud.ports[port_id], **fields)
    return msgspec.structs.replace(cloud, ports={**cloud.ports, port_id: port})


# --- the host of tests/golden/neutron-29 --------------------------------------------------------------

NET, EXTERNAL = "a3edc3d8-038e-40ee-b8ff-b5a1c144bdec", "a4ba9ef8-b3af-45e8-8356-603607788ffd"
SUBNET, OUTER = "11111111-0000-4000-8000-000000000001", "11111111-0000-4000-8000-000000000002"
ROUTER, GROUP = "be38e5f6-045b-4ead-8f2d-a66edad3b18a", "11111111-0000-4000-8000-000000000003"
VM, QR = "65a85bb8-82f9-4919-9e3b-ad95224627fd", "2fc51678-e800-4000-8000-000000000004"
FG, SNAT = "17859d50-e900-4000-8000-000000000005", "11111111-0000-4000-8000-000000000006"
NEUTRON_HOST = "compute"


def neutron_29() -> Cloud:
    """What the captured host realised: one instance with a floating IP, the router's SNAT port here as well."""
    gateway = ExternalGateway(network_id=EXTERNAL)
    pins = Pins(
        local_vlans={NET: 1, EXTERNAL: 2},
        floating_ip_priorities={"172.12.10.117": 56340},
        link_local={ROUTER: "169.254.88.134"},
        macs={"dvr": "fa:16:3f:39:9f:91"},
    )

    def opening(number: int, **fields: object) -> SecurityGroupRule:
        return msgspec.convert({"id": str(number), **fields}, SecurityGroupRule)

    return Cloud(
        networks=by_id(
            Network(id=NET, provider_segmentation_id=9520),
            Network(
                id=EXTERNAL,
                provider_network_type="flat",
                provider_physical_network="physnet1",
                router_external=True,
                mtu=1500,
            ),
        ),
        subnets=by_id(
            Subnet(id=SUBNET, network_id=NET, cidr="172.12.10.0/24", gateway_ip="172.12.10.1"),
            Subnet(id=OUTER, network_id=EXTERNAL, cidr="192.168.0.0/16", gateway_ip="192.168.0.1"),
        ),
        ports=by_id(
            Port(
                id=VM, network_id=NET, mac_address="fa:16:3e:8a:a7:ee", fixed_ips=(FixedIp(SUBNET, "172.12.10.117"),),
                binding_host_id=NEUTRON_HOST, device_id="vm", device_owner=OWNER_COMPUTE, security_groups=(GROUP,),
            ),
            Port(
                id=QR, network_id=NET, mac_address="fa:16:3e:61:35:87", fixed_ips=(FixedIp(SUBNET, "172.12.10.1"),),
                device_id=ROUTER, device_owner=OWNER_ROUTER_INTERFACE, port_security_enabled=False,
            ),
            Port(
                id=SNAT, network_id=NET, mac_address="fa:16:3e:8f:9b:e5", fixed_ips=(FixedIp(SUBNET, "172.12.10.16"),),
                binding_host_id=NEUTRON_HOST, device_id=ROUTER, device_owner=OWNER_ROUTER_SNAT, port_security_enabled=False,
            ),
            Port(
                id=FG, network_id=EXTERNAL, mac_address="fa:16:3e:86:c9:8c", fixed_ips=(FixedIp(OUTER, "192.168.12.5"),),
                binding_host_id=NEUTRON_HOST, device_owner=OWNER_AGENT_GATEWAY, port_security_enabled=False,
            ),
        ),
        routers=by_id(Router(id=ROUTER, external_gateway_info=gateway)),
        floating_ips=by_id(
            FloatingIp(
                id="fip", floating_network_id=EXTERNAL, floating_ip_address="192.168.13.164", port_id=VM,
                fixed_ip_address="172.12.10.117", router_id=ROUTER,
            )
        ),
        security_groups=by_id(
            SecurityGroup(
                id=GROUP,
                rules=(
                    opening(1, direction="ingress", protocol="icmp"),
                    opening(2, direction="ingress", protocol="tcp", port_range_min=22, port_range_max=22),
                    opening(3, direction="ingress", protocol="tcp", port_range_min=5201, port_range_max=5201),
                    opening(4, direction="egress"),
                    opening(5, direction="ingress", ethertype="IPv6"),
                ),
            )
        ),
        servers=by_id(Server(id="vm", name="vm", host=NEUTRON_HOST)),
        hosts={
            NEUTRON_HOST: Host(
                name=NEUTRON_HOST, tunnel_ip="10.10.20.22", agent_mode="dvr_snat", bridge_mappings={"physnet1": "br-ex"}, pins=pins
            )
        },
    )  # fmt: skip


# --- everything that is unusual ----------------------------------------------------------------------


def uuid(kind: str, number: int) -> str:
    """A readable id; kinds and numbers differ in the part that device names keep."""
    return f"{kind}{number:06x}-{number:04x}-4000-8000-000000000000"


def unusual() -> tuple[Cloud, str]:
    """(cloud, host): networks of every type, two routers with two interfaces on one network, two external networks,
    routers of which one has no gateway, trusted, dead and multi-homed ports, address pairs, ports on another host."""
    flat, vlan = uuid("a1", 1), uuid("a1", 2)
    vxlan, tenant_vlan, tenant_flat, local = uuid("a1", 4), uuid("a1", 5), uuid("a1", 6), uuid("a1", 7)
    group, other_group = uuid("5e", 1), uuid("5e", 2)
    networks = by_id(
        Network(id=flat, provider_network_type="flat", provider_physical_network="physnet1", router_external=True, mtu=1500),
        Network(id=vlan, provider_network_type="vlan", provider_physical_network="physnet1", provider_segmentation_id=77,
                router_external=True, mtu=1500),
        Network(id=vxlan, provider_segmentation_id=5000),
        Network(id=tenant_vlan, provider_network_type="vlan", provider_physical_network="physnet1", provider_segmentation_id=3, mtu=1500),
        Network(id=tenant_flat, provider_network_type="flat", provider_physical_network="physnet2", mtu=1500),
        Network(id=local, provider_network_type="local", mtu=1500),
    )  # fmt: skip

    def subnet(number: int, network: str, cidr: str) -> Subnet:
        return Subnet(id=uuid("b1", number), network_id=network, cidr=cidr, gateway_ip=cidr.replace(".0/24", ".1"))

    subnets = by_id(
        subnet(1, flat, "192.168.1.0/24"), subnet(2, vlan, "192.168.2.0/24"), subnet(3, vxlan, "10.1.0.0/24"),
        subnet(4, vxlan, "10.2.0.0/24"), subnet(5, tenant_vlan, "10.3.0.0/24"), subnet(6, tenant_flat, "10.4.0.0/24"),
        subnet(7, local, "10.5.0.0/24"),
    )  # fmt: skip
    numbers = {s.cidr.rpartition(".")[0]: s for s in subnets.values()}
    count = iter(range(1, 100))

    def port(*addresses: str, owner: str = OWNER_COMPUTE, device: str = "", host: str = "h1", **fields: object) -> Port:
        number = next(count)
        where = [numbers[address.rpartition(".")[0]] for address in addresses]
        one = Port(
            id=uuid("c1", number), network_id=where[0].network_id, mac_address=f"fa:16:3e:00:00:{number:02x}",
            fixed_ips=tuple(FixedIp(s.id, address) for s, address in zip(where, addresses, strict=True)),
            binding_host_id=host, device_id=device or uuid("d1", number), device_owner=owner,
            security_groups=(group,) if owner == OWNER_COMPUTE else (), port_security_enabled=owner == OWNER_COMPUTE,
        )  # fmt: skip
        return msgspec.structs.replace(one, **fields)

    first, second, inside = uuid("e1", 1), uuid("e1", 2), uuid("e1", 3)
    routers = by_id(
        Router(
            id=first, external_gateway_info=ExternalGateway(network_id=flat),
            routes=(HostRoute("10.99.0.0/16", "10.1.0.9"), HostRoute("172.16.0.0/12", "192.168.1.9")),
        ),
        Router(id=second, external_gateway_info=ExternalGateway(network_id=flat)),
        Router(id=inside, external_gateway_info=None),
    )  # fmt: skip
    interface = {"owner": OWNER_ROUTER_INTERFACE, "host": ""}
    floating = port("10.1.0.10")
    ports = [
        port("10.1.0.1", device=first, **interface),
        port("10.2.0.1", device=first, **interface),
        port("10.1.0.2", device=second, **interface),
        port("10.3.0.1", device=second, **interface),
        port("10.4.0.1", device=inside, **interface),
        port("10.5.0.1", device=inside, **interface),
        port("10.1.0.16", device=first, host="h2", owner=OWNER_ROUTER_SNAT),
        port("192.168.1.2", owner=OWNER_AGENT_GATEWAY, device="agent"),
        floating,
        port("10.1.0.11", "10.2.0.11", security_groups=(group, other_group)),
        port(
            "10.2.0.12",
            allowed_address_pairs=(
                AddressPair("10.9.0.0/16"), AddressPair("10.8.0.1", "02:00:00:00:00:01"), AddressPair("0.0.0.0/0"),
                AddressPair("10.8.0.2/32"),
            ),
        ),
        port("10.3.0.13"),
        port("10.4.0.14"),
        port("10.5.0.15"),
        port("10.1.0.17", port_security_enabled=False, security_groups=()),
        port("10.2.0.18", admin_state_up=False),
        port("10.1.0.19", host="h2"),
        port("10.3.0.20", host="h2"),
    ]  # fmt: skip
    rules = (
        SecurityGroupRule(id="1", direction="ingress", protocol="icmp", port_range_min=8),
        SecurityGroupRule(id="2", direction="ingress", protocol="tcp", port_range_min=22, port_range_max=22, remote_group_id=other_group),
        SecurityGroupRule(id="3", direction="ingress", remote_group_id=group),
        SecurityGroupRule(id="4", direction="ingress", protocol="udp", port_range_min=1, port_range_max=9, remote_ip_prefix="10.0.0.0/8"),
        SecurityGroupRule(id="5", direction="egress"),
        SecurityGroupRule(id="6", direction="ingress", ethertype="IPv6", protocol="tcp"),
    )  # fmt: skip
    cloud = Cloud(
        networks=networks,
        subnets=subnets,
        ports=by_id(*ports),
        routers=routers,
        floating_ips=by_id(
            FloatingIp(id=uuid("f1", 1), floating_network_id=flat, floating_ip_address="192.168.1.100", port_id=floating.id,
                       fixed_ip_address="10.1.0.10", router_id=first),
            FloatingIp(id=uuid("f1", 2), floating_network_id=flat, floating_ip_address="192.168.1.101"),
        ),
        security_groups=by_id(SecurityGroup(id=group, rules=rules), SecurityGroup(id=other_group)),
        servers=by_id(
            *(Server(id=p.device_id, host=p.binding_host_id) for p in ports if p.device_owner == OWNER_COMPUTE)
        ),
        hosts={
            "h1": Host(name="h1", tunnel_ip="10.10.20.1", bridge_mappings={"physnet1": "br-ex", "physnet2": "br-laboratory"},
                       bridge_nics={"br-ex": "eth4"}),
            "h2": Host(name="h2", tunnel_ip="10.10.20.2", agent_mode="dvr_snat",
                       bridge_mappings={"physnet1": "br-ex", "physnet2": "br-laboratory"}),
        },
    )  # fmt: skip
    return cloud, "h1"
