"""A dump is of one moment, whatever is written and compacted meanwhile; so is one of a stopped server."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from raftkv import Clerk
from raftkv.client.answers import KeyValue
from raftkv.errors import LockedError, UnavailableError
from raftkv.kvdb.dumps import MAX_DUMPS
from raftkv.kvdb.offline import read_folder
from raftkv.kvdb.restoring import REVISION_GAP

from tests.cluster.harness import Cluster
from tests.cluster.test_snapshots import SMALL, put_all
from tests.cluster.waiting import wait_until


def content(folder: Path) -> list[tuple[str, int, bytes]]:
    return sorted(
        (str(path), path.stat().st_mode, b"" if path.is_dir() else path.read_bytes())
        for path in folder.rglob("*")
    )


def put_back(db: Clerk, revision: int, rows: list[KeyValue]) -> None:
    """In place of what is there, in two pieces."""
    db.delete_range()
    at = db.restore(revision, [], rows[:700])
    assert at > revision + REVISION_GAP
    assert db.restore(revision, [], rows[700:], at=at) == at
    assert db.range().kvs == sorted(rows) and db.range().revision == at


def wait_until_all_is_in_snapshots(cluster: Cluster, db: Clerk) -> None:
    index = cluster.last_index(*cluster.nodes)

    def has_nothing_left() -> bool:
        db.put("last", "")  # a snapshot begins with an entry
        return all(status["snapshot_index"] >= index for status in cluster.statuses())

    wait_until(has_nothing_left, f"snapshots of the entry {index}")


def test_a_dump_of_a_running_server_and_of_a_stopped_one(tmp_path: Path) -> None:
    data = {f"key{n:04}": "x" * 400 for n in range(1200)}
    with Cluster(tmp_path, raft={**SMALL, "snapshot_growth_percent": 0}) as cluster, cluster.clerk() as db:
        batch = db.pipeline()
        for key, value in data.items():
            batch.put(key, value)
        batch.execute()
        before = dict(data)
        leader = cluster.wait_for_leader()
        dump, index = db.dump(), cluster.last_index(leader)
        pieces = iter(dump)
        rows = next(pieces)
        put_all(db, range(1150, 1250), data)
        for key in sorted(data)[1100:1150]:
            batch.delete(key)
            del data[key]
        batch.execute()
        cluster.wait_until_compacted(index, leader)  # the node's own snapshots go on
        rows += [row for piece in pieces for row in piece]
        assert {row.key: row.value for row in rows} == before
        assert len(rows) == dump.keys == 1200
        put_back(db, dump.revision, rows)
        wait_until_all_is_in_snapshots(cluster, db)
        data = {**before, "last": "of which the log has the entry, and no snapshot"}
        db.put("last", data["last"])

        cluster.wait_until_equal()
        with pytest.raises(LockedError, match="is in use by the process"):
            read_folder(str(cluster.nodes[1].data_dir))
        for _ in range(MAX_DUMPS + 1):  # each is dropped, and makes room for the next one
            next(iter(db.dump()))
        cut_off = iter(db.dump())
        next(cut_off)
        cluster.stop(*cluster.nodes)
        with pytest.raises(UnavailableError, match="the dump broke off after"):
            list(cut_off)
        folder = cluster.nodes[1].data_dir
        as_it_was = content(folder)
        found = read_folder(str(folder))
        stored = {}
        while (more := found.view.next_rows(500)) is not None:
            stored.update({row[0].decode(): row[1].decode() for row in more})
        assert stored == data and found.keys == len(data)
        assert 0 < found.uncertain < found.last_index
        assert content(folder) == as_it_was, "nothing was changed there"
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
