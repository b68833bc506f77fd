"""A node that dies at each named place between two effects, and comes back: nothing is lost or doubled.

The clients go on meanwhile. A node that has died at one place is mostly started so that it dies at the next:
it has to recover first to get there. In the end every node's own disk must hold every acknowledged word.
"""

from __future__ import annotations

from pathlib import Path

from raftkv.node import crash_points
from raftkv.storage import persister

from tests.cluster.harness import Cluster
from tests.cluster.waiting import wait_until
from tests.cluster.workload import Appenders

SMALL = {
    "max_raft_state": 16_000,
    "snapshot_growth_percent": 0,
    "segment_bytes": 4096,
    "snapshot_chunk_bytes": 2048,
}
FILLER = 3000  # bytes a word: five words make a snapshot due

#: Reached by a member that begins with an empty folder, or meets another one.
JOINING = ("node-file-written", "node-file-synced", "node-file-renamed")
#: Reached when the term changes.
VOTING = ("hard-state-written", "hard-state-synced", "hard-state-renamed")
#: Reached only by a leader that has clients.
LEADING = ("node:before-reply",)
#: Reached by a member that is sent a snapshot. Before "segment-dropped" none may have been installed: it must
#: still have a log that ends before it; and from then on it has an older snapshot.
RECEIVING = (
    "chunk-written",
    "node:chunk-stored",
    "snapshot-received",
    "segment-dropped",
    "snapshot-removed",
    "snapshot-renamed",
    "snapshot-published",
)
ALL = crash_points.CRASH_POINTS + persister.CRASH_POINTS
#: Reached by a node that opens a log. Not right after a crash that leaves a snapshot and no log.
OPENING = ("segment-rewrite-written", "segment-rewrite-synced", "segment-rewrite-renamed")
#: All others are reached by a node that stores what clients write.
WRITING = tuple(
    name
    for name in ALL
    if name not in JOINING + VOTING + LEADING + OPENING + RECEIVING
    or name in ("snapshot-removed", "snapshot-renamed", "snapshot-published")
)


def start_to_crash(cluster: Cluster, victim: int, name: str) -> None:
    cluster.start(victim, crash_point=name)
    cluster.wait_for_crash(victim)


def kill_with_entries(cluster: Cluster, victim: int, clients: Appenders) -> None:
    """Kill it at a moment when its log's last file holds entries: with a snapshot alone, or a file just begun,
    opening has nothing to write anew."""
    cluster.kill(victim)
    log = cluster.nodes[victim].data_dir / "log"

    def last_file_is_empty() -> bool:
        files = sorted(log.glob("*.jsonl"))
        return not files or files[-1].stat().st_size == 0

    while last_file_is_empty():
        cluster.start(victim)
        cluster.wait_until_caught_up(victim)
        clients.wait_for_more(5)
        cluster.kill(victim)


def test_every_crash_point_belongs_to_a_test() -> None:
    assert set(JOINING + VOTING + LEADING + OPENING + RECEIVING + WRITING) == set(ALL)


def test_crashes_while_clients_write(tmp_path: Path) -> None:
    with (
        Cluster(tmp_path, raft=SMALL) as cluster,
        Appenders(cluster.clerk, 2, filler_bytes=FILLER) as clients,
    ):
        clients.wait_for_more(10)
        for victim in cluster.nodes:
            kill_with_entries(cluster, victim, clients)
            for name in (OPENING[victim - 1], *WRITING[victim - 1 :: len(cluster.nodes)]):
                start_to_crash(cluster, victim, name)
            cluster.start(victim)
            cluster.wait_until_caught_up(victim)
        clients.end()
        clients.verify_everywhere(cluster)


def test_crashes_while_voting(tmp_path: Path) -> None:
    with Cluster(tmp_path, raft=SMALL) as cluster, Appenders(cluster.clerk, 2) as clients:
        clients.wait_for_more(10)
        victim = next(id for id in cluster.nodes if id != cluster.wait_for_leader())
        cluster.kill(victim)
        for name in VOTING:
            leader = cluster.wait_for_leader()
            cluster.start(victim, crash_point=name)
            wait_until(lambda: cluster.status(victim) or not cluster.nodes[victim].running, "it to answer")
            cluster.kill(leader)  # now the other two elect one, in a new term, if they have not already
            cluster.wait_for_crash(victim)
            cluster.start(leader)
            clients.wait_for_more(10)
        cluster.start(victim)
        clients.end()
        clients.verify_everywhere(cluster)


def test_crash_of_a_leader_that_has_not_answered(tmp_path: Path) -> None:
    (name,) = LEADING
    with Cluster(tmp_path) as cluster:
        cluster.wait_for_leader()
        cluster.restart(1, crash_point=name)
        cluster.make_leader(1)
        with Appenders(cluster.clerk, 2) as clients:
            cluster.wait_for_crash(1)
            cluster.start(1)
            clients.wait_for_more(20)
        clients.verify_everywhere(cluster)


def test_crashes_while_receiving_a_snapshot(tmp_path: Path) -> None:
    with (
        Cluster(tmp_path, raft=SMALL) as cluster,
        Appenders(cluster.clerk, 2, filler_bytes=FILLER) as clients,
    ):
        victim = next(id for id in cluster.nodes if id != cluster.wait_for_leader())
        others = [id for id in cluster.nodes if id != victim]
        clients.wait_for_more(10)
        cluster.kill(victim)
        for name in RECEIVING:
            cluster.wait_until_compacted(cluster.last_index(*others), *others)
            start_to_crash(cluster, victim, name)
        cluster.start(victim)
        clients.end()
        clients.verify_everywhere(cluster)


def test_crashes_of_a_member_that_starts_for_the_first_time(tmp_path: Path) -> None:
    with Cluster(tmp_path, start=False) as cluster:
        cluster.start(1, 2)
        with Appenders(cluster.clerk, 1) as clients:
            for name in JOINING * 2:  # when it makes its folder, and when it first remembers another member
                start_to_crash(cluster, 3, name)
            cluster.start(3)
            clients.wait_for_more(10)
        clients.verify_everywhere(cluster)
