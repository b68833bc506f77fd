"""Replaying log files: what they add up to, and whether what is wrong with them is a torn tail or damage.

**A torn tail** is what a power cut can leave of the last write, and nothing else: a last line without its
end, or with a whole disk sector of zeros in it (the file had grown, the sector was never written). It is cut
off, and a notice says so. No single flipped bit looks like that, not even one in the very last line.
Everything else is damage and is refused: to cut there would lose entries that were acknowledged.
"""

from __future__ import annotations

import re
import zlib
from typing import List, Tuple

from raftkv.errors import CorruptEntryError
from raftkv.raft.sealed import damaged
from raftkv.raft.types import Entry

SECTOR = 512  # bytes that a disk writes whole or not at all

_END_OF_ENTRY = re.compile(rb",(\d{1,10})\]")


class Replay:
    """The log that results from reading the files in order. `first` is the index of `entries[0]`."""

    def __init__(self, snapshot_index: int) -> None:
        self._snapshot_index = snapshot_index
        self.entries: List[Entry] = []
        self.first = 1

    def read(self, path: str, name: int, data: bytes, is_last: bool) -> int:
        """Take in one file; returns how many of its bytes are whole entries. Raises DamagedDataError."""
        position = 0
        entries, expected = self.entries, self.first + len(self.entries)
        term = entries[-1].term if entries else 0
        decode = Entry.decode
        for number, line in enumerate(data.splitlines(keepends=True), 1):
            try:
                entry = decode(line)
            except CorruptEntryError as error:
                if is_last and is_torn(data, position):
                    break
                raise damaged(path, str(error), number) from None
            if number == 1 and entry.index != name:
                raise damaged(path, f"the first entry is {entry}, which the file is not named for", number)
            if entry.index != expected:
                expected, term = self._jump(entry, path, number)
            if entry.term < term:
                raise damaged(path, f"the entry {entry} follows one of the later term {term}", number)
            entries.append(entry)
            position += len(line)
            expected += 1
            term = entry.term
        if not position and not is_last:
            raise damaged(path, "it is empty, but it is not the last file of the log")
        return position

    def _jump(self, entry: Entry, path: str, number: int) -> Tuple[int, int]:
        """Make `entry` the next one; returns its index and the term of the one before it."""
        entries, last = self.entries, self.first + len(self.entries) - 1
        if entry.index > last and entry.index > self._snapshot_index + 1:
            end = max(last, self._snapshot_index)
            raise damaged(path, f"entries are missing between {end} and this one, {entry.index}", number)
        if entry.index > last or entry.index <= self.first:
            entries.clear()  # all are replaced, or the snapshot stands for them and for what is missing
            self.first = entry.index
        else:
            del entries[entry.index - self.first :]
        return entry.index, entries[-1].term if entries else 0


def is_torn(data: bytes, position: int) -> bool:
    """Can a power cut during the last write have left the broken line of `data` that begins at `position`?"""
    line = data[position:]
    if b"\n" in line[:-1] or _begins_with_whole_entry(line):
        return False
    return not line.endswith(b"\n") or _has_unwritten_sector(data, position)


def _begins_with_whole_entry(line: bytes) -> bool:
    """Is `line` a whole entry, but for its newline, which is another byte now?"""
    crc = position = 0
    for match in _END_OF_ENTRY.finditer(line):
        crc = zlib.crc32(line[position : match.start()], crc)
        position = match.start()
        if int(match[1]) == crc:
            return line[match.end() : match.end() + 1] not in (b"", b"\0")  # these two: it was never written
    return False


def _has_unwritten_sector(data: bytes, position: int) -> bool:
    """Is there a disk sector whose part from `position` on is zeros? (No entry holds a zero byte.)"""
    start = position
    while start < len(data):
        end = min(start - start % SECTOR + SECTOR, len(data))
        if data.count(0, start, end) == end - start:
            return True
        start = end
    return False
