"""The machines of a lab and how each is wired: compute hosts, instances, and the host outside.

test  eth0 ==== tap8aa5e3b4-6c  cy2-compute02  eth4 ── sw-physnet1 ── eth1  outside (192.168.0.1)
"""

from pathlib import Path

from floatway.compile import names
from floatway.lab import enter, fabric, ovs
from floatway.lab.errors import BadRequestError
from floatway.lab.node import Node
from floatway.model.cloud import Cloud
from floatway.model.resources import Host, Network, Port, Server, Subnet

OUTSIDE = "outside"
TUNNEL_NIC, UNDERLAY = "eth1", "br-underlay"
TUNNEL_PREFIX = 24


def compute_hosts(cloud: Cloud) -> list[Host]:
    """The hosts worth raising: those with an instance, or with a port of one."""
    busy = {server.host for server in cloud.servers.values()}
    busy |= {p.binding_host_id for p in cloud.ports.values() if not p.device_owner.startswith("network:")}
    return [host for host in cloud.hosts.values() if host.name in busy]


def external_networks(cloud: Cloud) -> list[Network]:
    """Networks that the outside host has an address on."""
    return [net for net in cloud.networks.values() if net.router_external]


def physical_networks(cloud: Cloud) -> list[str]:
    """Physical networks of external networks, in order: outside has eth1, eth2, … on them."""
    return list(dict.fromkeys(net.provider_physical_network or "" for net in external_networks(cloud)))


def wire_compute(node: Node, host: Host, plant: Node, underlay: bool) -> None:
    """NICs on the switches, then Open vSwitch. ``underlay``: other hosts are raised too, tunnels must carry frames."""
    present = fabric.links(node)
    for physical, bridge in host.bridge_mappings.items():
        nic = host.bridge_nics.get(bridge)
        if nic and nic not in present:
            fabric.plug(plant, physical, node, nic)
    if host.tunnel_ip and TUNNEL_NIC not in present | set(host.bridge_nics.values()):
        # the outer frame is 50 bytes longer than what it carries (RFC 7348, section 5)
        fabric.plug(plant, fabric.TUNNEL, node, TUNNEL_NIC, mtu=1600)
        fabric.ip(node, [f"link set {TUNNEL_NIC} up"])
    ovs.start(node)
    if host.tunnel_ip:
        enter.call(node, _tunnel_address, host.tunnel_ip, underlay and ovs.datapath() == "netdev")


def _tunnel_address(address: str, underlay: bool) -> None:
    """The tunnel endpoint: on the NIC, or for the userspace datapath on a bridge that carries it, where alone it finds its peers."""
    import subprocess  # noqa: PLC0415 (only in the child)

    device = UNDERLAY if underlay else TUNNEL_NIC
    if underlay:
        bridge = ["--may-exist", "add-br", UNDERLAY, "--", "set", "bridge", UNDERLAY, "datapath_type=netdev"]
        subprocess.run(["ovs-vsctl", *bridge, "--", "--may-exist", "add-port", UNDERLAY, TUNNEL_NIC], check=True)
    subprocess.run(["ip", "link", "set", device, "mtu", "1600", "up"], check=True)
    subprocess.run(["ip", "address", "replace", f"{address}/{TUNNEL_PREFIX}", "dev", device], check=True)


def outside_device(index: int) -> str:
    """The outside host's device on the index-th physical network: eth1 first, as in the reference."""
    return f"eth{index + 1}"


def wire_outside(node: Node, cloud: Cloud, plant: Node) -> None:
    """The gateway of every external subnet, with the MAC that a host's pins name for it."""
    pinned = next((host.pins.macs["gateway"] for host in cloud.hosts.values() if "gateway" in host.pins.macs), "")
    present = fabric.links(node)
    for index, physical in enumerate(physical_networks(cloud)):
        device = outside_device(index)
        if device not in present:
            mac = pinned if pinned and not index else names.made_up_mac(OUTSIDE, device)
            fabric.plug(plant, physical, node, device, mac=mac)
            enter.call(node, no_ipv6)
            fabric.finish_checksums(node, device)
            fabric.ip(node, [f"link set {device} up"])
        for net in external_networks(cloud):
            if net.provider_physical_network == physical:
                _gateway(node, device, net, cloud.subnets_by_network.get(net.id, ()), present)


def _gateway(node: Node, device: str, net: Network, subnets: tuple[Subnet, ...], present: set[str]) -> None:
    lines: list[str] = []
    if net.provider_network_type == "vlan":
        tagged = f"{device}.{net.provider_segmentation_id}"
        if tagged not in present:
            lines.append(f"link add link {device} name {tagged} type vlan id {net.provider_segmentation_id}")
            lines.append(f"link set {tagged} up")
        device = tagged
    for subnet in subnets:
        if subnet.gateway_ip:
            length = subnet.cidr.partition("/")[2]
            lines.append(f"address replace {subnet.gateway_ip}/{length} broadcast + dev {device}")
    if lines:
        fabric.ip(node, lines)


def no_ipv6() -> None:
    """No neighbour discovery from the lab's own machines: the picture stays readable."""
    for scope in ("all", "default"):
        setting = Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6")
        if setting.exists():
            setting.write_text("1")


def tap_mac(port: Port) -> str:
    """The host's side of an instance's device, as libvirt makes it: the port's MAC with the first octet fe."""
    return "fe" + port.mac_address[2:]


def wire_instance(node: Node, server: Server, cloud: Cloud, compute: Node) -> None:
    """One device per port: eth0 … in the instance, tap… on its host, addresses and routes as DHCP would give them."""
    present = fabric.links(node)
    if not present - {"lo"}:
        enter.call(node, no_ipv6)
    for index, port in enumerate(cloud.ports_by_device.get(server.id, ())):
        device, tap = f"eth{index}", names.device("tap", port.id)
        if device in present:
            continue
        if tap in fabric.links(compute):  # of an instance that died while its host's end lived on
            fabric.ip(compute, [f"link delete {tap}"])
        mtu = cloud.networks[port.network_id].mtu
        peer = f"peer name {device} address {port.mac_address} mtu {mtu} netns {node.pid}"
        fabric.ip(compute, [f"link add {tap} address {tap_mac(port)} mtu {mtu} type veth {peer}"])
        fabric.finish_checksums(node, device)
        fabric.ip(node, [f"link set {device} up", *_addressing(port, device, cloud, default=index == 0)])


def _addressing(port: Port, device: str, cloud: Cloud, *, default: bool) -> list[str]:
    lines: list[str] = []
    for fixed in port.fixed_ips:
        subnet = cloud.subnets[fixed.subnet_id]
        lines.append(f"address add {fixed.ip_address}/{subnet.cidr.partition('/')[2]} broadcast + dev {device}")
        lines += [f"route replace {route.destination} via {route.nexthop} dev {device}" for route in subnet.host_routes]
        if default and subnet.gateway_ip:
            lines.append(f"route replace default via {subnet.gateway_ip} dev {device}")
            default = False
    return lines


def node_name(server: Server) -> str:
    """An instance goes by its name; without one, by its id."""
    return server.name or server.id


def check_names(cloud: Cloud) -> None:
    """Every machine of a lab has a name of its own. Raises LabError."""
    taken: dict[str, str] = {OUTSIDE: "the host outside"}
    for name, what in [
        *((host.name, f"host {host.name}") for host in cloud.hosts.values()),
        *((node_name(server), f"instance {server.id}") for server in cloud.servers.values()),
    ]:
        if (other := taken.setdefault(name, what)) != what:
            raise BadRequestError(f"{what} and {other} would both be the machine {name!r}; give one another name")
