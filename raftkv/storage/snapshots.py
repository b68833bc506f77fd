"""SnapshotStore: the newest snapshot, those on the way to replace it, and nothing else.

    snapshot/00000000000000004710-3.jsonl          the newest complete one: index, term
    snapshot/00000000000000005200-3.jsonl.tmp      being written by this node
    snapshot/00000000000000009000-4.jsonl.part     being received from the leader

A file gets its final name when all of it is durable and checked, and only if it is newer than what is there.
Then the older ones are removed; that need not be durable, the next start does it again. Unfinished ones do
not survive a restart.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Callable

from raftkv.errors import InvariantError, StorageError
from raftkv.raft.types import Snapshot
from raftkv.storage.disk import Disk, DiskFile, DiskFullError
from raftkv.storage.reserve import Reserve
from raftkv.storage.sealed import damaged
from raftkv.storage.snapshot_file import LEFT_FOR_THE_LOG, SnapshotReader, SnapshotWriter

log = logging.getLogger("raftkv.raft")

CRASH_POINTS = (
    "snapshot-written",  # all of it, not fsynced
    "snapshot-synced",  # durable, but not under its name
    "chunk-written",  # a piece of a received snapshot
    "snapshot-received",  # a received one is complete, checked and durable, but not under its name
    "snapshot-renamed",  # its name is not durable yet
    "snapshot-published",  # it is durable; older ones are still there, and the log that it replaces is
    "snapshot-removed",  # an older one
)

_NAME = re.compile(r"(\d{20})-(\d+)\.jsonl")
_SYNC_EVERY = 4 << 20  # bytes


def newest_name(names: Iterable[str]) -> str | None:
    """Of the names in a folder, that of the newest complete snapshot; None if there is none."""
    found = [(int(match[1]), int(match[2]), match[0]) for match in map(_NAME.fullmatch, names) if match]
    return max(found)[2] if found else None


class SnapshotStore:
    """The snapshots in `folder`. `newest` is None if there is none; `newest_bytes` is the size of its file.

    Thread-safe; at most one thread writes, and one receives, at a time.
    Everything raises OSError if the disk fails, and DamagedDataError.
    """

    def __init__(
        self,
        disk: Disk,
        folder: str,
        reserve: Reserve,
        reach: Callable[[str], None],
        lock: AbstractContextManager[object],
    ) -> None:
        self._disk, self._folder, self._reserve, self._reach = disk, folder, reserve, reach
        self._lock = lock  # guards what is published; held while the disk is waited for
        self._incoming: _Incoming | None = None
        self.newest: Snapshot | None = None
        self.newest_bytes = 0

    def recover(self) -> None:
        """Find the newest one, and remove all others. Raises DamagedDataError."""
        names = self._disk.list_folder(self._folder)
        name = newest_name(names)
        if name is not None:
            match = _NAME.fullmatch(name)
            if match is None:
                raise InvariantError(f"{name} is no snapshot's name")
            index, term = int(match[1]), int(match[2])
            path = os.path.join(self._folder, name)
            with SnapshotReader(self._disk, path) as reader:
                self.newest, self.newest_bytes = reader.snapshot, reader.size
            if self.newest[:2] != (index, term):
                raise damaged(path, f"it holds {self.newest}, not the one that it is named for", 1)
        for name in names:
            if name.endswith((".tmp", ".part")) and _NAME.fullmatch(name.rpartition(".")[0]):
                self._disk.remove(os.path.join(self._folder, name))
        self._disk.sync_folder(self._folder)
        self._remove_older()

    def open(self) -> SnapshotReader | None:
        """A reader of the newest one; None if there is none."""
        with self._lock:
            return SnapshotReader(self._disk, self._path(self.newest)) if self.newest else None

    @property
    def newest_path(self) -> str | None:
        """Of its file; None if there is none."""
        return None if self.newest is None else self._path(self.newest)

    def close(self) -> None:
        if self._incoming is not None:
            self._incoming.file.close()

    # -- an own one ------------------------------------------------------------------------------------------

    def write(self, snapshot: Snapshot, lines: Iterable[bytes]) -> bool:
        """Write a snapshot and make it the newest. Returns False if a newer one was installed meanwhile.

        What `lines` raises is passed on, and nothing is left of the attempt. So it is if there is no room: a
        DiskFullError.
        """
        temporary = self._path(snapshot) + ".tmp"
        writer = SnapshotWriter(self._disk, temporary, snapshot, self._reserve)
        try:
            writer.write(lines)
            self._reach("snapshot-written")
            writer.sync()
        except Exception:
            writer.close()
            self._disk.remove(temporary)
            raise
        writer.close()
        self._reach("snapshot-synced")
        try:
            return self._publish(snapshot, temporary, writer.size)
        except DiskFullError:
            self._disk.remove(temporary)
            raise

    # -- one from the leader ---------------------------------------------------------------------------------

    def receive(self, snapshot: Snapshot, offset: int, data: bytes, done: bool) -> int:
        """Take a chunk. Returns how many bytes of `snapshot` are held: the offset to go on from.

        A chunk that does not begin there is not taken. One at offset 0 of another snapshot replaces what is
        held. With `done`, and if all is there, it is checked and made durable; 0 if it is damaged, and none
        of it is held then. A snapshot that is not newer than `newest` is refused: 0. A chunk for which there
        is no room is not taken either; it may come again.
        """
        if self._is_old(snapshot):
            return 0
        incoming = self._incoming
        if incoming is None or incoming.snapshot != snapshot:
            if offset:
                return 0
            self._drop_incoming()
            try:
                incoming = self._incoming = _Incoming(
                    self._disk, self._path(snapshot) + ".part", snapshot, self._reserve
                )
            except DiskFullError:
                return 0
        if offset == incoming.size and data:
            try:
                incoming.write(data)
            except DiskFullError:
                return incoming.size
            self._reach("chunk-written")
        if done and offset + len(data) == incoming.size and not incoming.checked:
            if not incoming.check():
                self._drop_incoming()
                return 0
            self._reach("snapshot-received")
        return incoming.size

    def install(self, snapshot: Snapshot) -> bool:
        """Make the received snapshot the newest. Returns False if there is one meanwhile that is not older,
        or no room for its name; then it may be asked for again."""
        if self._is_old(snapshot):
            return False
        incoming = self._incoming
        if not (incoming is not None and incoming.snapshot == snapshot):
            raise InvariantError(f"{snapshot} is not the one that was received")
        if not incoming.checked:
            raise InvariantError(f"{snapshot} is not completely received")
        incoming.file.close()
        try:
            published = self._publish(snapshot, incoming.path, incoming.size)
        except DiskFullError:
            return False
        self._incoming = None
        return published

    def _is_old(self, snapshot: Snapshot) -> bool:
        """Is `snapshot`, which is being received, superfluous? Then nothing is kept of it."""
        old = self.newest is not None and snapshot.index <= self.newest.index
        if old and self._incoming is not None and self._incoming.snapshot == snapshot:
            self._drop_incoming()
        return old

    def _drop_incoming(self) -> None:
        if self._incoming is not None:
            self._incoming.file.close()
            self._disk.remove(self._incoming.path)
            self._incoming = None

    # -- both ------------------------------------------------------------------------------------------------

    def _publish(self, snapshot: Snapshot, temporary: str, size: int) -> bool:
        with self._lock:
            if self.newest is not None and snapshot.index <= self.newest.index:
                self._disk.remove(temporary)
                return False
            path = self._path(snapshot)
            self._reserve.find_room(lambda: self._disk.rename(temporary, path), LEFT_FOR_THE_LOG)
            self._reach("snapshot-renamed")
            self._disk.sync_folder(self._folder)
            self._reach("snapshot-published")
            self.newest, self.newest_bytes = snapshot, size
            self._remove_older()
            return True

    def _remove_older(self) -> None:
        for name in self._disk.list_folder(self._folder):
            match = _NAME.fullmatch(name)
            if match and self.newest is not None and (int(match[1]), int(match[2])) != self.newest[:2]:
                self._disk.remove(os.path.join(self._folder, name))
                self._reach("snapshot-removed")

    def _path(self, snapshot: Snapshot) -> str:
        return os.path.join(self._folder, f"{snapshot.index:020d}-{snapshot.term}.jsonl")


class _Incoming:
    """A snapshot that is being received. `checked`: it is complete, matches its CRC, and is durable."""

    def __init__(self, disk: Disk, path: str, snapshot: Snapshot, reserve: Reserve) -> None:
        self._disk, self.path, self.snapshot, self._reserve = disk, path, snapshot, reserve
        self.file: DiskFile = reserve.find_room(lambda: disk.create(path), LEFT_FOR_THE_LOG)
        self.size = self._unsynced = 0
        self.checked = False

    def write(self, data: bytes) -> None:
        self._reserve.find_room(lambda: self.file.write_at(self.size, data), LEFT_FOR_THE_LOG)
        self.size += len(data)
        self._unsynced += len(data)
        if self._unsynced >= _SYNC_EVERY:
            self.file.sync()
            self._unsynced = 0

    def check(self) -> bool:
        """Make it durable, and compare it with its checksum."""
        self.file.sync()
        try:
            with SnapshotReader(self._disk, self.path) as reader:
                reader.verify()
                self.checked = reader.snapshot == self.snapshot
                why = f"it holds {reader.snapshot}"
        except StorageError:
            why = "it does not match its CRC-32"
        if not self.checked:
            log.warning("a received snapshot is damaged and asked for again (%s)", why)
        return self.checked
