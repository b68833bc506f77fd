"""A simulated cluster all of whose disks fill up at once, and nothing else goes wrong."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import pytest
from raftkv.errors import NoSpaceError
from raftkv.kvdb import history

from tests.sim.plan import MANY, Plan
from tests.sim.world import World

FULL_S = 1.0
RECOVERS_S = 1.5
WITHIN_S = 10.0


class Outcomes:
    """What became of the clients' commands, by method, since the last take()."""

    def __init__(self, world: World) -> None:
        self.count: Counter[str] = Counter()
        for client in world.clients:
            self._watch(client)

    def _watch(self, client: Any) -> None:
        outcome = client._outcome

        def noted(command: Any) -> str:
            end = "refused" if isinstance(command.error, NoSpaceError) else outcome(command)
            self.count[f"{command.method} {end}"] += 1
            return outcome(command)  # type: ignore[no-any-return]

        client._outcome = noted

    def take(self) -> Counter[str]:
        count, self.count = self.count, Counter()
        return count


def run_for(world: World, seconds: float) -> None:
    until = world.now + seconds
    while world.now < until:
        world.step()


def calm_plan(seed: int, reserve_bytes: int, **options: Any) -> Plan:
    plan = Plan(seed, (3, 5))
    plan.spares = 0
    plan.loss = plan.tail = plan.doubling = 0.0
    plan.delay_s, plan.sync_s, plan.think_s, plan.timeout_s = 0.002, 0.003, 0.03, 4.0
    plan.clock_rates, plan.late_starts = (1.0, 1.0), False
    plan.reserve_bytes = reserve_bytes
    plan.options = dataclasses.replace(
        plan.options, max_append_bytes=MANY, max_inflight_appends=16, **options
    )
    return plan


def test_full_disks_have_room_again_when_the_history_has_yielded() -> None:
    """Nobody makes a disk larger: it is full of what was overwritten."""
    plan = calm_plan(0, 12_000, max_raft_state=4000, snapshot_growth_percent=0)
    plan.servers = 3
    plan.constants += [(history, "MAX_EVENTS", MANY)]
    world = World(plan, only=())
    outcomes = Outcomes(world)
    with plan.applied(), world._crash_points():
        run_for(world, 2.0)
        for host in world.hosts.values():
            host.disk.capacity = host.disk.used() + 6000
        for outcome in ("put refused", "put ok") * 4:
            until = world.now + WITHIN_S
            while not outcomes.take()[outcome]:
                assert world.now < until, f"no {outcome} for so long"
                run_for(world, 0.2)
    world._close()


@pytest.mark.parametrize("seed", range(2))
def test_reads_and_deletes_go_on_while_all_disks_are_full_and_writes_after(seed: int) -> None:
    plan = calm_plan(seed, 200_000, max_raft_state=-1)  # no snapshots, which would make room
    world = World(plan, only=())
    outcomes = Outcomes(world)
    with plan.applied(), world._crash_points():
        run_for(world, 3.0)
        for host in world.hosts.values():
            host.disk.capacity = host.disk.used()
        while not outcomes.take()["put refused"]:
            run_for(world, 0.2)
        run_for(world, FULL_S)
        full = outcomes.take()
        assert full["put refused"] and full["get ok"] and full["delete ok"]
        assert not full["put ok"] + full["append ok"] + full["cas ok"] + full["batch ok"]
        for host in world.hosts.values():
            host.disk.capacity = None
        run_for(world, RECOVERS_S)
        outcomes.take()
        run_for(world, 1.0)
        after = outcomes.take()
        assert after["put ok"] and after["append ok"] and not after["put refused"]
        assert [host.lives for host in world.hosts.values()] == [1] * len(world.hosts), "none ended"
    world._close()
