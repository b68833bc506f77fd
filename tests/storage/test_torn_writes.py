"""What a power cut leaves of the last write is cut off, and said so. A lost sector before it is refused."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import pytest
from raftkv.raft.types import COMMAND, Entry
from raftkv.storage.replay import MARKER, SECTOR

from tests.sim.disk import EVERYTHING, NOTHING, Crash
from tests.storage.damage import FIRST_FILE, file_of, refused, reopened, written
from tests.storage.model import entries, open_persister

ROOM = 3 * SECTOR  # of unused space behind the entries
ENDS = pytest.mark.parametrize("zeros", [0, 1, ROOM])


def of_size(index: int, size: int) -> Entry:
    """An entry that takes `size` bytes. (Its CRC has a length of its own.)"""
    about = size - len(Entry.create(index, 1, COMMAND, "").line)
    for letter, filling in itertools.product("abcdefgh", range(about - 2, about + 3)):
        entry = Entry.create(index, 1, COMMAND, letter * filling)
        if len(entry.line) == size:
            return entry
    raise ValueError(f"no entry {index} of {size} bytes")


def check_cut(data: bytes, old: list[Entry], new: list[Entry], survived: int) -> None:
    """`data`: what is left of `old`, which was synced, and `new`: `survived` bytes, more behind a hole."""
    disk = written(old, new)
    disk.overwrite(FIRST_FILE, data)
    whole = (MARKER + b"".join(entry.line for entry in new))[:survived].count(b"\n")
    kept = file_of(old) + file_of(new)[: 1 + sum(len(entry.line) for entry in new[:whole])] * (whole > 0)
    torn = len(data.rstrip(b"\0")) - len(kept)
    said = [f"cut a torn write off the end of {FIRST_FILE}: {torn} bytes"]
    silent = data.rstrip(b"\0")[len(kept) :] in (b"", MARKER)
    assert reopened(disk) == (old + new[:whole], [] if silent else said)
    assert reopened(disk) == (old + new[:whole], []), "the second time, nothing is torn any more"


@ENDS
def test_a_write_cut_at_each_byte(zeros: int) -> None:
    """Of one save of three entries all whole ones are kept. A write that was cut short by the end of its
    process, and not by a power cut, need not end where a sector does."""
    old, new = entries(1, 2, 1), entries(3, 5, 1)
    for cut in range(len(file_of(new)) + 1):
        check_cut(file_of(old) + file_of(new)[:cut] + bytes(zeros), old, new, cut)


@ENDS
def test_the_first_write_to_a_new_file_cut_at_each_byte(zeros: int) -> None:
    old, new = entries(1, 2, 1), entries(3, 3, 1)
    for cut in range(len(file_of(new)) - 1):
        disk = written(old, new, segment_bytes=1)
        disk.overwrite(
            "data/node.json", written(old, segment_bytes=1).read("data/node.json")
        )  # it is written later
        last_file = "data/log/00000000000000000003.jsonl"
        disk.overwrite(last_file, file_of(new)[:cut] + bytes(zeros))
        assert reopened(disk)[0] == old
        assert not disk.exists(last_file)
        persister = open_persister(disk)
        persister.save(None, entries(3, 4, 2))
        persister.close()
        assert reopened(disk)[0] == old + entries(3, 4, 2)


def test_an_empty_file_does_not_come_back_behind_a_torn_write() -> None:
    """It was begun, but nothing written to it. Were its removal not durable, the torn one would not be the
    last."""
    disk = written(entries(1, 3, 1), segment_bytes=1)
    persister = open_persister(disk, segment_bytes=1)
    with disk.failing(Crash(), "write"), pytest.raises(Crash):
        persister.save(None, entries(4, 4, 1))
    disk.power_cut(EVERYTHING)
    assert disk.list_folder("data/log") == ["00000000000000000001.jsonl", "00000000000000000004.jsonl"]
    persister = open_persister(disk, segment_bytes=1000)
    with disk.failing(Crash(), "write"), pytest.raises(Crash):
        persister.save(None, entries(4, 4, 1))
    disk.power_cut(NOTHING)
    disk.overwrite(FIRST_FILE, disk.read(FIRST_FILE) + b"[4,1")
    assert reopened(disk)[0] == entries(1, 3, 1)


# -- any sectors of the last write ---------------------------------------------------------------------------

#: Where the last write begins: in the middle of a sector, where one begins, and its last byte.
BEGINNINGS = (SECTOR // 2, SECTOR, SECTOR - 1)


def last_write() -> list[Entry]:
    """Several entries a sector, one over sectors, an end of line that is a sector's first byte."""
    some = [*entries(2, 9, 1), of_size(10, 2 * SECTOR), *entries(11, 14, 1)]
    after = sum(len(entry.line) for entry in some)
    return [*some, *entries(15, 15, 1), of_size(16, 4 * SECTOR - after - len(entries(15, 15, 1)[0].line))]


