"""Lab 2D: snapshots.

In the course the tester asks for a snapshot every ten commands. Here a server takes one by itself when its
log has grown past max_raft_state, which is set to what ten of these commands need.
"""

from __future__ import annotations

import pytest

from tests.course.raft_cluster import SNAPSHOT_INTERVAL, RaftCluster
from tests.course.run import Run

MAX_LOG_SIZE = 2000  # bytes


#: One server is cut off, or down, during each burst; it catches up, by a snapshot where it must.
VARIANTS: dict[str, dict[str, bool]] = {
    "snapshot_basic": {},
    "snapshot_install": {"disconnect": True},
    "snapshot_install_unreliable": {"disconnect": True, "unreliable": True},
    "snapshot_install_crash": {"crash": True},
    "snapshot_install_unreliable_crash": {"crash": True, "unreliable": True},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_variant(name: str, course: Run) -> None:
    """30 bursts of 5 to 14 commands: after each, Raft's state on every disk has less than 2,000 bytes."""
    _bursts(course, **VARIANTS[name])


def test_snapshot_all_crash(course: Run) -> None:
    """Five times, after about as many commands as make a snapshot, all crash at once: positions go on."""
    cluster = course.raft(3, snapshots=True)
    cluster.one(cluster.number(), 3, retry=True)
    for _ in range(5):
        for _ in range(_burst(cluster)):
            cluster.one(cluster.number(), 3, retry=True)
        before = cluster.one(cluster.number(), 3, retry=True)
        _restart_all(cluster)
        after = cluster.one(cluster.number(), 3, retry=True)
        assert after > before, f"command {before} was followed by command {after}"
    assert cluster.world.count["own snapshots"], "no server took a snapshot"
    cluster.end()


def test_snapshot_init(course: Run) -> None:
    """Commands for a snapshot, restart of all, one command, restart of all: another command goes through."""
    cluster = course.raft(3, snapshots=True)
    for _ in range(SNAPSHOT_INTERVAL + 2):
        cluster.one(cluster.number(), 3, retry=True)
    assert cluster.world.count["own snapshots"], "no server took a snapshot"
    _restart_all(cluster)
    cluster.one(cluster.number(), 3, retry=True)
    _restart_all(cluster)
    cluster.one(cluster.number(), 3, retry=True)
    cluster.end()


# -- parts of them ------------------------------------------------------------------------------------------


def _bursts(course: Run, *, disconnect: bool = False, crash: bool = False, unreliable: bool = False) -> None:
    cluster = course.raft(3, snapshots=True, unreliable=unreliable)
    cluster.one(cluster.number(), 3, retry=True)
    leader, largest = cluster.check_one_leader(), 0
    for n in range(30):
        victim, sender = cluster.after(leader, 1), leader
        if n % 3 == 1:
            victim, sender = sender, victim
        if disconnect:
            cluster.disconnect(victim)
            cluster.one(cluster.number(), 2, retry=True)
        if crash:
            cluster.crash(victim)
            cluster.one(cluster.number(), 2, retry=True)
        for _ in range(_burst(cluster)):
            cluster.start(sender, cluster.number())
        missing = disconnect or crash
        cluster.one(cluster.number(), 2 if missing else 3, retry=True)
        largest = max(largest, cluster.log_size())
        assert largest < MAX_LOG_SIZE, f"Raft's state on a disk has {largest} bytes: the log was not trimmed"
        if crash:
            cluster.start_server(victim)
        if missing:
            cluster.connect(victim)
            cluster.one(cluster.number(), 3, retry=True)
            leader = cluster.check_one_leader()
    course.note("bytes of Raft's state on a disk", largest, MAX_LOG_SIZE - 1)
    installed = cluster.world.count["restored snapshots"]
    course.note("snapshots installed from a leader", installed)
    assert installed or not missing, "nobody who had been away needed a snapshot"
    cluster.end()


def _burst(cluster: RaftCluster) -> int:
    return SNAPSHOT_INTERVAL // 2 + cluster.rng.randrange(SNAPSHOT_INTERVAL)


def _restart_all(cluster: RaftCluster) -> None:
    for id in cluster.ids:
        cluster.crash(id)
    for id in cluster.ids:
        cluster.start_server(id)
        cluster.connect(id)
