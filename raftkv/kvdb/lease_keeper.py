"""LeaseKeeper: what a server does about leases besides applying their commands: it ends them, and keeps them alive.

All but expiries() is called under the lock of the state machine, and in the order of the log: so what a keepalive is
answered is right for the index that its ReadIndex round has confirmed. LeaseClock says what is due and when.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import Any, Callable, NamedTuple

from raftkv.errors import NOT_LEADER, RANGE_TOO_LARGE
from raftkv.kvdb.keyspace import Keyspace
from raftkv.kvdb.lease_clock import LeaseClock
from raftkv.kvdb.leases import Lease
from raftkv.kvdb.limits import MAX_RANGE_KEYS
from raftkv.kvdb.maintenance import LeaseExpire, LeaseKeepAlive, LeaseTimeToLive
from raftkv.kvdb.outcomes import Outcome, ok, refused

TICK_S = 0.1
MOST_AT_ONCE = 5000  # that one tick finds due
MOST_LEASES = 100  # that end by one entry of the log,
MOST_KEYS = 1000  # and how many keys they may have together, but for the last one: some 10 ms of work

#: (channel, id, ok, result), as in service.py.
Reply = tuple[Any, Any, bool, Any]


class Expiry(NamedTuple):
    """`operation` is to be proposed, in `term` only: another leadership may have kept the leases alive."""

    operation: LeaseExpire
    term: int


class LeaseKeeper:
    """`clock`: seconds, monotonic. `election_timeout_s`: see LeaseClock. `term` is that of this node's leadership, 0 while it
    does not lead. `tick_s`: how often to tick()."""

    def __init__(self, clock: Callable[[], float], election_timeout_s: float) -> None:
        self._now = clock
        self._clock = LeaseClock(election_timeout_s)
        self._waiting: list[
            tuple[Any, Any, LeaseKeepAlive]
        ] = []  # until it is decided whether the lease has ended
        self._expiries: deque[Expiry] = deque()
        self.term = 0
        self.tick_s = min(TICK_S, election_timeout_s / 5)

    # -- what happens ----------------------------------------------------------------------------------------

    def watch(self, data: Keyspace) -> None:
        """From now on, these data."""
        data.leases.observer = self

    def granted(self, lease: Lease) -> None:
        """See leases.Observer."""
        if self.term:
            self._clock.granted(lease, self._now())

    def ended(self, lease: Lease) -> None:
        """See leases.Observer."""
        self._clock.ended(lease)

    def leads(self, term: int, leases: Iterable[Lease]) -> None:
        """This node leads in `term`, which is higher than before. `leases`: those that there are."""
        self.term = term
        self._expiries.clear()
        self._clock.became_leader(self._now(), leases)

    def lost(self) -> list[tuple[Any, Any, Any]]:
        """It leads no more. Returns the requests that will not be answered."""
        self.term = 0
        self._clock.lost_leadership()
        self._expiries.clear()
        waiting, self._waiting = self._waiting, []
        return waiting

    # -- requests, after a ReadIndex round -------------------------------------------------------------------

    def keepalive(self, channel: Any, id: Any, request: LeaseKeepAlive, data: Keyspace) -> Outcome | None:
        """The answer, or None: it comes with a later tick()."""
        if not self.term:
            return _NOT_LEADER
        lease = data.leases.get(request.lease)
        if lease is None:
            return ok((data.revision, None))
        if not self._clock.keepalive(lease.id, self._now()):
            self._waiting.append((channel, id, request))
            return None
        return ok((data.revision, lease.ttl))

    def time_to_live(self, request: LeaseTimeToLive, data: Keyspace) -> Outcome:
        if not self.term:
            return _NOT_LEADER
        lease = data.leases.get(request.lease)
        if lease is None:
            return ok((data.revision, None, None, []))
        if request.keys and len(lease.keys) > MAX_RANGE_KEYS:
            return _TOO_MANY_KEYS
        left_s = math.ceil(self._clock.time_left(lease.id, self._now()))
        return ok((data.revision, left_s, lease.ttl, sorted(lease.keys) if request.keys else []))

    # -- time ------------------------------------------------------------------------------------------------

    def tick(self, data: Keyspace) -> list[Reply]:
        """Look what is due. Returns the replies to keepalives that waited."""
        if not self.term:
            return []
        now = self._now()
        self._clock.tick(now)
        if not self._expiries:  # else the log takes no more at the moment
            self._expire(self._clock.due(now, MOST_AT_ONCE))
        waiting, self._waiting = self._waiting, []
        answers = [(channel, id, self.keepalive(channel, id, each, data)) for channel, id, each in waiting]
        return [(channel, id, *outcome) for channel, id, outcome in answers if outcome is not None]

    def _expire(self, due: list[Lease]) -> None:
        batch: list[tuple[int, int]] = []
        keys = 0
        for lease in due:
            batch.append((lease.id, lease.granted_at))
            keys += len(lease.keys)
            if len(batch) == MOST_LEASES or keys >= MOST_KEYS:
                self._expiries.append(Expiry(LeaseExpire(batch), self.term))
                batch, keys = [], 0
        if batch:
            self._expiries.append(Expiry(LeaseExpire(batch), self.term))

    def expiries(self) -> deque[Expiry]:
        """What is to be proposed, the first ones first; take out what is. May be used by one other thread."""
        return self._expiries


_TOO_MANY_KEYS = refused(
    RANGE_TOO_LARGE, f"the lease has more than {MAX_RANGE_KEYS} keys: ask for its time without them"
)
_NOT_LEADER = refused(
    NOT_LEADER, "this node lost the leadership before it could answer", {"leader": None, "proposed": False}
)
