"""Snapshots: written, sent in chunks, installed, replaced while they are read."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Iterator, List, Optional

import pytest

from raftkv.raft.persister import Persister
from raftkv.raft.types import Entry, HardState, Snapshot
from tests.sim.disk import SimDisk
from tests.storage.model import entries, lines, open_persister, snapshot
from tests.storage.steps import file_of


def begun(disk: SimDisk, log: Optional[List[Entry]] = None) -> Persister:
    persister = open_persister(disk)
    persister.save(HardState(9, 1), log if log is not None else entries(1, 10, 1))
    return persister


def reopened(disk: SimDisk) -> Persister:
    disk.kill()
    return open_persister(disk)


def content(persister: Persister) -> List[object]:
    with persister.open_snapshot() or pytest.fail("there is no snapshot") as reader:
        return list(reader.records())


def expected(taken: Snapshot, count: int = 3) -> List[object]:
    return [json.loads(line) for line in lines(taken, count)]


def receive(persister: Persister, taken: Snapshot, chunk: int = 50) -> int:
    data = file_of(taken)
    held = 0
    for start in range(0, len(data), chunk):
        held = persister.receive_chunk(taken, start, data[start : start + chunk], start + chunk >= len(data))
    return held


# -- own ones --------------------------------------------------------------------------------------------------


def test_a_snapshot_is_what_was_written() -> None:
    disk = SimDisk()
    persister = begun(disk)
    assert persister.open_snapshot() is None and persister.snapshot is None
    taken = snapshot(7, 1)
    assert persister.write_snapshot(taken, lines(taken))
    assert persister.snapshot == taken and content(persister) == expected(taken)
    persister = reopened(disk)
    assert persister.snapshot == taken and content(persister) == expected(taken)
    assert persister.entries == entries(8, 10, 1)


def test_its_bytes_are_the_documented_format() -> None:
    disk = SimDisk()
    persister = begun(disk)
    persister.write_snapshot(snapshot(7, 1), lines(snapshot(7, 1)))
    path = "data/snapshot/00000000000000000007-1.jsonl"
    assert disk.files()[-1] == path and disk.read(path) == file_of(snapshot(7, 1))


@pytest.mark.parametrize("count", [0, 1, 100_000])
def test_any_number_of_records(count: int) -> None:
    disk = SimDisk()
    persister = begun(disk)
    persister.write_snapshot(snapshot(7, 1), lines(snapshot(7, 1), count))
    assert content(persister) == expected(snapshot(7, 1), count)


def test_a_newer_one_replaces_it_and_it_stays_readable() -> None:
    disk = SimDisk()
    persister = begun(disk)
    old, new = snapshot(3, 1), snapshot(7, 1)
    persister.write_snapshot(old, lines(old))
    reader = persister.open_snapshot()
    assert reader is not None
    first_half = reader.read(0, 60)
    persister.write_snapshot(new, lines(new))
    assert disk.list_folder("data/snapshot") == ["00000000000000000007-1.jsonl"]
    assert first_half + reader.read(60, reader.size) == file_of(old)
    assert reader.snapshot == old and list(reader.records()) == expected(old)
    reader.close()
    assert content(persister) == expected(new)


def test_an_attempt_that_is_given_up_leaves_nothing() -> None:
    class GivenUp(Exception):
        pass

    def some_lines() -> Iterator[bytes]:
        yield b"1\n"
        raise GivenUp

    disk = SimDisk()
    persister = begun(disk)
    before = disk.files()
    with pytest.raises(GivenUp):
        persister.write_snapshot(snapshot(7, 1), some_lines())
    assert disk.files() == before and persister.snapshot is None
    persister.save(None, entries(11, 11, 1))


@pytest.mark.parametrize("line", [b"", b"1", b"1\n2\n", b"\n\n"])
def test_a_record_is_one_line(line: bytes) -> None:
    persister = begun(SimDisk())
    with pytest.raises(AssertionError, match="a record is one line"):
        persister.write_snapshot(snapshot(7, 1), [line])


def test_an_older_one_than_what_was_installed_meanwhile_is_given_up() -> None:
    disk = SimDisk()
    persister = begun(disk)
    newer = snapshot(9, 1)

    def slow_lines() -> Iterator[bytes]:
        yield b"1\n"
        receive(persister, newer)
        persister.install(newer)

    assert not persister.write_snapshot(snapshot(7, 1), slow_lines())
    assert persister.snapshot == newer and content(persister) == expected(newer)
    assert disk.list_folder("data/snapshot") == ["00000000000000000009-1.jsonl"]


def test_a_long_snapshot_is_fsynced_bit_by_bit() -> None:
    disk = SimDisk()
    persister = begun(disk)
    unsynced = [0]

    def before(operation: str, path: str) -> None:
        if operation == "write":
            inode = disk._inode(path)
            unsynced[0] = max(unsynced[0], len(inode.data) - inode.durable)

    disk.before = before
    persister.write_snapshot(snapshot(7, 1), (b'"%b"\n' % (b"x" * 100_000) for _ in range(200)))
    assert 1 << 20 < unsynced[0] < 6 << 20, f"{unsynced[0]} bytes were waiting for an fsync at once"


# -- received ones ---------------------------------------------------------------------------------------------


def test_a_received_one_is_installed() -> None:
    disk = SimDisk()
    persister = begun(disk)
    taken = snapshot(20, 2)
    assert receive(persister, taken) == len(file_of(taken))
    assert persister.snapshot is None, "not before it is installed"
    assert persister.install(taken)
    assert persister.snapshot == taken and content(persister) == expected(taken)
    assert disk.list_folder("data/snapshot") == ["00000000000000000020-2.jsonl"]
    assert content(reopened(disk)) == expected(taken)


def test_a_transfer_is_resumed_where_it_broke() -> None:
    persister = begun(SimDisk())
    taken = snapshot(20, 2)
    data = file_of(taken)
    assert persister.receive_chunk(taken, 0, data[:40], False) == 40
    assert persister.receive_chunk(taken, 60, data[60:], True) == 40, "a chunk in between is missing"
    assert persister.receive_chunk(taken, 0, data[:40], False) == 40, "a repetition changes nothing"
    assert persister.receive_chunk(taken, 30, data[30:70], False) == 40, "nor does one that overlaps"
    assert persister.receive_chunk(taken, 40, data[40:], True) == len(data)
    assert persister.receive_chunk(taken, 40, data[40:], True) == len(data), "the last one, repeated"
    assert persister.receive_chunk(taken, len(data), b"", True) == len(data)
    assert persister.install(taken) and content(persister) == expected(taken)


def test_the_first_chunk_of_another_one_takes_over() -> None:
    disk = SimDisk()
    persister = begun(disk)
    for one, other in [(snapshot(20, 2), snapshot(30, 2)), (snapshot(30, 2), snapshot(20, 3))]:
        persister.receive_chunk(one, 0, file_of(one)[:40], False)
        assert persister.receive_chunk(other, 40, file_of(other)[40:80], False) == 0
        assert persister.receive_chunk(other, 0, file_of(other)[:10], False) == 10
        assert persister.receive_chunk(one, 40, file_of(one)[40:80], False) == 0
        parts = [name for name in disk.list_folder("data/snapshot") if name.endswith(".part")]
        assert parts == [f"{other.index:020d}-{other.term}.jsonl.part"]


def test_an_older_one_is_refused() -> None:
    """It would be applied over newer state. Its sender learns so by the core; here it is only not kept."""
    disk = SimDisk()
    persister = begun(disk)
    older, same, newer = snapshot(6, 1), snapshot(7, 1), snapshot(8, 1)
    receive(persister, older)
    persister.write_snapshot(same, lines(same))
    assert not persister.install(older), "a newer one was written after it had been received"
    for refused in (older, same):
        assert receive(persister, refused) == 0
        assert not persister.install(refused)
    assert persister.snapshot == same and content(persister) == expected(same)
    assert disk.list_folder("data/snapshot") == ["00000000000000000007-1.jsonl"], "something was kept of them"
    assert receive(persister, newer) and persister.install(newer)


def test_only_what_is_complete_and_checked_is_installed() -> None:
    persister = begun(SimDisk())
    taken = snapshot(20, 2)
    with pytest.raises(AssertionError, match="is not the one that was received"):
        persister.install(taken)
    data = file_of(taken)
    persister.receive_chunk(taken, 0, data, False)
    with pytest.raises(AssertionError, match="is not completely received"):
        persister.install(taken)
    persister.receive_chunk(taken, len(data), b"", True)
    with pytest.raises(AssertionError, match="is not the one that was received"):
        persister.install(snapshot(21, 2))


def test_a_damaged_one_is_asked_for_again() -> None:
    """Each bit, flipped on the way."""
    disk = SimDisk()
    persister = begun(disk)
    taken = snapshot(20, 2)
    data = file_of(taken)
    for bit in range(len(data) * 8):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        assert persister.receive_chunk(taken, 0, bytes(broken), True) == 0
        assert disk.list_folder("data/snapshot") == [], "something was kept of it"
    assert receive(persister, taken) == len(data) and persister.install(taken)


def test_one_that_is_cut_short_is_asked_for_again() -> None:
    persister = begun(SimDisk())
    data = file_of(snapshot(20, 2))
    for cut in range(1, len(data)):
        assert persister.receive_chunk(snapshot(20, 2), 0, data[:cut], True) == 0


def test_the_file_of_another_snapshot_is_asked_for_again() -> None:
    persister = begun(SimDisk())
    assert persister.receive_chunk(snapshot(20, 2), 0, file_of(snapshot(21, 2)), True) == 0


def test_an_unfinished_transfer_does_not_survive_a_restart() -> None:
    disk = SimDisk()
    persister = begun(disk)
    persister.receive_chunk(snapshot(20, 2), 0, file_of(snapshot(20, 2))[:40], False)
    persister = reopened(disk)
    assert disk.list_folder("data/snapshot") == []
    assert persister.receive_chunk(snapshot(20, 2), 40, b"x", False) == 0


# -- what becomes of the log (paper section 7) -----------------------------------------------------------------


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
def test_what_install_keeps_of_the_log(
    taken: Snapshot, kept: List[Entry], crash_before_the_log_is_dropped: bool
) -> None:
    disk = SimDisk()
    persister = open_persister(disk, segment_bytes=100)
    persister.save(HardState(9, 1), [])
    for first in (1, 4, 7, 9):
        persister.save(None, entries(first, min(first + 3, 10), 1))
    receive(persister, taken)
    if crash_before_the_log_is_dropped:
        persister._log.follow = persister._log.compact = lambda _: None  # type: ignore[method-assign, assignment]
    persister.install(taken)
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
    done: List[str] = []
    disk.before = lambda operation, path: done.append(f"{operation} {path}") if "data/log" in path else None
    persister.install(snapshot(6, 2))
    removals = [f"remove data/log/{first:020d}.jsonl" for first in (7, 4, 1)]
    assert done == [step for removal in removals for step in (removal, "sync_folder data/log")]


def test_a_snapshot_of_entries_that_were_not_saved_here_yet() -> None:
    """Others can commit what this node's disk has not seen (thesis 10.2.1): it may be applied, and in a snapshot."""
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
        assert persister.hard_state == HardState(12, None, 0), (
            "no vote was promised in a term that was not durable"
        )


