"""A crash at every operation, and at every operation of the recovery from it: what is found is always
legal."""

from __future__ import annotations

import contextlib
import copy
import random
from typing import Any, Callable

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


def crash(disk: SimDisk, keep: str) -> None:
    disk.before = lambda operation, path: None
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


def count_operations(run: Callable[[SimDisk], Any]) -> int:
    disk = SimDisk()
    run(disk)
    return disk.operations


@pytest.mark.parametrize("keep", [NOTHING, EVERYTHING, KEEP_CACHE])
def test_crash_at_every_operation(keep: str) -> None:
    total = count_operations(lambda disk: play(disk, HISTORY))
    assert total > 150, f"the history has only {total} operations"
    for number in range(1, total + 1):
        disk = SimDisk(random.Random(number))
        crash_at(number, disk)
        legal = play(disk, HISTORY)
        crash(disk, keep)
        check(reopen(disk), legal, f"crash at operation {number}")


@pytest.mark.parametrize("reorders", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_power_cut_at_every_operation_keeps_some(reorders: bool, seed: int) -> None:
    total = count_operations(lambda disk: play(disk, HISTORY))
    for number in range(1, total + 1):
        disk = SimDisk(random.Random(f"{seed} {number}"), reorders=reorders)
        crash_at(number, disk)
        legal = play(disk, HISTORY)
        crash(disk, SOME)
        check(reopen(disk), legal, f"power cut at operation {number}")


@pytest.mark.parametrize("keep", [NOTHING, SOME, KEEP_CACHE])
def test_what_a_recovery_found_is_still_there_after_the_next_power_cut(keep: str) -> None:
    """A process may be killed between a write and its fsync. The next one must not trust what it sees in the
    cache."""
    total = count_operations(lambda disk: play(disk, HISTORY))
    for number in range(1, total + 1):
        disk = SimDisk(random.Random(number), reorders=True)
        crash_at(number, disk)
        play(disk, HISTORY)
        crash(disk, keep)
        found = visible(open_persister(disk))
        crash(disk, NOTHING)
        assert visible(open_persister(disk)) == found, f"crash at operation {number}"


@pytest.mark.parametrize("keep", [SOME, KEEP_CACHE])
def test_crash_at_every_operation_of_a_recovery(keep: str) -> None:
    total = count_operations(lambda disk: play(disk, HISTORY))
    for number in range(1, total + 1):
        crashed = SimDisk(random.Random(number))
        crash_at(number, crashed)
        legal = play(crashed, HISTORY)
        crash(crashed, keep)
        finished, second = False, 0
        while not finished:
            second += 1
            disk = copy.deepcopy(crashed)
            crash_at(second, disk)
            with contextlib.suppress(Crash):
                open_persister(disk)
                finished = True
            crash(disk, keep)
            check(
                open_persister(disk), legal, f"crash at operation {number}, then at {second} of the recovery"
            )
        assert second > 3, f"the recovery from a crash at {number} had only {second} operations"


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
