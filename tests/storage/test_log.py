"""Saving, replacing and compacting the log, on a disk that works."""

from __future__ import annotations

import errno
import time
from pathlib import Path

import pytest
from raftkv.errors import StorageError
from raftkv.raft.types import COMMAND, Entry, HardState, encode_entries
from raftkv.storage.persister import Persister
from raftkv.storage.replay import MARKER
from raftkv.storage.segments import EXTENSION

from tests.sim.disk import NOTHING, SimDisk
from tests.storage.model import entries, lines, open_persister, snapshot


def begun(disk: SimDisk, term: int = 9) -> Persister:
    persister = open_persister(disk)
    persister.save(HardState(term, 1), [])
    return persister


def log_files(disk: SimDisk) -> list[int]:
    return [int(name[:20]) for name in disk.list_folder("data/log")]


def found(disk: SimDisk) -> list[Entry]:
    disk.kill()
    return open_persister(disk).entries


def test_a_batch_is_one_write_and_one_fsync() -> None:
    disk = SimDisk()
    persister = begun(disk)
    persister.save(None, entries(1, 1, 1))
    done: list[tuple[str, str]] = []
    disk.before = lambda operation, path: done.append((operation, path))
    for first, last in ((2, 2), (3, 500)):  # into zeros, and beyond them
        persister.save(None, entries(first, last, 1))
        assert [operation for operation, _ in done] == ["write", "sync"]
        done.clear()
    persister.save(HardState(9, 1), [])
    persister.save(None, [])
    assert done == [], "nothing new was given, so nothing is written"


def test_the_files_hold_the_very_bytes_of_the_entries() -> None:
    """And a marker before each write, and zeros."""
    disk = SimDisk()
    some = entries(1, 40, 1)
    persister = begun(disk)
    for entry in some:
        persister.save(None, [entry])
    files = [disk.read(f"data/log/{name}").rstrip(b"\0") for name in disk.list_folder("data/log")]
    assert b"".join(files) == b"".join(MARKER + entry.line for entry in some)
    assert len(files) > 3, "small files were asked for"
    assert all(len(data) >= 300 for data in files[:-1]), "a file is left before it is full"
    assert found(disk) == some


def test_a_file_is_extended_with_zeros_in_steps() -> None:
    """Between the steps its length stays, and no room on the disk is needed."""
    disk = SimDisk()
    persister = open_persister(disk, segment_bytes=8 << 20)
    persister.save(HardState(9, 1), [])
    path, index, sizes, written = f"data/log/{1:020d}.jsonl", 0, [], []

    def before(operation: str, path: str) -> None:
        if operation == "sync":
            written.extend([end - start for start, end in disk._inode(path).unsynced])

    disk.before = before
    while len(sizes) < 3:
        index += 1
        persister.save(None, [Entry.create(index, 9, COMMAND, "x" * 5000)])
        if not sizes or disk.size_of(path) > sizes[-1]:
            sizes.append(disk.size_of(path))
            disk.capacity = disk.used() + EXTENSION
    assert sizes == [EXTENSION, 2 * EXTENSION, 3 * EXTENSION]
    assert sum(size > 5100 for size in written) == 3, "zeros are written once"
    disk.capacity, extended = disk.used(), index
    with pytest.raises(StorageError, match="make room on that disk"):
        while True:
            index += 1
            persister.save(None, [Entry.create(index, 9, COMMAND, "x" * 5000)])
    assert (index - extended) * 5100 > EXTENSION, "there were zeros to write over"
    disk.capacity = None
    assert [entry.index for entry in found(disk)] in ([*range(1, index)], [*range(1, index + 1)])


def test_a_folder_without_markers_and_zeros() -> None:
    """As the versions before wrote it."""
    disk = SimDisk()
    persister = begun(disk)
    for first in (1, 11, 21):
        persister.save(None, entries(first, first + 9, 1))
    for first in (1, 11, 21):
        disk.overwrite(f"data/log/{first:020d}.jsonl", encode_entries(entries(first, first + 9, 1)))
    assert found(disk) == entries(1, 30, 1)
    disk.kill()
    persister = open_persister(disk, segment_bytes=1000)
    assert persister.notices == []
    persister.save(None, entries(31, 31, 1))
    persister.save(None, entries(32, 33, 1))
    assert log_files(disk) == [1, 11, 21], "the last file goes on"
    assert found(disk) == entries(1, 33, 1)


def test_an_entry_whose_index_is_taken_replaces_it_and_all_after_it() -> None:
    disk = SimDisk()
    persister = begun(disk)
    persister.save(None, entries(1, 20, 1))
    persister.save(None, entries(21, 30, 1))
    assert log_files(disk) == [1, 21]
    persister.save(None, entries(5, 6, 2))
    assert persister.last_index == 6
    assert log_files(disk) == [1, 21], "the order of the files would be lost if a file 5 came after a file 21"
    persister.save(None, entries(7, 12, 2))
    persister.save(None, entries(13, 21, 2))
    assert log_files(disk) == [1, 21], "a file 21 is there"
    persister.save(None, entries(22, 23, 2))
    assert log_files(disk) == [1, 21, 22]
    assert found(disk) == entries(1, 4, 1) + entries(5, 23, 2)


