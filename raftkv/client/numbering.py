"""The numbers that a client gives its commands, so that a server can tell a repeated one from a new one.

The servers' view of them is in kvdb/session_table.py.
"""

from __future__ import annotations

from raftkv.kvdb.session_table import MAX_IN_FLIGHT


class Numbering:
    """The sequence numbers of one session: of the client `name`, with its `birth`."""

    __slots__ = ("_next", "_unanswered", "acked", "birth", "name")

    def __init__(self, name: str, birth: int) -> None:
        self.name, self.birth = name, birth
        self._next = 1  # the next one to be given out
        self.acked = 1  # the lowest number that is unanswered, or not given out yet
        self._unanswered: set[int] = set()

    def has_room(self) -> bool:
        """Whether the servers would take another number now."""
        return self._next < self.acked + MAX_IN_FLIGHT

    def take(self) -> int:
        """The next number."""
        seq = self._next
        self._next = seq + 1
        self._unanswered.add(seq)
        return seq

    def answered(self, seq: int) -> None:
        """The command with this number is answered, or given up."""
        unanswered = self._unanswered
        unanswered.discard(seq)
        if seq == self.acked:
            acked = seq + 1
            while acked not in unanswered and acked < self._next:
                acked += 1
            self.acked = acked

    def lend(self) -> int | None:
        """The next number, for somebody who counts on from there; None while any is unanswered. Nobody else
        takes a number until resume()."""
        return None if self._unanswered else self._next

    def resume(self, next_seq: int, unanswered: int | None) -> None:
        """Count on from `next_seq`. Of the numbers below, at most `unanswered` is still that."""
        self._next = next_seq
        self._unanswered = set() if unanswered is None else {unanswered}
        self.acked = next_seq if unanswered is None else unanswered
