"""What a mutant is, and how one is put in force in a process of its own."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import NamedTuple

from tests.sim.patch import Sabotage

VARIABLE = "RAFTKV_MUTANT"  # of the environment: the name of the mutant that is in force

_in_force = ExitStack()


class Mutant(NamedTuple):
    """A sabotage of the product, and what is to catch it.

    `traps`: numbers of the list in docs/testing.md; "" for what is not on it. `change`: what is broken, in
    words. `test`: the id of the test that fails then; "" if it is the simulator that finds it, in one of
    the seeds from 1 to `within`.
    """

    sabotage: Sabotage
    traps: str
    change: str
    test: str = ""
    within: int = 0

    @property
    def name(self) -> str:
        return self.sabotage.name


def break_this_process() -> None:
    """Put the mutant that the environment names in force, until the process ends."""
    from tests.mutants.table import (
        BY_NAME,
    )  # all of the product, which the simulator's processes need not load

    _in_force.enter_context(BY_NAME[os.environ[VARIABLE]].sabotage.applied())