def test_save_refuses_gaps_older_terms_and_second_votes() -> None:
    persister = begun(SimDisk(), term=2)
    persister.save(None, entries(1, 3, 1))
    for hard_state, some, reason in [
        (None, entries(5, 5, 1), "entry 5 would leave a gap after 3"),
        (None, [*entries(4, 4, 1), *entries(6, 6, 1)], "2 entries from 4 to 6 are not contiguous"),
        (None, entries(4, 4, 3), "entry 4@3 is saved before its term is"),
        (HardState(1, 1), [], "the term goes back from 2 to 1"),
        (HardState(2, 3), [], "a second vote in term 2: for 1, now for 3"),
        (HardState(2, None), [], "a second vote in term 2: for 1, now for None"),
    ]:
        with pytest.raises(AssertionError, match=reason):
            persister.save(hard_state, some)
    with pytest.raises(AssertionError, match="the log up to 1 is still needed, the snapshot ends with 0"):
        persister.compact(1)


def test_compaction_removes_the_files_that_a_snapshot_made_superfluous() -> None:
    disk = SimDisk()
    persister = begun(disk)
    for first in (1, 11, 21, 31):
        persister.save(None, entries(first, first + 9, 1))
    assert log_files(disk) == [1, 11, 21, 31]
    persister.write_snapshot(snapshot(20, 1), lines(snapshot(20, 1)))
    syncs = disk.syncs
    persister.compact(20)
    assert disk.syncs == syncs + 1, "clients wait for the log-writer's thread: one for all files"
    assert log_files(disk) == [11, 21, 31], "the file with the snapshot's last entry stays"
    assert persister.log_bytes == sum(len(entry.line) for entry in entries(21, 40, 1))
    persister.write_snapshot(snapshot(40, 1), lines(snapshot(40, 1)))
    persister.compact(21)
    assert log_files(disk) == [21, 31]
    persister.compact(40)
    assert log_files(disk) == [31]
    assert persister.log_bytes == 0 and persister.last_index == 40
    disk.power_cut(NOTHING)
    assert log_files(disk) == [31], "what is removed does not come back"
    assert found(disk) == []
    disk.kill()
    persister = open_persister(disk)
    assert persister.last_index == 40
    persister.save(None, entries(41, 42, 1))
    assert found(disk) == entries(41, 42, 1)


def test_compaction_keeps_the_newest_file_that_could_be_noted() -> None:
    """With a full disk there may be newer ones; opening would miss that one."""
    disk = SimDisk()
    persister = begun(disk)
    persister.save(None, entries(1, 10, 1))
    usual, disk.before = disk.before, no_room_for_notes
    persister.save(None, entries(11, 20, 1))
    persister.write_snapshot(snapshot(20, 1), lines(snapshot(20, 1)))
    persister.compact(20)
    assert log_files(disk) == [1, 11]
    disk.power_cut(NOTHING)
    assert open_persister(disk).last_index == 20
    disk.kill()
    disk.before = usual
    open_persister(disk)
    assert log_files(disk) == [11]


def no_room_for_notes(operation: str, path: str) -> None:
    if operation == "create" and "node.json" in path:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_compaction_keeps_a_file_that_once_held_a_higher_index() -> None:
    """Without the entries that replaced them, those of the first file would come back."""
    disk = SimDisk()
    persister = begun(disk)
    persister.save(None, entries(1, 20, 1))
    persister.save(None, entries(5, 10, 2))
    assert log_files(disk) == [1, 5]
    persister.save(None, entries(11, 12, 2))
    persister.write_snapshot(snapshot(11, 2), lines(snapshot(11, 2)))
    persister.compact(11)
    assert found(disk) == entries(12, 12, 2)


def test_log_bytes_are_those_of_the_live_entries() -> None:
    disk = SimDisk()
    persister = begun(disk)
    persister.save(None, entries(1, 600, 1))
    persister.save(None, entries(601, 602, 1))
    persister.save(None, entries(601, 601, 2))
    live = entries(1, 600, 1) + entries(601, 601, 2)
    assert persister.log_bytes == sum(len(entry.line) for entry in live)
    disk.kill()
    assert open_persister(disk).log_bytes == sum(len(entry.line) for entry in live)


def test_recovered_entries_can_be_forgotten() -> None:
    disk = SimDisk()
    begun(disk).save(None, entries(1, 3, 1))
    disk.kill()
    persister = open_persister(disk)
    persister.forget_recovered()
    assert persister.entries == [] and persister.last_index == 3


def test_recovery_of_100_000_entries_is_quick(tmp_path: Path) -> None:
    """About half a second of processor time. The limit is generous: it is for what grows faster than the
    log."""

    def opened() -> Persister:
        return Persister(str(tmp_path / "data"), node_id=1, cluster="c")

    persister = opened()
    persister.save(HardState(1, 1), [])
    for first in range(1, 100_000, 10_000):
        persister.save(None, entries(first, first + 9_999, 1))
    persister.close()
    started = time.process_time()
    persister = opened()
    took_s = time.process_time() - started
    persister.close()
    assert len(persister.entries) == 100_000
    assert took_s < 5, f"recovery took {took_s:.1f} s"
