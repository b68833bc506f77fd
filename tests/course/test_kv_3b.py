"""Lab 3B: the database with snapshots, max_raft_state being 1,000 bytes.

Measured is what is on the disks: the files of the log with term and vote, and the newest snapshot. The course's
database remembers nothing of its past, so this one remembers as little here: snapshots hold the history, and one is
taken after a few entries.
"""

from __future__ import annotations

from unittest.mock import patch

import pytest
from raftkv.kvdb import history

from tests.course.generic import ALL, ELECTION_S, Variants, generic, speed
from tests.course.run import Run

MAX_RAFT_STATE = 1000  # bytes
MAX_SNAPSHOT = 500  # bytes, of one key
remembers_little = patch.multiple(history, MAX_EVENTS=1, BLOCK_EVENTS=1)


@remembers_little
def test_snapshot_rpc(course: Run) -> None:
    """A server that missed 50 puts, the log of which is gone, gets them by a snapshot when it is needed."""
    cluster = course.kv(3, max_raft_state=MAX_RAFT_STATE)
    clerk = cluster.make_client()
    cluster.do(clerk.put("a", "A"))
    cluster.check(clerk, "a", "A")

    cluster.partition([1, 2], [3])
    without_3 = cluster.make_client([1, 2])
    for number in range(50):
        cluster.do(without_3.put(str(number), str(number)))
    cluster.sleep(ELECTION_S)
    cluster.do(without_3.put("b", "B"))
    course.at_most("bytes of Raft's state on a disk", cluster.log_size(), 8 * MAX_RAFT_STATE)

    cluster.partition([1, 3], [2])
    without_2 = cluster.make_client([1, 3])
    cluster.do(without_2.put("c", "C"))
    cluster.do(without_2.put("d", "D"))
    for key, value in (("a", "A"), ("b", "B"), ("1", "1"), ("49", "49")):
        cluster.check(without_2, key, value)
    assert cluster.world.count["restored snapshots"], "the server that was away needed no snapshot"

    cluster.connect_all()
    cluster.do(clerk.put("e", "E"))
    for key, value in (("c", "C"), ("e", "E"), ("1", "1")):
        cluster.check(clerk, key, value)
    cluster.end()


@remembers_little
def test_snapshot_size(course: Run) -> None:
    """400 puts to one key, each read back: the log stays within 8,000 bytes, the snapshot within 500."""
    cluster = course.kv(3, max_raft_state=MAX_RAFT_STATE)
    clerk = cluster.make_client()
    for _ in range(200):
        for value in ("0", "1"):
            cluster.do(clerk.put("x", value))
            cluster.check(clerk, "x", value)
    course.at_most("bytes of Raft's state on a disk", cluster.log_size(), 8 * MAX_RAFT_STATE)
    assert cluster.snapshot_size() > 0, "no server took a snapshot"
    course.at_most("bytes of a snapshot", cluster.snapshot_size(), MAX_SNAPSHOT)
    cluster.end()


@remembers_little
def test_speed_snapshot(course: Run) -> None:
    """At most 33.3 ms a call, while snapshots are taken."""
    speed(course, MAX_RAFT_STATE)


#: See test_kv_3a.py.
VARIANTS: Variants = {
    "snapshot_recover": (1, 5, {"crash": True}),
    "snapshot_recover_many_clients": (20, 5, {"crash": True}),
    "snapshot_unreliable": (5, 5, {"unreliable": True}),
    "snapshot_unreliable_recover": (5, 5, {"crash": True, "unreliable": True}),
    "snapshot_unreliable_recover_concurrent_partition": (5, 5, ALL),
    "snapshot_unreliable_recover_concurrent_partition_linearizable": (15, 7, {**ALL, "random_keys": True}),
}


@remembers_little
@pytest.mark.parametrize("name", VARIANTS)
def test_variant(name: str, course: Run) -> None:
    generic(course, VARIANTS[name], MAX_RAFT_STATE)
