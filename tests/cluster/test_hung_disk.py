"""A disk that hangs, under real processes: who leads, who says so, and how it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from raftkv.config import ServerConfig, load_server_config
from raftkv.errors import LockedError, RaftKVError
from raftkv.kvdb.server import KVServer
from raftkv.storage import disk

from tests.chaos.cluster import ChaosNode
from tests.chaos.launcher import Fsync
from tests.cluster.harness import Cluster
from tests.cluster.waiting import wait_until

ELECTION_TIMEOUT_S = 1.0  # so long that none is held because this machine is busy
LONGEST_GAP_S = 2 * ELECTION_TIMEOUT_S + 0.5
SIGN = "has not finished a write for"


@contextmanager
def hangable(folder: Path) -> Iterator[Cluster]:
    """Three servers whose disks can hang."""
    cluster = Cluster(folder, raft={"election_timeout_ms": round(ELECTION_TIMEOUT_S * 1000)})
    for node in cluster.nodes.values():
        node.program = ChaosNode.program
    with cluster:
        cluster.wait_for_leader()
        yield cluster


class Load:
    """One client that puts without a pause. `done`: when each put was answered."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.done: list[float] = []

    def __enter__(self) -> Load:
        self._thread.start()
        self.wait_for_more(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def wait_for_more(self, count: int) -> None:
        enough = len(self.done) + count
        wait_until(lambda: len(self.done) >= enough, f"{count} more puts")

    def longest_gap_s(self) -> float:
        return max(later - before for before, later in zip(self.done, self.done[1:]))

    def _run(self) -> None:
        with self._cluster.clerk() as db:
            while not self._ends.is_set():
                try:
                    db.put("k", str(len(self.done)))
                except RaftKVError:
                    continue  # whether it took effect is not known: the next one tells how it goes
                self.done.append(time.monotonic())


def problems_of(cluster: Cluster, id: int) -> list[str]:
    status = cluster.status(id)
    return [] if status is None else [problem for problem in status["problems"] if SIGN in problem]


def role_and_term(cluster: Cluster, id: int) -> tuple[str, int]:
    status = cluster.status(id)
    assert status is not None
    return status["role"], status["term"]


def test_another_one_leads_when_the_leaders_disk_hangs_and_sigterm_ends_it_at_once(tmp_path: Path) -> None:
    with hangable(tmp_path) as cluster:
        old = cluster.wait_for_leader()
        with Load(cluster) as load:
            cluster.nodes[old].order_fsync("hang")
            others = [id for id in cluster.nodes if id != old]
            wait_until(lambda: cluster.leader(others) in others, "another leader")
            load.wait_for_more(20)
            wait_until(lambda: problems_of(cluster, old), "its status to say so")
            started = time.monotonic()
            cluster.nodes[old].send_signal(15)
            assert cluster.nodes[old].wait() == 0
            assert time.monotonic() - started < 5.0, "the fsync that hangs goes on until it is told to end"
            load.wait_for_more(20)
        assert load.longest_gap_s() < LONGEST_GAP_S
        assert cluster.nodes[old].log.count(SIGN) == 1, "the log says so once"
        cluster.nodes[old].order_fsync("")
        cluster.start(old)
        cluster.wait_until_equal(*cluster.nodes)


def test_leadership_stays_where_it_is_while_another_one_would_be_no_better(tmp_path: Path) -> None:
    with hangable(tmp_path) as cluster:
        leader = cluster.wait_for_leader()
        led = role_and_term(cluster, leader)
        follower = next(id for id in cluster.nodes if id != leader)
        with Load(cluster) as load:
            for _ in range(3):  # stalls below the election timeout, also with those of the real disk
                cluster.nodes[leader].order_fsync("hang")
                threading.Event().wait(0.3 * ELECTION_TIMEOUT_S)
                cluster.nodes[leader].order_fsync("")
                load.wait_for_more(5)
            cluster.nodes[follower].order_fsync("hang")
            wait_until(lambda: problems_of(cluster, follower), "its status to say so")
            load.wait_for_more(20)
            cluster.nodes[follower].order_fsync("")
            wait_until(lambda: not problems_of(cluster, follower), "its status to say so no more")
        cluster.wait_for_log(follower, "the disk is slow")
        assert load.longest_gap_s() < LONGEST_GAP_S
        assert role_and_term(cluster, leader) == led

        with cluster.clerk() as db:
            db.put("k", "old")
            for node in cluster.nodes.values():
                node.order_fsync("hang")
            put = db.submit("put", "k", "new")
            for id in cluster.nodes:
                wait_until(lambda id=id: problems_of(cluster, id), f"node {id} to say so")
            assert db.get("k") == "old", "reads go on"
            assert role_and_term(cluster, leader) == led
            for node in cluster.nodes.values():
                node.order_fsync("")
            put.result(10)
            assert db.get("k") == "new"
        assert role_and_term(cluster, leader) == led


def test_an_embedded_server_stops_at_once_and_unlocks_its_folder_when_the_disk_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(tmp_path, 1, start=False)
    node = cluster.nodes[1]
    monkeypatch.setattr(disk, "_fsync", Fsync(disk._fsync, f"{node.ini}.fsync"))
    config = load_server_config(node.ini)
    server = KVServer(config)
    server.start()
    with cluster.clerk() as db:
        db.put("k", "v")
        node.order_fsync("hang")
        db.submit("put", "k", "w")
        wait_until(lambda: db.status()[0]["problems"], "its status to say so")
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 5.0
        with pytest.raises(LockedError):
            KVServer(config)
        node.order_fsync("")
    cluster.close()
    server = wait_until(lambda: start_unless_locked(config), "the folder to be unlocked")
    server.stop()


def start_unless_locked(config: ServerConfig) -> KVServer | None:
    try:
        return KVServer(config)
    except LockedError:
        return None
