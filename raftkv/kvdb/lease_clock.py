"""LeaseClock: when leases end, as the leader sees it. It has no clock of its own: it is told the time.

A lease never ends early. What makes it so:

- Only a leader ends leases, and by an entry of the log, proposed in the term in which it found them due.
- Who begins to lead gives each lease its whole time again: it cannot know what the last leader answered.
- So does a leader whose ticks stood still for an election timeout: it was paused, or busy, while keepalives waited.
- A keepalive counts from the moment of its answer here, and for its client from when it was sent, which is earlier.
- One that has been found due is *undecided* until its entry is applied: no keepalive of it is answered before.

The heap has each lease once, with a time that is not after its deadline. Whoever comes to the top too early goes back with
its deadline. So a keepalive is a step of constant cost, and so is to give all of them their whole time again. Those that a
new leader finds come into the heap with its first ticks, some at a time.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from raftkv.kvdb.leases import Lease

MOST_ADOPTED = 10_000  # with one tick: some 10 ms of work
MOST_LOOKS = 10_000  # at the heap in one go: some 20 ms of work


class _Timer:
    """`renewed_at`: of the last keepalive, or the grant."""

    __slots__ = ("is_undecided", "lease", "renewed_at")

    def __init__(self, lease: Lease, now: float) -> None:
        self.lease, self.renewed_at, self.is_undecided = lease, now, False


class LeaseClock:
    """Not thread-safe. All times are in seconds on one monotonic clock, which may stand still or be late, but never go
    back. Empty until became_leader()."""

    def __init__(self, election_timeout_s: float) -> None:
        self._late_s = election_timeout_s
        self._timers: dict[int, _Timer] = {}  # by id
        self._unadopted: dict[int, Lease] = {}  # by id: not in the heap yet
        self._heap: list[tuple[float, int, _Timer]] = []  # not after its deadline, index of the grant
        self._all_renewed_at = self._ticked_at = 0.0

    def __len__(self) -> int:
        return len(self._timers) + len(self._unadopted)

    def became_leader(self, now: float, leases: Iterable[Lease]) -> None:
        """From now on this node decides. `leases`: those that there are."""
        self.lost_leadership()
        self._unadopted = {lease.id: lease for lease in leases}
        self._all_renewed_at = self._ticked_at = now

    def lost_leadership(self) -> None:
        """Nothing is due here any more."""
        self._timers, self._unadopted, self._heap = {}, {}, []

    def granted(self, lease: Lease, now: float) -> None:
        """A new one."""
        self._add(lease, now)

    def _add(self, lease: Lease, now: float) -> _Timer:
        timer = self._timers[lease.id] = _Timer(lease, now)
        heapq.heappush(self._heap, (now + lease.ttl, lease.granted_at, timer))
        return timer

    def ended(self, lease: Lease) -> None:
        """It is no more. (The heap finds out when it comes to the top.)"""
        self._timers.pop(lease.id, None)
        self._unadopted.pop(lease.id, None)

    def _timer(self, id: int) -> _Timer:
        lease = self._unadopted.pop(id, None)
        return self._timers[id] if lease is None else self._add(lease, self._all_renewed_at)

    def keepalive(self, id: int, now: float) -> bool:
        """The lease, which exists, has its whole time again. False: it is undecided whether it has ended."""
        timer = self._timer(id)
        if not timer.is_undecided:
            timer.renewed_at = now
        return not timer.is_undecided

    def time_left(self, id: int, now: float) -> float:
        """Of a lease that exists; 0 if it may have ended."""
        timer = self._timer(id)
        return 0.0 if timer.is_undecided else max(0.0, self._deadline(timer) - now)

    def tick(self, now: float) -> None:
        """Time goes on. To be called several times in an election timeout."""
        if now - self._ticked_at >= self._late_s:
            self._all_renewed_at = now
        self._ticked_at = now
        for _ in range(min(MOST_ADOPTED, len(self._unadopted))):
            _, lease = self._unadopted.popitem()
            self._add(lease, self._all_renewed_at)

    def due(self, now: float, most: int) -> list[Lease]:
        """At most `most` leases whose time is over. They are undecided from now on, until ended()."""
        found: list[Lease] = []
        heap = self._heap
        for _ in range(MOST_LOOKS):
            if len(found) == most or not heap or heap[0][0] > now:
                break
            _, granted_at, timer = heap[0]
            if self._timers.get(timer.lease.id) is not timer:
                heapq.heappop(heap)
                continue
            deadline = self._deadline(timer)
            if deadline > now:
                heapq.heapreplace(heap, (deadline, granted_at, timer))
                continue
            heapq.heappop(heap)
            timer.is_undecided = True
            found.append(timer.lease)
        return found

    def _deadline(self, timer: _Timer) -> float:
        return max(timer.renewed_at, self._all_renewed_at) + timer.lease.ttl
