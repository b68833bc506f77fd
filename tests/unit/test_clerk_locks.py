"""Locks and elections: one at a time, in order, each with a greater token, and told when it is lost."""

from __future__ import annotations

import queue
import threading
import time

import pytest
from raftkv import Clerk, errors

from tests.cluster.waiting import wait_until
from tests.unit.fake_cluster import KEY, Cluster

WAIT_S = 10.0


@pytest.fixture
def cluster():
    cluster = Cluster([1])
    yield cluster
    cluster.close()


@pytest.fixture
def clerk(cluster):
    with Clerk(cluster.addresses, authkey=KEY, timeout=5.0) as clerk:
        yield clerk


def keys(cluster):
    """In the order of their creation."""
    with cluster.lock:
        return [key for key, _ in sorted(cluster.store.data.range(b"n/", b"n0"), key=lambda row: row[1][1])]


def until_there_are(cluster, count):
    """Waits until so many are in the queue. Returns their keys."""
    wait_until(lambda: len(keys(cluster)) == count, f"{count} in the queue")
    return keys(cluster)


def end(cluster, key):
    """The lease of this key ends."""
    with cluster.lock:
        lease = cluster.store.data.get(key)[4]
        cluster.carry_out("lease_revoke", ("end", 1, cluster.index, 0, lease))


def test_waiting_clients_get_the_lock_in_order_with_growing_tokens(clerk, cluster):
    got, done = queue.SimpleQueue(), [threading.Event() for _ in range(3)]

    def work(place):
        with clerk.lock("n") as lock:
            got.put((place, lock.token, lock.held, lock.key))
            done[place].wait(WAIT_S)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(3)]
    for place, thread in enumerate(threads):
        thread.start()
        until_there_are(cluster, place + 1)
    tokens = []
    for place in range(3):
        who, token, held, key = got.get(timeout=WAIT_S)
        assert (who, held, key) == (place, True, keys(cluster)[0]) and got.empty()
        tokens.append(token)
        done[place].set()
    for thread in threads:
        thread.join()
    assert tokens == sorted(set(tokens)) and keys(cluster) == [] and clerk.leases.list() == []


def test_a_key_is_laid_out_as_that_of_etcd(clerk):
    with clerk.lock("n", ttl=7) as lock:
        (lease,) = clerk.leases.list()
        assert lock.key == b"n/%x" % lease
        kv = clerk.get_kv(lock.key)
        assert (kv.value, kv.lease, kv.create_revision) == ("", lease, lock.token)
        assert clerk.leases.time_to_live(lease).granted_ttl == 7


def test_client_that_waits_in_vain_leaves_the_queue(clerk, cluster):
    one, other = clerk.lock("n"), clerk.lock("n")
    assert one.acquire() and not other.acquire(timeout=0.05)
    assert len(keys(cluster)) == 1 and (one.held, other.held, other.lost) == (True, False, False)
    with pytest.raises(errors.InvalidRequestError, match="reentrant"):
        one.acquire()
    one.release()
    one.release()
    assert other.acquire(timeout=0)
    other.release()
    for ask in (lambda: one.token, lambda: one.key, one.check):
        with pytest.raises(errors.LeaseLostError, match="not held"):
            ask()


def test_a_lock_that_is_lost_says_so_and_the_next_one_gets_it(clerk, cluster):
    told = queue.SimpleQueue()
    with pytest.raises(errors.LeaseLostError), clerk.lock("n", ttl=1, on_lost=told.put) as lock:
        first = lock.token
        end(cluster, lock.key)
        assert told.get(timeout=WAIT_S) is lock and lock.lost and not lock.held
        with clerk.lock("n") as next_one:
            assert next_one.token > first
        lock.check()
    assert not lock.lost
    with pytest.raises(ZeroDivisionError), clerk.lock("n", ttl=1) as lock:
        end(cluster, lock.key)
        raise ZeroDivisionError


def test_client_that_loses_its_place_in_the_queue_is_told(clerk, cluster):
    told = queue.SimpleQueue()

    def wait():
        try:
            clerk.lock("n", ttl=60).acquire()
        except errors.LeaseLostError as error:
            told.put(error)

    with clerk.lock("n") as lock:
        thread = threading.Thread(target=wait)
        thread.start()
        _, second = until_there_are(cluster, 2)
        end(cluster, second)
        lock.release()
    assert "its key is gone" in str(told.get(timeout=WAIT_S))
    thread.join()


def test_a_leader_is_elected_proclaims_and_resigns(clerk, cluster):
    assert clerk.election("n").leader() is None
    with clerk.election("n").campaign("one") as one:
        assert one.leads and clerk.election("n").leader().value == "one"
        assert one.leader().create_revision == one.token
        with pytest.raises(TimeoutError):
            clerk.election("n").campaign("two", timeout=0.05)
        with pytest.raises(errors.InvalidRequestError):
            one.campaign("again")
        one.proclaim("uno")
        assert one.leader().value == "uno" and one.leader().lease == one.leader().lease
        clerk.delete(one.key)
        with pytest.raises(errors.LeaseLostError):
            one.proclaim("nobody")
        one.resign()
    with pytest.raises(errors.LeaseLostError, match="does not lead"):
        one.proclaim("nobody")


def test_observer_of_an_election_sees_each_leader_and_value(clerk, cluster):
    seen, is_over = queue.SimpleQueue(), threading.Event()

    def observe():
        for kv in clerk.election("n").observe(is_over.is_set):
            seen.put(kv.value)

    thread = threading.Thread(target=observe)
    thread.start()
    with clerk.election("n").campaign("one") as one:
        assert seen.get(timeout=WAIT_S) == "one"
        one.proclaim("uno")
        assert seen.get(timeout=WAIT_S) == "uno"
    with clerk.election("n").campaign("two"):
        assert seen.get(timeout=WAIT_S) == "two"
        is_over.set()
        thread.join()


def test_a_lock_that_cannot_be_queued_for_leaves_no_lease(clerk, cluster):
    cluster.servers[1].do((False, (errors.NO_SPACE, "full", {"proposed": False})), only="txn")
    with pytest.raises(errors.NoSpaceError):
        clerk.lock("n").acquire()
    assert clerk.leases.list() == []


def test_a_holder_without_a_cluster_gives_its_lock_up_at_the_end_of_its_time(cluster):
    with Clerk(cluster.addresses, authkey=KEY, timeout=0.3) as clerk:
        told, began = queue.SimpleQueue(), time.monotonic()
        lock = clerk.lock("n", ttl=1, on_lost=told.put)
        assert lock.acquire()
        cluster.servers[1].rpc.close()
        told.get(timeout=WAIT_S)
        assert time.monotonic() - began >= 0.9 and lock.lost
        with pytest.raises(errors.LeaseLostError):
            lock.release()
