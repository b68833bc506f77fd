"""The reserve: room that a node keeps on its disk, and gives back to itself when the disk is full."""

from __future__ import annotations

import contextlib
import errno
import random
from pathlib import Path

import pytest
from raftkv.errors import NoRoomError, StorageError
from raftkv.raft.types import HardState
from raftkv.storage.disk import Disk
from raftkv.storage.identity import Life
from raftkv.storage.persister import Persister
from raftkv.storage.reserve import LEAST, PIECES, SHARE, Reserve

from tests.sim.disk import Crash, SimDisk
from tests.storage.model import entries, lines, open_persister, snapshot, visible
from tests.storage.steps import file_of

WANTED = 1600
PIECE = WANTED // PIECES


def begun(disk: SimDisk, wanted: int = WANTED) -> Persister:
    persister = open_persister(disk, reserve_bytes=wanted)
    persister.save(HardState(1, 1), entries(1, 3, 1))
    settle(persister)
    return persister


def settle(persister: Persister) -> None:
    while persister.tend_reserve():
        pass


def held(disk: SimDisk) -> int:
    return sum(disk.size_of(path) for path in disk.files() if path.startswith("data/reserve/"))


def fill(disk: SimDisk) -> None:
    disk.capacity = disk.used()


def test_the_log_gets_what_the_reserve_has_and_no_more() -> None:
    disk = SimDisk()
    persister = begun(disk)
    assert held(disk) == WANTED and not persister.is_short_of_room
    fill(disk)
    with pytest.raises(NoRoomError, match="make room on that disk"):
        for index in range(4, 1000):
            persister.save(None, entries(index, index, 1))
            assert persister.is_short_of_room == (held(disk) < WANTED)
    assert held(disk) == 0 and index > 20
    disk.kill()
    assert [entry.index for entry in open_persister(disk).entries] == list(range(1, index))


def test_a_vote_and_a_met_peer_get_room_too() -> None:
    disk = SimDisk()
    persister = begun(disk)
    fill(disk)
    persister.save(HardState(2, 3), [])
    persister.remember(2, Life(1, 5))
    assert 0 < held(disk) < WANTED
    disk.kill()
    assert visible(open_persister(disk))[0::3] == (HardState(2, 3), ((2, Life(1, 5)),))


def test_a_snapshot_that_does_not_fit_is_given_up_and_leaves_some_room_to_the_log() -> None:
    disk = SimDisk()
    persister = begun(disk)
    fill(disk)
    taken = snapshot(3, 1)
    with pytest.raises(NoRoomError):
        persister.write_snapshot(taken, lines(taken, 200))
    assert WANTED / 4 <= held(disk) < WANTED / 2
    assert not any(path.endswith(".tmp") for path in disk.files()), "its room is free again"
    persister.save(None, entries(4, 4, 1))
    disk.capacity = None
    assert persister.write_snapshot(taken, lines(taken, 200))


