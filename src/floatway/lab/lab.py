"""A whole cloud inside one machine: up, down, status, apply. All of it can be killed at any moment; ``down`` still leaves nothing.

/run/floatway/lab/NAME/lab.json      the machines (pid and start time of each init)
                       cloud.json    the cloud last told
/var/lib/floatway/lab/NAME/          the server's and the agents' files (lab.served)

A served lab has a server and agents, and everything is said through the API; a plain one has neither: its hosts are made
once, by this process, and nothing repairs what is broken by hand.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from floatway.agent.reconcile import Executor, Outcome, reconcile
from floatway.compile import names
from floatway.lab import clouds_yaml, enter, machines, node, ovs, prerequisites, served
from floatway.lab.compute import control
from floatway.lab.errors import BadRequestError, LabError
from floatway.lab.node import Node, Role
from floatway.linux.connection import HostConnection
from floatway.model.cloud import Cloud
from floatway.model.resources import Server
from floatway.trace.world import Endpoint, Wire

BASE = Path("/run/floatway/lab")
FABRIC = "fabric"
Progress = Callable[[str], None]


class Lab(msgspec.Struct, frozen=True):
    """A raised lab: the machines by name, the one with the cables, and how all are wired."""

    name: str
    nodes: dict[str, Node]
    fabric: Node
    wires: tuple[Wire, ...] = ()
    server: served.Server | None = None
    compute: served.Server | None = None
    """A served lab's compute endpoint: it keeps the instances, whose machines are not in the state file of the lab."""


class NodeStatus(msgspec.Struct, frozen=True):
    """One machine: does it live, does its Open vSwitch (None: has none), does its agent follow the server (None: there is none, or
    no server), was the agent paused, which addresses has it."""

    name: str
    role: Role
    pid: int
    alive: bool
    open_vswitch: bool | None = None
    agent: bool | None = None
    paused: bool = False
    host: str = ""
    fixed_ips: tuple[str, ...] = ()
    floating_ips: tuple[str, ...] = ()


class LabStatus(msgspec.Struct, frozen=True):
    """A lab as it is now."""

    name: str
    nodes: tuple[NodeStatus, ...]
    url: str = ""
    """The Networking API of a served lab."""
    serving: bool | None = None
    """Does the server run? None: the lab is plain."""

    @property
    def healthy(self) -> bool:
        """Does everything live that should?"""
        return self.serving is not False and all(
            one.alive and one.open_vswitch is not False and one.agent is not False for one in self.nodes
        )


def up(
    cloud: Cloud | None, *, name: str = "default", progress: Progress = lambda _: None, with_server: bool = False
) -> Lab:
    """Raise the cloud, with a server and agents if asked for; what of it is up already stays up, what has died is made again.
    None: the cloud that the lab was last given. Whatever its API was told since stays, and so do instances made by it.
    Raises LabError, StepFailed, ReconcileError."""
    progress("checking what the lab needs")
    prerequisites.require()
    again, cloud = cloud is None, given(name) if cloud is None else cloud
    _check(cloud, name)
    with _locked():
        known = _read(name)
        anew = known is not None and not all(one.alive for one in (*known.nodes.values(), known.fabric))
        if anew:
            progress("a machine of the lab has died; making all of them anew")
        if known is not None and anew and known.server is not None:
            known = _bare(known)
        elif known is None or anew:
            _down(name)  # or machines of a lab that never got as far as its state file
            known = None
        lab = known or Lab(name=name, nodes={}, fabric=node.create(name, FABRIC, "fabric"))
        _write(lab)
        if with_server or lab.server is not None:
            return _serve(lab, cloud, progress, tell=not again or known is None or lab.server is None, anew=anew)
        return _converge(lab, cloud, progress)[0]


def apply(
    lab: Lab, cloud: Cloud, *, progress: Progress = lambda _: None, executor: Executor = "netlink"
) -> dict[str, Outcome]:
    """Make a running lab be this cloud: machines come and go, every host is reconciled. Gives what each host did; nothing of a
    served lab, whose agents do it."""
    _check(cloud, lab.name)
    with _locked():
        load(lab.name)
        now = _read(lab.name) or lab
        if now.server is not None:
            _serve(now, cloud, progress)
            return {}
        return _converge(now, cloud, progress, executor)[1]


def mend(lab: Lab, *, executor: Executor = "netlink") -> dict[str, Outcome]:
    """Make every host be, once and by this process, what the lab's cloud wants: what was broken by hand is mended."""
    cloud = with_datapath(cloud_of(lab.name), ovs.datapath())
    hosts = [host for host in machines.compute_hosts(cloud) if host.name in lab.nodes]
    return {host.name: enter.call(lab.nodes[host.name], reconcile_here, cloud, host.name, executor) for host in hosts}


