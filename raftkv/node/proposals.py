"""Proposals: which client waits for which entry of the present leadership.

A leader's log grows only by its own proposals (after the no-op), one after the other, and now and then by a
configuration, for which nobody waits. So a queue is enough: what is committed is paired with those who wait, and
what is left when leadership ends is in doubt.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from raftkv.errors import InvariantError
from raftkv.raft.types import Entry


class Proposals:
    """Not thread-safe: the node's mutex is held round every call."""

    def __init__(self) -> None:
        self._term = 0  # of the leadership that all of these were proposed in
        self._first = 0  # the index of the entry that the first context waits for
        self._contexts: deque[Any] = deque()

    def add(self, first_index: int, term: int, contexts: Sequence[Any]) -> None:
        """`contexts` wait for the entries from `first_index` on, one each, proposed in `term`; None: nobody does."""
        if not self._contexts:
            self._first, self._term = first_index, term
        between = first_index - self._first - len(self._contexts)
        if between < 0 or term != self._term:
            raise InvariantError(f"proposal {first_index}@{term} does not follow the last one")
        if between:
            self._contexts.extend([None] * between)
        self._contexts.extend(contexts)

    def committed(self, entries: Sequence[Entry]) -> list[Any]:
        """Those who wait for `entries`, aligned to them with None where nobody does; [] if nobody does at
        all.

        An entry of another term than the one proposed is another entry: its index was overwritten by a new
        leader, and those who wait for it will be among the lost. (The state machine may apply what a context
        brings in place of the entry's data: a wrong pair would be another state, not only a wrong answer.)
        """
        if not self._contexts or entries[-1].index < self._first or entries[-1].term < self._term:
            return []
        contexts: list[Any] = [None] * (self._first - entries[0].index)
        for entry in entries[len(contexts) :]:
            if entry.term != self._term or not self._contexts:
                return contexts + [None] * (len(entries) - len(contexts))
            contexts.append(self._contexts.popleft())
            self._first += 1
        return contexts

    @property
    def are_waiting(self) -> bool:
        return bool(self._contexts)

    def lost(self) -> list[Any]:
        """Leadership ended: those still waiting, whose commands may or may not take effect."""
        lost = [context for context in self._contexts if context is not None]
        self._contexts.clear()
        return lost
