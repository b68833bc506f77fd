"""The course's network: who reaches whom, what gets lost or late, and how many requests there were.

It has the numbers of the course's own RPC package. There a call is a request and its reply; here Raft's
messages are one-way (docs/divergence.md), so what holds for requests is applied to REQUESTS, and what holds
for replies to the rest.

    reliable         everything arrives, after a moment
    unreliable       a request takes 0 to 26 ms longer; a request, and a reply, is lost once in ten times
    long_reordering  two replies of three take another 0.2 s to 2.4 s

The hello that begins a connection between peers, and the news that one ended, are the transport's, and get
lost only where the link is cut.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Hashable
from typing import Any, Callable, Union

from raftkv.node.wire import to_plain
from raftkv.raft.messages import AppendEntries, Heartbeat, InstallSnapshot, RequestPreVote, RequestVote
from raftkv.rpc.wire import dumps, frame

REQUESTS = frozenset(
    cls.__name__ for cls in (RequestPreVote, RequestVote, AppendEntries, Heartbeat, InstallSnapshot)
)

DELAY_S = (0.0002, 0.0008)  # of everything: what a local network takes
SHORT_DELAY_MS = 27
LOST_OF_1000 = 100

End = Union[int, str]


class Network:
    """`schedule(delay_s, action, *args)` is the world's. Ends of one group reach each other.

    `requests` counts the requests that came to each server, `bytes` everything that servers said to each
    other, as frames on the wire (counted only if `count_bytes`). `forget` and `recent` are what tests/sim
    expects of a network.
    """

    def __init__(self, rng: random.Random, schedule: Callable[..., None]) -> None:
        self.rng, self._schedule = rng, schedule
        self.unreliable = self.long_reordering = self.count_bytes = False
        self.groups: dict[End, Hashable | None] = {}
        self.requests: Counter[int] = Counter()
        self.bytes = 0
        self.recent: deque[Any] = deque(maxlen=0)

    # -- links ----------------------------------------------------------------------------------------------

    def is_cut(self, sender: End, to: End) -> bool:
        group = self.groups.get(sender)
        return group is None or group != self.groups.get(to)

    # -- carrying (see tests/sim/network.py) ----------------------------------------------------------------

    def carry(self, sender: End, to: End, deliver: Callable[..., None], *args: Any) -> bool:
        """Something of the transport's own."""
        if self.is_cut(sender, to):
            return False
        self._schedule(self.moment_s(), self._arrive, sender, to, deliver, args)
        return True

    def carry_loosely(self, sender: int, to: int, deliver: Callable[..., None], *args: Any) -> bool:
        """A Raft message: the last of `args`."""
        message = args[-1]
        if self.count_bytes:
            self.bytes += len(frame(dumps((None, "raft", to_plain(message)))))
        if self.is_cut(sender, to) or self.loses():
            return False
        is_request = type(message).__name__ in REQUESTS
        delay_s = self.moment_s() + (self.short_delay_s() if is_request else self._long_delay_s())
        self._schedule(
            delay_s, self._arrive_counted if is_request else self._arrive, sender, to, deliver, args
        )
        return True

    def _arrive(self, sender: End, to: End, deliver: Callable[..., None], args: tuple) -> None:
        if not self.is_cut(sender, to):
            deliver(*args)

    def _arrive_counted(self, sender: int, to: int, deliver: Callable[..., None], args: tuple) -> None:
        if not self.is_cut(sender, to):
            self.requests[to] += 1
            deliver(*args)

    # -- chance ---------------------------------------------------------------------------------------------

    def moment_s(self) -> float:
        least, most = DELAY_S
        return least + (most - least) * self.rng.random()

    def loses(self) -> bool:
        return self.unreliable and self.rng.randrange(1000) < LOST_OF_1000

    def short_delay_s(self) -> float:
        return self.rng.randrange(SHORT_DELAY_MS) / 1000 if self.unreliable else 0.0

    def _long_delay_s(self) -> float:
        rng = self.rng
        if not self.long_reordering or rng.randrange(900) >= 600:
            return 0.0
        return (200 + rng.randrange(1 + rng.randrange(2000))) / 1000
