"""Laws L4 to L6 (docs/laws.md) to the last byte, on random clouds and on the unusual one."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from effort import examples
from floatway.compile.allocations import allocate, recover
from floatway.compile.host import Memo, compile_host
from floatway.model.cloud import Cloud
from strategies import HOSTS, clouds
from unit.compile.clouds import REFERENCE_HOST, built, reference, unusual

quick = examples(25)
FIXED = [(reference(), REFERENCE_HOST), unusual()]


def shuffled(cloud: Cloud, draw: st.DataObject) -> Cloud:
    """The same resources, put in in another order."""
    fields = {name: getattr(cloud, name) for name in cloud.__struct_fields__}
    return Cloud(**{name: dict(draw.draw(st.permutations(list(table.items())))) for name, table in fields.items()})


@quick
@given(clouds(), st.data())
def test_l4_insertion_order_means_nothing(cloud: Cloud, data: st.DataObject) -> None:
    other = shuffled(cloud, data)
    for host in HOSTS:
        assert allocate(other, host) == allocate(cloud, host)
        assert built(other, host) == built(cloud, host)


@pytest.mark.parametrize(("cloud", "host"), FIXED)
@examples(10)
@given(data=st.data())
def test_l4_in_the_known_clouds(cloud: Cloud, host: str, data: st.DataObject) -> None:
    other = shuffled(cloud, data)
    assert allocate(other, host) == allocate(cloud, host)
    assert built(other, host) == built(cloud, host)


@quick
@given(st.lists(clouds(), min_size=2, max_size=4))
def test_l5_one_memo_through_many_clouds(versions: list[Cloud]) -> None:
    memo = Memo()
    for cloud in versions:
        allocations = allocate(cloud, HOSTS[0])
        assert compile_host(cloud, HOSTS[0], allocations, memo) == compile_host(cloud, HOSTS[0], allocations)


def test_l5_only_what_changed_is_made_again() -> None:
    cloud, host = unusual()
    allocations, memo = allocate(cloud, host), Memo()
    before = {id(record) for record in compile_host(cloud, host, allocations, memo)}
    again = compile_host(cloud, host, allocations, memo)
    assert {id(record) for record in again} == before
    fip = next(fip for fip in cloud.floating_ips.values() if fip.port_id)
    moved = msgspec.structs.replace(fip, floating_ip_address="192.168.1.77")
    after = msgspec.structs.replace(cloud, floating_ips={**cloud.floating_ips, fip.id: moved})
    new = [record for record in compile_host(after, host, allocations, memo) if id(record) not in before]
    assert 0 < len(new) < len(again) / 10


@quick
@given(clouds())
def test_l6_recover_inverts_compile(cloud: Cloud) -> None:
    for host in HOSTS:
        given_out = allocate(cloud, host)
        assert recover(compile_host(cloud, host, given_out), cloud, host) == given_out


@pytest.mark.parametrize(("cloud", "host"), FIXED)
def test_l6_in_the_known_clouds(cloud: Cloud, host: str) -> None:
    given_out = allocate(cloud, host)
    assert recover(compile_host(cloud, host, given_out), cloud, host) == given_out
