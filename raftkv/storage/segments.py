"""SegmentedLog: the log on disk, as files that are written from their beginning to their end.

    log/00000000000000000001.jsonl      entries as they are encoded (Entry.line), one a line
    log/00000000000000004711.jsonl      the name is the index of the file's first entry

**Entries are never truncated or overwritten.** An entry whose index is not above the last one's replaces that
entry and all after it; replaying the files in order does the same. So removing a conflicting suffix (paper
5.3) and writing what replaces it are one append, and a crash leaves the old suffix, or the new entries, or
the first few of these: each is a log that this node may have, since none of the new ones was acknowledged
yet, and none of the old ones is committed.

**The order of the files is that of their names.** A new file is begun only for an index above the current
file's name. After a replacement reached back behind that name, entries go on into the current file, whatever
its size, until they have passed it again.

**A file is extended with zeros ahead of its entries**, and these overwrite them in place, as in etcd's WAL:
as long as the length of a file stays, to make a write durable the file system waits for the data only, and
does not commit its journal. A write that does not fit brings the next zeros with it, so that it is one write
and one fsync as well, and a full disk is noticed before anything is promised. While there is little room
(reserve.py) there are no zeros, and files are small, so that a snapshot soon lets the first of them go.

**Each write begins with a MARKER**, a byte that shows that all before it was durable (replay.py).

**The last file is written anew when the log is opened**; that is also how a torn tail (replay.py) is cut off.
What the page cache shows need not be what the disk holds: the process may have been killed before its fsync,
or the fsync may have failed, after which another one of the same file says yes to anything. (On a full disk
it is written over itself.)

**Which file is the newest is known elsewhere, too** (node.json): durably, before an entry in it is acknowledged (on a
full disk: as soon as there is room).
So a newest file that is missing or empty is noticed, which no other file of the log could tell.

Not thread-safe: one thread appends and compacts.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import deque
from collections.abc import Sequence
from typing import Callable

from raftkv.errors import InvariantError
from raftkv.raft.types import Entry, Snapshot
from raftkv.storage.disk import Disk, DiskFile, DiskFullError
from raftkv.storage.replay import MARKER, Replay
from raftkv.storage.reserve import Reserve
from raftkv.storage.sealed import damaged, replace_file

CRASH_POINTS = (
    "segment-created",  # a new file exists, its name is not durable yet
    "log-written",  # entries are written, not fsynced
    "log-synced",  # they are durable, the caller does not know it yet
    "segment-discarded",  # the last file, in which nothing is, is removed
    "segment-rewrite-written",
    "segment-rewrite-synced",
    "segment-rewrite-renamed",
    "segment-dropped",  # one file of a log that a snapshot replaced is removed
    "segment-compacted",  # one file that a snapshot made superfluous is removed
)

#: Bytes in steps of which a file is extended. To write so many zeros takes as long as two small writes to a
#: growing file did: with larger steps the 99th percentile of batches is worse than without any zeros.
EXTENSION = 64 << 10

SMALL = 8  # while there is little room, a file ends at this part of its usual size

REPLACED = -1  # in place of the newest file's first index: a snapshot has taken the place of all files

_NAME = re.compile(r"\d{20}\.jsonl")


def log_names(disk: Disk, folder: str) -> list[str]:
    """The names of the log's files in `folder`, in their order. Each begins with its first entry's index."""
    return [name for name in disk.list_folder(folder) if _NAME.fullmatch(name)]


def log_name(first: int) -> str:
    """Of the file that begins with the entry `first`."""
    return f"{first:020d}.jsonl"


class _Segment:
    """One file. `first`: the index of its first entry. `size`: bytes of its entries and markers. `end`: bytes
    with the zeros, as far as it has any from this process."""

    def __init__(self, path: str, first: int, size: int) -> None:
        self.path, self.first, self.size, self.end = path, first, size, size


class SegmentedLog:
    """The log in `folder`. `bytes`: of its live entries. `notices`: what recover() had to repair."""

    def __init__(
        self,
        disk: Disk,
        folder: str,
        segment_bytes: int,
        reserve: Reserve,
        reach: Callable[[str], None],
        newest: int,
        note_newest: Callable[[int], None],
    ) -> None:
        """`newest`: what note_newest() was last called with, 0 if never: the index that the newest file is named for
        in which an entry may have been acknowledged, or REPLACED. What that does is durable when it returns."""
        self._disk, self._folder, self._segment_bytes, self._reach = disk, folder, segment_bytes, reach
        self._reserve = reserve
        self._newest, self._note_newest = newest, note_newest
        self._extension = min(EXTENSION, segment_bytes)
        self._segments: list[_Segment] = []
        self._file: DiskFile | None = None  # the last segment's, once something is appended
        self._is_torn = False  # the last file ends with some of a write that found no room
        self._terms = Terms()
        self._sizes: deque[tuple[int, int]] = deque()  # of the live entries: (last index, bytes) a save
        self.bytes = 0
        self.notices: list[str] = []

    @property
    def last_index(self) -> int:
        return self._terms.last

    # -- running ---------------------------------------------------------------------------------------------

    def append(self, entries: Sequence[Entry]) -> None:
        """Make `entries` durable, with one write and one fsync; the first one's index may be taken (see
        above). After a DiskFullError nothing has changed: the same may be asked for again."""
        first, last = entries[0].index, entries[-1].index
        if first > self.last_index + 1:
            raise InvariantError(f"entry {first} would leave a gap after {self.last_index}")
        if last - first != len(entries) - 1:
            raise InvariantError(f"{len(entries)} entries from {first} to {last} are not contiguous")
        self._reserve.find_room(lambda: self._append(first, last, entries))
        with contextlib.suppress(DiskFullError):  # then at the next one, as soon as there is room
            self._note(self._segments[-1].first)

    def _append(self, first: int, last: int, entries: Sequence[Entry]) -> None:
        file, segment = self._file_for(first), self._segments[-1]
        lines = [entry.line for entry in entries]
        added = sum(map(len, lines))
        size = segment.size + len(MARKER) + added
        zeros = -size % self._extension if size > segment.end and not self._reserve.is_short else 0
        self._is_torn = True
        file.write_at(segment.size, b"".join([MARKER, *lines, bytes(zeros)]))
        self._is_torn = False
        self._reach("log-written")
        file.sync()
        self._reach("log-synced")
        segment.size, segment.end = size, max(segment.end, size + zeros)
        self._terms.extend(entries)
        while self._sizes and self._sizes[-1][0] >= first:
            self.bytes -= self._sizes.pop()[1]
        self._sizes.append((last, added))
        self.bytes += added

    def follow(self, snapshot: Snapshot) -> None:
        """Drop the log unless it leads up to `snapshot`, which is durable, and beyond.

        It does if it holds the snapshot's last entry; otherwise it is of another history, or ends before
        (paper section 7). Files go one by one from the newest, each durably, so that what a crash leaves
        never holds entries after the snapshot without that which shows that they are of another history.
        """
        if not self.leads_to(snapshot):
            self.renounce()
            self.close()
            while self._segments:
                self._disk.remove(self._segments[-1].path)
                self._reach("segment-dropped")
                self._disk.sync_folder(self._folder)
                self._segments.pop()
            self._terms = Terms(snapshot)
            self._sizes.clear()
            self.bytes = 0

    def leads_to(self, snapshot: Snapshot) -> bool:
        """Does it hold the snapshot's last entry?"""
        return self._terms.at(snapshot.index) == snapshot.term

    def renounce(self) -> None:
        """A snapshot is about to replace the log: from now on no file of it is missed."""
        if self._newest:
            self._note(REPLACED)

    def replaced(self) -> None:
        """A snapshot has replaced the log, also one that had not begun: from now on that one would be missed."""
        if not self._segments:
            self._note(REPLACED)

    def compact(self, index: int) -> None:
        """Remove the files of which a durable snapshot at or after `index` has made every entry superfluous.

        Nothing in a file matters from the next one's first index on: that one replaced it. The file that
        holds the entry `index` stays: recovery compares its term with the snapshot's. Recovery tolerates any
        of these files, and does not miss any; the removals are made durable all the same, lest crash after crash
        brings back more of them.
        """
        count = len(self._segments)
        while len(self._segments) > 1 and self._segments[1].first <= index:
            if self._segments[0].first == self._newest and not self._note_a_newer_one():
                break
            self._disk.remove(self._segments[0].path)
            self._reach("segment-compacted")
            del self._segments[0]
        if len(self._segments) < count:
            self._disk.sync_folder(self._folder)
        while self._sizes and self._sizes[0][0] <= index:
            self.bytes -= self._sizes.popleft()[1]
        self._terms.forget(index)

    def removable_bytes(self, index: int) -> int:
        """How much compact(index) would remove. For any thread; what it says may be a moment old."""
        segments = list(self._segments)
        return sum(segment.size for segment, after in zip(segments, segments[1:]) if after.first <= index)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _note_a_newer_one(self) -> bool:
        """There may have been no room to note it. Returns whether there is now, and a newer file."""
        newest = next((each.first for each in reversed(self._segments) if each.size), self._newest)
        with contextlib.suppress(DiskFullError):
            self._note(newest)
        return newest != self._segments[0].first and newest == self._newest

    def _note(self, newest: int) -> None:
        if newest != self._newest:
            self._note_newest(newest)
            self._newest = newest

    def _file_for(self, first: int) -> DiskFile:
        """The file that the entry `first` goes to."""
        current = self._segments[-1] if self._segments else None
        largest = self._segment_bytes // (SMALL if self._reserve.is_short else 1)
        is_full = current is not None and current.size >= largest and first > current.first
        if current is None or (is_full and not self._is_torn):
            self.close()
            path = os.path.join(self._folder, log_name(first))
            self._file = self._disk.create(path)
            self._reach("segment-created")
            self._disk.sync_folder(self._folder)
            self._segments.append(_Segment(path, first, 0))
        elif self._file is None:
            self._file = self._disk.update(current.path)
        if self._file is None:
            raise InvariantError("no log file is open")
        return self._file

    # -- recovery --------------------------------------------------------------------------------------------

    def recover(self, snapshot: Snapshot | None) -> list[Entry]:
        """Replay the files; returns the entries after `snapshot`. Raises DamagedDataError."""
        replay = Replay(snapshot.index if snapshot else 0)
        names = log_names(self._disk, self._folder)
        data = b""
        for name in names:
            path = os.path.join(self._folder, name)
            data = self._disk.read(path).rstrip(b"\0")
            whole = replay.read(path, int(name[:20]), data, name == names[-1])
            if data[whole:] not in (b"", MARKER):
                self.notices.append(f"cut a torn write off the end of {path}: {len(data) - whole} bytes")
            self._segments.append(_Segment(path, int(name[:20]), whole))
        self._check_newest()
        entries = replay.entries
        self._terms = Terms(snapshot)
        self._terms.extend(entries)
        self._write_last_anew(data)
        if snapshot is not None:
            entries = self._after(snapshot, entries, replay.first)
        self._measure(entries)
        return entries

    def _check_newest(self) -> None:
        """Raises DamagedDataError if the newest file that entries were acknowledged in is not there."""
        if self._newest > 0 and not any(each.first == self._newest and each.size for each in self._segments):
            path = os.path.join(self._folder, log_name(self._newest))
            raise damaged(path, "the newest file of the log is missing, or empty")

    def _write_last_anew(self, data: bytes) -> None:
        """Write the last file, which holds `data`, anew: up to its torn tail, if there is one.

        The marker is that with which the next write begins.
        """
        for name in self._disk.list_folder(self._folder):
            if name.endswith(".tmp") and _NAME.fullmatch(name[:-4]):
                self._disk.remove(os.path.join(self._folder, name))
        if self._segments:
            last = self._segments[-1]
            if last.size:
                anew = data[: last.size] + MARKER
                try:
                    replace_file(self._disk, last.path, anew, self._reach, "segment-rewrite")
                except DiskFullError:
                    self._reserve.find_room(lambda: self._rewrite_in_place(last, data))
            else:
                self._disk.remove(last.path)
                self._reach("segment-discarded")
                self._disk.sync_folder(self._folder)  # or it may come back, behind one that is torn then
                self._segments.pop()

    def _rewrite_in_place(self, last: _Segment, data: bytes) -> None:
        """There is no room for a second copy. Whatever a crash leaves of this, of each sector there is what
        was, which had been durable if it was acknowledged, or the same again; or zeros in the torn tail,
        which stays one."""
        temporary = last.path + ".tmp"
        if self._disk.exists(temporary):
            self._disk.remove(temporary)
        file = self._disk.update(last.path)
        try:
            file.write_at(0, data[: last.size] + bytes(len(data) - last.size))
            file.sync()
            file.write_at(last.size, MARKER)
            file.sync()
        finally:
            file.close()

    def _after(self, snapshot: Snapshot, entries: list[Entry], first: int) -> list[Entry]:
        """What is left of `entries`, the first of which is `first`, after `snapshot`."""
        count = len(self._segments)
        self.follow(snapshot)
        if count and not self._segments:
            self.notices.append(
                f"dropped a log up to entry {entries[-1].index if entries else 0}: {snapshot} replaced it"
            )
            return []
        self.compact(snapshot.index)
        return entries[max(0, snapshot.index + 1 - first) :]

    def _measure(self, entries: Sequence[Entry]) -> None:
        for start in range(0, len(entries), 256):
            some = entries[start : start + 256]
            size = sum([len(entry.line) for entry in some])
            self._sizes.append((some[-1].index, size))
            self.bytes += size


