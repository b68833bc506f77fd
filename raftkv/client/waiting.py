"""Waiting: the commands of a client that wait to be sent."""

from __future__ import annotations

import heapq
from collections import deque

from raftkv.client.command import Command
from raftkv.client.numbering import Numbering


class Waiting:
    """Those that need only a leader come first, the oldest of those with the fewest timeouts before the others.
    Writes that need a number, too, follow in the order in which they came. Not thread-safe."""

    def __init__(self) -> None:
        self._ready: list[Command] = []  # a heap
        self._unnumbered: deque[Command] = deque()

    def __bool__(self) -> bool:
        return bool(self._ready or self._unnumbered)

    def add(self, command: Command) -> None:
        heapq.heappush(self._ready, command)

    def add_unnumbered(self, command: Command) -> None:
        """A write without a number."""
        self._unnumbered.append(command)

    def has_unnumbered(self) -> bool:
        return bool(self._unnumbered)

    def next(self, numbering: Numbering | None) -> Command | None:
        """Takes out the next one that may be sent, if `numbering` gives the numbers."""
        while self._ready:
            command = heapq.heappop(self._ready)
            if not command.done:
                return command
        while self._unnumbered and numbering is not None and numbering.has_room():
            command = self._unnumbered.popleft()
            if not command.done:
                return command
        return None

    def take_unnumbered(self) -> list[Command]:
        """All that need a number; none is left."""
        taken, self._unnumbered = list(self._unnumbered), deque()
        return taken

    def take_all(self) -> list[Command]:
        taken = [*self.take_unnumbered(), *self._ready]
        self._ready = []
        return taken
