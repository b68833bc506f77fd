"""The snapshot file: a header line, the state machine's records, a footer line.

    {"format":1,"index":4710,"term":3,"configuration":{"voters":[1,2,3]},"crc":…} sealed (sealed.py)
    ["kv",["k"],["v"],17,null,1,0]                                                a JSON value a line
    {"records":1,"crc":…}                                                         CRC-32 of all bytes before

The same bytes go to followers, in chunks.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from raftkv.errors import InvariantError
from raftkv.raft.configuration import Configuration
from raftkv.raft.types import Snapshot
from raftkv.storage.disk import Disk, DiskFile
from raftkv.storage.reserve import Reserve
from raftkv.storage.sealed import FORMAT, damaged, seal, unseal

MAX_HEADER = 1 << 16  # bytes
MAX_FOOTER = 64  # bytes
PIECE = 1 << 20  # bytes that are read at a time
LEFT_FOR_THE_LOG = 0.25  # of the reserve: a snapshot that does not fit is tried again later, the log waits


def encode_header(snapshot: Snapshot) -> bytes:
    plain = {"format": FORMAT, "index": snapshot.index, "term": snapshot.term}
    return seal({**plain, "configuration": snapshot.configuration.to_plain()})


def encode_footer(records: int, crc: int) -> bytes:
    return b'{"records":%d,"crc":%d}\n' % (records, crc)


class SnapshotReader:
    """An open snapshot file. It stays readable when a newer snapshot replaces it. Not thread-safe.

    `snapshot`: what it stands for. `size`: of the whole file, in bytes. Opening it checks the header only.
    Everything raises OSError if the disk fails, and DamagedDataError for what does not match its CRC.
    """

    def __init__(self, disk: Disk, path: str) -> None:
        self._path = path
        self._file: DiskFile = disk.open(path)
        try:
            self.size = self._file.size()
            self.snapshot, self._header_size = self._read_header()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> SnapshotReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes of the file from `offset` on, as they are: the receiver checks the CRC of the
        whole."""
        return self._file.read(offset, size)

    def verify(self) -> None:
        """Check the CRC of the whole file. Raises DamagedDataError."""
        self._checked_end()

    def records(self) -> Iterator[Any]:
        """The records, parsed. The whole file is checked before the first one is handed out."""
        end = self._checked_end()
        offset, rest = self._header_size, b""
        while offset < end:
            piece = self._file.read(offset, min(PIECE, end - offset))
            offset += len(piece)
            lines = (rest + piece).split(b"\n")
            rest = lines.pop()
            for line in lines:
                yield json.loads(line)

    def _read_header(self) -> tuple[Snapshot, int]:
        head = self._file.read(0, MAX_HEADER)
        size = head.find(b"\n") + 1
        try:
            plain = unseal(head[:size], self._path)
            configuration = Configuration.from_plain(plain["configuration"])
            return Snapshot(plain["index"], plain["term"], configuration), size
        except (KeyError, TypeError, ValueError):  # sealed, and yet none: of another member with a bug
            raise damaged(self._path, "its header is none", 1) from None

    def _checked_end(self) -> int:
        """Where the records end and the footer begins."""
        tail_start = max(0, self.size - MAX_FOOTER)
        tail = self._file.read(tail_start, MAX_FOOTER)
        end = tail_start + tail.rfind(b"\n", 0, len(tail) - 1) + 1
        offset = lines = crc = 0
        while offset < end:
            piece = self._file.read(offset, min(PIECE, end - offset))
            if not piece:
                break
            offset += len(piece)
            lines += piece.count(b"\n")
            crc = zlib.crc32(piece, crc)
        if offset != end or self._file.read(end, MAX_FOOTER) != encode_footer(lines - 1, crc):
            raise damaged(self._path, "the snapshot does not match its CRC-32")
        return end


class SnapshotWriter:
    """Writes one snapshot file, and fsyncs it bit by bit: a great heap of unwritten pages would hold up the
    log's. `size`: of what is written, in bytes."""

    SYNC_EVERY = 4 << 20  # bytes
    WRITE_EVERY = 1 << 18  # bytes

    def __init__(self, disk: Disk, path: str, snapshot: Snapshot, reserve: Reserve) -> None:
        self._reserve = reserve
        self._file = reserve.find_room(lambda: disk.create(path), LEFT_FOR_THE_LOG)
        self._snapshot = snapshot
        self.size = 0

    def write(self, lines: Iterable[bytes]) -> None:
        """Write the file, all of it durable on return. `lines`: the records, each one JSON value and a
        newline."""
        waiting, size, unsynced, count, crc = [encode_header(self._snapshot)], 0, 0, 0, 0
        for line in lines:
            if not (line[-1:] == b"\n" and line.count(b"\n") == 1):
                raise InvariantError(f"a record is one line, not {line[:80]!r}")
            count += 1
            waiting.append(line)
            size += len(line)
            if size >= self.WRITE_EVERY:
                data = b"".join(waiting)
                crc = zlib.crc32(data, crc)
                self._write(data)
                unsynced += len(data)
                waiting, size = [], 0
                if unsynced >= self.SYNC_EVERY:
                    self._file.sync()
                    unsynced = 0
        data = b"".join(waiting)
        self._write(data + encode_footer(count, zlib.crc32(data, crc)))

    def _write(self, data: bytes) -> None:
        self._reserve.find_room(lambda: self._file.write_at(self.size, data), LEFT_FOR_THE_LOG)
        self.size += len(data)

    def sync(self) -> None:
        self._file.sync()

    def close(self) -> None:
        self._file.close()
