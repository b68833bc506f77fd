"""What is not as it was written, and no torn write either (test_torn_writes.py), is refused."""

from __future__ import annotations

import contextlib
import zlib

import pytest
from raftkv.errors import DamagedDataError, ForeignDataError, StorageError
from raftkv.raft.types import COMMAND, Entry, HardState, encode_entries
from raftkv.storage.replay import MARKER, SECTOR

from tests.sim.disk import SimDisk
from tests.storage.damage import FIRST_FILE, file_of, refused, reopened, written
from tests.storage.model import entries, lines, open_persister, snapshot
from tests.storage.steps import receive


def test_each_flipped_bit_in_the_log_is_refused() -> None:
    """In every entry, the last one too: no power cut flips a bit, and the last one may be acknowledged."""
    saves = [entries(1, 2, 1), entries(3, 3, 1)]
    disk, intact = written(*saves), file_of(*saves)
    for zeros in (0, 1000):
        for bit in range(len(intact) * 8):
            disk.overwrite(FIRST_FILE, intact + bytes(zeros))
            disk.flip(FIRST_FILE, bit)
            message = refused(disk)
            broken_line = 1 + intact.count(b"\n", 0, bit // 8)
            lines_named = [
                f"{FIRST_FILE}, line {number}:" in message for number in (broken_line, broken_line + 1)
            ]
            assert any(lines_named), f"bit {bit}: {message}"
    disk.overwrite(FIRST_FILE, intact)
    assert reopened(disk) == (entries(1, 3, 1), [])


def test_a_flipped_bit_that_makes_a_zero_byte_makes_no_unwritten_sector() -> None:
    """There are bytes with a single bit, such as a space; here at every place of a sector."""
    saves = [entries(1, 1, 1), [Entry.create(2, 1, COMMAND, " @" * SECTOR)]]
    disk, intact = written(*saves), file_of(*saves)
    for position, byte in enumerate(intact):
        if byte in b" @":
            disk.overwrite(FIRST_FILE, intact)
            disk.flip(FIRST_FILE, position * 8 + byte.bit_length() - 1)
            assert disk.read(FIRST_FILE)[position] == 0
            refused(disk)


def test_a_flipped_bit_in_the_unused_space_loses_nothing() -> None:
    saves = [entries(1, 2, 1), entries(3, 3, 1)]
    disk, intact = written(*saves), file_of(*saves)
    for bit in range(3 * SECTOR * 8):
        disk.overwrite(FIRST_FILE, intact + bytes(3 * SECTOR))
        disk.flip(FIRST_FILE, len(intact) * 8 + bit)
        with contextlib.suppress(DamagedDataError):
            assert reopened(disk)[0] == entries(1, 3, 1)


def test_each_flipped_bit_in_an_older_file_is_refused() -> None:
    disk = written(entries(1, 2, 1), entries(3, 3, 1), segment_bytes=1)
    intact = file_of(entries(1, 2, 1))
    for bit in range(len(intact) * 8):
        disk.overwrite(FIRST_FILE, intact)
        disk.flip(FIRST_FILE, bit)
        assert FIRST_FILE in refused(disk)


@pytest.mark.parametrize("marker", [MARKER, b""])
def test_a_lost_newline_is_no_torn_tail_whatever_follows(marker: bytes) -> None:
    """Else the entry before a torn one, which was acknowledged, would be cut off with it."""
    old, new = entries(1, 2, 1), entries(3, 3, 1)
    for cut in range(1, len(new[0].line) + 1):
        for zeros in (0, 1000):
            disk = written(old, new)
            broken = marker + encode_entries(old)[:-1] + b"\x0b" + marker + new[0].line[:cut]
            disk.overwrite(FIRST_FILE, broken + bytes(zeros))
            refused(disk)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda a, b, c: a + b[:-5] + c, id="the middle of an entry is missing"),
        pytest.param(lambda a, b, c: a + c, id="an entry is missing"),
        pytest.param(lambda a, b, c: b + c, id="the first one is missing"),
        pytest.param(lambda a, b, c: a + b + b[:9] + b"\n" + c, id="something in between"),
        pytest.param(lambda a, b, c: a + b"\n" + b + c, id="an empty line"),
        pytest.param(lambda a, b, c: a + bytes(len(b)) + b"\n" + c, id="zeros before a whole entry"),
        pytest.param(lambda a, b, c: a + b[:20] + b"\n" + c[:20], id="two broken ones at the end"),
        pytest.param(lambda a, b, c: a + b + c + b"\n", id="an empty line at the end"),
        pytest.param(lambda a, b, c: a + b + c + MARKER + b"\n", id="a write of nothing"),
        pytest.param(lambda a, b, c: a + MARKER + MARKER + b + c, id="a write of nothing in the middle"),
        pytest.param(lambda a, b, c: a + b + c[:9] + MARKER + c[9:], id="a marker in an entry"),
        pytest.param(lambda a, b, c: a + b[:9] + MARKER + c, id="a write after a broken one"),
        pytest.param(
            lambda a, b, c: a + b[:9] + bytes(999) + MARKER, id="nothing written after a broken one"
        ),
        pytest.param(
            lambda a, b, c: a + b + c + b"garbage\n", id="a whole line of something else at the end"
        ),
        pytest.param(lambda a, b, c: a + b + Entry.create(3, 0, COMMAND, None).line, id="the term goes back"),
    ],
)
def test_damage_that_no_power_cut_causes(damage: object) -> None:
    disk = written(entries(1, 3, 1))
    disk.overwrite(FIRST_FILE, damage(*[entry.line for entry in entries(1, 3, 1)]))  # type: ignore[operator]
    assert FIRST_FILE in refused(disk)