def down(name: str = "default") -> bool:
    """End every process of the lab; with them go its namespaces, devices and mounts. Then its files. False when there is nothing of
    it. Raises LabError."""
    _check_name(name)
    if not (BASE / name).exists() and not (served.VAR / name).exists() and not any(node.inits(name)):
        return False
    with _locked():
        _down(name)
    return True


def load(name: str = "default") -> Lab:
    """The lab of that name. Raises LabError when there is none."""
    _check_name(name)
    lab = _read(name)
    if lab is None:
        raise BadRequestError(
            f"there is no lab {name!r}; raise it with: floatway lab up"
            + (f" --lab {name}" if name != "default" else "")
        )
    return lab if lab.compute is None else _with_instances(lab)


def _with_instances(lab: Lab) -> Lab:
    """The lab with the instances that run now; one whose name another machine has goes by its id."""
    directory = served.VAR / lab.name / control.DIRECTORY
    found = {one.id if name in lab.nodes else name: one for name, one in control.nodes(directory).items()}
    names_by_id = {one.id: name for name, one in found.items()}
    called = {name: msgspec.structs.replace(one, name=name) for name, one in found.items()}
    return msgspec.structs.replace(
        lab, nodes={**lab.nodes, **called}, wires=(*lab.wires, *control.wires(directory, names_by_id))
    )


def there(name: str = "default") -> bool:
    """Is there a lab of that name? Raises LabError when it is no name for one."""
    _check_name(name)
    return _read(name) is not None


def given(name: str = "default") -> Cloud:
    """The cloud that the lab was last raised or loaded with. Raises LabError when there is no such lab."""
    load(name)
    return msgspec.json.decode((BASE / name / "cloud.json").read_bytes(), type=Cloud)


def cloud_of(name: str = "default") -> Cloud:
    """The cloud that the lab is to be: what its server says now; what a plain lab was given. Raises LabError when the server does
    not live: what it was told since the lab was given a cloud, nobody else knows."""
    lab, told = load(name), given(name)
    if lab.server is None:
        return told
    if not lab.server.alive:
        raise LabError(
            "the lab's server is dead, and it alone knows what the cloud is to be; start it again: floatway lab up"
        )
    now = served.view(lab.server)
    if lab.compute is None:
        return msgspec.structs.replace(
            now, servers=now.servers | told.servers
        )  # the API does not know instances' names
    return msgspec.structs.replace(now, servers=now.servers | control.servers(served.VAR / name / control.DIRECTORY))


def status(name: str = "default") -> LabStatus:
    """How the lab's machines are. Raises LabError when there is no such lab."""
    lab = load(name)
    dead = lab.server is not None and not lab.server.alive
    cloud = given(name) if dead else cloud_of(name)
    following = None if lab.server is None or dead else served.following(lab.server)
    found: list[NodeStatus] = []
    for name_, one in lab.nodes.items():
        server = cloud.servers.get(one.id) if one.role == "instance" else None
        ports = cloud.ports_by_device.get(server.id, ()) if server else ()
        found.append(
            NodeStatus(
                name=name_,
                role=one.role,
                pid=one.pid,
                alive=one.alive,
                open_vswitch=ovs.running(one) if one.role == "compute" and one.alive else None,
                agent=one.name in following if following is not None and one.role == "compute" else None,
                paused=lab.server is not None and one.role == "compute" and one.alive and served.paused(one),
                host=server.host if server else "",
                fixed_ips=tuple(fixed.ip_address for port in ports for fixed in port.fixed_ips),
                floating_ips=tuple(
                    fip.floating_ip_address for port in ports for fip in cloud.floating_ips_by_port.get(port.id, ())
                ),
            )
        )
    serving = lab.server
    return LabStatus(
        name=name,
        nodes=tuple(found),
        url=serving.url if serving else "",
        serving=serving.alive if serving else None,
    )


def _check_name(name: str) -> None:
    """A lab's name becomes directories', which are removed with all that is in them."""
    if not name or not all(character.isalnum() or character in "-_." for character in name) or name.startswith("."):
        raise BadRequestError(f"{name!r} is not a name for a lab: letters, digits, dash and underscore")


def _check(cloud: Cloud, name: str) -> None:
    _check_name(name)
    machines.check_names(cloud)
    if not machines.compute_hosts(cloud):
        raise BadRequestError("the cloud has no instance on any host: there is nothing to raise")


