"""The order of a plan never opens a hole: no frame passes unfiltered, no packet leaves untranslated, at any point of it."""

from collections.abc import Callable
from itertools import chain
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from effort import examples
from floatway.host.plan import plan
from floatway.host.records import OvsBridge
from floatway.host.state import HostState
from floatway.model.cloud import Cloud
from strategies import clouds
from unit.host.damage import DAMAGES
from unit.host.openings import carries, filters, spoofing_checks, unguarded_bridges, untranslated
from unit.host.worlds import HOST, bare, compiled, done, otherwise, small_cloud, walked

CLOUD = small_cloud()
DESIRED = compiled(CLOUD)
WHOLE = done(bare(DESIRED), DESIRED)


def secured(*several: Cloud) -> list[str]:
    """Ports that are filtered in each cloud that has them here."""
    ports = {port.id for cloud in several for port in cloud.ports.values() if port.binding_host_id == HOST}
    return sorted(
        port
        for port in ports
        if all(port not in cloud.ports or cloud.ports[port].port_security_enabled for cloud in several)
    )


@given(clouds(), clouds())
@examples(60)
def test_no_frame_passes_unfiltered_and_no_packet_leaves_untranslated(before: Cloud, after: Cloud) -> None:
    first = compiled(before)
    nothing = bare(first, compiled(after))
    have = done(nothing, first)
    want = compiled(after, have)
    for start, goal in ((nothing, first), (have, want)):
        ports = secured(before, after) if start is have else secured(before)
        new = {b.name for b in goal.records(OvsBridge) if start.get(OvsBridge, b.name) is None}
        steps = plan(start, goal)
        for state in chain(walked(start, steps), walked(start, otherwise(steps))):
            assert [port for port in ports if carries(state, port) and not filters(state, port)] == []
            for port in ports:
                known = [spoofing_checks(start, port)] if carries(start, port) else []
                assert not carries(state, port) or spoofing_checks(state, port) in [*known, spoofing_checks(goal, port)]
            assert list(unguarded_bridges(state, new, goal)) == []
            assert list(untranslated(state)) == []


@given(st.lists(st.tuples(st.sampled_from(DAMAGES), st.randoms(use_true_random=False)), min_size=1, max_size=5))
@examples(100)
def test_a_repair_closes_holes_and_opens_none(
    damages: list[tuple[Callable[[HostState, Random], HostState], Random]],
) -> None:
    state = WHOLE
    for damage, chance in damages:
        state = damage(state, chance)
    repair = plan(state, DESIRED)
    for steps in (repair, otherwise(repair)):
        closed: set[str] = set()
        for now in walked(state, steps):
            is_open = {port for port in secured(CLOUD) if carries(now, port) and not filters(now, port)}
            assert not is_open & closed
            closed |= set(secured(CLOUD)) - is_open


def test_the_ports_carry_frames_in_the_end() -> None:
    ports = [port.id for port in CLOUD.ports.values() if port.device_owner.startswith("compute")]
    assert all(carries(WHOLE, port) and filters(WHOLE, port) for port in ports)


def test_some_plans_run_otherwise_too() -> None:
    """A new router's flows begin before its devices have moved."""
    steps = plan(bare(DESIRED), DESIRED)
    other = otherwise(steps)
    assert other != steps
    assert sorted(map(repr, other.steps)) == sorted(map(repr, steps.steps))
