"""Recovery: a cluster of one, from the disk of a survivor, when the majority of the old one is lost for good.

One step makes it: a snapshot of all that the disk holds (its snapshot and all of its log, also what nobody knows to be
committed), with a configuration of this disk alone and another cluster_id. A snapshot replaces the log (paper section
7), and it is what new members are sent. So no configuration of the old cluster is in force anywhere in the new one, and
a crash leaves the old disk or the new one.

The database goes on at a revision far beyond this disk's, and all before is compacted: the old cluster may have given later
ones, and none may be given twice. So are index and term: clients that leave servers of a lower term, as those of etcd do, must
not take this one for a stale one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from raftkv.config import ServerConfig
from raftkv.errors import ForeignDataError
from raftkv.kvdb.restoring import REVISION_GAP
from raftkv.kvdb.snapshot_view import SnapshotView, encode_record
from raftkv.kvdb.store import Store
from raftkv.node.crash_points import reach
from raftkv.node.snapshotter import SNAPSHOT_CHUNK_KEYS
from raftkv.raft.changes import alone
from raftkv.raft.configuration import Configuration, MemberRecord
from raftkv.raft.types import CONFIG, Entry, HardState, Snapshot
from raftkv.storage.identity import check_identity, draw
from raftkv.storage.persister import Persister
from raftkv.storage.reading import FolderReader

INDEX_LEAP = 10**9
TERM_LEAP = 10**6


class Survivor(NamedTuple):
    """What a disk holds. `keys`: how many. `last`: (index, term) of its last entry; the last `uncertain` ones may never
    have been committed. `configuration`: the newest in its log."""

    uid: int
    keys: int
    last: tuple[int, int]
    uncertain: int
    configuration: Configuration

    @property
    def is_alone(self) -> bool:
        """Is it the only member already?"""
        return self.configuration.members == (self.uid,)


def look(config: ServerConfig) -> Survivor:
    """What is in the data folder of a server that does not run. Changes nothing there.

    Raises StorageError; LockedError if the server runs, ForeignDataError if there is nothing to recover.
    """
    with FolderReader(config.data_dir) as reader:
        check_identity(reader.identity, config.data_dir, config.cluster, config.node_id)
        store = _store(reader.records() if reader.snapshot else None, reader.entries)
        return _survivor(config, reader.identity.uid, reader.snapshot, reader.entries, store)


def recover(config: ServerConfig) -> Survivor:
    """Make the disk a cluster of one; durable on return. Does nothing if it is one. Returns what it holds then.
    Raises StorageError."""
    persister = Persister(
        config.data_dir,
        node_id=config.node_id,
        cluster=config.cluster,
        segment_bytes=config.raft.segment_bytes,
        reserve_bytes=config.limits.disk_reserve_bytes,
        crash_point=reach,
    )
    try:
        store = _restored(persister)
        before = _survivor(config, persister.identity.uid, persister.snapshot, persister.entries, store)
        return before if before.is_alone else _made_alone(config, persister, store, before)
    finally:
        persister.close()


def _made_alone(config: ServerConfig, persister: Persister, store: Store, before: Survivor) -> Survivor:
    index = before.last[0] + INDEX_LEAP
    term = max(before.last[1], persister.hard_state.term) + TERM_LEAP
    store.data.jump(store.data.revision + REVISION_GAP)
    configuration = alone(before.configuration, _record(config, before), draw(), index)
    persister.save(HardState(term, None), [])
    persister.write_snapshot(Snapshot(index, term, configuration), _lines(store.begin_snapshot()))
    return before._replace(last=(index, term), uncertain=0, configuration=configuration)


def _record(config: ServerConfig, survivor: Survivor) -> MemberRecord:
    """Where it is now: by its file."""
    client, peer = config.servers[config.node_id], config.peers[config.node_id]
    return MemberRecord(survivor.uid, config.node_id, str(client), str(peer))


def _restored(persister: Persister) -> Store:
    reader = persister.open_snapshot()
    if reader is None:
        return _store(None, persister.entries)
    try:
        return _store(reader.records(), persister.entries)
    finally:
        reader.close()


def _store(records: Iterable[Any] | None, entries: list[Entry]) -> Store:
    store = Store() if records is None else Store.restore(records)
    store.apply_entries(entries)
    return store


def _survivor(
    config: ServerConfig, uid: int, snapshot: Snapshot | None, entries: list[Entry], store: Store
) -> Survivor:
    found = [Configuration.from_plain(entry.data) for entry in entries if entry.kind == CONFIG]
    if snapshot is not None:
        found.insert(0, snapshot.configuration)
    if not found:
        raise ForeignDataError(
            f"there is nothing to recover in {config.data_dir}: the disk of node {config.node_id} is empty, it was no "
            "member of a cluster yet"
        )
    last = entries[-1][:2] if entries else snapshot[:2] if snapshot else (0, 0)
    return Survivor(uid, len(store), last, len(entries), found[-1])


def _lines(view: SnapshotView) -> Iterator[bytes]:
    try:
        while True:
            records = view.next_chunk(SNAPSHOT_CHUNK_KEYS)
            if not records:
                return
            yield from map(encode_record, records)
    finally:
        view.close()
