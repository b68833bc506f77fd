"""RaftLog: the log in memory, and how far it is durable, committed and applied.

Invariants, always:

* `snapshot.index == first_index - 1`: what is not here any more is in the snapshot.
* `last_index == snapshot.index + len(entries)`. Both are kept and not computed: they are asked for dozens of
  times a command.
* `entries[i].index == first_index + i`: no gaps. Terms never decrease from one entry to the next.
* `snapshot.index <= applied <= commit <= last_index`.
* `stable <= last_index`: entries after it are not known to be on this node's own disk.
  (`commit` may be beyond `stable`: a majority of others can commit an entry first, thesis 10.2.1.)
* Entries up to `commit` never change and are never removed, other than into the snapshot.
* `_ends[i]` is the number of bytes of all entries that ever were before `entries[i]`, so that the bytes of any
  stretch are known without walking through it. There is one more of them than of entries.
* `configuration` is the newest in the log, committed or not (thesis 4.1), or else the snapshot's;
  `configuration_index` is that of its entry, or of the snapshot.

Not thread-safe; no I/O.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence

from raftkv.errors import InvariantError
from raftkv.raft.configuration import Configuration
from raftkv.raft.types import CONFIG, Entry, Snapshot, unknown_entry

FREED_AT_ONCE = 10_000  # entries: about a millisecond


class RaftLog:
    """The entries after `snapshot`, all of which are durable when the log is created (they were
    recovered)."""

    def __init__(self, snapshot: Snapshot, entries: Sequence[Entry] = ()) -> None:
        self._dropped: list[list[Entry]] = []  # what is not of the log any more, and not yet freed
        self.commit = self.applied = snapshot.index
        self._hold(snapshot, list(entries))
        self.stable = self.last_index
        self._note_configurations(self.entries)

    def _hold(self, snapshot: Snapshot, entries: list[Entry]) -> None:
        """From now on the log is `entries` after `snapshot`."""
        self.snapshot, self.entries = snapshot, entries
        self.first_index = snapshot.index + 1  # of the first entry that is still here, or will be
        self.last_index = snapshot.index + len(entries)
        self._ends = array("q", [0])
        self._measure(entries)
        self._hold_configurations([])

    def _hold_configurations(self, configurations: Sequence[tuple[int, Configuration]]) -> None:
        """Those of the entries held here, with their indexes."""
        self._configurations = [(self.snapshot.index, self.snapshot.configuration), *configurations]
        self.configuration_index, self.configuration = self._configurations[-1]

    def _measure(self, entries: Sequence[Entry]) -> None:
        ends = self._ends
        end = ends[-1]
        for entry in entries:
            end += len(entry.line)
            ends.append(end)

    # -- asking ----------------------------------------------------------------------------------------------

    @property
    def bytes(self) -> int:
        """Of the encoded entries held here."""
        return self.bytes_of(self.first_index, self.last_index)

    def bytes_of(self, low: int, high: int) -> int:
        """The bytes of the entries low..high, both included. They are held here; none if `high` is low - 1."""
        return self._ends[high + 1 - self.first_index] - self._ends[low - self.first_index]

    @property
    def last_term(self) -> int:
        return self.entries[-1].term if self.entries else self.snapshot.term

    def configuration_at(self, index: int) -> Configuration:
        """The configuration in force once the entry `index` is in the log."""
        for at, configuration in reversed(self._configurations):
            if at <= index:
                return configuration
        return self.snapshot.configuration

    def configurations_from(self, index: int) -> list[Configuration]:
        """That of configuration_at(index), and those after it."""
        later = [configuration for at, configuration in self._configurations if at > index]
        return [self.configuration_at(index), *later]

    def term(self, index: int) -> int | None:
        """The term of the entry `index`; None if it is compacted away or not there yet."""
        if self.first_index <= index <= self.last_index:
            return self.entries[index - self.first_index].term
        return self.snapshot.term if index == self.snapshot.index else None

    def slice(self, low: int, high: int, max_bytes: int | None = None) -> list[Entry]:
        """The entries low..high, both included: fewer when they exceed `max_bytes`, but at least one."""
        if not (self.first_index <= low <= high + 1):
            raise InvariantError(f"entries {low}..{high} asked of a log from {self.first_index}")
        start, end = low - self.first_index, high + 1 - self.first_index
        if max_bytes is not None and start < end:
            end = max(start + 1, bisect_right(self._ends, self._ends[start] + max_bytes, start, end + 1) - 1)
        return self.entries[start:end]

    def is_up_to_date(self, last_index: int, last_term: int) -> bool:
        """Is a log that ends so at least as complete as this one? The election restriction (paper 5.4.1)."""
        return (last_term, last_index) >= (self.last_term, self.last_index)

    def find_conflict(self, entries: Sequence[Entry]) -> int:
        """The index of the first of `entries` that this log lacks or has of another term; 0 if it has them
        all."""
        for entry in entries:
            if self.term(entry.index) != entry.term:
                return entry.index
        return 0

    def find_conflict_by_term(self, index: int, term: int) -> tuple[int, int]:
        """The last (index, term) at or before `index` whose term is not above `term`.

        If the other log has `term` at `index`, all after this place differs for certain: a whole divergent
        term is skipped in one step (paper 5.3, end). The term is 0 where it is compacted away.
        """
        low, high = self.first_index, min(index, self.last_index) + 1  # terms only rise: halve the range
        while low < high:
            middle = (low + high) // 2
            if self.entries[middle - self.first_index].term > term:
                high = middle
            else:
                low = middle + 1
        index = min(index, low - 1)
        return index, self.term(index) or 0

    # -- changing --------------------------------------------------------------------------------------------

    def append(self, entries: Sequence[Entry]) -> None:
        """Put `entries` at the end; where the first one's index is taken, it and all after it are
        replaced."""
        if not entries:
            return
        index = entries[0].index
        if index <= self.commit:
            raise InvariantError(f"entry {index} would replace a committed one (commit is {self.commit})")
        if index > self.last_index + 1:
            raise InvariantError(f"entry {index} would leave a gap after {self.last_index}")
        if index <= self.last_index:
            self._truncate(index)
        self.entries.extend(entries)
        self.last_index += len(entries)
        self._measure(entries)
        self._note_configurations(entries)

    def stable_to(self, entry: Entry) -> None:
        """`entry` and all before it are durable here.

        Ignored unless it is the very entry that the log holds: an equal one that was replaced while it was on
        its way to the disk, and came back since, is on its way again.
        """
        offset = entry.index - self.first_index
        if entry.index > self.stable and offset < len(self.entries) and self.entries[offset] is entry:
            self.stable = entry.index

    def commit_to(self, index: int) -> None:
        if index > self.last_index:
            raise InvariantError(f"commit {index} is beyond the last entry {self.last_index}")
        self.commit = max(self.commit, index)

    def applied_to(self, index: int) -> None:
        if not (self.applied <= index <= self.commit):
            raise InvariantError(f"applied {index} is not in {self.applied}..{self.commit}")
        self.applied = index

    def compact(self, index: int) -> None:
        """Forget the entries up to `index`: a durable snapshot at or after it stands for them."""
        if index <= self.snapshot.index:
            return
        if index > self.applied:
            raise InvariantError(f"compacting to {index}, but only {self.applied} is applied")
        term = self.term(index)
        if term is None:
            raise InvariantError("the term of the last entry in the snapshot is not known")
        snapshot = Snapshot(index, term, self.configuration_at(index))
        forgotten = index - self.snapshot.index
        del self.entries[:forgotten], self._ends[:forgotten]
        self.snapshot, self.first_index = snapshot, index + 1
        self.stable = max(self.stable, index)
        self._hold_configurations([(at, c) for at, c in self._configurations if at > index])

    def restore(self, snapshot: Snapshot) -> None:
        """Begin again from `snapshot`, which is durable and newer than `commit` (paper section 7).

        Entries after it are kept if the log holds its last entry with the same term.
        """
        if snapshot.index <= self.commit:
            raise InvariantError(f"{snapshot} is older than commit {self.commit}")
        if self.term(snapshot.index) == snapshot.term:
            kept, configurations = self.slice(snapshot.index + 1, self.last_index), self._configurations
        else:
            kept, configurations = [], []
        self.stable = max(self.stable, snapshot.index) if kept else snapshot.index
        self._drop(self.entries)
        self._hold(snapshot, kept)
        self.commit = self.applied = snapshot.index
        self._hold_configurations([(at, c) for at, c in configurations if at > snapshot.index])

    def _truncate(self, index: int) -> None:
        """Remove the entry `index` and all after it."""
        kept = index - self.first_index
        self._drop(self.entries[kept:])
        del self.entries[kept:], self._ends[kept + 1 :]
        self.last_index = index - 1
        self.stable = min(self.stable, index - 1)
        if self.configuration_index >= index:
            self._hold_configurations([(at, c) for at, c in self._configurations[1:] if at < index])

    def _drop(self, entries: list[Entry]) -> None:
        """They are not of the log any more. Many are freed later."""
        if len(entries) > FREED_AT_ONCE:
            self._dropped.append(entries)

    def free_dropped(self) -> None:
        """Free some of what was dropped. To be called often: to free a million entries in one go takes a tenth of
        a second, in which nothing else runs."""
        if self._dropped:
            del self._dropped[-1][-FREED_AT_ONCE:]
            if not self._dropped[-1]:
                self._dropped.pop()

    def _note_configurations(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.kind == CONFIG:
                try:
                    configuration = Configuration.from_plain(entry.data)
                except (ValueError, TypeError) as error:  # recovered; what others send was looked at
                    raise unknown_entry(entry, str(error)) from None
                self.configuration_index, self.configuration = entry.index, configuration
                self._configurations.append((entry.index, configuration))
