"""A disk that fails, which ends it for good, and one that is full, which ends nothing. Nothing acknowledged
is lost."""

from __future__ import annotations

import errno
import random
from typing import Callable

import pytest
from raftkv.errors import NoRoomError, StorageError
from raftkv.raft.types import HardState
from raftkv.storage.identity import Life
from raftkv.storage.persister import Persister

from tests.sim.disk import NOTHING, SOME, SimDisk
from tests.storage.model import (
    Model,
    Step,
    entries,
    lines,
    open_persister,
    snapshot,
    visible,
)
from tests.storage.steps import HISTORY, append, save, transfer, write

#: Everything that a persister which is at an end is asked to do, and refuses.
EVERYTHING: list[Callable[[Persister], object]] = [
    lambda persister: persister.save(None, []),
    lambda persister: persister.save(HardState(99, None), []),
    lambda persister: persister.save(None, entries(persister.last_index + 1, persister.last_index + 1, 1)),
    lambda persister: persister.compact(0),
    lambda persister: persister.write_snapshot(snapshot(1000, 1), lines(snapshot(1000, 1))),
    lambda persister: persister.open_snapshot(),
    lambda persister: persister.receive_chunk(snapshot(1000, 1), 0, b"some", False),
    lambda persister: persister.install(snapshot(1000, 1)),
    lambda persister: persister.remember(2, Life(1, 5)),
]


def play_until_it_fails(disk: SimDisk, message: str) -> list[Model]:
    """Run the history until an error ends it, and the persister; returns the states that may be found
    then."""
    model = Model()
    try:
        persister = open_persister(disk)
    except StorageError as error:
        assert message in str(error)
        return [model]
    for step in HISTORY:
        legal = step.during(model)
        try:
            step.run(persister)
        except StorageError as error:
            assert message in str(error)
            assert_ended(disk, persister, str(error))
            return legal
        model = legal[-1]
    persister.close()
    return [model]


def assert_ended(disk: SimDisk, persister: Persister, message: str) -> None:
    operations = disk.operations
    for attempt in EVERYTHING:
        with pytest.raises(StorageError) as caught:
            attempt(persister)
        assert str(caught.value) == message, "the first error is the one that matters"
    assert disk.operations == operations, "something was tried again"


def check(disk: SimDisk, legal: list[Model], context: str) -> None:
    persister = open_persister(disk)
    assert visible(persister) in [model.visible() for model in legal], context
    last, term = persister.last_index, persister.hard_state.term + 1
    persister.save(HardState(term, None), entries(last + 1, last + 1, term))
    persister.close()


def bytes_of_history() -> int:
    """The most that the disk holds on the way."""
    disk, needed = SimDisk(), 0

    def before(operation: str, path: str) -> None:
        nonlocal needed
        needed = max(needed, disk.used())

    disk.before = before
    play_until_it_fails(disk, "")
    return needed


@pytest.mark.parametrize("end", ["kill", "power cut", "room"])
def test_the_disk_is_full_at_any_byte(end: str) -> None:
    """What found no room is done once there is some, by the same process or by the next one."""
    for capacity in range(0, bytes_of_history(), 7):
        disk = SimDisk(random.Random(capacity))
        disk.capacity = capacity
        model, legal, persister = Model(), [Model()], None
        try:
            persister = open_persister(disk)
            for number, step in enumerate(HISTORY):
                legal = step.during(model)
                step.run(persister)
                model = legal[-1]
        except NoRoomError:
            disk.capacity = None
            if persister is not None and end == "room":
                for later in HISTORY[number:]:
                    later.run(persister)
                    model = later.during(model)[-1]
                legal = [model]
        disk.capacity = None
        if end == "power cut":
            disk.power_cut(SOME)
        else:
            disk.kill()
        check(disk, legal, f"with {capacity} bytes")


@pytest.mark.parametrize("power_cut", [False, True])
@pytest.mark.parametrize(
    "kinds", [("sync",), ("sync_folder",), ("create", "update", "write", "rename", "remove")]
)
def test_each_operation_fails_once(kinds: tuple, power_cut: bool) -> None:
    number, failed = 0, True
    while failed:
        disk = SimDisk(random.Random(number))
        number, failed, count = number + 1, False, 0

        def before(operation: str, path: str) -> None:
            nonlocal count, failed
            count += operation in kinds
            if count == number and operation in kinds:  # noqa: B023
                failed = True
                raise OSError(errno.EIO, "Input/output error", path)

        disk.before = before
        legal = play_until_it_fails(disk, "Input/output error): check that disk, then start this node again")
        disk.before = lambda operation, path: None
        if power_cut:
            disk.power_cut(SOME)
        else:
            disk.kill()
        check(disk, legal, f"{kinds}, the {number}. one failed")
    assert number > 10, f"only {number} operations of {kinds}"


@pytest.mark.parametrize(
    "step", [append(entries(4, 6, 1)), save(2, 2, []), write(snapshot(2, 1)), *transfer(snapshot(9, 1))[2:]]
)
def test_data_that_a_failed_fsync_left_in_the_cache_is_not_trusted(step: Step) -> None:
    """After a failed fsync the kernel calls the pages clean: the next fsync says yes, but the disk has them
    not.

    What the next process finds in the cache and goes on with must be there after the next power cut.
    """
    disk = SimDisk()
    persister = open_persister(disk)
    persister.save(HardState(1, 1), entries(1, 3, 1))
    if step.method == "install":
        for earlier in transfer(snapshot(9, 1))[:-1]:
            earlier.run(persister)
    elif step.method == "receive_chunk":
        for earlier in transfer(snapshot(9, 1))[:2]:
            earlier.run(persister)
    failed = OSError(errno.EIO, "Input/output error", "data")
    with disk.failing(failed, "sync", "sync_folder"), pytest.raises(StorageError, match=failed.strerror):
        step.run(persister)
    disk.kill()
    persister = open_persister(disk)
    found = visible(persister)
    first = persister.last_index + 1
    persister.save(None, entries(first, first, 1))
    disk.power_cut(NOTHING)
    persister = open_persister(disk)
    last = persister.entries.pop()
    assert visible(persister) == found and [last] == entries(first, first, 1)
