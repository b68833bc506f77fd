"""What several files of tests of the Clerk share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from raftkv.client.clerk import Clerk

from tests.unit.fake_cluster import KEY, Cluster


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Three servers."""
    cluster = Cluster([1, 2, 3])
    yield cluster
    cluster.close()


@pytest.fixture
def clerk(cluster: Cluster) -> Iterator[Clerk]:
    with Clerk(cluster.addresses, authkey=KEY, timeout=10.0) as clerk:
        yield clerk
