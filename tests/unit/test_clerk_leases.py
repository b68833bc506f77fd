"""Leases of a Clerk: kept alive on a thread, lost and told so, ended with their block."""

from __future__ import annotations

import queue

import pytest
from raftkv import Clerk, errors
from raftkv.client.leases import LeaseInfo

from tests.unit.fake_cluster import KEY, SILENT, Cluster


@pytest.fixture
def cluster():
    cluster = Cluster([1])
    yield cluster
    cluster.close()


@pytest.fixture
def clerk(cluster):
    with Clerk(cluster.addresses, authkey=KEY, timeout=5) as clerk:
        yield clerk


def test_the_commands_for_leases(clerk):
    lease = clerk.leases.grant(60)
    assert clerk.leases.grant(30, 7) == 7
    with pytest.raises(errors.LeaseExistsError):
        clerk.leases.grant(30, 7)
    clerk.put("é", "v", lease=7)
    assert clerk.leases.list() == [lease, 7]
    assert clerk.leases.keep_alive(7) == 30
    assert clerk.leases.time_to_live(7, keys=True) == LeaseInfo(7, 30, 30, ["é"])
    assert clerk.leases.time_to_live(lease).keys == []
    assert clerk.leases.revoke(7) == 1 and clerk.get("é") is None
    for ask in (clerk.leases.keep_alive, clerk.leases.time_to_live, clerk.leases.revoke):
        with pytest.raises(errors.LeaseNotFoundError):
            ask(7)
    with pytest.raises(errors.InvalidRequestError, match="time to live"):
        clerk.leases.grant(0)


def test_a_lease_keeps_itself_alive_and_ends_with_its_block(clerk, cluster):
    kept = queue.Queue()
    cluster.servers[1].behave = lambda method, _: kept.put(method) if method == "lease_keep_alive" else None
    with clerk.lease(1) as lease:
        clerk.put("k", "v", lease=lease.id)
        for _ in range(2):
            kept.get(timeout=10)
        lease.check()
        assert not lease.lost
    assert clerk.get("k") is None and clerk.leases.list() == []
    lease.revoke()


def test_a_lease_that_ended_is_lost_once_and_for_all(clerk):
    told = queue.Queue()
    with pytest.raises(errors.LeaseLostError, match="it has ended"), clerk.lease(1, told.put) as lease:
        clerk.leases.revoke(lease.id)  # somebody else does
        assert told.get(timeout=10) is lease and lease.lost
        clerk.leases.grant(60, lease.id)
        with pytest.raises(errors.LeaseLostError):
            lease.check()


def test_a_lease_is_lost_when_no_keepalive_is_answered_in_its_time(clerk, cluster):
    told = queue.Queue()
    with pytest.raises(ZeroDivisionError), clerk.lease(1, told.put) as lease:
        cluster.servers[1].do(*[SILENT] * 99, only="lease_keep_alive")
        told.get(timeout=3)  # long before the Clerk's own time is over
        with pytest.raises(errors.LeaseLostError, match="no keepalive was answered in time"):
            lease.check()
        raise ZeroDivisionError  # which is not hidden by the loss


def test_a_lease_is_lost_when_its_clerk_is_closed(cluster):
    told = queue.Queue()
    clerk = Clerk(cluster.addresses, authkey=KEY)
    lease = clerk.lease(1, on_lost=told.put)
    clerk.close()
    assert told.get(timeout=10) is lease