class Terms:
    """The terms of the entries on disk, as runs: they change seldom. After `snapshot`, if one is given."""

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self.last = snapshot.index if snapshot else 0
        # (first index, term) a run
        self._runs: list[tuple[int, int]] = [(self.last, snapshot.term)] if snapshot else []

    def at(self, index: int) -> int | None:
        """The term of the entry `index`; None if it is not known (any more), or not there."""
        if index <= self.last:
            for first, term in reversed(self._runs):
                if first <= index:
                    return term
        return None

    def extend(self, entries: Sequence[Entry]) -> None:
        """Put `entries` at the end, or in place of what is there from the first one's index on."""
        if not entries:
            return
        runs = self._runs
        while runs and runs[-1][0] >= entries[0].index:
            runs.pop()
        if not (runs and runs[-1][1] == entries[0].term == entries[-1].term):
            for entry in entries:
                if not runs or runs[-1][1] != entry.term:
                    if not (not runs or entry.term > runs[-1][1]):
                        raise InvariantError(f"entry {entry} follows one of term {runs[-1][1]}")
                    runs.append((entry.index, entry.term))
        self.last = entries[-1].index

    def forget(self, index: int) -> None:
        """The terms before that of `index` are not needed any more."""
        while len(self._runs) > 1 and self._runs[1][0] <= index:
            del self._runs[0]