def test_a_chunk_for_which_there_is_no_room_is_not_taken_until_there_is() -> None:
    disk = SimDisk()
    persister = begun(disk)
    fill(disk)
    taken = snapshot(9, 1)
    data = file_of(taken, 200)
    have, step = 0, 100
    for _ in range(len(data) // step + 1):
        have = persister.receive_chunk(taken, have, data[have : have + step], False)
    assert 0 < have < len(data) - step and WANTED / 4 <= held(disk) < WANTED / 2
    disk.capacity = None
    assert persister.receive_chunk(taken, have, data[have:], True) == len(data)
    assert persister.install(taken) and persister.snapshot == taken


def test_the_alarm_ends_when_the_reserve_is_whole_and_a_piece_more_is_free() -> None:
    disk = SimDisk()
    persister = begun(disk)
    fill(disk)
    persister.save(None, entries(4, 10, 1))
    missing = WANTED - held(disk)
    for extra, short in ((0, True), (missing, True), (missing + PIECE, False)):
        disk.capacity = disk.used() - held(disk) + WANTED - missing + extra
        settle(persister)
        assert persister.is_short_of_room == short, extra
    assert held(disk) == WANTED


def test_no_room_at_the_start_is_an_alarm_before_anything_is_written() -> None:
    disk = SimDisk()
    persister = open_persister(disk, reserve_bytes=WANTED)
    disk.capacity = disk.used() + 3 * PIECE
    settle(persister)
    assert persister.is_short_of_room and held(disk) == 2 * PIECE, "the last piece is left to others"


def test_a_start_for_which_there_was_no_room_is_noted_when_there_is() -> None:
    """Others refuse a server until then, and with nothing to store nothing else would note it."""
    disk = SimDisk()
    open_persister(disk).close()
    disk.capacity = disk.used()
    persister = open_persister(disk)
    settle(persister)
    assert persister.identity.starts == 1
    disk.capacity = None
    settle(persister)
    assert persister.identity.starts == 2


def test_the_pieces_are_found_again(tmp_path: Path) -> None:
    for _ in range(2):
        reserve = Reserve(Disk(), str(tmp_path), 1 << 20)
        while reserve.tend(0):
            pass
        files = sorted((tmp_path / "reserve").iterdir())
        assert reserve.held == 1 << 20 and len(files) == PIECES
        if hasattr(files[0].stat(), "st_blocks"):
            assert sum(file.stat().st_blocks for file in files) * 512 >= 1 << 20, "the bytes are on the disk"


def test_the_reserve_follows_the_snapshot_up_and_down() -> None:
    disk = SimDisk()
    disk.make_folder("data")
    disk.total_bytes = lambda path: SHARE * 3 * LEAST  # type: ignore[method-assign]
    reserve = Reserve(disk, "data", -1)
    for snapshot_bytes, expected in ((0, LEAST), (LEAST, 2 * LEAST), (10 * LEAST, 3 * LEAST), (1, LEAST)):
        while reserve.tend(snapshot_bytes):
            pass
        assert reserve.target == expected and not reserve.is_short
        assert expected <= reserve.held <= expected * 1.1


def test_without_a_reserve_a_full_disk_is_an_alarm_until_the_log_is_written() -> None:
    disk = SimDisk()
    persister = begun(disk, wanted=0)
    fill(disk)
    with pytest.raises(NoRoomError):
        persister.save(None, entries(4, 100, 1))
    persister.tend_reserve()
    assert persister.is_short_of_room
    disk.capacity = None
    persister.tend_reserve()
    assert persister.is_short_of_room, "the log waits"
    persister.save(None, entries(4, 100, 1))
    assert not persister.is_short_of_room


def test_a_piece_frees_an_inode() -> None:
    disk = SimDisk()
    persister = begun(disk)
    inodes = len(disk.files())

    def before(operation: str, path: str) -> None:
        if operation == "create" and len(disk.files()) >= inodes:
            raise OSError(errno.ENOSPC, "No space left on device", path)

    disk.before = before
    persister.save(HardState(2, 1), entries(4, 100, 1))
    persister.save(None, entries(101, 200, 2))
    assert held(disk) < WANTED


def test_the_largest_size_of_a_file_takes_nothing_from_the_reserve() -> None:
    disk = SimDisk()
    persister = begun(disk)

    def before(operation: str, path: str) -> None:
        if operation == "write":
            raise OSError(errno.EFBIG, "File too large", path)

    disk.before = before
    with pytest.raises(NoRoomError, match="File too large"):
        persister.save(None, entries(4, 5, 1))
    assert held(disk) == WANTED and persister.is_short_of_room
    disk.before = lambda operation, path: None
    persister.save(None, entries(4, 5, 1))
    persister.tend_reserve()
    assert not persister.is_short_of_room


@pytest.mark.parametrize("operation", ["sync", "sync_folder"])
def test_an_fsync_for_which_there_is_no_room_ends_it(operation: str) -> None:
    disk = SimDisk()
    persister = begun(disk)
    failing = [operation]

    def before(name: str, path: str) -> None:
        if name in failing:
            failing.clear()
            raise OSError(errno.ENOSPC, "No space left on device", path)

    disk.before = before
    with pytest.raises(StorageError) as caught:
        persister.save(HardState(2, 1), [])
    assert not isinstance(caught.value, NoRoomError) and held(disk) == WANTED
    with pytest.raises(StorageError, match="No space left"):
        persister.save(HardState(2, 1), [])


def test_a_write_goes_on_in_the_file_where_it_found_no_room() -> None:
    """Files get smaller then: but one that ends with half a write must be the last one."""
    disk = SimDisk()
    persister = open_persister(disk, segment_bytes=4000, reserve_bytes=WANTED)
    persister.save(HardState(1, 1), entries(1, 30, 1))
    settle(persister)
    disk.capacity = disk.used() + 2100  # some more than the zeros: the write is cut short
    persister.save(None, entries(31, 90, 1))
    persister.save(None, entries(91, 92, 1))
    assert len([path for path in disk.files() if "/log/" in path]) > 1
    disk.kill()
    assert [entry.index for entry in open_persister(disk).entries] == list(range(1, 93))


@pytest.mark.parametrize("torn", [False, True])
def test_a_start_on_a_full_disk_takes_no_room_and_a_crash_in_it_loses_nothing(torn: bool) -> None:
    """The last file of the log is written anew at the start: there may be no room for a second copy."""
    crashed, number = True, 0
    while crashed:
        disk = SimDisk(random.Random(number))
        persister = begun(disk, wanted=0)
        persister.save(None, entries(4, 9, 1))
        if torn:
            disk.capacity = disk.used() + 170  # what does not fit is cut off
            with pytest.raises(NoRoomError):
                persister.save(None, entries(10, 40, 1))
        fill(disk)
        disk.power_cut()
        number, crashed, left = number + 1, False, number

        def before(operation: str, path: str) -> None:
            nonlocal crashed, left
            left -= 1
            if left < 0:
                crashed = True
                raise Crash

        disk.before = before
        with contextlib.suppress(Crash):
            persister = open_persister(disk)
            assert disk.used() <= disk.capacity
        disk.before = lambda operation, path: None
        disk.power_cut()
        persister = open_persister(disk)
        found = [entry.index for entry in persister.entries]
        assert found[:9] == list(range(1, 10)) and found == list(range(1, len(found) + 1)), number
        disk.capacity = None
        persister.save(None, entries(len(found) + 1, 50, 1))
        disk.power_cut()
        assert [entry.index for entry in open_persister(disk).entries] == list(range(1, 51))
    assert number > 8
