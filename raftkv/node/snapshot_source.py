"""Reading the snapshot that is being sent to a peer."""

from __future__ import annotations

from raftkv.raft.types import Snapshot
from raftkv.storage.persister import Persister, SnapshotReader


class SnapshotSource:
    """Reads the snapshot that is being sent to one peer. Stays readable when a newer one replaces it.

    A peer that was sent all of it and asks for its beginning may have found it damaged. If the damage is in
    this node's file, the peer would ask for ever; then this node is the one that must stop.
    """

    def __init__(self, persister: Persister, chunk_bytes: int) -> None:
        self._persister, self._chunk_bytes = persister, chunk_bytes
        self._reader: SnapshotReader | None = None
        self._sent: Snapshot | None = None  # the last one that was read to its end

    def read(self, snapshot: Snapshot, offset: int) -> tuple[bytes, bool] | None:
        """(the chunk from `offset` on, whether it is the last), or None if this snapshot cannot be had.

        Raises StorageError: the disk failed; DamagedDataError: the file is not what was written.
        """
        with self._persister.guard:
            reader = self._open(snapshot)
            if reader is None or offset > reader.size:
                return None
            if offset == 0 and snapshot == self._sent:
                reader.verify()
                self._sent = None
            data = reader.read(offset, self._chunk_bytes)
            done = offset + len(data) >= reader.size
        if done:
            self._sent = snapshot
            self.close()
        return data, done

    def _open(self, snapshot: Snapshot) -> SnapshotReader | None:
        if self._reader is None or self._reader.snapshot != snapshot:
            self.close()
            self._reader = self._persister.open_snapshot()
        return self._reader if self._reader is not None and self._reader.snapshot == snapshot else None

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None
