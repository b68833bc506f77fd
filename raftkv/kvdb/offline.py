"""The database of a server that does not run, read from its data folder."""

from __future__ import annotations

from typing import NamedTuple

from raftkv.kvdb.snapshot_view import KeysView
from raftkv.kvdb.store import Store
from raftkv.storage.reading import FolderReader


class OfflineData(NamedTuple):
    """`keys`: how many there are. `revision`: of the last change. `leases`: (id, time to live in seconds). `last_index`: of the last
    entry that is in it; the last `uncertain` ones may never have been committed. `notices`: sentences for whoever reads it."""

    view: KeysView
    keys: int
    revision: int
    leases: list[tuple[int, int]]
    last_index: int
    uncertain: int
    notices: list[str]


def read_folder(folder: str) -> OfflineData:
    """The snapshot, and all of the log after it: a stopped server does not know up to where that was committed.

    Changes nothing in the folder. Raises StorageError; LockedError if a server uses it.
    """
    with FolderReader(folder) as reader:
        store = Store.restore(reader.records()) if reader.snapshot else Store()
        store.apply_entries(reader.entries)
        index = (
            reader.entries[-1].index if reader.entries else reader.snapshot.index if reader.snapshot else 0
        )
        data = store.data
        leases = [(lease.id, lease.ttl) for lease in data.leases.all()]
        return OfflineData(
            store.begin_view(), len(data), data.revision, leases, index, len(reader.entries), reader.notices
        )
