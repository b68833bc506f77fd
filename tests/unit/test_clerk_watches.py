"""Clerk.watch() on real connections: an iterator that goes on at other servers, and ends when it must."""

from __future__ import annotations

import gc
import os
import queue
import threading

import pytest
from raftkv import Clerk, errors
from raftkv.client.watch import DELETE, PUT

from tests.cluster.waiting import wait_until
from tests.unit.fake_cluster import HANG_UP, KEY

WAIT_S = 10.0


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    assert not [thread for thread in threading.enumerate() if thread not in before]


def values(watch, count):
    """Of the next `count` events."""
    return [next(watch).value for _ in range(count)]


def until_there_are(cluster, count):
    """Waits until the servers know so many watches."""

    def there_are():
        with cluster.lock:
            cluster.watches.tick()
            return len(cluster.watches) == count

    wait_until(there_are, f"{count} watches")


def test_a_watch_tells_of_all_that_is_written_after_it_began(clerk):
    clerk.put("a/1", "before")
    with clerk.watch("a/", prefix=True, prev_kv=True) as watch:
        second = clerk.put("a/1", "after")
        clerk.put("b", "else")
        third = clerk.delete_range(prefix="a/").revision
        put, deleted = next(watch), next(watch)
        assert (put.type, put.key, put.value, put.prev_kv.value, put.revision) == (
            PUT, "a/1", "after", "before", second
        )  # fmt: skip
        assert (deleted.type, deleted.key, deleted.value, deleted.prev_kv.value, deleted.revision) == (
            DELETE, "a/1", "", "after", third
        )  # fmt: skip
        assert watch.get(0.0) is None and watch.problem == ""
    assert watch.get() is None and list(watch) == []


@pytest.mark.parametrize("consistency", ["linearizable", "serializable"])
def test_a_watch_ends_when_only_another_cluster_can_be_reached(clerk, cluster, consistency):
    with Clerk(cluster.addresses, authkey=KEY, timeout=10.0) as other:
        other.put("k", "v")
    with clerk.watch("k", start_revision=1, consistency=consistency) as watch:
        assert next(watch).value == "v"
        with cluster.lock:
            cluster.id += 1
            for server in cluster.servers.values():
                server.do(HANG_UP, only="watch")
            for channel in [*cluster.watches._watches]:
                channel.close()
        with pytest.raises(
            errors.ClusterChangedError, match="the watch has ended: the servers belong to another"
        ):
            watch.get(WAIT_S)


def test_watch_leaves_out_what_it_is_told_to_and_begins_where_it_is_told(clerk):
    for key in ("a", "b", "c"):
        clerk.put(key, key)
    clerk.delete("b")
    options = [
        ({"key": "a", "end": "c"}, ["a", "b", ""]),
        ({"key": "b", "end": "\0", "filters": ["nodelete"]}, ["b", "c"]),
        ({"key": "b", "filters": ["noput"]}, [""]),
        ({"key": "", "prefix": True, "start_revision": 4}, ["c", ""]),
    ]
    for asked, expected in options:
        with clerk.watch(**{"start_revision": 1, **asked}) as watch:
            assert values(watch, len(expected)) == expected
    for wrong in ({"filters": ["puts"]}, {"filters": "noput"}, {"end": "z", "prefix": True}, {"start_revision": -1},
                  {"consistency": "weak"}, {"filters": ["noput", "nodelete"]}):  # fmt: skip
        with pytest.raises(errors.InvalidRequestError):
            clerk.watch("a", **wrong)


def test_a_watch_goes_on_elsewhere_without_gap_or_repetition(clerk, cluster):
    with clerk.watch("k") as watch:
        for each in range(6):
            clerk.put("k", str(each))
            assert values(watch, 1) == [str(each)]
            served_by = [server for server, method, _ in cluster.requests if method == "watch"][-1]
            cluster.servers[served_by].do((False, (errors.NO_LEADER, "cut off", None)), only="watch")
            with cluster.lock:
                for channel in list(cluster.watches._watches):
                    channel.close()


