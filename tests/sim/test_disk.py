"""The simulated disk loses what a real one may lose, and nothing else. (tests/storage compares both.)"""

from __future__ import annotations

import errno
import random

import pytest

from tests.sim.disk import EVERYTHING, NOTHING, SOME, Crash, SimDisk

PATH, OTHER = "d/file", "d/other"
OLD, NEW = b"old", b"new" * 3


def make_disk(seed: int = 0, reorders: bool = False) -> SimDisk:
    """A disk with OLD in PATH, durable."""
    disk = SimDisk(random.Random(seed), reorders=reorders)
    disk.make_folder("d")
    file = disk.create(PATH)
    file.write_at(0, OLD)
    file.sync()
    file.close()
    disk.sync_folder("d")
    return disk


def content(disk: SimDisk, path: str = PATH) -> bytes | None:
    return disk.read(path) if disk.exists(path) else None


@pytest.mark.parametrize("synced", [False, True])
@pytest.mark.parametrize("keep", [NOTHING, SOME, EVERYTHING, "the process is killed"])
def test_only_a_power_cut_loses_bytes_and_only_those_that_were_not_fsynced(keep: str, synced: bool) -> None:
    """It tears at every byte, and may leave zeros."""
    found: set[bytes] = set()
    for seed in range(500 if keep == SOME else 1):
        disk = make_disk(seed)
        file = disk.update(PATH)
        file.write_at(len(OLD), NEW)
        assert content(disk) == OLD + NEW, "the page cache has it"
        if synced:
            file.sync()
        if keep in (NOTHING, SOME, EVERYTHING):
            disk.power_cut(keep)
        else:
            disk.kill()
        with pytest.raises(Crash):
            file.write_at(len(OLD), NEW)  # the dead process does nothing any more
        after = content(disk)
        assert after is not None and after.startswith(OLD), "what was fsynced is lost"
        found.add(after[len(OLD) :])
    if synced or keep != SOME:
        assert found == {b"" if keep == NOTHING and not synced else NEW}
    else:
        prefixes = {NEW[:length] for length in range(len(NEW) + 1)}
        assert prefixes < found and all(set(rest) <= set(NEW) | {0} for rest in found)


def test_bytes_written_over_others_may_stay_as_they_were() -> None:
    found: set[bytes | None] = set()
    for seed in range(100):
        disk = make_disk(seed)
        disk.update(PATH).write_at(0, b"NEW")
        disk.power_cut(SOME)
        found.add(content(disk))
    assert found == {b"old", b"Nld", b"NEd", b"NEW"}


def renamed(disk: SimDisk) -> None:
    file = disk.create(OTHER)
    file.write_at(0, NEW)
    file.sync()
    disk.rename(OTHER, PATH)


def test_a_rename_is_durable_only_after_the_folder_fsync() -> None:
    disk = make_disk()
    renamed(disk)
    assert content(disk) == NEW
    disk.power_cut(NOTHING)
    assert (content(disk), content(disk, OTHER)) == (OLD, None)
    renamed(disk)
    disk.sync_folder("d")
    disk.power_cut(NOTHING)
    assert (content(disk), content(disk, OTHER)) == (NEW, None)


@pytest.mark.parametrize("reorders, possible", [(False, {(1, 1), (1, 0), (0, 0)}),
                                                (True, {(1, 1), (1, 0), (0, 1), (0, 0)})])  # fmt: skip
def test_names_survive_in_their_order_or_in_any(reorders: bool, possible: set[tuple]) -> None:
    found = set()
    for seed in range(100):
        disk = make_disk(seed, reorders)
        disk.create("d/1")
        disk.create("d/2")
        disk.power_cut(SOME)
        found.add((disk.exists("d/1"), disk.exists("d/2")))
    assert found == possible


def test_a_failed_fsync_is_not_made_good_by_the_next() -> None:
    disk = make_disk()
    file = disk.update(PATH)
    file.write_at(len(OLD), NEW)
    with disk.failing(OSError(errno.EIO, "Input/output error"), "sync"), pytest.raises(OSError):
        file.sync()
    file.sync()
    disk.power_cut(EVERYTHING)
    assert content(disk) == OLD


def test_a_full_disk_takes_what_fits() -> None:
    disk = make_disk()
    disk.capacity = disk.used() + 5
    with pytest.raises(OSError) as raised:
        disk.update(PATH).write_at(len(OLD), NEW)
    assert raised.value.errno == errno.ENOSPC
    assert content(disk) == OLD + NEW[:5]


def test_a_bit_flips() -> None:
    disk = make_disk()
    disk.flip(PATH, 8)
    assert content(disk) == bytes([OLD[0], OLD[1] ^ 1, OLD[2]])
