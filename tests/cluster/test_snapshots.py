"""A member that was away past the compacted log catches up by a snapshot, and a restart begins with one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.cluster.harness import Cluster, request
from tests.cluster.waiting import wait_until

#: A snapshot after some forty writes of SIZE bytes, of which a dozen make a log file; sent in many chunks.
SMALL = {"max_raft_state": 20_000, "segment_bytes": 4096, "snapshot_chunk_bytes": 2048}
SIZE = 400


def put_all(db: Any, keys: range, data: dict[str, str]) -> None:
    """Put keys of SIZE bytes, and note them in `data`."""
    for i in keys:
        data[f"key{i:04}"] = f"{i}-" + "x" * SIZE
        db.put(f"key{i:04}", data[f"key{i:04}"])


def test_a_follower_that_was_away_past_the_compacted_log_catches_up_by_a_snapshot(tmp_path: Path) -> None:
    data: dict[str, str] = {}
    with Cluster(tmp_path, raft=SMALL) as cluster, cluster.clerk() as db:
        put_all(db, range(20), data)
        leader = cluster.wait_for_leader()
        away = next(id for id in cluster.nodes if id != leader)
        cluster.kill(away)
        with cluster.connect(cluster.wait_for_leader()) as connection:
            birth = request(connection, "hello")["applied"]
            command = ("one", birth, 1, 1, b"once", b"only")
            revision = request(connection, "append", *command)
        put_all(db, range(20, 120), data)
        cluster.wait_until_compacted(birth + 1, *(id for id in cluster.nodes if id != away))
        cluster.start(away)
        cluster.wait_until_equal()
        assert "loaded the snapshot" in cluster.nodes[away].log
        cluster.make_leader(away)
        assert {key: value for key, value, _ in db.scan("key")} == data
        # The session came with the snapshot: a repeated command has the same answer, and no effect.
        with cluster.connect(away) as connection:
            assert request(connection, "append", *command) == revision
            assert request(connection, "get", b"once")[1][:3] == (b"only", revision, revision)


def test_a_restart_begins_with_the_snapshot_and_goes_on_with_the_log(tmp_path: Path) -> None:
    data: dict[str, str] = {}
    with Cluster(tmp_path, raft=SMALL) as cluster, cluster.clerk() as db:
        put_all(db, range(200), data)

        def compacted() -> bool:
            folders = [node.data_dir for node in cluster.nodes.values()]
            return all(len(list(folder.glob("log/*"))) < 12 for folder in folders) and all(
                len(list(folder.glob("snapshot/*"))) == 1 for folder in folders
            )

        wait_until(compacted, "all nodes to remove older snapshots, and the log before the newest")
        put_all(db, range(195, 205), data)  # too few for another one
        cluster.kill(*cluster.nodes)
        before = {id: len(node.log) for id, node in cluster.nodes.items()}
        cluster.start(*cluster.nodes)
        assert {key: value for key, value, _ in db.scan("key")} == data
        cluster.wait_until_equal()
        for id, node in cluster.nodes.items():
            assert "loaded the snapshot" in node.log[before[id] :].split("listens")[0]
