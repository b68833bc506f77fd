"""A dump that is put back: all is as it was, and no revision is given twice."""

from __future__ import annotations

from typing import Any

import pytest
from raftkv.errors import BAD_REQUEST, COMPACTED, InvalidRequestError
from raftkv.kvdb.ranges import ALL
from raftkv.kvdb.restoring import REVISION_GAP, Restore

from tests.unit.writer import Writer, dump

ROWS = [(b"a", b"1", 5, 9, 3, 7), (b"b\xff", b"\xfe", 12, 12, 1, 0)]
LEASES = [(7, 60)]


def restored(write: Writer) -> Any:
    return write("restore", 17, 0, LEASES, ROWS)


def test_keys_come_back_as_they_were_and_the_revision_goes_on_far_after_that_of_the_dump() -> None:
    write = Writer()
    at = 17 + REVISION_GAP
    assert restored(write) == (True, at)
    assert write("restore", 17, at, [(8, 5)], [(b"c", b"3", 2, 17, 9, 8)]) == (True, at)
    assert write.read("range", *ALL)[1] == (at, [*ROWS, (b"c", b"3", 2, 17, 9, 8)], False, 3)
    assert write("put", b"a", b"2") == (True, at + 1)
    assert write.read("get", b"a")[1][1] == (b"2", 5, at + 1, 4, 0)
    assert write("lease_revoke", 8) == (True, (at + 2, 1))


def test_revisions_before_a_restored_dump_are_compacted() -> None:
    write = Writer()
    write("put", b"x", b"")
    write("delete", b"x")
    at = restored(write)[1]
    assert write.read("range", *ALL, 0, at)[1][1] == ROWS
    assert write.read("range", *ALL, 0, at - 1)[1][0] == COMPACTED
    write.restart()
    assert write.read("range", *ALL, 0, at)[1][1] == ROWS
    assert write.read("range", *ALL, 0, 3)[1][::2] == (COMPACTED, at)


def test_the_revision_never_falls() -> None:
    write = Writer()
    write.store.data.revision = 3 * REVISION_GAP
    assert restored(write) == (True, 4 * REVISION_GAP)


@pytest.mark.parametrize("before", [("put", b"x", b""), ("lease_grant", 1, 10)])
def test_a_database_that_is_not_empty_is_left_as_it_is(before: tuple[Any, ...]) -> None:
    write = Writer()
    write(*before)
    state = dump(write.store)[2:]
    assert restored(write)[1][0] == BAD_REQUEST
    assert dump(write.store)[2:] == state


def test_a_piece_is_refused_when_something_was_written_since_the_last_one() -> None:
    write = Writer()
    at = restored(write)[1]
    write("put", b"x", b"")
    assert write("restore", 17, at, [], [(b"c", b"", 2, 2, 1, 0)])[1][0] == BAD_REQUEST
    assert write.value(b"c") is None


@pytest.mark.parametrize(
    "leases, rows",
    [
        ([], [(b"a", b"", 2, 2, 1, 0)]),
        ([], [(b"c", b"", 2, 2, 1, 0)] * 2),
        ([], [(b"c", b"", 2, 2, 1, 9)]),
        ([(7, 1)], []),
        ([(9, 1), (9, 2)], []),
    ],
)
def test_dump_with_rows_doubled_or_missing_is_refused(leases: list[Any], rows: list[Any]) -> None:
    write = Writer()
    at = restored(write)[1]
    assert write("restore", 17, at, leases, rows)[1][0] == BAD_REQUEST
    assert len(write.store) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"revision": 0},
        {"at": -1},
        {"leases": [(0, 1)]},
        {"leases": [(1, 0)]},
        {"leases": [(1,)]},
        {"leases": 5},
        {"rows": [ROWS[0][:5]]},
        {"rows": [(b"a", b"1", 5, 18, 3, 7)]},
        {"rows": [(b"a", b"1", 10, 9, 3, 7)]},
        {"rows": [(b"a", b"1", 5, 9, 0, 7)]},
        {"rows": [("a", b"1", 5, 9, 1, 7)]},
        {"rows": [(b"a", b"1", 5, 9, 1, -7)]},
        {"rows": ROWS * 6000},
    ],
)
def test_a_piece_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    good = Restore(17, 0, LEASES, ROWS)
    good.check()
    with pytest.raises(InvalidRequestError):
        good._replace(**wrong).check()
