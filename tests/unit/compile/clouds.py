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
    ExternalGateway,
    FixedIp,
    FloatingIp,
    Host,
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
