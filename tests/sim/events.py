"""Events: what happens, one thing after the other, on a virtual clock."""

from __future__ import annotations

import heapq
import itertools
import math
from typing import Any, Callable

from tests.sim.fiber import Fiber, Fibers


class Events:
    """`now`: in seconds. `events`: how many there were. `fibers`: the calls that they may stop in."""

    def __init__(self) -> None:
        self.now = 0.0
        self.events = 0
        self.fibers = Fibers()
        self._queue: list[tuple[float, int, Callable[..., None], tuple]] = []
        self._order = itertools.count()

    def schedule(self, delay_s: float, action: Callable[..., None], *args: Any) -> None:
        """`action(*args)` happens after `delay_s` seconds. Events of one moment happen in the order of these
        calls."""
        heapq.heappush(self._queue, (self.now + delay_s, next(self._order), action, args))

    @property
    def next_at(self) -> float:
        """When the next event is; infinity if there is none."""
        return self._queue[0][0] if self._queue else math.inf

    def step(self) -> None:
        """The next event."""
        self.now, _, action, args = heapq.heappop(self._queue)
        self.events += 1
        action(*args)

    def skip_to(self, fiber: Fiber) -> bool:
        """Is the next event that `fiber`, which is about to be suspended, goes on? Then this has happened."""
        if self._queue[0][3] != (fiber, fiber.resumed) or not self.fibers.goes_on:
            return False
        self.now = heapq.heappop(self._queue)[0]
        self.events += 1
        return True
