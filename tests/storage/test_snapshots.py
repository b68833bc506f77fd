"""Snapshots: written, sent in chunks, installed, replaced while they are read."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from raftkv.raft.types import HardState
from raftkv.storage.persister import Persister

from tests.sim.disk import SimDisk
from tests.storage.model import entries, lines, snapshot
from tests.storage.steps import begun, content, expected, file_of, receive, reopened

# -- own ones ------------------------------------------------------------------------------------------------


def test_a_snapshot_is_what_was_written() -> None:
    disk = SimDisk()
    persister = begun(disk)
    assert persister.open_snapshot() is None and persister.snapshot is None
    assert persister.snapshot_bytes == 0
    taken = snapshot(7, 1)
    assert persister.write_snapshot(taken, lines(taken))
    assert persister.snapshot == taken and content(persister) == expected(taken)
    assert persister.snapshot_bytes == len(file_of(taken))
    path = "data/snapshot/00000000000000000007-1.jsonl"
    assert disk.files()[-1] == path and disk.read(path) == file_of(taken), "the documented format"
    persister = reopened(disk)
    assert persister.snapshot == taken and content(persister) == expected(taken)
    assert persister.snapshot_bytes == len(file_of(taken))
    assert persister.entries == entries(8, 10, 1)


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
            unsynced[0] = max(unsynced[0], len(inode.data) - len(inode.durable))

    disk.before = before
    persister.write_snapshot(snapshot(7, 1), (b'"%b"\n' % (b"x" * 100_000) for _ in range(200)))
    assert 1 << 20 < unsynced[0] < 6 << 20, f"{unsynced[0]} bytes were waiting for an fsync at once"


# -- received ones -------------------------------------------------------------------------------------------


def test_a_received_one_is_installed() -> None:
    disk = SimDisk()
    persister = begun(disk)
    taken = snapshot(20, 2)
    assert receive(persister, taken) == len(file_of(taken))
    assert persister.snapshot is None, "not before it is installed"
    assert persister.install(taken)
    assert persister.snapshot == taken and content(persister) == expected(taken)
    assert persister.snapshot_bytes == len(file_of(taken))
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


def test_snapshot_that_is_cut_short_or_another_one_is_asked_for_again() -> None:
    persister = begun(SimDisk())
    data = file_of(snapshot(20, 2))
    for wrong in [*(data[:cut] for cut in range(1, len(data))), file_of(snapshot(21, 2))]:
        assert persister.receive_chunk(snapshot(20, 2), 0, wrong, True) == 0


def test_an_unfinished_transfer_does_not_survive_a_restart() -> None:
    disk = SimDisk()
    persister = begun(disk)
    persister.receive_chunk(snapshot(20, 2), 0, file_of(snapshot(20, 2))[:40], False)
    persister = reopened(disk)
    assert disk.list_folder("data/snapshot") == []
    assert persister.receive_chunk(snapshot(20, 2), 40, b"x", False) == 0


# -- threads -------------------------------------------------------------------------------------------------


def test_snapshots_are_written_while_the_log_goes_on(tmp_path: Path) -> None:
    """On a real disk: the log-writer saves and compacts, one thread takes snapshots, one reads them."""

    def opened() -> Persister:
        return Persister(str(tmp_path / "data"), node_id=1, cluster="c", segment_bytes=2000)

    persister = opened()
    persister.save(HardState(1, 1), entries(1, 1, 1))
    failures: list[BaseException] = []
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