def losses(start: int, end: int) -> Iterator[list[tuple[int, int]]]:
    """All ways to lose some of the sectors that the bytes start..end are in, each as a list of ranges."""
    first, last = start // SECTOR, (end - 1) // SECTOR
    sectors = [(max(start, at * SECTOR), min(end, at * SECTOR + SECTOR)) for at in range(first, last + 1)]
    for count in range(1, len(sectors) + 1):
        yield from map(list, itertools.combinations(sectors, count))


def lose(data: bytes, ranges: Sequence[tuple[int, int]]) -> bytes:
    for start, end in ranges:
        data = data[:start] + bytes(end - start) + data[end:]
    return data


@pytest.mark.parametrize("anew", [False, True])
@pytest.mark.parametrize("zeros", [0, ROOM])
@pytest.mark.parametrize("begin", BEGINNINGS)
def test_any_sectors_of_the_last_write_are_lost(begin: int, zeros: int, anew: bool) -> None:
    """`anew`: the file was written anew before. Then the write's first byte, a marker, was there already."""
    old, new = [of_size(1, begin - 1)], last_write()
    intact = file_of(old, new)
    assert len(intact) - begin > 4 * SECTOR
    for ranges in losses(begin + anew, len(intact)):
        data = lose(intact, ranges) + bytes(zeros)
        check_cut(data if zeros else data.rstrip(b"\0"), old, new, ranges[0][0] - begin)


def test_an_end_of_line_that_is_lost() -> None:
    """The entry is whole but for its newline, with which a sector began: still torn."""
    old = [of_size(1, 100)]
    new = [of_size(2, SECTOR - len(file_of(old))), *entries(3, 3, 1)]
    intact = file_of(old, new)
    assert intact[SECTOR : SECTOR + 1] == b"\n"
    for lost in (intact[:SECTOR], intact[:SECTOR] + bytes(ROOM), lose(intact, [(SECTOR, len(intact))])):
        check_cut(lost, old, new, SECTOR - len(file_of(old)))


# -- lost sectors of what was synced -------------------------------------------------------------------------


def spans(end: int) -> Iterator[tuple[int, int]]:
    """All ranges of sectors before `end`, and the rest of the one that it is in."""
    edges = [*range(0, end, SECTOR), end]
    yield from itertools.combinations(edges, 2)


def test_a_lost_sector_is_refused_once_a_later_write_has_begun() -> None:
    """Whole lines before it, or none; whole ones after it, or none."""
    for size in (100, SECTOR - 1, SECTOR, 3 * SECTOR - 7):
        saves = [[of_size(1, size)], entries(2, 20, 1), [of_size(21, size)], entries(22, 23, 1)]
        intact = file_of(*saves)
        later = len(file_of(*saves[:3]))  # where the last write begins
        disk = written(*saves)
        for start, end in spans(later):
            for zeros in (0, ROOM):
                disk.overwrite(FIRST_FILE, lose(intact, [(start, end)]) + bytes(zeros))
                assert FIRST_FILE in refused(disk), f"lost {start} to {end}, last write at {later}"


@pytest.mark.parametrize("written_anew", [True, False])
def test_a_lost_sector_is_refused_in_a_file_that_was_written_anew_and_in_an_older_one(
    written_anew: bool,
) -> None:
    saves = [[of_size(1, 700), *entries(2, 50, 1)], [] if written_anew else entries(51, 51, 1)]
    disk = written(*filter(None, saves), segment_bytes=1 << 20 if written_anew else 1)
    intact = file_of(saves[0])
    if written_anew:
        reopened(disk)
        assert disk.read(FIRST_FILE) == intact + MARKER
    for start, end in spans(len(intact)):
        damaged = lose(intact, [(start, end)]) + (MARKER if written_anew else bytes(ROOM))
        disk.overwrite(FIRST_FILE, damaged)
        assert FIRST_FILE in refused(disk), f"lost {start} to {end}"


def test_zeros_that_are_no_whole_sector_are_refused() -> None:
    """Also in the last write: no power cut leaves them."""
    old, new = entries(1, 2, 1), [*entries(3, 9, 1), of_size(10, 2 * SECTOR)]
    intact, begin = file_of(old, new), len(file_of(old))
    disk = written(old, new)
    for start in range(begin, len(intact) - 1):
        begins = intact[start - 1 : start] in (b"\n", MARKER) or start % SECTOR == 0
        for end in {start + 1, start + 40, start + SECTOR - 1}:
            whole = begins and end >= start - start % SECTOR + SECTOR
            if end < len(intact) and not whole:
                disk.overwrite(FIRST_FILE, lose(intact, [(start, end)]))
                refused(disk)