@pytest.mark.parametrize("at", [0, 2], ids=["first", "last"])
def test_an_entry_of_another_version_is_no_damage(at: int) -> None:
    found = entries(1, 3, 1)
    disk = written(found)
    head = found[at].line.rpartition(b",")[0].replace(b'"cmd"', b'"lease"')
    lines_ = [each.line for each in found]
    lines_[at] = b"%b,%d]\n" % (head, zlib.crc32(head))
    disk.overwrite(FIRST_FILE, b"".join(lines_))
    with pytest.raises(
        ForeignDataError, match=f"line {at + 1}: an entry that this version of raftkv does not know"
    ):
        open_persister(disk)


def test_an_older_file_may_not_be_torn_empty_or_missing() -> None:
    saves = [entries(index, index, 1) for index in (1, 2, 3)]
    for name in ("00000000000000000001", "00000000000000000002"):
        path = f"data/log/{name}.jsonl"
        disk = written(*saves, segment_bytes=1)
        intact = disk.read(path)
        disk.overwrite(path, intact.rstrip(b"\0")[:-1])
        assert f"{path}, line 1" in refused(disk)
        disk.overwrite(path, bytes(1000))
        assert f"{path}: it is empty" in refused(disk)
        disk.overwrite(path, b"")
        assert f"{path}: it is empty" in refused(disk)
        disk.remove(path)
        assert "entries are missing" in refused(disk)


@pytest.mark.parametrize("held", [None, b"", bytes(1000)], ids=["missing", "empty", "zeros"])
@pytest.mark.parametrize("first", [1, 4])
def test_a_newest_file_that_lost_what_it_held_is_refused(first: int, held: bytes | None) -> None:
    disk = written(*[entries(index, index, 1) for index in range(1, first + 1)], segment_bytes=1)
    path = f"data/log/{first:020d}.jsonl"
    disk.remove(path)
    if held is not None:
        disk.create(path).close()
        disk.overwrite(path, held)
    assert f"{path}: the newest file of the log is missing, or empty" in refused(disk)


def test_a_snapshot_that_is_missing_is_refused_also_where_it_replaced_the_whole_log() -> None:
    for saves in ([], [entries(1, 3, 1)]):
        disk = written(*saves)
        persister = open_persister(disk)
        persister.save(HardState(10, None), [])
        receive(persister, snapshot(9, 2))
        assert persister.install(snapshot(9, 2))
        persister.close()
        disk.remove("data/snapshot/00000000000000000009-2.jsonl")
        assert "data/snapshot: the snapshot that replaced the log is missing" in refused(disk)


def test_files_under_other_names() -> None:
    disk = written(entries(1, 3, 1))
    disk.rename(FIRST_FILE, "data/log/00000000000000000002.jsonl")
    assert "the first entry is 1@1" in refused(disk)
    disk.rename("data/log/00000000000000000002.jsonl", "data/log/copy.jsonl")
    with pytest.raises(
        ForeignDataError, match="copy.jsonl is not named as .* Nothing is damaged: move it out"
    ):
        open_persister(disk)