def _converge(
    lab: Lab, cloud: Cloud, progress: Progress, executor: Executor = "netlink"
) -> tuple[Lab, dict[str, Outcome]]:
    """Machines first, then the instances, then the hosts' state."""
    lab, realised = _machines(lab, cloud, progress)
    outcomes: dict[str, Outcome] = {}
    for host in machines.compute_hosts(cloud):
        progress(f"host {host.name}: bridges, namespaces, flows and rules")
        outcomes[host.name] = enter.call(lab.nodes[host.name], reconcile_here, realised, host.name, executor)
        if outcomes[host.name].waiting:
            raise LabError(f"host {host.name} misses devices: {', '.join(outcomes[host.name].waiting)}")
    return lab, outcomes


def _serve(lab: Lab, cloud: Cloud, progress: Progress, *, tell: bool = True, anew: bool = False) -> Lab:
    """Machines as in a plain lab; the hosts' state is the agents' work, instances the compute endpoint's, the cloud the server's.
    Without ``tell`` the cloud is what the server has been told already. ``anew``: it still takes ports for ACTIVE that were plugged
    into machines before these."""
    try:
        before = msgspec.json.decode((BASE / lab.name / "cloud.json").read_bytes(), type=Cloud)
    except FileNotFoundError:
        before = Cloud()
    if resting := [
        one.name for one in lab.nodes.values() if one.role == "compute" and one.alive and served.paused(one)
    ]:
        raise LabError(f"the agent of {', '.join(resting)} is paused, and would not follow; first: floatway lab resume")
    lab, realised = _machines(lab, cloud, progress, instances=False)
    running = lab.server is not None and lab.server.alive
    progress("the server")
    server = served.start_server(lab.name, lab.server)
    lab = msgspec.structs.replace(lab, server=server)
    _write(lab)
    for host in machines.compute_hosts(cloud):
        progress(f"host {host.name}: its agent")
        served.start_agent(lab.name, server, lab.nodes[host.name], realised.hosts[host.name])
    hosts = {host.name for host in machines.compute_hosts(cloud)}
    if anew:
        served.wait_followed(server, hosts)
    directory = served.VAR / lab.name / control.DIRECTORY
    compute = control.start(lab.name, directory, api=server.url, known=lab.compute)
    lab = msgspec.structs.replace(lab, compute=compute)
    _write(lab)
    if tell:
        progress(f"the cloud, told to {server.url}")
        served.load(server, realised, before)
    else:
        progress(f"the cloud is what {server.url} was told")
    gone = before.servers.keys() - cloud.servers.keys() if tell else set()
    wanted = control.running(directory) | (cloud.servers if tell else {})
    for one in wanted.values():
        if one.id not in gone:
            progress(f"instance {machines.node_name(one)}")
    control.tell(compute.url, (one for one in wanted.values() if one.id not in gone), gone)
    control.settled(compute.url)
    served.wait_followed(server, hosts)
    if tell:
        served.wait_active(server, cloud)
    said = clouds_yaml.write(lab.name, server, control.overrides(compute.url))
    if not running:
        progress(f"for OpenStack clients: {said}")
    return _with_instances(lab)


def _machines(lab: Lab, cloud: Cloud, progress: Progress, *, instances: bool = True) -> tuple[Lab, Cloud]:
    """Every machine and its cables, ``instances`` too if asked for; and the cloud with the datapath that this machine has."""
    _replace(lab.name, "cloud.json", msgspec.json.encode(cloud))
    hosts = machines.compute_hosts(cloud)
    kind = ovs.datapath()
    wanted: dict[str, tuple[Role, str]] = {host.name: ("compute", "") for host in hosts}
    wanted[machines.OUTSIDE] = ("outside", "")
    servers = cloud.servers.values() if instances else ()
    wanted |= {machines.node_name(server): ("instance", server.id) for server in servers}
    for name, one in lab.nodes.items():
        if wanted.get(name) != (one.role, one.id):
            progress(f"removing {name}")
            node.kill(one.pid)
    nodes = {name: one for name, one in lab.nodes.items() if one.alive and wanted.get(name) == (one.role, one.id)}
    for name, (role, identity) in wanted.items():
        if name not in nodes:
            nodes[name] = node.create(lab.name, name, role, identity)
    lab = msgspec.structs.replace(lab, nodes=nodes, wires=_wires(cloud, servers))
    _write(lab)
    for host in hosts:
        progress(f"host {host.name}: Open vSwitch ({'kernel' if kind == 'system' else 'userspace'} datapath)")
        machines.wire_compute(nodes[host.name], host, lab.fabric, underlay=len(hosts) > 1)
    progress("the network outside")
    machines.wire_outside(nodes[machines.OUTSIDE], cloud, lab.fabric)
    for server in servers:
        progress(f"instance {machines.node_name(server)}")
        machines.wire_instance(nodes[machines.node_name(server)], server, cloud, nodes[server.host])
    return lab, with_datapath(cloud, kind)


