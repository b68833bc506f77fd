"""Client sessions: each command takes effect once, however often it arrives (thesis section 6.3).

A client has a *name*, drawn at random, and a *birth*: an applied index that some server told it before its first
command. Both are fixed together and go with every command, so the first one begins the session, and a client that
writes once makes one log entry. The client numbers its commands (`seq`), may have several in flight, and repeats one
until it has the answer. The session remembers the outcome of each command that the client may still repeat; the client
says with every command up to where it will not (`acked`: the lowest number that it still waits for).

The table is part of the replicated state, so every rule here depends on the log alone. What may be forgotten:

- Outcomes below `acked`: the client has them, or gave them up. A command below it is refused: STALE_SEQUENCE.
- Whole sessions, when there are more than MAX_SESSIONS of them or all together remember more than MAX_BYTES: first
  those of clients that sent one command, so that short-lived clients never push out long-lived ones; of these, and then
  of the others, the one that was used longest ago.

The *horizon* is the greatest birth of all sessions that were ever forgotten. A name that is not known begins a session
only if horizon < birth < the index of its entry. So nothing is applied twice: a command that was applied under a session
which is forgotten since has a birth up to the horizon, however often it comes again. And nobody is shut out: no birth is
above the horizon's own entry, so the next index that a server tells is beyond the horizon. Whoever is refused hears
SESSION_EXPIRED with such an index: this attempt was *not* applied.

One client cannot push out the others: it has at most MAX_IN_FLIGHT numbers and MAX_SESSION_BYTES of outcomes
at a time, beyond which it is told TOO_MANY_IN_FLIGHT (and the command is not applied: it may be sent again
later).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

from raftkv.errors import SESSION_EXPIRED, STALE_SEQUENCE, TOO_MANY_IN_FLIGHT
from raftkv.kvdb.outcomes import RESULT_BYTES, Outcome, from_plain, memory_of, refused

MAX_SESSIONS = 10_000
MAX_IN_FLIGHT = 1024  # sequence numbers from a session's floor on
MAX_BYTES = 64 << 20  # of outcomes remembered by all sessions,
MAX_SESSION_BYTES = MAX_BYTES // 4  # and one begins no command with more than this
SESSION_BYTES = 640  # of memory that a session takes beside them; measured, with some to spare

_STALE = refused(STALE_SEQUENCE, "this client said before that it waits no longer for this command")
_TOO_MANY = refused(
    TOO_MANY_IN_FLIGHT, "this client has too many commands in flight; this one was not applied"
)


def expired(birth: int) -> Outcome:
    """`birth`: an applied index with which the client can begin anew."""
    why = "this client's session is not, or no longer, known; this attempt was not applied"
    return refused(SESSION_EXPIRED, why, {"birth": birth})


class Session:
    """One client's memory.

    Every command below `floor` is answered; `outcomes` has what became of those from there on, in the order
    of the log, and `sizes` the bytes of memory of those that take more than RESULT_BYTES; `size` is the sum.
    """

    __slots__ = ("birth", "commands", "floor", "outcomes", "size", "sizes")

    def __init__(self, birth: int, commands: int = 0) -> None:
        self.birth = birth
        self.commands = commands  # that were carried out: 0, 1, or 2 for more
        self.floor = 0
        self.outcomes: dict[int, Outcome] = {}
        self.sizes: dict[int, int] = {}
        self.size = 0

    def copy(self) -> Session:
        copy = Session(self.birth, self.commands)
        copy.floor, copy.outcomes, copy.size = self.floor, self.outcomes.copy(), self.size
        copy.sizes = self.sizes.copy()
        return copy

    def keep(self, seq: int, outcome: Outcome) -> int:
        """Remember an outcome. Returns by how much `size` grew."""
        size = RESULT_BYTES
        if type(outcome[1]) is not int:  # mostly it is: a revision
            size = memory_of(outcome)
            if size != RESULT_BYTES:
                self.sizes[seq] = size
        self.outcomes[seq] = outcome
        self.size += size
        return size

    def forget_below(self, acked: int) -> int:
        """Raise the floor to `acked`; returns by how much `size` shrank."""
        # A client that is answered in order moves its floor by one. But it can also jump by 2**60.
        if acked - self.floor <= len(self.outcomes):
            forgotten: Iterable[int] = range(self.floor, acked)
        else:
            forgotten = [seq for seq in self.outcomes if seq < acked]
        shrunk, sizes = 0, self.sizes
        for seq in forgotten:
            if self.outcomes.pop(seq, None) is not None:
                shrunk += sizes.pop(seq, RESULT_BYTES) if sizes else RESULT_BYTES
        self.floor = acked
        self.size -= shrunk
        return shrunk


class Sessions:
    """All clients' sessions. Not thread-safe. `horizon`: the greatest birth of those that were forgotten.

    While a snapshot is taken, `_undumped` holds the sessions as they were at its start. A session that is
    used before it was dumped is copied there first (copy-on-write), so that no moment has to copy all of
    them.
    """

    def __init__(self) -> None:
        self.horizon = 0
        # By name, least recently used first: those with one command, and those with more.
        self._once: OrderedDict[str, Session] = OrderedDict()
        self._often: OrderedDict[str, Session] = OrderedDict()
        self._size = 0
        self._undumped: dict[str, Session] | None = None
        self._recalled = Session(0)  # by the latest recall()

    def __len__(self) -> int:
        return len(self._once) + len(self._often)

    @property
    def data_bytes(self) -> int:
        """About the memory that they take."""
        return len(self) * SESSION_BYTES + self._size

    def admits(self, name: str) -> bool:
        """Whether it is known. A command of one that is not, with a birth up to the horizon, is refused as expired, now
        and ever. May be called at any time."""
        return name in self._often or name in self._once

    def recall(self, index: int, name: str, birth: int, seq: int, acked: int) -> Outcome | None:
        """The outcome of a command that must not be applied, now or again; None when it must be applied now, as the
        entry `index`.

        The client counts as used, and `acked` as said, in any case.
        """
        sessions = self._often
        session = sessions.get(name)
        if session is None:
            sessions = self._once
            session = sessions.get(name)
        if session is None:
            if not self.horizon < birth < index:
                return expired(index)
            session = self._once[name] = Session(birth)
            self._make_room()
        elif session.birth != birth:
            return expired(index)
        sessions.move_to_end(name)
        if self._undumped is not None and self._undumped.get(name) is session:
            self._undumped[name] = session.copy()
        if acked > session.floor:
            self._size -= session.forget_below(acked)
        outcome = session.outcomes.get(seq)
        if outcome is not None:
            return outcome
        if seq < session.floor:
            return _STALE
        if seq >= session.floor + MAX_IN_FLIGHT or session.size > MAX_SESSION_BYTES:
            return _TOO_MANY
        self._recalled = session
        return None

    def remember(self, name: str, seq: int, outcome: Outcome) -> None:
        """Keep the outcome of a command for which recall() has just returned None."""
        session = self._recalled
        if session.commands < 2:
            session.commands += 1
            if session.commands > 1:
                self._often[name] = self._once.pop(name)
        self._size += session.keep(seq, outcome)
        if self._size > MAX_BYTES:
            self._make_room()

    def _make_room(self) -> None:
        # Ends before the session in use, which is the last one of its kind: alone it is within both limits.
        while len(self) > MAX_SESSIONS or self._size > MAX_BYTES:
            sessions = self._once if len(self._once) > 1 else self._often
            _, session = sessions.popitem(last=False)
            self._size -= session.size
            self.horizon = max(self.horizon, session.birth)

    def clear(self) -> None:
        """Forget all sessions, one by one: see Store.clear()."""
        for sessions in (self._once, self._often):
            while sessions:
                sessions.popitem()
        self._size = 0

    # -- snapshots -------------------------------------------------------------------------------------------

    def begin_snapshot(self) -> Iterator[list[Any]]:
        """Rows that describe the sessions as they are now, for restore_rows() in this order.

        [name, birth, floor, commands] opens a session, least recently used first; [name, seq, outcome] adds to it. The
        iterator may be used while sessions change, but not at the same moment. Follow it with end_snapshot().
        """
        self._undumped = {**self._once, **self._often}
        return self._rows(self._undumped)

    def end_snapshot(self) -> None:
        self._undumped = None

    @staticmethod
    def _rows(undumped: dict[str, Session]) -> Iterator[list[Any]]:
        for name in list(undumped):
            session = undumped.pop(name)
            outcomes = list(session.outcomes.items())  # from here on the session may change
            yield [name, session.birth, session.floor, session.commands]
            for seq, outcome in outcomes:
                yield [name, seq, outcome]

    def restore_rows(self, rows: Iterable[list[Any]]) -> None:
        """Take over the sessions of a snapshot; may be called with one part of the rows after the other."""
        for row in rows:
            if len(row) == 4:
                name, birth, floor, commands = row
                session = Session(birth, commands)
                session.floor = floor
                (self._often if commands > 1 else self._once)[name] = session
            else:
                name, seq, outcome = row
                session = self._often.get(name) or self._once[name]
                self._size += session.keep(seq, from_plain(outcome))