def test_a_compacted_watch_raises_and_says_from_where_to_go_on(clerk):
    for each in range(9):
        clerk.put("k", str(each))
    clerk.compact(8)
    with clerk.watch("k", start_revision=3) as watch:
        for _ in range(2):
            with pytest.raises(errors.CompactedError) as caught:
                watch.get(WAIT_S)
        assert caught.value.compact_revision == 8
    with clerk.watch("k", start_revision=8) as watch:
        assert values(watch, 3) == ["6", "7", "8"]


def test_a_watch_says_how_far_a_program_may_count_on_it(clerk):
    with clerk.watch("k", start_revision=1) as watch:
        for each in range(3):
            clerk.put("k", str(each))
        seen = []
        for event in watch:
            seen.append((event.revision, watch.revision))
            if len(seen) == 3:
                break
    assert seen == [(2, 1), (3, 2), (4, 3)]


def test_a_callback_is_called_with_each_response_and_told_of_the_end(clerk):
    told = queue.SimpleQueue()
    watch = clerk.watch("k", callback=told.put)
    clerk.put("k", "v")
    assert told.get(timeout=WAIT_S).events[0].value == "v"
    watch.cancel()
    clerk.put("k", "1")
    clerk.compact(clerk.put("k", "2"))
    clerk.watch("k", start_revision=1, callback=told.put, on_end=told.put)
    assert isinstance(told.get(timeout=WAIT_S), errors.CompactedError)


def test_notify_says_that_there_is_something_to_get(clerk):
    told = threading.Semaphore(0)
    with clerk.watch("k", notify=told.release) as watch:
        clerk.put("k", "v")
        assert told.acquire(timeout=WAIT_S)
        assert watch.get(0.0).events[0].value == "v"


def test_a_watch_that_is_cancelled_dropped_or_whose_clerk_is_closed_ends_at_the_server(clerk, cluster):
    kept, cancelled, dropped = (clerk.watch("k") for _ in range(3))
    until_there_are(cluster, 3)
    waiter = threading.Thread(target=lambda: [None for _ in cancelled])
    waiter.start()
    cancelled.cancel()
    waiter.join(WAIT_S)
    assert not waiter.is_alive()
    until_there_are(cluster, 2)
    del dropped
    gc.collect()
    until_there_are(cluster, 1)
    clerk.close()
    with pytest.raises(errors.ClosedError):
        kept.get(WAIT_S)
    with pytest.raises(errors.ClosedError):
        clerk.watch("k")
    until_there_are(cluster, 0)


def test_a_watch_keeps_its_clerk(cluster):
    watch = Clerk(cluster.addresses, authkey=KEY).watch("k", start_revision=1)
    gc.collect()
    with Clerk(cluster.addresses, authkey=KEY) as other:
        other.put("k", "v")
    assert values(watch, 1) == ["v"]
    watch._keeps.close()


def test_a_watch_without_a_server_waits_and_says_why_and_one_with_a_wrong_key_fails(cluster):
    with Clerk(["127.0.0.1:1"], authkey=KEY) as nobody:
        watch = nobody.watch("k", start_revision=1)
        assert watch.get(0.3) is None
        assert "nobody listens there" in watch.problem or "refused" in watch.problem
    with (
        Clerk(cluster.addresses, authkey=b"another key") as stranger,
        pytest.raises(errors.AuthenticationError),
    ):
        stranger.watch("k", start_revision=1).get(WAIT_S)


def test_a_forked_child_has_no_part_in_a_watch_and_can_make_its_own(clerk):
    watch = clerk.watch("k")
    child = os.fork()
    if not child:
        status = 1
        try:
            with pytest.raises(errors.ClosedError, match="forked"):
                watch.get(WAIT_S)
            del watch
            with clerk.watch("k") as own:
                clerk.put("k", "child")
                status = 0 if values(own, 1) == ["child"] else 2
            clerk.close()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert values(watch, 1) == ["child"]


def test_an_interrupted_watcher_goes_on(clerk):
    class Stop(Exception):
        pass

    watch = clerk.watch("k")
    waiting = watch._waiting

    class Interrupted:
        def get(self, timeout):
            watch._waiting = waiting
            raise Stop

    watch._waiting = Interrupted()
    with pytest.raises(Stop):
        next(watch)
    clerk.put("k", "v")
    assert values(watch, 1) == ["v"]
