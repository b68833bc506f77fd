"""DataClient: a client that uses what the other ones do not: transactions, ranges, the past, and leases.

Its keys are its own kind's, "m…", since the search for a linear order knows single keys only. What it was told is judged
by revisions (tests/linearizability/revisions.py), and its leases by leases.py.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from tests.linearizability.work import DataWork
from tests.sim.client import SimClient, Work

if TYPE_CHECKING:
    from tests.sim.world import World


class DataClient(SimClient):
    """What it asks for is drawn apart, so that other clients ask for the same with and without it."""

    def __init__(self, world: World, number: int) -> None:
        self._asks = DataWork(f"c{number}", random.Random(f"{world.plan.seed}/data/{number}"))
        super().__init__(world, number)

    def _make_work(self, slot: int) -> Work:
        """In the calm it looks after no lease: those that there are end by themselves."""
        return Work(slot, *self._asks.next(leases=not self.world.calm), [])

    def _results(self, work: Work, result: Any) -> list[Any]:
        self._asks.told(result)
        return []
