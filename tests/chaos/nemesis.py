"""The nemesis: decides what goes wrong when.

Two hands work at the same time, one on processes and disks, one on the network.

Each hand has a bag with one of each of its faults; it draws until the bag is empty, and fills it again: so
every kind comes equally often. The order, and all that is drawn by lot within a fault, comes from the seed.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from typing import Callable

from tests.chaos.cluster import ChaosCluster
from tests.chaos.network_faults import NetworkFaults
from tests.chaos.process_faults import ProcessFaults

Fault = Iterator[float]
PAUSE_S = 2.0  # at most, by default, between two faults of a hand
RESTART_ALL = "restart of all"
RESTARTS_OF_ALL_UNTIL = 1 / 3  # of the run: after that the spared node shows what a long life costs it
WIND_DOWN_S = 120.0


class Hand:
    """Runs one fault after the other. `note(kind)` is called as one begins."""

    def __init__(
        self,
        kinds: dict[str, Callable[[], Fault]],
        rng: random.Random,
        note: Callable[[str], None],
        pause_s: float = PAUSE_S,
    ) -> None:
        self._kinds, self._rng, self._note, self._pause_s = kinds, rng, note, pause_s
        self._bag: list[str] = []
        self._fault: Fault | None = None
        self._next_at = 0.0
        self.extra: dict[str, Callable[[], Fault]] = {}  # come next, once each
        self.resting = False  # no new fault begins

    @property
    def busy(self) -> bool:
        return self._fault is not None

    def turn(self) -> None:
        """Do what is due."""
        if time.monotonic() < self._next_at:
            return
        if self._fault is None:
            if self.resting:
                return
            self._fault = self._draw()
        try:
            wait_s = next(self._fault)
        except StopIteration:
            self._fault = None
            wait_s = self._pause_s * self._rng.random()
        self._next_at = time.monotonic() + wait_s

    def _draw(self) -> Fault:
        if self.extra:
            kind, begin = self.extra.popitem()
        else:
            if not self._bag:
                self._bag = self._rng.sample(sorted(self._kinds), len(self._kinds))
            kind = self._bag.pop()
            begin = self._kinds[kind]
        self._note(kind)
        return begin()


class Nemesis:
    """Call turn() often. `faults` counts those that began, by kind; `current` is the newest."""

    def __init__(self, cluster: ChaosCluster, seed: int, length_s: float, log: Callable[[str], None]) -> None:
        # With five nodes or more, a majority can die without the one that is spared.
        spared = [max(cluster.nodes)] if len(cluster.nodes) > 3 else []
        self.faults: Counter[str] = Counter()
        self._log = log
        self._process_faults = ProcessFaults(cluster, random.Random(f"{seed} processes"), spared, self._quiet)
        self._network_faults = NetworkFaults(cluster, random.Random(f"{seed} network"))
        self._processes = Hand(
            self._process_faults.kinds(), random.Random(f"{seed} process hand"), self._note
        )
        self._network = Hand(self._network_faults.kinds(), random.Random(f"{seed} network hand"), self._note)
        self._cluster = cluster
        now = time.monotonic()
        self._restarts_of_all = [now + length_s * RESTARTS_OF_ALL_UNTIL * part for part in (0.9, 0.5, 0.2)]

    def turn(self) -> None:
        if self._restarts_of_all and time.monotonic() >= self._restarts_of_all[-1]:
            self._restarts_of_all.pop()
            self._processes.extra[RESTART_ALL] = self._process_faults.restart_all
        self._processes.turn()
        self._network.turn()
        self._cluster.expect_running()

    def wind_down(self, meanwhile: Callable[[], None]) -> None:
        """Let the faults under way end, and leave a network without any. Calls `meanwhile` often."""
        self._processes.resting = self._network.resting = True
        end = time.monotonic() + WIND_DOWN_S
        while self._processes.busy or self._network.busy:
            assert time.monotonic() < end, "the last faults do not end"
            self._processes.turn()
            self._network.turn()
            meanwhile()
        self._network_faults.heal()

    @property
    def summary(self) -> str:
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self.faults.items()))
        by = self._process_faults
        ends = (
            f"nodes ended by a failed disk: {by.ended_by_disk}, at a crash point: {by.ended_at_crash_point}"
        )
        return f"{kinds} ({ends})"

    def _quiet(self, wanted: bool) -> bool:
        self._network.resting = wanted or self._processes.resting
        return wanted and not self._network.busy

    def _note(self, kind: str) -> None:
        self.faults[kind] += 1
        self._log(kind)
