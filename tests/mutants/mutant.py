"""What a mutant is, and how one is put in force in a process of its own."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import NamedTuple

from tests.mutants.breaking import Breakage, in_force

VARIABLE = "RAFTKV_MUTANT"  # of the environment: the name of the mutant that is in force
SIMULATOR = ""  # in place of a test

_in_force = ExitStack()


class Mutant(NamedTuple):
    """The product broken on purpose, and what is to catch it.

    `traps`: numbers of the list in __init__.py; "" for what is not on it. `change`: what is broken, in
    words. `test`: the id, below tests/, of the test that fails then; or SIMULATOR, which is to find it in
    one of the seeds from 1 to `within`.
    """

    name: str
    traps: str
    change: str
    test: str
    breakage: Breakage
    within: int = 250  # half of the clusters are of other sizes than three and five


def break_this_process() -> None:
    """Put the mutant that the environment names in force, until the process ends."""
    from tests.mutants.table import BY_NAME

    _in_force.enter_context(in_force(BY_NAME[os.environ[VARIABLE]].breakage))