def with_datapath(cloud: Cloud, kind: str) -> Cloud:
    """The cloud with the datapath that this machine has, where a host does not ask for one."""
    hosts = {
        name: msgspec.structs.replace(host, datapath_type="netdev")
        if kind == "netdev" and not host.datapath_type
        else host
        for name, host in cloud.hosts.items()
    }
    return msgspec.structs.replace(cloud, hosts=hosts)


def reconcile_here(cloud: Cloud, host: str, executor: Executor = "netlink") -> Outcome:
    """Reconcile the host that this process stands in."""
    with HostConnection() as connection:
        return reconcile(connection, cloud, host, executor=executor)


def _wires(cloud: Cloud, servers: Iterable[Server]) -> tuple[Wire, ...]:
    """Every cable of the lab, as the tracer wants to know them."""
    wires: list[Wire] = []
    hosts = machines.compute_hosts(cloud)
    for index, physical in enumerate(machines.physical_networks(cloud)):
        ends = [
            Endpoint(host.name, host.bridge_nics[bridge])
            for host in hosts
            if (bridge := host.bridge_mappings.get(physical)) and bridge in host.bridge_nics
        ]
        wires.append(Wire(physical, (*ends, Endpoint(machines.OUTSIDE, machines.outside_device(index)))))
    tunnels = tuple(Endpoint(host.name, machines.TUNNEL_NIC) for host in hosts if host.tunnel_ip)
    if len(tunnels) > 1:
        wires.append(Wire("tunnel", tunnels))
    for server in servers:
        for index, port in enumerate(cloud.ports_by_device.get(server.id, ())):
            tap = names.device("tap", port.id)
            ends = [Endpoint(machines.node_name(server), f"eth{index}"), Endpoint(server.host, tap)]
            wires.append(Wire(tap, tuple(ends)))
    return tuple(wires)


# --- Files, lock, and the way down ------------------------------------------------------------------


@contextmanager
def _locked() -> Iterator[None]:
    """One up, apply or down at a time. The lock is the directory itself: no lock file to leave behind."""
    while True:
        BASE.mkdir(parents=True, exist_ok=True)
        fd = os.open(BASE, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(fd, fcntl.LOCK_EX)
        try:
            same = os.fstat(fd).st_ino == BASE.stat().st_ino
        except FileNotFoundError:
            same = False  # another took it away while we waited
        if same:
            break
        os.close(fd)
    try:
        yield
    finally:
        os.close(fd)


def _read(name: str) -> Lab | None:
    try:
        return msgspec.json.decode((BASE / name / "lab.json").read_bytes(), type=Lab)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise LabError(
            f"{BASE / name / 'lab.json'} cannot be read ({error}); start over with: floatway lab down"
        ) from error


def _write(lab: Lab) -> None:
    _replace(lab.name, "lab.json", msgspec.json.encode(lab))


def _replace(name: str, file: str, data: bytes) -> None:
    """All of the new content or all of the old, whenever this process dies."""
    directory = BASE / name
    directory.mkdir(parents=True, exist_ok=True)
    aside = directory / f".{file}.new"
    aside.write_bytes(data)
    aside.replace(directory / file)


def _down(name: str) -> None:
    control.stop(served.VAR / name / control.DIRECTORY)
    served.stop(name)
    clouds_yaml.remove(name)
    _end_machines(name)
    shutil.rmtree(BASE / name, ignore_errors=True)
    shutil.rmtree(served.VAR / name, ignore_errors=True)
    for directory in (BASE, BASE.parent, served.VAR, served.VAR.parent):
        with suppress(OSError):  # another lab is in there
            directory.rmdir()


def _bare(lab: Lab) -> Lab:
    """The lab without its machines: its server and all that it was told stay, and what the compute endpoint knows of instances."""
    control.stop(served.VAR / lab.name / control.DIRECTORY)  # else it would take them all for switched off
    _end_machines(lab.name)
    return msgspec.structs.replace(lab, nodes={}, fabric=node.create(lab.name, FABRIC, "fabric"), wires=())


def _end_machines(name: str) -> None:
    deadline = time.monotonic() + 30
    while pids := list(node.inits(name)):
        if time.monotonic() > deadline:
            raise LabError(f"processes of the lab do not die: {pids}")
        for pid in pids:
            node.kill(pid)
