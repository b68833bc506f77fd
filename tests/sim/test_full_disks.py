"""A simulated cluster all of whose disks fill up at once, and nothing else goes wrong."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import pytest
from raftkv.errors import NoSpaceError

from tests.sim.plan import MANY, Plan
from tests.sim.world import World

FULL_S = 1.0
RECOVERS_S = 1.5


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


@pytest.mark.parametrize("seed", range(2))
def test_reads_and_deletes_go_on_while_all_disks_are_full_and_writes_after(seed: int) -> None:
    plan = Plan(seed, (3, 5))
    plan.spares = 0
    plan.loss = plan.tail = plan.doubling = 0.0
    plan.delay_s, plan.sync_s, plan.think_s, plan.timeout_s = 0.002, 0.003, 0.03, 4.0
    plan.clock_rates, plan.late_starts = (1.0, 1.0), False
    plan.reserve_bytes = 200_000
    plan.options = dataclasses.replace(
        plan.options, max_raft_state=-1, max_append_bytes=MANY, max_inflight_appends=16
    )  # no snapshots, which would make room
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
