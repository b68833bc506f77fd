"""`kvserver --recover`: the majority is lost for good, and one disk is left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from raftkv import Clerk
from raftkv.config import load_server_config
from raftkv.errors import ClusterChangedError
from raftkv.kvdb.recovery import INDEX_LEAP
from raftkv.kvdb.requests import entry_of
from raftkv.kvdb.writes import Put
from raftkv.node.crash_points import EXIT_STATUS
from raftkv.raft.configuration import Configuration
from raftkv.raft.types import COMMAND, CONFIG, Entry, HardState, Role
from raftkv.storage.persister import Persister

from tests.cluster.harness import Cluster, takes_part
from tests.cluster.node import ROOT
from tests.cluster.waiting import wait_until


def recover(
    cluster: Cluster, id: int, *options: str, crash_point: str = ""
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "bin" / "kvserver.py"), "--recover", str(cluster.nodes[id].ini)]
    return subprocess.run(
        [*command, *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "RAFTKV_CRASH_POINT": crash_point},
    )


def test_of_three_disks_two_are_lost_and_the_third_becomes_the_cluster(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster, cluster.clerk() as before:
        last = max(before.put(f"k{number}", "v") for number in range(20))
        cluster.wait_until_equal()
        running = recover(cluster, 3, "--yes")
        assert running.returncode == 1 and "is in use by the process" in running.stderr
        cluster.kill(1, 2, 3)
        cluster.nodes[1].data_dir.rename(tmp_path / "old1")
        cluster.wipe(2)
        asked = recover(cluster, 3)
        assert asked.returncode == 2 and "nothing was changed: add --yes" in asked.stderr
        assert "It has 20 keys; its last entry is" in asked.stdout
        assert "* Nodes 1, 2 can come back with empty disks only." in asked.stdout
        done = recover(cluster, 3, "--yes")
        assert done.returncode == 0 and "done: node 3 is a cluster of its own" in done.stdout, done.stderr
        again = recover(cluster, 3, "--yes")
        assert again.returncode == 0 and "nothing to do: node 3 is the only member" in again.stdout
        cluster.start(1, 2, 3)
        wait_until(lambda: cluster.role(3) == Role.LEADER.value, "node 3 to lead")
        with pytest.raises(ClusterChangedError, match="recovered from one disk, or made anew"):
            before.put("k0", "lost")
        with cluster.clerk() as db:
            assert all(db.get(f"k{number}") == "v" for number in range(20))
            assert db.put("new", "v") > last + INDEX_LEAP
            check_status(db)
            for id in (1, 2):
                db.member_add(id, *addresses(cluster, id))
        wait_until(lambda: all(takes_part(cluster.status(id)) for id in cluster.nodes), "all to take part")
        cluster.wait_until_equal()
        check_that_the_old_disk_stays_out(cluster, tmp_path / "old1")


def addresses(cluster: Cluster, id: int) -> tuple[str, str]:
    config = load_server_config(cluster.nodes[id].ini)
    return str(config.servers[id]), str(config.peers[id])


def check_status(db: Clerk) -> None:
    (row,) = (row for row in db.status() if row["id"] == 3)
    assert row["recovered"] > INDEX_LEAP
    assert any("recovered from this disk alone" in problem for problem in row["problems"])


def check_that_the_old_disk_stays_out(cluster: Cluster, disk: Path) -> None:
    cluster.kill(1)
    cluster.wipe(1)
    shutil.move(disk, cluster.nodes[1].data_dir)
    cluster.start(1)
    cluster.wait_for_log(
        1, "refuses this node: the disk of node 1 is of the cluster that this one was recovered from"
    )
    with cluster.clerk() as db:
        assert db.get("new") == "v"


def test_a_disk_that_holds_nothing_cannot_become_a_cluster(tmp_path: Path) -> None:
    with Cluster(tmp_path, start=False) as cluster:
        nothing = recover(cluster, 1, "--yes")
        assert nothing.returncode == 1 and "is no server's data folder" in nothing.stderr
        cluster.start(1)
        cluster.wait_until_answering(1)
        cluster.kill(1)
        empty = recover(cluster, 1, "--yes")
        assert empty.returncode == 1 and "there is nothing to recover in" in empty.stderr


@pytest.mark.parametrize("crash_point", ["hard-state-renamed", "snapshot-synced", "snapshot-renamed"])
def test_a_recovery_that_a_crash_cut_short_can_be_done_again_and_loses_nothing(
    tmp_path: Path, crash_point: str
) -> None:
    with Cluster(tmp_path, start=False) as cluster:
        write_disk(cluster)
        assert recover(cluster, 1, "--yes", crash_point=crash_point).returncode == EXIT_STATUS
        again = recover(cluster, 1, "--yes")
        assert again.returncode == 0, again.stderr
        assert cluster.stored_data(1) == {"k": "v"}
        config = load_server_config(cluster.nodes[1].ini)
        persister = Persister(config.data_dir, node_id=1, cluster=config.cluster)
        snapshot = persister.snapshot
        persister.close()
        assert snapshot is not None and persister.entries == []
        configuration = snapshot.configuration
        assert configuration.voters == (persister.identity.uid,) and configuration.left == (2, 3)
        assert configuration.cluster_id not in (0, 7) and configuration.recovered == snapshot.index


def write_disk(cluster: Cluster) -> None:
    """That of node 1, which is a member of a cluster with the disks 2 and 3, and has one key."""
    _ = cluster.authkey
    config = load_server_config(cluster.nodes[1].ini)
    config.load_keys()
    persister = Persister(config.data_dir, node_id=1, cluster=config.cluster)
    members = Configuration((2, 3, persister.identity.uid), cluster_id=7)
    put = Put(b"k", b"v")
    persister.save(
        HardState(1, None),
        [
            Entry.create(1, 1, CONFIG, members.to_plain()),
            Entry.create(2, 1, COMMAND, entry_of(put, ("one", 1, 1, 1))),
            Entry.create(3, 1, COMMAND, entry_of(put, ("one", 1, 2, 2))),
        ],
    )
    persister.close()
