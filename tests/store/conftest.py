"""One cluster for all tests here, whole before each."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from etcds import Cluster, running


@pytest.fixture(scope="session")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory: Path = tmp_path_factory.mktemp("etcd")
    with running(directory) as cluster:
        yield cluster


@pytest.fixture
def cluster(members: Cluster) -> Iterator[Cluster]:
    members.mend()
    yield members
    members.mend()


@pytest.fixture
def prefix() -> str:
    """Of this test alone."""
    return f"test-{uuid.uuid4().hex}"
