"""FolderReader: what the data folder of a node that does not run holds, read without changing anything in it.

The folder may be a copy, on a disk that cannot be written, or another user's: opening a Persister would repair
and rewrite files there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from raftkv.errors import ForeignDataError, StorageError
from raftkv.raft.types import Entry, Snapshot
from raftkv.storage.disk import Disk, DiskLock
from raftkv.storage.folder import explain
from raftkv.storage.identity import LOCK, NODE, Identity, lock_folder
from raftkv.storage.replay import MARKER, Replay
from raftkv.storage.segments import Terms, log_name, log_names
from raftkv.storage.snapshot_file import SnapshotReader
from raftkv.storage.snapshots import newest_name


class FolderReader:
    """A context manager; as long as it is open, no node can be started on the folder.

    `snapshot` is the newest one, or None; `entries` are those of the log after it, of which the last ones may
    never have been committed. `identity`: whose folder it is. `notices`: sentences for whoever reads it.
    Raises StorageError, or the kind of it that fits: LockedError, ForeignDataError, DamagedDataError.
    """

    def __init__(self, folder: str) -> None:
        self._folder, self._disk = folder, Disk()
        self._lock: DiskLock | None = None
        self._reader: SnapshotReader | None = None
        self.snapshot: Snapshot | None = None
        self.notices: list[str] = []
        if not self._disk.exists(os.path.join(folder, NODE)):
            raise ForeignDataError(f"{folder} is no server's data folder: it has no {NODE}")
        try:
            if self._disk.exists(os.path.join(folder, LOCK)):  # a copy may have none
                self._lock = lock_folder(self._disk, folder, for_reading=True)
            self.identity = Identity.read(self._disk, folder)
            self._open_snapshot()
            self.entries = self._read_log()
        except OSError as error:
            self.close()
            raise StorageError(explain(error, folder)) from None
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> FolderReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        if self._lock is not None:
            self._lock.release()

    def records(self) -> Iterator[Any]:
        """The records of the snapshot; none if there is none."""
        try:
            if self._reader is not None:
                yield from self._reader.records()
        except OSError as error:
            raise StorageError(explain(error, self._folder)) from None

    def _open_snapshot(self) -> None:
        folder = os.path.join(self._folder, "snapshot")
        name = newest_name(self._disk.list_folder(folder))
        if name is not None:
            self._reader = SnapshotReader(self._disk, os.path.join(folder, name))
            self.snapshot = self._reader.snapshot

    def _read_log(self) -> list[Entry]:
        folder = os.path.join(self._folder, "log")
        replay = Replay(self.snapshot.index if self.snapshot else 0)
        names = log_names(self._disk, folder)
        newest = self.identity.newest_log
        if newest > 0 and log_name(newest) not in names:
            self.notices.append(
                f"the newest file of the log, {log_name(newest)}, is missing: what it held is not here"
            )
        for name in names:
            path = os.path.join(folder, name)
            data = self._disk.read(path).rstrip(b"\0")
            whole = replay.read(path, int(name[:20]), data, name == names[-1])
            if data[whole:] not in (b"", MARKER):
                self.notices.append(f"left out a torn write at the end of {path}: {len(data) - whole} bytes")
        if self.snapshot is None:
            return replay.entries
        terms = Terms(self.snapshot)
        terms.extend(replay.entries)
        if terms.at(self.snapshot.index) != self.snapshot.term:
            return []  # of another history, or before it: the snapshot replaced it
        return replay.entries[max(0, self.snapshot.index + 1 - replay.first) :]
