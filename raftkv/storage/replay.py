"""Replaying log files: what they add up to, and whether what is wrong with them is a torn tail or damage.

A file is lines, one an entry, and then zeros: space that is not used yet. No line holds a zero byte, so there
is no doubt where they end. Before the first line of each write there is a MARKER, a byte that JSON does not
contain. A write only begins when the one before it is durable, so **what is before a marker was durable
once**.

**A torn tail** is what a power cut can leave of the last write, and nothing else. Any sectors of that write
may have come to the disk, or its bytes up to any one (see disk.py); elsewhere there are zeros, or the file
ends. So a broken line is torn if

1. no marker follows: the write that it is of was the last one;
2. its bytes go on, without a newline, up to the end of the file, or of what is used of it, or up to a *hole*:
   a sector of zeros, or the rest of one if the line had not even begun. What follows a hole does not matter:
   the write can have gone on for many lines;
3. it is not a whole entry with another byte in place of its newline: nobody wrote that one.

It is cut off, and a notice says so. The whole lines before it stay: a log that holds the first entries of a
write is one that this node may have. All other damage is refused: to cut there would lose entries that were
acknowledged.

* No flipped bit in an entry looks torn, not even in the very last one. The line still has its newline, which
  2 forbids; or that is what was flipped, which 3 forbids. A bit that turns a byte into zero makes no hole of
  it.
* A lost sector is refused if a write began after it: in the last file by 1, in those before it in any case. A
  file that was written anew, all of it durable, ends with a marker for that reason.
* A lost sector of the last write of all cannot be told from one that never came to the disk. (In the unused
  space a flipped bit may be refused or cut off: nothing is lost.)

Files of the versions before, without markers and zeros, are read by the same rules.
"""

from __future__ import annotations

import re
import zlib

from raftkv.errors import CorruptEntryError, ForeignDataError, UnknownEntryError
from raftkv.raft.types import Entry
from raftkv.storage.disk import SECTOR
from raftkv.storage.sealed import damaged

MARKER = b"\t"  # begins each write to a log file

_END_OF_ENTRY = re.compile(rb",(\d{1,10})\]")


class Replay:
    """The log that results from reading the files in order. `first` is the index of `entries[0]`."""

    def __init__(self, snapshot_index: int) -> None:
        self._snapshot_index = snapshot_index
        self.entries: list[Entry] = []
        self.first = 1

    def read(self, path: str, name: int, data: bytes, is_last: bool) -> int:
        """Take in one file, of which `data` is all but the zeros at its end.

        Returns how many of its bytes are whole entries and their markers. Raises DamagedDataError or
        ForeignDataError.
        """
        position = 0
        entries, expected = self.entries, self.first + len(self.entries)
        term = entries[-1].term if entries else 0
        decode = Entry.decode
        for number, line in enumerate(data.splitlines(keepends=True), 1):
            try:
                entry = decode(line.removeprefix(MARKER))
            except UnknownEntryError:
                raise ForeignDataError(
                    f"{path}, line {number}: an entry that this version of raftkv does not know: nothing is lost; start "
                    "this node with the version that wrote it"
                ) from None
            except CorruptEntryError as error:
                if line == MARKER:  # at the end
                    break
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

    def _jump(self, entry: Entry, path: str, number: int) -> tuple[int, int]:
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
    if data.find(MARKER, position + 1) >= 0:
        return False
    hole = data.find(0, position)
    line = data[position:hole] if hole >= 0 else data[position:]
    if b"\n" in line or _begins_with_whole_entry(line):
        return False
    return hole < 0 or _is_unwritten(data, hole, begins=line in (b"", MARKER))


def _begins_with_whole_entry(line: bytes) -> bool:
    """Is `line` a whole entry, and then something in place of its newline?"""
    crc, position = 0, len(line) - len(line.removeprefix(MARKER))
    for match in _END_OF_ENTRY.finditer(line):
        crc = zlib.crc32(line[position : match.start()], crc)
        position = match.start()
        if int(match[1]) == crc:
            return match.end() < len(line)
    return False


def _is_unwritten(data: bytes, hole: int, begins: bool) -> bool:
    """Are there zeros from `hole` to the end of its sector? And do they begin where it does, or where a line
    does?"""
    end = hole - hole % SECTOR + SECTOR
    return (begins or hole % SECTOR == 0) and data.count(0, hole, end) == end - hole
