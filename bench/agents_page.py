"""docs/benchmarks-agents.md: the agents' figures, what bounds them, and their peers'."""

import datetime
from pathlib import Path

import msgspec
from measure import Figure, Machine

IDLE = " idle, hundredths of a percent of a core"


def _counted(count: tuple[str, int]) -> str:
    noun, number = count
    return f"{noun.removesuffix(IDLE)} {number / 100:.2f} % of a core" if noun.endswith(IDLE) else f"{number} {noun}"


BOUNDS = """## What bounds it, and what would have to change

- **The datapath.** Without Open vSwitch's kernel module one thread of vswitchd polls all ports in turn: the round trip alone grows with
  them, and each exchange with vswitchd waits for a turn (a port that is added; two for a bundle of flows). And whatever happens to any
  device of the host, be it that an instance's tap comes up, makes that thread ask the kernel about each port, several times over: 40 ms
  with 200 ports, in which no packet moves. That is most of plugging with 200, of a router with 50 and more, and of a floating IP
  with 1,000. The kernel's module ends that; in user space only poll-mode threads do, which tap and veth devices cannot have.
- **A group's rule is in a chain of each of its ports**, before the chain's end, as Neutron has it: `iptables-restore` asks the kernel for
  each of 200 chains to find the place, 16 to 20 ms in all, most of the rest being Python's 7 ms for 200 ports. A codec of our own would
  have to read the same chains and save perhaps half; one chain for each group would be flat, and no Neutron operator would find a
  port's rules where they look for them.
- **A device that moves to a namespace** waits until the kernel has done all that it had put off (`rcu_barrier` in
  `__dev_change_net_namespace`), 16 ms at 250 ticks a second, and holds the lock that vswitchd needs next: a router's interface, the first
  floating IP's gateway. A veth is made where it belongs and waits for nothing, but then `qr-` and `fg-` are not the internal ports
  that operators know.
- **Established connections** of a long table (over 500) are looked for by a dump, which takes the kernel 10 ms for 262,144 buckets and
  more for what is in them; a short one is read from /proc in 0.3 ms.

ACTIVE is told when the host is done. A first ping that was sent before has been lost; the one after it is answered, but its answer comes
as late as the datapath is slow. So ACTIVE is compared with the sending, which is known to 5 ms.
"""

PEERS = """## Beside its peers

What Neutron 29 (ML2/OVS DVR) and OVN 23.03 need for the same on such a machine (medians, the same way of timing):

| what | Neutron | OVN |
|---|---|---|
| floating IP associated, first ping; 1–2 / 50 / 200 / 1,000 on the host | 2,161 / 4,000 / – / – ms | 20 / 64 / 280 / 9,227 ms |
| taken away, first loss; 1 / 50 / 200 / 1,000 | 1,767 / – / – / – ms | 13 / 53 / 249 / 11,592 ms |
| outside with a stale neighbour | – | 720–1,000 ms |
| port plugged, first ping of the gateway; 1 / 200 / 1,000 | 1,249 / – / – ms | 30 / 199 / 621 ms |
| security group rule added / removed; 1 / 200 | 616–1,676 / 1,029–1,058 ms | 19 / 12 ms; 100 / 100 ms |
| router with interface and gateway | 2,531 ms | – |
| agent restarted, in sync; 1 / 50 / 200 ports | 22,600 / 37,000 / > 129,000 ms | 110–190 / – / 1,300 ms |
| idle processor | 5 % of a core | 0.5 % |
"""


def record(root: Path, here: Machine, figures: list[Figure]) -> None:
    """docs/benchmarks-agents.md and the raw figures."""
    today = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    rows = []
    for one in figures:
        aim = f"≤ {one.aim_ms:g} ms: {'reached' if one.median_ms <= one.aim_ms else 'MISSED'}" if one.aim_ms else ""
        if one.counts:
            rows.append(f"| {one.what}: {', '.join(map(_counted, one.counts.items()))} | | | | |")
            continue
        ratio = f"{one.median_ms / here.spawn_ms:.1f}"
        rows.append(f"| {one.what} | {one.median_ms:.1f} ms | {one.best_ms:.1f} ms | {ratio} | {aim} |")
    table = "\n".join(rows)
    text = f"""<!-- Written by bin/bench agents. -->

# Benchmarks of the agents: from the API to packets

Measured {today} on {here.cores} cores ({here.cpu}), {here.memory_gib} GiB, Linux {here.kernel}, Python {here.python},
Open vSwitch {here.openvswitch} (userspace datapath). Server, agent, Open vSwitch, instance and prober share these cores. A prober sends
an echo request every 5 ms. Times run from just before the API call (or the plugging) to the arrival of the first reply to a request
sent after it; for what is taken away, to the sending of the first request without a reply. "In processes" divides by what one
`ip netns exec NS true` takes on the same machine ({here.spawn_ms} ms).

| what | median | best | in processes | aim |
|---|---|---|---|---|
{table}

{BOUNDS}
{PEERS}"""
    (root / "docs" / "benchmarks-agents.md").write_text(text)
    raw = msgspec.json.format(msgspec.json.encode({"machine": here, "figures": figures}), indent=2)
    (root / "bench" / "results" / f"{today}-agents.json").write_bytes(raw + b"\n")
