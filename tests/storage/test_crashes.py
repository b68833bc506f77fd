"""A crash at every operation, and at every operation of the recovery from it: what is found is always
legal."""

from __future__ import annotations

import contextlib
import pickle
import random
from collections.abc import Iterator
from typing import Any

import pytest
from raftkv.storage.persister import CRASH_POINTS, Persister

from tests.sim.disk import EVERYTHING, NOTHING, SOME, Crash, SimDisk
from tests.storage.model import Model, Step, open_persister, visible
from tests.storage.steps import HISTORY

KEEP_CACHE = "the process is killed, the machine goes on"


def play(disk: SimDisk, steps: list[Step], **options: Any) -> list[Model]:
    """Run `steps` from the opening on until the disk crashes. Returns the states that it may show then."""
    model = Model()
    legal = [model]
    try:
        persister = open_persister(disk, **options)
        for step in steps:
            legal = step.during(model)
            step.run(persister)
            model = legal[-1]
            legal = [model]
        persister.close()
    except Crash:
        pass
    return legal


def go_on(operation: str, path: str) -> None:
    """Before an operation, by which nothing ends."""


def crash(disk: SimDisk, keep: str) -> None:
    disk.before = go_on
    if keep == KEEP_CACHE:
        disk.kill()
    else:
        disk.power_cut(keep)


def crash_at(number: int, disk: SimDisk) -> None:
    """From now on, the operation `number` ends it all."""
    number += disk.operations

    def before(operation: str, path: str) -> None:
        if disk.operations >= number:
            raise Crash

    disk.before = before


def check(persister: Persister, legal: list[Model], context: object) -> None:
    found = visible(persister)
    expected = [model.visible() for model in legal]
    assert found in expected, f"{context}: found\n  {found}\nbut only these are legal:\n  " + "\n  ".join(
        map(str, expected)
    )


def reopen(disk: SimDisk) -> Persister:
    """As the next process does, with no leftovers of the one before."""
    persister = open_persister(disk)
    unfinished = [path for path in disk.files() if path.endswith((".tmp", ".part")) and path.count("/") == 2]
    assert not unfinished, unfinished
    return persister


def cut_short(seed: str = "", reorders: bool = False) -> Iterator[tuple[str, SimDisk, list[Model]]]:
    """The history, crashed at each of its operations: (where, the disk, the states that it may show then)."""
    whole = SimDisk()
    play(whole, HISTORY)
    assert whole.operations > 150, f"the history has only {whole.operations} operations"
    for number in range(1, whole.operations + 1):
        disk = SimDisk(random.Random(f"{seed} {number}"), reorders=reorders)
        crash_at(number, disk)
        yield f"crash at operation {number}", disk, play(disk, HISTORY)


KEPT = [(keep, "", False) for keep in (NOTHING, EVERYTHING, KEEP_CACHE)]
KEPT += [(SOME, seed, reorders) for seed in "1234" for reorders in (False, True)]


@pytest.mark.parametrize(("keep", "seed", "reorders"), KEPT)
def test_crash_at_every_operation(keep: str, seed: str, reorders: bool) -> None:
    for where, disk, legal in cut_short(seed, reorders):
        crash(disk, keep)
        check(reopen(disk), legal, where)


@pytest.mark.parametrize("keep", [NOTHING, SOME, KEEP_CACHE])
def test_recovered_data_is_still_there_after_the_next_power_cut(keep: str) -> None:
    """A process may be killed between a write and its fsync. The next one must not trust what it sees in the
    cache."""
    for where, disk, _ in cut_short(reorders=True):
        crash(disk, keep)
        found = visible(open_persister(disk))
        crash(disk, NOTHING)
        assert visible(open_persister(disk)) == found, where


@pytest.mark.parametrize("keep", [SOME, KEEP_CACHE])
def test_crash_at_every_operation_of_a_recovery(keep: str) -> None:
    for where, crashed, legal in cut_short():
        crash(crashed, keep)
        as_it_is = pickle.dumps(crashed)  # makes copies faster than deepcopy()
        finished, second = False, 0
        while not finished:
            second += 1
            disk = pickle.loads(as_it_is)
            crash_at(second, disk)
            with contextlib.suppress(Crash):
                open_persister(disk)
                finished = True
            crash(disk, keep)
            check(open_persister(disk), legal, f"{where}, then at {second} of the recovery")
        assert second > 3, f"{where}: the recovery had only {second} operations"


@pytest.mark.parametrize("name", CRASH_POINTS)
def test_crash_at_every_named_point(name: str) -> None:
    """Each time the history, or the opening after it, comes to a crash point."""
    occurrence, reached = 1, True
    while reached:
        disk = SimDisk(random.Random(occurrence))
        point = _CrashPoint(name, occurrence)
        legal = play(disk, HISTORY, crash_point=point)
        if not point.reached:
            disk.kill()
            if name == "segment-discarded":  # a file was begun, and nothing written to it
                disk.create(f"data/log/{1000:020d}.jsonl")
            with contextlib.suppress(Crash):
                open_persister(disk, crash_point=point)
        crash(disk, NOTHING)
        check(reopen(disk), legal, f"crash at {name}, time {occurrence}")
        reached = point.reached
        assert reached or occurrence > 1, f"nothing comes to {name}"
        occurrence += 1


class _CrashPoint:
    def __init__(self, name: str, occurrence: int) -> None:
        self.name, self.left, self.reached = name, occurrence, False

    def __call__(self, name: str) -> None:
        assert name in CRASH_POINTS, f"{name} is not listed"
        self.left -= name == self.name
        if not self.left:
            self.reached = True
            raise Crash
