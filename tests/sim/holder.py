"""SimHolder: a program that wants the lock which others want, too, and writes while it believes to hold it.

It does what client/claim.py does, as a client whose commands the simulator carries: a lease, a key on it, a place in the
queue. It keeps the lease alive, and counts its time from when it sent the keepalive. Servers' clocks run up to FASTEST times as
fast as its own, so it believes in that share of the time only: then two must never believe at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from raftkv.client.command import Done
from raftkv.errors import LeaseNotFoundError, UnavailableError
from raftkv.kvdb.ranges import ASCEND, CREATE, prefix_range
from raftkv.kvdb.transactions import EQUAL, Compare, transaction
from raftkv.kvdb.writes import Put

from tests.sim.client import SimClient, Work

if TYPE_CHECKING:
    from tests.sim.world import World

TTL_S = 3
FASTEST = 3.0  # see clock_rate in server_faults.py
SMALL_JUMP_S = 0.3  # of a clock, that no leader takes for a pause: see clock_jump there
LOCK = prefix_range(b"lock/")


class Hold(NamedTuple):
    """From when until when `name` believed to hold the lock; `token`: the create_revision of its key."""

    begin: float
    end: float
    name: str
    token: int


class SimHolder(SimClient):
    """`holds`: of the past."""

    def __init__(self, world: World, number: int) -> None:
        self.holds: list[Hold] = []
        self._lease = self._token = 0
        self._asked_at = self._renewed_at = self._held_since = 0.0
        self._step = "grant"
        super().__init__(world, number)

    @property
    def finished(self) -> bool:
        """In peace: once it has had the lock, and given it up."""
        return not self.under_way and self._last == 0

    # -- what it does next -----------------------------------------------------------------------------------

    def _begin(self, slot: int) -> None:
        if slot == 0:
            super()._begin(slot)

    def _make_work(self, slot: int) -> Work:
        now, rng = self.world.now, self._rng
        if self.world.calm:
            self._last = 1  # until it has had the lock
        method, args = self._next(now, rng.random())
        if method in ("lease_grant", "lease_keep_alive"):
            self._asked_at = now
        return Work(slot, method, args, [])

    def _next(self, now: float, roll: float) -> tuple[str, tuple[Any, ...]]:
        if self._step == "grant":
            self._lease = self._rng.getrandbits(40) + 1
            return "lease_grant", (self._lease, TTL_S)
        if self._step == "queue":
            return "put", (self._key, b"", self._lease)
        if self._step == "leave" or (self._step == "hold" and (roll < 0.2 or self.world.calm)):
            self._let_go()
            self._step = "leave"
            return "lease_revoke", (self._lease,)
        if now - self._renewed_at > TTL_S / FASTEST / 3:
            return "lease_keep_alive", (self._lease,)
        if self._step == "hold":
            operation = transaction(
                [Compare(CREATE, EQUAL, self._key, b"", self._token)], [Put(b"fenced", b"")], []
            )
            return operation.name, operation.plain()
        return "range", (*LOCK, 1, 0, ASCEND, CREATE)

    @property
    def _key(self) -> bytes:
        return b"lock/%x" % self._lease

    # -- what came of it -------------------------------------------------------------------------------------

    def _done(self, done: Done) -> None:
        command = done.command
        work: Work = command.context
        error = command.error
        assert error is None or isinstance(error, (UnavailableError, LeaseNotFoundError)), (
            f"{self.name}: {error!r}"
        )
        if error is None:
            self._succeeded(work.method, command.result)
        elif isinstance(error, LeaseNotFoundError) or self._step == "grant":
            self._begin_anew()
        elif self._step == "queue":
            self._step = "leave"  # it is not known whether it queues
        if self._step == "hold" and self.world.now >= self._believes_until:
            self._let_go()
            self._step = "leave"
        del self.under_way[work.slot]
        self.world.schedule(self._rng.random() * min(0.1, 2 * self._plan.think_s), self._begin, work.slot)

    def _succeeded(self, method: str, result: Any) -> None:
        if method == "lease_grant":
            self._renewed_at, self._step = self._asked_at, "queue"
        elif method == "put":
            self._token, self._step = result, "wait"
        elif method == "lease_keep_alive":
            if result[1] is None:
                self._begin_anew()
            elif self._step != "hold" or self._asked_at < self._believes_until:
                self._renewed_at = self._asked_at
        elif method == "range" and self._step == "wait":
            rows = result[1]
            if rows and rows[0][0] == self._key and self.world.now < self._believes_until:
                assert rows[0][2] == self._token, f"{self.name} has {rows[0]}, but queued as {self._token}"
                self._held_since, self._step = self.world.now, "hold"
                self.world.count["locks got"] += 1
        elif method == "lease_revoke":
            self._begin_anew()
            if self.world.calm:
                self._last = 0

    @property
    def _believes_until(self) -> float:
        return self._renewed_at + TTL_S / FASTEST

    def _begin_anew(self) -> None:
        self._let_go()
        self._step = "grant"

    def _let_go(self) -> None:
        """It believes no more, if it did."""
        if self._step == "hold":
            end = min(self.world.now, self._believes_until)
            self.holds.append(Hold(self._held_since, end, self.name, self._token))

    def restart(self) -> None:
        """It dies, and another one comes in its place."""
        self._begin_anew()
        super().restart()


def check_holds(holds: list[Hold], tolerance_s: float) -> None:
    """Raises AssertionError if two believed at once for longer than that, or a later one had a lower token."""
    last: Hold | None = None
    for hold in sorted(holds):
        if last is not None:
            assert hold.begin >= last.end - tolerance_s, f"two hold the lock at once: {last} and {hold}"
            assert hold.token > last.token, f"a fencing token does not grow: {last} and {hold}"
        last = hold
