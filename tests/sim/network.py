"""The simulated network: it loses, delays, doubles and reorders what it carries, and its links can be cut.

Every end has a name: a node's id, or a client's name. Cutting is per direction, and is counted: a link that
two partitions cut is whole again when both have ended.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Iterable
from typing import Any, Callable, NamedTuple, Union

from tests.sim.events import Events
from tests.sim.plan import Plan

End = Union[int, str]
Link = tuple[End, End]  # (from, to)

LONGEST_S = 3.0
RECENT = 300  # messages that a flood may repeat


class Letter(NamedTuple):
    """A message that may arrive in another life of its sender's and receiver's."""

    sender: int
    to: int
    cargo: Any


class Network:
    """The faults change `loss`, `doubling` and
    `slowness`."""

    def __init__(self, plan: Plan, events: Events, count: Counter[str]) -> None:
        self._rng = random.Random(f"{plan.seed}/network")
        self._plan, self._events, self._count = plan, events, count
        self._cuts: Counter[Link] = Counter()
        self._busy_until: dict[Link, float] = {}
        self.loss, self.doubling, self.tail, self.slowness = plan.loss, plan.doubling, plan.tail, 1.0
        self.recent: deque[Letter] = deque(maxlen=RECENT)

    def calm(self) -> None:
        """From now on nothing goes wrong."""
        self._cuts.clear()
        self._busy_until.clear()
        self.loss = self.doubling = self.tail = 0.0
        self.slowness = 1.0

    # -- links -----------------------------------------------------------------------------------------------

    def cut(self, links: Iterable[Link]) -> None:
        self._cuts.update(links)

    def mend(self, links: Iterable[Link]) -> None:
        for link in links:
            if self._cuts[link] > 0:  # else calm() was here meanwhile
                self._cuts[link] -= 1

    def is_cut(self, sender: End, to: End) -> bool:
        return bool(self._cuts) and self._cuts[sender, to] > 0

    # -- carrying --------------------------------------------------------------------------------------------

    def carry(self, sender: End, to: End, deliver: Callable[..., None], *args: Any) -> bool:
        """Bring something over, once: `deliver(*args)` is called when it arrives. False if it got lost."""
        if self.is_cut(sender, to) or (self.loss and self._rng.random() < self.loss):
            self._count["lost messages"] += 1
            return False
        self._events.schedule(self._delay_s(sender, to), deliver, *args)
        return True

    def carry_loosely(self, sender: End, to: End, deliver: Callable[..., None], *args: Any) -> bool:
        """The same, and perhaps a second time. For Raft messages, which may be doubled."""
        carried = self.carry(sender, to, deliver, *args)
        if carried and self.doubling and self._rng.random() < self.doubling:
            self._count["doubled messages"] += 1
            self._events.schedule(self._delay_s(sender, to) * 3, deliver, *args)
        return carried

    def _delay_s(self, sender: End, to: End) -> float:
        rng = self._rng
        delay_s = self._plan.delay_s * (0.5 + rng.random()) * self.slowness
        if self.tail and rng.random() < self.tail:
            delay_s = min(delay_s * rng.choice([5, 20, 100]), LONGEST_S)
        if self._plan.ordered:
            arrival = max(self._events.now + delay_s, self._busy_until.get((sender, to), 0.0))
            self._busy_until[sender, to] = arrival
            return arrival - self._events.now
        return delay_s


def pairs(some: Iterable[End], others: Iterable[End]) -> list[Link]:
    """All links from `some` to `others`."""
    others = list(others)
    return [(one, other) for one in some for other in others]
