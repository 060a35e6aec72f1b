"""A cluster of etcd members, whole before each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from etcds import Cluster, running


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    (tmp_path / "etcd").mkdir()
    with running(tmp_path / "etcd") as members:
        yield members
