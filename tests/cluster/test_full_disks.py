"""Real servers on full disks: none ends, reads and deletes go on, and what was acknowledged is there."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from raftkv import Clerk, errors
from raftkv.cli.client import main

from tests.cluster.harness import Cluster
from tests.cluster.waiting import wait_until

DISK = "4m"  # the size of a file system
VALUE = "x" * 50_000


@contextmanager
def small_disks(folder: Path) -> Iterator[None]:
    """Each data folder is a small file system of its own, in memory."""
    mounted: list[str] = []
    try:
        for id in (1, 2, 3):
            path = folder / f"data{id}"
            path.mkdir()
            command = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=700", "tmpfs", str(path)]
            try:
                subprocess.run(command, check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError) as error:
                pytest.skip(f"cannot mount a small file system here: {error}")
            mounted.append(str(path))
        yield
    finally:
        for each in mounted:
            subprocess.run(["umount", "-l", each], check=True)


def fill(db: Clerk) -> list[str]:
    """Put new keys until that is refused. Returns those that were stored."""
    keys: list[str] = []
    with pytest.raises(errors.NoSpaceError, match="no room on (its|their) disk.*deletes and reads go on"):
        while True:
            db.put(f"k{len(keys)}", VALUE)
            keys.append(f"k{len(keys)}")
    return keys


def takes_writes(db: Clerk) -> bool:
    try:
        db.put("again", "yes")
        return True
    except errors.NoSpaceError:
        return False


def alarms(cluster: Cluster) -> int:
    """How many nodes have one; each of those says why."""
    found = [status for status in cluster.statuses() if status["alarms"] == ["NOSPACE"]]
    assert all("no room" in status["problems"][0] for status in found)
    return len(found)


def no_alarm(cluster: Cluster) -> bool:
    return not alarms(cluster)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root on Linux can mount tmpfs")
def test_all_disks_are_full_until_something_is_deleted(tmp_path: Path) -> None:
    with small_disks(tmp_path), Cluster(tmp_path, raft={"segment_bytes": 1 << 20}) as cluster:
        with cluster.clerk() as db:
            keys = fill(db)
            assert len(keys) > 20 and alarms(cluster) > 0
            cluster.kill(*cluster.nodes)
            cluster.start(*cluster.nodes)  # on full disks
            assert all(db.get(key) == VALUE for key in keys), "reads go on, and nothing is lost"
            for key in keys[1:]:
                assert db.delete(key)
            wait_until(lambda: takes_writes(db), "room for a write")
            wait_until(lambda: no_alarm(cluster), "the alarms to end")
            assert len(fill(db)) > len(keys) // 2, "what was deleted is room again"
            assert db.get("again") == "yes"
        cluster.wait_until_equal()
        for node in cluster.nodes.values():
            assert (
                "Traceback" not in node.log
                and f"there is room again on the disk of {node.data_dir}" in node.log
            )


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux's prlimit")
@pytest.mark.parametrize("role", ["leader", "follower"])
def test_one_full_disk_stops_the_growth_of_all_until_it_has_room(
    tmp_path: Path, role: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A limit on the size of files stands for a disk. The reserve cannot help then."""
    with Cluster(tmp_path) as cluster, cluster.clerk() as db:
        leader = cluster.wait_for_leader()
        victim = leader if role == "leader" else next(id for id in cluster.nodes if id != leader)
        db.put("k", "v")
        cluster.wait_until_equal()

        def limit(size: int) -> None:
            process = cluster.nodes[victim].process
            assert process is not None
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

        (log,) = (tmp_path / f"data{victim}" / "log").glob("*.jsonl")
        limit(log.stat().st_size)
        keys = fill(db)
        command = ["--config", str(cluster.client_ini), "put", "k", "w"]
        assert main(command) == 3 and f"node {victim} has no room" in capsys.readouterr().err
        assert db.get("k") == "v" and alarms(cluster) > 0
        limit(resource.RLIM_INFINITY)
        wait_until(lambda: takes_writes(db), "room for a write")
        cluster.wait_until_equal()
        wait_until(lambda: no_alarm(cluster), "the alarms to end")
        cluster.restart(*cluster.nodes)
        assert all(db.get(key) == VALUE for key in keys)
