"""LeaseClock: when leases end, on a clock that the test moves."""

from __future__ import annotations

import random

from raftkv.kvdb import lease_clock
from raftkv.kvdb.lease_clock import LeaseClock
from raftkv.kvdb.leases import Lease

LATE_S = 1.0


def leading(*leases: Lease, now: float = 0.0) -> LeaseClock:
    clock = LeaseClock(LATE_S)
    clock.became_leader(now, leases)
    clock.tick(now)
    return clock


def ids(leases: list[Lease]) -> list[int]:
    return [lease.id for lease in leases]


def run(clock: LeaseClock, start: float, end: float, step: float = 0.5) -> list[tuple[float, int]]:
    """When each ends, with ticks from `start` on and before `end`."""
    found = []
    for n in range(int((end - start) / step)):
        now = start + n * step
        clock.tick(now)
        for lease in clock.due(now, 100):
            found.append((now, lease.id))
            clock.ended(lease)
    return found


def test_each_ends_when_its_time_is_over_and_once():
    clock = leading(Lease(1, 3, 10), Lease(2, 2, 11))
    clock.granted(Lease(3, 1, 12), 0.0)
    assert run(clock, 0, 9) == [(1.0, 3), (2.0, 2), (3.0, 1)]
    assert len(clock) == 0


def test_a_keepalive_gives_the_whole_time_again():
    clock = leading(Lease(1, 2, 10))
    assert run(clock, 0, 2) == []
    assert clock.keepalive(1, 1.9) and clock.time_left(1, 2.0) == 1.9
    assert run(clock, 2, 9) == [(4.0, 1)]


def test_no_keepalive_of_one_that_is_undecided():
    lease = Lease(1, 2, 10)
    clock = leading(lease)
    assert clock.due(2.0, 100) == [lease] and clock.due(9.0, 100) == []
    assert not clock.keepalive(1, 2.0) and clock.time_left(1, 2.0) == 0
    clock.ended(lease)
    clock.granted(Lease(1, 2, 20), 3.0)  # the same id anew
    assert clock.keepalive(1, 3.0)


def test_a_new_leader_gives_each_its_whole_time():
    leases = [Lease(1, 2, 10), Lease(2, 3, 11)]
    clock = leading(*leases)
    assert ids(clock.due(2.0, 100)) == [1]
    clock.lost_leadership()
    assert clock.due(99.0, 100) == []
    clock.became_leader(50.0, leases)
    assert run(clock, 50, 60) == [(52.0, 1), (53.0, 2)]


def test_a_late_tick_gives_each_its_whole_time():
    clock = leading(Lease(1, 2, 10), Lease(2, 60, 11))
    clock.tick(0.5)
    clock.tick(0.5 + LATE_S)
    assert run(clock, 2, 9) == [(3.5, 1)], "ticks at 1.5 and 2.0 s: only the first came late"
    assert clock.time_left(2, 9.0) == 1.5 + 60 - 9.0


def test_lease_that_ended_and_was_granted_anew_has_its_own_time():
    lease = Lease(1, 2, 10)
    clock = leading(lease)
    clock.ended(lease)
    clock.granted(Lease(1, 5, 20), 1.0)
    assert run(clock, 1, 9) == [(6.0, 1)]


def test_many_that_end_together_end_in_batches():
    clock = leading(*[Lease(id, 1, id) for id in range(1, 251)])
    assert [len(clock.due(1.0, 100)) for _ in range(4)] == [100, 100, 50, 0]


def test_a_new_leader_takes_them_over_some_at_a_time(monkeypatch):
    monkeypatch.setattr(lease_clock, "MOST_ADOPTED", 2)
    leases = [Lease(id, 10, id) for id in range(1, 8)]
    clock = leading(*leases)
    clock.ended(leases[0])
    assert clock.keepalive(2, 0.5) and clock.time_left(3, 0.5) == 9.5 and len(clock) == 6
    assert sorted(run(clock, 0.5, 20)) == [*[(10.0, id) for id in range(3, 8)], (10.5, 2)]


def test_random_histories_end_neither_early_nor_late():
    chance = random.Random(1)
    clock = leading()
    deadlines: dict[int, float] = {}
    leases: dict[int, Lease] = {}
    for n in range(20_000):
        now = n / 10
        clock.tick(now)
        for lease in clock.due(now, 1000):
            assert now - 0.2 < deadlines.pop(lease.id) <= now, "neither late nor early"
            clock.ended(leases.pop(lease.id))
        id = chance.randint(1, 50)
        if id not in leases:
            leases[id] = Lease(id, chance.randint(1, 20), n)
            clock.granted(leases[id], now)
        elif chance.random() < 0.1:
            clock.ended(leases.pop(id))
            del deadlines[id]
            continue
        else:
            assert clock.keepalive(id, now)
        deadlines[id] = now + leases[id].ttl
        assert all(deadline > now - 0.2 for deadline in deadlines.values())
    assert len(clock) == len(leases)
