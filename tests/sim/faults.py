"""Faults: everything that goes wrong, one after the other, until the calm.

Fault number n is fixed by the seed and by n alone, and can be left out without making others of those that
remain; that is what lets shrink.py look for the few that matter. Each says what it did in the trace, and ends
itself.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import TYPE_CHECKING, Callable, Optional

from tests.sim import ambush, disk_faults, member_faults, network_faults, server_faults
from tests.sim.fault import Fault
from tests.sim.host import Host

if TYPE_CHECKING:
    from tests.sim.world import World

Kind = Callable[[Fault], Optional[bool]]

KINDS: tuple[Kind, ...] = (
    network_faults.partition,
    network_faults.one_way_cut,
    network_faults.flapping_link,
    network_faults.client_cut_off,
    network_faults.loss,
    network_faults.doubling,
    network_faults.slow_network,
    network_faults.flood,
    network_faults.flood_at_an_install,
    network_faults.broken_connections,
    server_faults.crash,
    server_faults.crash_of_many,
    ambush.ambush,
    server_faults.left_alone,
    server_faults.crash_after_a_replacement,
    server_faults.crash_at_a_point,
    server_faults.crash_after_a_message,
    server_faults.crash_at_a_disk_operation,
    server_faults.orderly_stop,
    server_faults.pause,
    server_faults.clock_rate,
    server_faults.clock_jump,
    disk_faults.slow_disk,
    disk_faults.hung_disks,
    disk_faults.full_disk,
    disk_faults.full_disks,
    disk_faults.failing_fsync,
    disk_faults.bit_flip,
    disk_faults.lost_disk,
    member_faults.transfer,
    member_faults.added_member,
    member_faults.removed_member,
    member_faults.replaced_member,
    member_faults.moved_member,
    member_faults.old_copy,
    member_faults.clone,
    member_faults.shortened_log,
    server_faults.abandoned_command,
    server_faults.restarted_client,
)


class Faults:
    """The faults of one run. `only`: the numbers of those that may strike; None: all."""

    def __init__(self, world: World, only: Collection[int] | None = None) -> None:
        self._world, self._only = world, only
        plan = world.plan
        rng = random.Random(f"{plan.seed}/faults")
        kinds = [kind for kind in KINDS if rng.random() < plan.enabled] or [rng.choice(KINDS)] * (
            not plan.kinds
        )
        kinds = [kind for kind in KINDS if kind in kinds or kind.__name__ in plan.kinds]
        self._kinds = kinds
        self._weights = [10 if kind.__name__ in plan.kinds else rng.choice([1, 1, 3, 10]) for kind in kinds]
        self.number = 0  # of the next one
        self.active = 0  # those that have not ended
        self.waiting: dict[int, dict[str, Callable[[Host], None]]] = {}  # number -> moment -> reaction
        world.checks.watchers.append(self._moment)
        self._next()

    def _moment(self, moment: str, host: Host) -> None:
        """It has come on `host`: see checks.MOMENTS."""
        if not self._world.calm:
            for reactions in list(self.waiting.values()):
                if moment in reactions:
                    reactions[moment](host)

    @property
    def kinds(self) -> list[str]:
        return [kind.__name__ for kind in self._kinds]

    def _next(self) -> None:
        rng = random.Random(f"{self._world.plan.seed}/fault/{self.number}")
        self._world.schedule(
            rng.expovariate(1 / self._world.plan.fault_every_s), self._strike, rng, self.number
        )
        self.number += 1

    def _strike(self, rng: random.Random, number: int) -> None:
        world = self._world
        if world.calm:
            return
        self._next()
        if self.active >= world.plan.faults_at_once or (self._only is not None and number not in self._only):
            return
        (kind,) = rng.choices(self._kinds, self._weights)
        fault = Fault(world, rng, number)
        if kind(fault) is not False:
            world.count["fault: " + kind.__name__.replace("_", " ")] += 1
            world.struck.append(number)
