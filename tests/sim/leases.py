"""What is promised of leases: none ends before its time, and each ends soon after it.

*Before its time*: less than its time to live after its holder sent the last keepalive that was answered (or its grant), by
the clock of the leader that ended it. Clocks here run at different rates and jump, so that is all that can be said; where
they run alike it is the holder's time, too.

*Soon after*: within its time to live and LATE_S of the last answer to a keepalive, of the last change of the leader, or of the
last fault, it is proposed that it ends. The leader has changed when the next one has committed an entry of its own: until then it may not
know the lease. Nor can it propose anything while too much waits for a slow disk. Looked at when no fault is left. (How long the log takes
is another matter.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from raftkv.kvdb.leases import Lease

if TYPE_CHECKING:
    from tests.sim.world import World

LATE_S = 1.0
GRANT, KEEP_ALIVE = "lease_grant", "lease_keep_alive"


class Sent(NamedTuple):
    """When a keepalive, or a grant, was sent: the time, and what the clock of each machine said."""

    now: float
    clocks: dict[int, float]


class LeaseWatch:
    """Of all leases, each known by its id."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._held_since: dict[int, Sent] = {}  # by the last keepalive that was answered
        self._renewed_at: dict[int, float] = {}  # when a leader last answered one
        self._leaders: dict[int, tuple[int, float]] = {}  # term -> who leads, and since when
        self._proposed: dict[
            tuple[int, int], tuple[float, float]
        ] = {}  # (index, term) -> when, and by whose clock
        self.ending: tuple[int, int] | None = None  # the entry by which a leader ends leases just now

    def begins_to_lead(self, term: int, id: int) -> None:
        """It is elected, or still has not committed an entry of its own, or cannot propose one."""
        self._leaders[term] = id, self._world.now

    def proposed(self, index: int, term: int) -> None:
        """The leader of `term` ends leases by this entry, once it is committed."""
        clock = self._world.hosts[self._leaders[term][0]].clock()
        self._proposed.setdefault((index, term), (self._world.now, clock))

    # -- holders ---------------------------------------------------------------------------------------------

    def sent(self) -> Sent:
        """A command is begun now."""
        world = self._world
        return Sent(world.now, {id: host.clock() for id, host in world.hosts.items()})

    def answered(self, method: str, args: tuple[Any, ...], result: Any, sent: Sent) -> None:
        """A client was told that it holds a lease."""
        if method == GRANT or method == KEEP_ALIVE and result[1] is not None:
            self._hold(args[0], sent)

    def _hold(self, lease: int, sent: Sent) -> None:
        if lease not in self._held_since or self._held_since[lease].now < sent.now:
            self._held_since[lease] = sent

    def renewed(self, lease: int) -> None:
        """A leader answers a keepalive; whether that arrives is another matter."""
        self._renewed_at[lease] = self._world.now

    # -- what becomes of them: leases.Observer ---------------------------------------------------------------

    def granted(self, lease: Lease) -> None:
        self._renewed_at[lease.id] = self._world.now

    def ended(self, lease: Lease) -> None:
        if self.ending is not None:
            self._look(lease, *self._leaders[self.ending[1]], *self._proposed[self.ending])
            self._world.count["leases that ended"] += 1
        self._held_since.pop(lease.id, None)

    def _look(self, lease: Lease, leader: int, since: float, at: float, clock: float) -> None:
        """`leader`, who leads since then, found at that time, by its clock, that the lease's time was over."""
        world, held = self._world, self._held_since.get(lease.id)
        if held is not None:
            left_s = held.clocks[leader] + lease.ttl - clock
            assert left_s <= 1e-6, f"n{leader} ended lease {lease.id} {left_s:.3f} s before its time"
            world.count["leases that ended and had been held"] += 1
        if world.calm:
            late_s = at - max(since, world.calm_since, self._renewed_at[lease.id]) - lease.ttl
            assert late_s <= LATE_S, f"n{leader} ended lease {lease.id} {late_s:.3f} s after its time"