# -- threads ---------------------------------------------------------------------------------------------------


def test_snapshots_are_written_while_the_log_goes_on(tmp_path: Path) -> None:
    """On a real disk: the log-writer saves and compacts, one thread takes snapshots, one reads them."""

    def opened() -> Persister:
        return Persister(str(tmp_path / "data"), node_id=1, cluster="c", voters=(1, 2, 3), segment_bytes=2000)

    persister = opened()
    persister.save(HardState(1, 1), entries(1, 1, 1))
    failures: List[BaseException] = []
    saved, stop = [1], threading.Event()

    def loop(work: object) -> None:
        try:
            while not stop.is_set():
                work()  # type: ignore[operator]
        except BaseException as error:
            failures.append(error)

    def take() -> None:
        taken = snapshot(saved[0], 1)
        if persister.snapshot is None or taken.index > persister.snapshot.index:
            persister.write_snapshot(taken, lines(taken, 50))

    def read() -> None:
        with_reader = persister.open_snapshot()
        if with_reader is not None:
            with with_reader as reader:
                assert list(reader.records()) == expected(reader.snapshot, 50)

    threads = [threading.Thread(target=loop, args=(work,)) for work in (take, read)]
    for thread in threads:
        thread.start()
    for first in range(2, 1500, 5):
        persister.save(None, entries(first, first + 4, 1))
        saved[0] = first + 4
        if persister.snapshot is not None:
            persister.compact(persister.snapshot.index)
        if failures:
            break
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures, failures
    persister.close()
    newest, last = persister.snapshot, persister.last_index
    assert newest is not None
    persister = opened()
    assert persister.snapshot == newest and persister.entries == entries(newest.index + 1, last, 1)
    assert len(list((tmp_path / "data" / "snapshot").iterdir())) == 1
    persister.close()
