"""One snapshot and the next: what was changed is changed, nothing else, and no index of the old one lives on."""

import msgspec
import pytest
from hypothesis import given

from effort import examples
from floatway.lab.sample import big_cloud
from floatway.model.cloud import Cloud, put, remove
from floatway.model.resources import OWNER_COMPUTE, Port
from strategies import clouds

CLOUD = big_cloud(ports=3, routers=1, floating_ips=2)
PORT = next(port for port in CLOUD.ports.values() if port.device_owner == OWNER_COMPUTE)
(HOST,) = CLOUD.hosts.values()


def test_put_replaces_by_id_and_leaves_the_old_snapshot_alone() -> None:
    assert CLOUD.ports_by_host[HOST.name]  # the index is there before the change
    moved = msgspec.structs.replace(PORT, binding_host_id="h2")
    other = msgspec.structs.replace(HOST, name="h2", tunnel_ip="10.10.20.23")
    after = put(CLOUD, moved, other)
    assert after.ports_by_host["h2"] == (moved,)
    assert PORT in CLOUD.ports_by_host[HOST.name]
    assert set(after.hosts) == {HOST.name, "h2"}
    assert list(after.ports) == list(CLOUD.ports)
    assert after.networks is CLOUD.networks


def test_remove_takes_out_what_is_there_and_names_what_is_not() -> None:
    without = remove(CLOUD, PORT)
    assert PORT.id not in without.ports
    with pytest.raises(KeyError, match=PORT.id):
        remove(without, PORT)


@examples(25)
@given(clouds())
def test_remove_undoes_put(cloud: Cloud) -> None:
    new = Port(id="new", network_id=next(iter(cloud.networks)), mac_address="fa:16:3e:99:99:99")
    assert remove(put(cloud, new), new) == cloud


@examples(25)
@given(clouds())
def test_the_indexes_hold_every_port_once(cloud: Cloud) -> None:
    for index in (cloud.ports_by_host, cloud.ports_by_device, cloud.ports_by_network):
        assert sorted(p.id for ports in index.values() for p in ports) == sorted(cloud.ports)
    fips = [fip.id for found in cloud.floating_ips_by_port.values() for fip in found]
    assert sorted(fips) == sorted(fip.id for fip in cloud.floating_ips.values() if fip.port_id)
    for group, members in cloud.members_by_group.items():
        assert all(group in port.security_groups for port in members)