def test_files_that_are_none_of_ours_are_left_alone() -> None:
    disk = written(entries(1, 3, 1))
    disk.create("data/log/.DS_Store")
    disk.create("data/snapshot/.DS_Store")
    assert reopened(disk)[0] == entries(1, 3, 1)
    assert disk.exists("data/log/.DS_Store") and disk.exists("data/snapshot/.DS_Store")


@pytest.mark.parametrize("name", ["node.json", "hard_state.json"])
def test_each_flipped_bit_in_a_small_file_is_refused(name: str) -> None:
    disk = written(entries(1, 3, 1))
    intact = disk.read(f"data/{name}")
    for bit in range(len(intact) * 8):
        disk.overwrite(f"data/{name}", intact)
        disk.flip(f"data/{name}", bit)
        assert f"data/{name}" in refused(disk)


def with_snapshot() -> tuple[SimDisk, str]:
    disk = written(entries(1, 5, 1))
    persister = open_persister(disk)
    persister.write_snapshot(snapshot(3, 1), lines(snapshot(3, 1)))
    persister.close()
    return disk, "data/snapshot/00000000000000000003-1.jsonl"


def test_a_snapshot_with_a_flipped_bit_or_cut_anywhere_is_refused_before_anything_of_it_is_used() -> None:
    disk, path = with_snapshot()
    intact = disk.read(path)
    flipped = [
        intact[:at] + bytes([intact[at] ^ 1 << bit]) + intact[at + 1 :]
        for at in range(len(intact))
        for bit in range(8)
    ]
    for damaged in flipped + [intact[:cut] for cut in range(len(intact))]:
        disk.overwrite(path, damaged)
        with pytest.raises(DamagedDataError, match=path):
            reader = open_persister(disk).open_snapshot()
            assert reader is not None
            next(reader.records())
        disk.kill()


def test_missing_pieces() -> None:
    for path, reason in [
        ("data/hard_state.json", "it is missing"),
        ("data/snapshot/00000000000000000003-1.jsonl", "entries are missing"),
    ]:
        disk, _ = with_snapshot()
        persister = open_persister(disk, segment_bytes=1)
        persister.save(None, entries(6, 6, 1))
        persister.write_snapshot(snapshot(6, 1), lines(snapshot(6, 1)))
        persister.compact(6)
        persister.close()
        disk.remove(path.replace("03-1", "06-1"))
        assert reason in refused(disk)
    disk, _ = with_snapshot()
    for folder in ("data/log", "data/snapshot"):
        kept = disk.folders.pop(folder)
        assert f"{folder}: this folder is missing" in refused(disk)
        disk.folders[folder] = kept


def test_a_hard_state_that_is_older_than_the_log_is_refused() -> None:
    """Somebody put an old copy back. Its vote may be forgotten."""
    disk = SimDisk()
    persister = open_persister(disk)
    persister.save(HardState(1, 1), entries(1, 1, 1))
    old = disk.read("data/hard_state.json")
    persister.save(HardState(2, 2), entries(2, 2, 2))
    persister.close()
    disk.overwrite("data/hard_state.json", old)
    assert "its term 1 is older" in refused(disk)


def test_leftovers_of_an_interrupted_start_are_removed() -> None:
    disk = written(entries(1, 3, 1))
    for name in ("log/00000000000000000005.jsonl.tmp", "snapshot/00000000000000000005-1.jsonl.tmp"):
        disk.create(f"data/{name}")
    before = len(disk.files())
    assert reopened(disk) == (entries(1, 3, 1), [])
    assert len(disk.files()) == before - 2


def test_a_snapshot_under_another_name_or_without_a_header_is_refused_on_opening() -> None:
    disk, path = with_snapshot()
    disk.overwrite(path, b"garbage\n")
    assert f"{path}, line 1" in refused(disk)
    disk, path = with_snapshot()
    disk.rename(path, path.replace("3-1", "4-1"))
    assert "snapshot 3@1, not the one that it is named for" in refused(disk)


def test_a_disk_that_cannot_be_read_is_no_damage() -> None:
    disk, failed = written(entries(1, 3, 1)), OSError(5, "Input/output error", FIRST_FILE)
    with disk.failing(failed, "read"), pytest.raises(StorageError, match=failed.strerror) as caught:
        open_persister(disk)
    assert not isinstance(caught.value, DamagedDataError)
