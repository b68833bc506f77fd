"""Watches, locks and reads on real processes: through kills of the leader, without a majority, by the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.cluster.harness import Cluster
from tests.cluster.node import ROOT
from tests.cluster.waiting import PATIENCE_S, wait_until

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


def test_the_lock_of_a_holder_that_was_killed_goes_to_the_next_within_its_time(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster, cluster.clerk() as db:
        cluster.wait_for_leader()
        holder = kvclient(cluster.client_ini, "--json", "lock", "n", "--ttl", str(TTL_S))
        assert holder.stdout is not None
        first = json.loads(holder.stdout.readline())["token"]
        holder.send_signal(signal.SIGKILL)
        killed_at = time.monotonic()
        holder.communicate()
        with db.lock("n", ttl=TTL_S) as lock:
            assert time.monotonic() - killed_at < TTL_S + 1
            assert lock.token > first


def test_a_program_that_runs_under_a_lock_dies_with_kvclient(tmp_path: Path) -> None:
    with Cluster(tmp_path, 1) as cluster:
        cluster.wait_for_leader()
        code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
        holder = kvclient(cluster.client_ini, "lock", "n", "--", sys.executable, "-c", code)
        assert holder.stdout is not None
        pid = int(holder.stdout.readline())
        holder.kill()
        holder.communicate()

        def is_gone() -> bool:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return True
            return False

        wait_until(is_gone, "the end of the program")
