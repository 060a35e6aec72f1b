"""An etcd that wants TLS, or a name and a password."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from etcds import Cluster, running
from floatway.store.base import Commit, StoreError
from floatway.store.etcd import EtcdStore
from floatway.store.etcd_client import Client, Member
from floatway.store.etcd_wire import TxnAnswer
from floatway.store.open import open_store
from storing import changes, committed, watched

TLS = Path(__file__).parents[1] / "api" / "tls"


class Named(msgspec.Struct, omit_defaults=True):
    """A request of etcd's auth API."""

    name: str = ""
    password: str = ""
    user: str = ""
    role: str = ""


async def used(url: str) -> None:
    """Commit and watch there."""
    store = await open_store(url)
    watcher = asyncio.create_task(watched(store, 0, 10))
    await committed(store, 10)
    assert await watcher == [Commit(revision, changes(revision)) for revision in range(1, 11)]
    await store.close()


def test_over_tls(tmp_path: Path) -> None:
    async def story(cluster: Cluster) -> None:
        port = cluster.ports[0]
        await used(f"etcd://localhost:{port}/x?cacert={TLS / 'certificate.pem'}")
        for url in (f"etcd://localhost:{port}/x", f"etcd://localhost:{port}/x?reads=local"):
            with pytest.raises(StoreError, match=r"no etcd member answers|HTTP status 400"):  # without TLS
                await open_store(url)
        with pytest.raises(StoreError, match="TLS files"):
            await open_store(f"etcd://localhost:{port}/x?cacert={TLS / 'key.pem'}")

    with pytest.MonkeyPatch.context() as patch, running(tmp_path, 1, TLS) as cluster:
        patch.setattr("floatway.store.etcd_client._PATIENCE", 1.0)
        asyncio.run(story(cluster))


def test_with_a_name_and_a_password(tmp_path: Path) -> None:
    async def story(cluster: Cluster) -> None:
        port = cluster.ports[0]
        client = Client([Member("127.0.0.1", port)])
        for path, request in [
            ("auth/user/add", Named(name="root", password="se/cret")),
            ("auth/role/add", Named(name="root")),
            ("auth/user/grant", Named(user="root", role="root")),
            ("auth/enable", Named()),
        ]:
            await client.call(path, request, TxnAnswer)
        await client.close()
        await used(f"etcd://root:se%2Fcret@127.0.0.1:{port}/x")
        store = await open_store(f"etcd://root:se%2Fcret@127.0.0.1:{port}/x")
        assert isinstance(store, EtcdStore)
        store._client._token = "ended.1"  # as after etcd was started anew
        assert await store.commit(10, [changes(11)]) == 11
        await store.close()
        for who in ("", "root:wrong@", "nobody:se%2Fcret@"):
            with pytest.raises(StoreError, match=r"user name is empty|invalid user ID or password"):
                await open_store(f"etcd://{who}127.0.0.1:{port}/x")

    with running(tmp_path, 1) as cluster:
        asyncio.run(story(cluster))
