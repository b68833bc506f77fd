"""What becomes of the log when a snapshot takes its place (paper section 7), on every path to it."""

from __future__ import annotations

import zlib

import pytest
from raftkv.raft.types import Entry, HardState, Snapshot
from raftkv.storage.sealed import FORMAT, seal
from raftkv.storage.snapshot_file import encode_footer

from tests.sim.disk import SimDisk
from tests.storage.model import entries, lines, open_persister, snapshot
from tests.storage.steps import begun, receive, reopened


@pytest.mark.parametrize("crash_before_the_log_is_dropped", [False, True])
@pytest.mark.parametrize(
    ("taken", "kept"),
    [
        pytest.param(snapshot(6, 1), entries(7, 10, 1), id="the log holds its last entry"),
        pytest.param(snapshot(10, 1), [], id="the log ends with it"),
        pytest.param(snapshot(6, 2), [], id="the log has another entry there"),
        pytest.param(snapshot(11, 1), [], id="the log ends before"),
        pytest.param(snapshot(100, 3), [], id="the log ends long before"),
    ],
)
def test_install_keeps_the_log_that_agrees_with_the_snapshot(
    taken: Snapshot, kept: list[Entry], crash_before_the_log_is_dropped: bool
) -> None:
    disk = SimDisk()
    persister = open_persister(disk, segment_bytes=100)
    persister.save(HardState(9, 1), [])
    for first in (1, 4, 7, 10):
        persister.save(None, entries(first, min(first + 2, 10), 1))
    receive(persister, taken)
    if crash_before_the_log_is_dropped:
        persister._log.follow = persister._log.compact = lambda _: None  # type: ignore[method-assign, assignment]
    persister.install(taken)
    if not crash_before_the_log_is_dropped:
        assert persister.log_bytes <= sum(len(entry.line) for entry in entries(7, 10, 1))
    persister = reopened(disk)
    assert persister.snapshot == taken and persister.entries == kept
    assert persister.last_index == (kept[-1].index if kept else taken.index)
    dropped = persister.last_index == taken.index and taken != snapshot(10, 1)
    assert any(f"{taken} replaced it" in notice for notice in persister.notices) == (
        dropped and crash_before_the_log_is_dropped
    )
    after = entries(persister.last_index + 1, persister.last_index + 5, 9)
    persister.save(None, after)
    assert reopened(disk).entries == kept + after


def test_after_install_the_log_goes_on_behind_the_snapshot() -> None:
    disk = SimDisk()
    persister = begun(disk)
    receive(persister, snapshot(20, 2))
    persister.install(snapshot(20, 2))
    assert persister.last_index == 20 and persister.log_bytes == 0
    assert disk.list_folder("data/log") == []
    with pytest.raises(AssertionError, match="entry 22 would leave a gap after 20"):
        persister.save(None, entries(22, 22, 2))
    persister.save(None, entries(21, 22, 2))
    assert disk.list_folder("data/log") == ["00000000000000000021.jsonl"]
    assert reopened(disk).entries == entries(21, 22, 2)


def test_dropping_the_log_is_durable_file_by_file_from_the_newest() -> None:
    """If an old file went first, what is left could pass for the entries that follow the snapshot."""
    disk = SimDisk()
    persister = open_persister(disk, segment_bytes=100)
    persister.save(HardState(9, 1), [])
    for first in (1, 4, 7):
        persister.save(None, entries(first, first + 2, 1))
    receive(persister, snapshot(6, 2))
    done: list[str] = []
    disk.before = lambda operation, path: done.append(f"{operation} {path}") if "data/log" in path else None
    persister.install(snapshot(6, 2))
    removals = [f"remove data/log/{first:020d}.jsonl" for first in (7, 4, 1)]
    assert done == [step for removal in removals for step in (removal, "sync_folder data/log")]


def test_a_snapshot_of_entries_that_were_not_saved_here_yet() -> None:
    """Others can commit what this node's disk has not seen (thesis 10.2.1): it may be applied, and in a
    snapshot."""
    disk = SimDisk()
    persister = begun(disk)
    persister.write_snapshot(snapshot(12, 2), lines(snapshot(12, 2)))
    assert persister.last_index == 12
    persister.save(None, entries(9, 14, 2))  # what was waiting for the disk
    assert reopened(disk).entries == entries(13, 14, 2)
    persister = reopened(disk)
    persister.write_snapshot(snapshot(20, 2), lines(snapshot(20, 2)))
    persister.save(None, entries(21, 22, 2))  # what was waiting is not needed any more
    assert reopened(disk).entries == entries(21, 22, 2)


@pytest.mark.parametrize("first", [13, 14])
def test_entries_replaced_by_what_is_in_a_snapshot_are_not_written_after_it(first: int) -> None:
    """They waited for the disk, while others committed, and this node applied, what replaced them."""
    disk = SimDisk()
    persister = begun(disk)
    persister.write_snapshot(snapshot(12, 3), lines(snapshot(12, 3)))
    persister.save(None, entries(first, 15, 2))
    persister.save(None, entries(13, 14, 3))
    assert persister.last_index == 14
    assert reopened(disk).entries == entries(13, 14, 3)


def test_the_file_with_the_snapshots_last_entry_tells_another_history_apart() -> None:
    disk = SimDisk()
    persister = open_persister(disk, segment_bytes=100)
    persister.save(HardState(9, 1), [])
    for first in (1, 4, 7):
        persister.save(None, entries(first, first + 2, 1))
    persister.write_snapshot(snapshot(6, 2), lines(snapshot(6, 2)))
    persister.compact(6)
    assert reopened(disk).entries == [], "7 to 9 of term 1 do not follow 6 of term 2"


def test_a_snapshot_of_a_later_term_than_the_disk_knows() -> None:
    disk = SimDisk()
    persister = begun(disk)
    persister.write_snapshot(snapshot(10, 12), lines(snapshot(10, 12)))
    for _ in range(2):
        persister = reopened(disk)
        assert persister.hard_state == HardState(12, None), (
            "no vote was promised in a term that was not durable"
        )


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"index": 20, "term": 2},
        {"index": 20, "term": 2, "configuration": 5},
        {"index": 20, "term": 2, "configuration": {"voters": []}},
        {"index": [], "term": 2, "configuration": {"voters": [1]}},
    ],
)
def test_a_received_snapshot_with_a_header_that_is_none_is_asked_for_again(header: dict[str, object]) -> None:
    persister = begun(SimDisk())
    sealed = seal({"format": FORMAT, **header})
    file = sealed + encode_footer(0, zlib.crc32(sealed))
    assert persister.receive_chunk(snapshot(20, 2), 0, file, True) == 0
    receive(persister, snapshot(20, 2))
    assert persister.install(snapshot(20, 2))
