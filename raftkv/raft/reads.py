"""ReadQueue: the reads that wait for a leader to learn that it still leads (ReadIndex, thesis 6.4).

Reads are gathered while a round of heartbeats is under way, and go together with the next one:

    waiting --begin_round(commit)--> in round N, at index `commit` --confirm(N)--> confirmed
    --take_confirmed()

A read is only ever confirmed by a round that began after it arrived: an answer to an earlier round proves
nothing about now.
"""

from __future__ import annotations

from typing import Any


class ReadQueue:
    """Not thread-safe."""

    def __init__(self) -> None:
        self.round = 0  # the last round begun; every heartbeat carries it, so that a lost one heals
        self.confirmed: list[tuple[Any, int]] = []  # (context, index), not taken yet
        self.lost: list[Any] = []  # contexts of reads that nobody will answer, not taken yet
        self._waiting: list[Any] = []
        self._in_round: list[tuple[Any, int]] = []

    @property
    def empty(self) -> bool:
        """Is nothing waiting for a round or in one?"""
        return not (self._waiting or self._in_round)

    @property
    def under_way(self) -> int:
        """The round that waits for answers, or 0."""
        return self.round if self._in_round else 0

    def add(self, context: Any) -> None:
        self._waiting.append(context)

    def begin_round(self, commit: int) -> bool:
        """Put the waiting reads into a new round, at the commit index of now. False if there is nothing to
        begin."""
        if self._in_round or not self._waiting:
            return False
        self.round += 1
        self._in_round = [(context, commit) for context in self._waiting]
        self._waiting = []
        return True

    def confirm(self, round: int) -> bool:
        """A majority has answered `round`. Says whether that is the one under way."""
        if not self._in_round or round < self.round:
            return False
        self.confirmed += self._in_round
        self._in_round = []
        return True

    def take_confirmed(self) -> list[tuple[Any, int]]:
        confirmed, self.confirmed = self.confirmed, []
        return confirmed

    def take_lost(self) -> list[Any]:
        lost, self.lost = self.lost, []
        return lost

    def clear(self) -> None:
        """Leadership ended or began: nobody may answer these reads from here any more."""
        self.lost += [context for context, _ in self.confirmed + self._in_round] + self._waiting
        self.confirmed, self._waiting, self._in_round = [], [], []
