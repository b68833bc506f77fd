"""Watches, locks and reads on real processes: through kills of the leader, without a majority, by the command line."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.cluster.harness import Cluster
from tests.cluster.node import ROOT
from tests.cluster.waiting import PATIENCE_S

TTL_S = 2


def kvclient(config: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "bin" / "kvclient.py"), "--config", str(config), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_each_event_is_told_once_through_kills_of_the_leader(tmp_path: Path) -> None:
    with Cluster(tmp_path, raft={"max_raft_state": 20_000}) as cluster, cluster.clerk() as db:
        leader = cluster.wait_for_leader()
        watches = [db.watch("k/", prefix=True, prev_kv=True) for _ in range(20)]
        written = []
        for _ in range(3):
            for number in range(100):
                written.append((db.put(f"k/{number % 7}", str(number)), str(number)))
            t = db.transactions
            _, (revision, _) = db.transaction(success=[t.put("k/a", "a"), t.put("k/b", "b")])
            written += [(revision, "a"), (revision, "b")]
            leader = cluster.wait_for_leader()
            cluster.kill(leader)
            written.append((db.put("k/0", "after"), "after"))
            cluster.start(leader)
        for watch in watches:
            told = []
            while len(told) < len(written):
                response = watch.get(PATIENCE_S)
                assert response is not None, f"only {len(told)} of {len(written)} events: {watch.problem}"
                told += [(event.revision, event.value) for event in response.events]
            assert told == written


def test_reads_and_watches_of_one_server_need_no_majority(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster, cluster.clerk() as db:
        leader = cluster.wait_for_leader()
        revision = db.put("k", "v")
        cluster.wait_until_equal()
        cluster.kill(leader, leader % 3 + 1)
        assert db.get("k", consistency="serializable") == "v"
        with db.watch("k", start_revision=revision, consistency="serializable") as watch:
            response = watch.get(PATIENCE_S)
            assert response is not None and response.events[0].value == "v"


def test_the_lock_of_a_holder_that_was_killed_goes_to_the_next_and_its_program_ends(tmp_path: Path) -> None:
    with Cluster(tmp_path, raft={"election_timeout_ms": 2000}) as cluster, cluster.clerk() as db:
        leader = cluster.wait_for_leader()
        code = "import os, time; print(os.environ['ETCD_LOCK_REV'], flush=True); time.sleep(600)"
        program = ["--", sys.executable, "-c", code]
        holder = kvclient(cluster.client_ini, "lock", "n", "--ttl", str(TTL_S), *program)
        assert holder.stdout is not None
        token = int(holder.stdout.readline())
        term = term_of(cluster, leader)
        holder.kill()
        killed_at = time.monotonic()
        assert holder.stdout.read() == ""  # until the program, which has the same output, has ended
        with db.lock("n", ttl=TTL_S) as lock:
            took_s = time.monotonic() - killed_at
            assert lock.token > token
            if term_of(cluster, leader) == term:  # else the lease had its whole time once more
                assert took_s < TTL_S + 1
        holder.communicate()


def term_of(cluster: Cluster, id: int) -> int:
    status = cluster.status(id)
    assert status is not None
    return int(status["term"])
