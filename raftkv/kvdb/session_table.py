"""Client sessions: each command takes effect once, however often it arrives (thesis section 6.3).

A client registers through the log; the index of that entry is its id. It numbers its commands (`seq`), may
have several in flight, and repeats one until it has the answer. The session remembers the outcome of each
command that the client may still repeat; the client says with every command up to where it will not (`acked`:
the lowest number that it still waits for).

The table is part of the replicated state, so every rule here depends on the log alone. What may be forgotten:

- Outcomes below `acked`: the client has them, or gave them up. A command below it is refused: STALE_SEQUENCE.
- The session that was used longest ago, when there are more than MAX_SESSIONS of them or all together
  remember more than MAX_RESULTS. Its client is told SESSION_EXPIRED at its next command, which is *not*
  applied, since nobody knows any more whether an earlier attempt was. Nothing is ever applied twice.

One client cannot push out the others: it has at most MAX_IN_FLIGHT numbers and MAX_SESSION_RESULTS outcomes
at a time, beyond which it is told TOO_MANY_IN_FLIGHT (and the command is not applied: it may be sent again
later).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

from raftkv.errors import SESSION_EXPIRED, STALE_SEQUENCE, TOO_MANY_IN_FLIGHT
from raftkv.kvdb.outcomes import Outcome, from_plain, refused, results_in

MAX_SESSIONS = 10_000
MAX_IN_FLIGHT = 1024  # sequence numbers from a session's floor on
MAX_RESULTS = 1_000_000  # remembered by all sessions; a batch has one for each of its operations
MAX_SESSION_RESULTS = MAX_RESULTS // 4
SESSION_BYTES = 448  # of memory that a session takes, and an outcome; measured, with some to spare
RESULT_BYTES = 128

_EXPIRED = refused(
    SESSION_EXPIRED, "this client is not, or no longer, registered; this attempt was not applied"
)
_STALE = refused(STALE_SEQUENCE, "this client said before that it waits no longer for this command")
_TOO_MANY = refused(
    TOO_MANY_IN_FLIGHT, "this client has too many commands in flight; this one was not applied"
)


class Session:
    """One client's memory.

    Every command below `floor` is answered; `outcomes` has what became of those from there on, in the order
    of the log; `size` counts them, each operation of a batch for one.
    """

    __slots__ = ("floor", "outcomes", "size")

    def __init__(self) -> None:
        self.floor = 0
        self.outcomes: dict[int, Outcome] = {}
        self.size = 0

    def copy(self) -> Session:
        copy = Session()
        copy.floor, copy.outcomes, copy.size = self.floor, self.outcomes.copy(), self.size
        return copy

    def forget_below(self, acked: int) -> int:
        """Raise the floor to `acked`; returns by how much `size` shrank."""
        # A client that is answered in order moves its floor by one. But it can also jump by 2**60.
        if acked - self.floor <= len(self.outcomes):
            forgotten: Iterable[int] = range(self.floor, acked)
        else:
            forgotten = [seq for seq in self.outcomes if seq < acked]
        shrunk = 0
        for seq in forgotten:
            outcome = self.outcomes.pop(seq, None)
            if outcome is not None:
                shrunk += results_in(outcome)
        self.floor = acked
        self.size -= shrunk
        return shrunk


class Sessions:
    """All clients' sessions, least recently used first. Not thread-safe.

    While a snapshot is taken, `_undumped` holds the sessions as they were at its start. A session that is
    used before it was dumped is copied there first (copy-on-write), so that no moment has to copy all of
    them.
    """

    def __init__(self) -> None:
        self._sessions: OrderedDict[int, Session] = OrderedDict()
        self._size = 0
        self._undumped: dict[int, Session] | None = None

    @property
    def results(self) -> int:
        """How many outcomes are remembered."""
        return self._size

    @property
    def data_bytes(self) -> int:
        """About the memory that they take."""
        return len(self._sessions) * SESSION_BYTES + self._size * RESULT_BYTES

    def register(self, client: int) -> None:
        """Open the session of a new client."""
        self._sessions[client] = Session()
        self._expire()

    def recall(self, client: int, seq: int, acked: int, size: int) -> Outcome | None:
        """The outcome of a command that must not be applied, now or again; None when it must be applied now.

        `size` is the number of its operations. The client counts as used, and `acked` as said, in any case.
        """
        session = self._sessions.get(client)
        if session is None:
            return _EXPIRED
        self._sessions.move_to_end(client)
        if self._undumped is not None and self._undumped.get(client) is session:
            self._undumped[client] = session.copy()
        if acked > session.floor:
            self._size -= session.forget_below(acked)
        outcome = session.outcomes.get(seq)
        if outcome is not None:
            return outcome
        if seq < session.floor:
            return _STALE
        if seq >= session.floor + MAX_IN_FLIGHT or session.size + size > MAX_SESSION_RESULTS:
            return _TOO_MANY
        return None

    def remember(self, client: int, seq: int, outcome: Outcome) -> None:
        """Keep the outcome of a command for which recall() has just returned None."""
        session, size = self._sessions[client], results_in(outcome)
        session.outcomes[seq] = outcome
        session.size += size
        self._size += size
        if self._size > MAX_RESULTS:
            self._expire()

    def _expire(self) -> None:
        # Ends before the session in use: that one alone is within both limits.
        while len(self._sessions) > MAX_SESSIONS or self._size > MAX_RESULTS:
            _, session = self._sessions.popitem(last=False)
            self._size -= session.size

    def clear(self) -> None:
        """Forget all sessions, one by one: see Store.clear()."""
        while self._sessions:
            self._sessions.popitem()
        self._size = 0

    # -- snapshots -------------------------------------------------------------------------------------------

    def begin_snapshot(self) -> Iterator[list[Any]]:
        """Rows that describe the sessions as they are now, for restore_rows() in this order.

        [client, floor] opens a session, least recently used first; [client, seq, outcome] adds to it. The
        iterator may be used while sessions change, but not at the same moment. Follow it with end_snapshot().
        """
        self._undumped = dict(self._sessions)
        return self._rows(self._undumped)

    def end_snapshot(self) -> None:
        self._undumped = None

    @staticmethod
    def _rows(undumped: dict[int, Session]) -> Iterator[list[Any]]:
        for client in list(undumped):
            session = undumped.pop(client)
            outcomes = list(session.outcomes.items())  # from here on the session may change
            yield [client, session.floor]
            for seq, outcome in outcomes:
                yield [client, seq, outcome]

    def restore_rows(self, rows: Iterable[list[Any]]) -> None:
        """Take over the sessions of a snapshot; may be called with one part of the rows after the other."""
        for client, number, *outcome in rows:
            if outcome:
                self.remember(client, number, from_plain(outcome[0]))
            else:
                self._sessions[client] = session = Session()
                session.floor = number
