"""etcd's data model, case by case: what is expected is what etcd 3.5 answers, but where a comment says otherwise."""

from __future__ import annotations

import random
from typing import Any

import pytest
from raftkv.errors import (
    COMPACTED,
    FUTURE_REVISION,
    KEY_NOT_FOUND,
    LEASE_EXISTS,
    LEASE_NOT_FOUND,
    RANGE_TOO_LARGE,
    InvalidRequestError,
)
from raftkv.kvdb import history, keyspace, reads, transactions
from raftkv.kvdb.limits import MAX_PAGE_BYTES, MAX_PAGE_ROWS
from raftkv.kvdb.ranges import ALL, ASCEND, CREATE, DESCEND, KEY, MOD, NONE, VALUE, VERSION, prefix_range
from raftkv.kvdb.reads import Range
from raftkv.kvdb.transactions import EQUAL, GREATER, LEASE, LESS, NOT_EQUAL
from raftkv.kvdb.writes import IGNORE_LEASE, IGNORE_VALUE, PREV_KV

from tests.unit.writer import Writer


@pytest.fixture(params=["as it is", "restored from a snapshot before each command"])
def write(request: Any) -> Writer:
    if request.param == "as it is":
        return Writer()
    call = Writer.__call__

    class Restarting(Writer):
        def __call__(self, op: str, *args: Any) -> Any:
            self.restart()
            return call(self, op, *args)

    return Restarting()


def rows(write: Writer, *args: Any) -> list[Any]:
    ok, result = write.read("range", *args)
    assert ok, result
    return result[1]


def keys(write: Writer, *args: Any) -> list[bytes]:
    return [row[0] for row in rows(write, *args)]


# -- revisions, versions -------------------------------------------------------------------------------------


def test_an_empty_database_is_at_revision_1(write: Writer) -> None:
    assert write.read("range", b"k") == (True, (1, [], False, 0))
    assert write.read("get", b"k") == (True, (1, None))


def test_a_put_creates_and_then_changes_and_a_deleted_key_begins_anew(write: Writer) -> None:
    assert write("put", b"k", b"a") == (True, 2)
    assert write("put", b"other", b"x") == (True, 3)
    assert write("put", b"k", b"b") == (True, 4)
    assert rows(write, b"k") == [(b"k", b"b", 2, 4, 2, 0)]
    assert write("delete", b"k") == (True, (5, 1, ()))
    assert rows(write, b"k") == []
    assert write("put", b"k", b"c") == (True, 6)
    assert rows(write, b"k") == [(b"k", b"c", 6, 6, 1, 0)]


def test_command_that_changes_nothing_makes_no_revision(write: Writer) -> None:
    write("put", b"k", b"v")
    assert write("delete", b"none") == (True, (2, 0, ()))
    assert write("delete", b"x", b"z") == (True, (2, 0, ()))
    assert write("cas", b"k", b"w", b"x") == (True, (2, False))
    assert write("put", b"k", b"v") == (True, 3), "the same value again is a change"


def test_append_and_cas_keep_the_lease(write: Writer) -> None:
    write("lease_grant", 7, 60)
    write("put", b"k", b"a", 7)
    assert write("append", b"k", b"b") == (True, 3)
    assert write("cas", b"k", b"ab", b"c") == (True, (4, True))
    assert rows(write, b"k") == [(b"k", b"c", 2, 4, 3, 7)]
    assert write("cas", b"new", None, b"") == (True, (5, True))
    assert write("cas", b"new", None, b"x") == (True, (5, False))


def test_each_write_of_a_batch_has_a_revision_of_its_own(write: Writer) -> None:
    write("put", b"a", b"1")
    batch = [
        ["put", b"b", b"2"],
        ("append", b"b", b"3"),
        ["delete", b"a"],
        ["delete", b"a"],
        ["cas", b"b", b"23", b"4"],
    ]
    assert write("batch", batch) == (
        True,
        ((True, 3), (True, 4), (True, (5, 1, ())), (True, (5, 0, ())), (True, (6, True))),
    )
    assert rows(write, *ALL) == [(b"b", b"4", 3, 6, 3, 0)]


# -- put and delete ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
def test_puts_that_come_together_do_the_same_as_one_by_one(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """As entries of the log, as one command or in a batch: keys, revisions, leases, views, and where the blocks of history end."""
    monkeypatch.setattr(history, "MAX_EVENTS", 60)
    monkeypatch.setattr(history, "BLOCK_EVENTS", 7)
    monkeypatch.setattr(history, "BLOCK_BYTES", 1200)
    rng = random.Random(seed)
    one_by_one, together, at_once, batches = writers = Writer(), Writer(), Writer(), Writer()
    for write in writers:
        write("lease_grant", 5, 10)
    views = []
    for round in range(20):
        puts = [(b"%d" % rng.randrange(9), b"v" * rng.choice([1, 1, 300])) for _ in range(rng.randint(1, 20))]
        if round % 3 < 2:  # they rise, and come after all others; some were deleted a moment ago
            puts = [(b"n%02d" % n, value) for n, (_, value) in enumerate(puts, round)]
        for write in writers:
            write("put", b"3", b"leased", 5)
            write("delete", b"%d" % (round % 9))
            write("delete", b"n", b"o")
        first = [one_by_one("put", *put) for put in puts]
        assert together.apply_together([("put", *put) for put in puts]) == first
        assert at_once("puts", *map(list, zip(*puts))) == first[0]
        assert batches("batch", [("put", *put) for put in puts]) == (True, tuple(first))
        if round == 10:
            views = [write.store.begin_view() for write in (one_by_one, together)]
    expected_rows, seen = ([view.next_rows(1000), sorted(view.next_rows(1000) or [])] for view in views)
    assert seen == expected_rows
    expected = one_by_one.store.data
    for data in [write.store.data for write in writers[1:]]:
        assert list(data.items.iterate()) == list(expected.items.iterate())
        assert list(data.history.newest_first()) == list(expected.history.newest_first())
        assert (data.history.floor, data.history.size) == (expected.history.floor, expected.history.size)
        assert (data.bytes, data.revision) == (expected.bytes, expected.revision)
        assert list(data.history.absent_keys(b"")) == list(expected.history.absent_keys(b""))


def test_many_keys_are_deleted_with_pauses_and_a_revision_larger_than_the_history_empties_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keyspace, "_RUN_KEYS", 5)
    monkeypatch.setattr(history, "MAX_EVENTS", 30)
    monkeypatch.setattr(history, "BLOCK_EVENTS", 5)
    write = Writer()
    data, left = write.store.data, []
    data.pause = lambda: left.append(len(data))
    for n in range(40):
        write("put", b"%02d" % n, b"v")
    write("delete", b"00")
    assert write("delete", b"0", b"9") == (True, (43, 39, ()))
    assert left == [34, 29, 24, 19, 14, 9, 4]
    assert (len(data.history), data.history.size, data.history.floor) == (0, 0, 44)
    assert list(data.history.absent_keys(b"")) == []


def test_keys_that_were_deleted_together_are_forgotten_with_a_few_revisions_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All at once would take long, in the middle of some put."""
    monkeypatch.setattr(history, "MAX_EVENTS", 30)
    monkeypatch.setattr(history, "BLOCK_EVENTS", 2)
    write, known = Writer(), [20]
    for n in range(20):
        write("put", b"%02d" % n, b"v")
    write("delete", b"0", b"9")
    write("put", b"05", b"again")
    while known[-1]:
        write("put", b"k", b"v")
        write("put", b"k", b"v")
        known.append(len(list(write.store.data.history.absent_keys(b""))))
        assert keys(write, *ALL) == [b"05", b"k"]
        past = keys(write, *ALL, 0, write.store.data.compact_revision)
        assert past == sorted(set(past))
    assert max(before - after for before, after in zip(known, known[1:])) <= 4


def test_put_with_options(write: Writer) -> None:
    assert write("put", b"k", b"v", 0, PREV_KV) == (True, (2, None))
    assert write("put", b"k", b"w", 0, PREV_KV) == (True, (3, (b"k", b"v", 2, 2, 1, 0)))
    write("lease_grant", 9, 60)
    assert write("put", b"k", b"", 9, IGNORE_VALUE) == (True, 4)
    assert rows(write, b"k") == [(b"k", b"w", 2, 4, 3, 9)]
    assert write("put", b"k", b"x", 0, IGNORE_LEASE | PREV_KV) == (True, (5, (b"k", b"w", 2, 4, 3, 9)))
    assert rows(write, b"k") == [(b"k", b"x", 2, 5, 4, 9)]
    write("put", b"k", b"y")
    assert rows(write, b"k") == [(b"k", b"y", 2, 6, 5, 0)], "a put without a lease detaches the key"


@pytest.mark.parametrize("options", [IGNORE_VALUE, IGNORE_LEASE, IGNORE_LEASE | PREV_KV])
def test_a_put_that_keeps_something_of_no_key_is_refused(write: Writer, options: int) -> None:
    ok, (code, _, _) = write("put", b"k", b"", 0, options)
    assert not ok and code == KEY_NOT_FOUND
    assert write.read("range", *ALL) == (True, (1, [], False, 0))


@pytest.mark.parametrize("args", [(b"k", b"v", 0, IGNORE_VALUE), (b"k", b"", 5, IGNORE_LEASE)])
def test_a_put_that_keeps_and_sets_the_same_is_refused(args: tuple[Any, ...]) -> None:
    with pytest.raises(InvalidRequestError):
        Writer()("put", *args)


def test_delete_of_a_range_counts_and_returns_what_was_there(write: Writer) -> None:
    for key in (b"a", b"b", b"c", b"d"):
        write("put", key, b"v" + key)
    assert write("delete", b"b", b"d", True) == (
        True,
        (6, 2, ((b"b", b"vb", 3, 3, 1, 0), (b"c", b"vc", 4, 4, 1, 0))),
    )
    assert write("delete", b"c", b"\0") == (True, (7, 1, ()))
    assert write("delete", *ALL, True) == (True, (8, 1, ((b"a", b"va", 2, 2, 1, 0),)))


# -- ranges --------------------------------------------------------------------------------------------------


@pytest.fixture
def filled(write: Writer) -> Writer:
    for key in (b"a", b"ab", b"abc", b"b", b"b\xff", b"c"):
        write("put", key, key[::-1])
    return write


@pytest.mark.parametrize(
    "key, end, expected",
    [
        (b"ab", b"", [b"ab"]),
        (b"x", b"", []),
        (b"a", b"b", [b"a", b"ab", b"abc"]),
        (b"a\0", b"abc", [b"ab"]),
        (b"b", b"\0", [b"b", b"b\xff", b"c"]),
        (b"\0", b"\0", [b"a", b"ab", b"abc", b"b", b"b\xff", b"c"]),
        (b"c", b"a", []),
        (*prefix_range(b"a"), [b"a", b"ab", b"abc"]),
        (*prefix_range(b"b\xff"), [b"b\xff"]),
        (*prefix_range(b""), [b"a", b"ab", b"abc", b"b", b"b\xff", b"c"]),
        (*prefix_range(b"\xff"), []),
    ],
)
def test_bounds_of_a_range(filled: Writer, key: bytes, end: bytes, expected: list[bytes]) -> None:
    assert filled.read("range", key, end)[1][3] == len(expected)
    assert keys(filled, key, end) == keys(filled, key, end, 0, 7) == expected


def test_limit_and_count(filled: Writer) -> None:
    assert filled.read("range", b"a", b"b", 2) == (
        True,
        (7, [(b"a", b"a", 2, 2, 1, 0), (b"ab", b"ba", 3, 3, 1, 0)], True, 3),
    )
    assert filled.read("range", b"a", b"b", 3)[1][2:] == (False, 3)
    assert filled.read("range", b"a", b"b", 0, 0, NONE, KEY, True)[1][1][1] == (b"ab", b"", 3, 3, 1, 0)
    assert filled.read("range", b"a", b"b", 1, 0, NONE, KEY, False, True) == (True, (7, [], False, 3))


def test_orders(filled: Writer) -> None:
    filled("put", b"ab", b"zz")
    assert keys(filled, *ALL, 2, 0, DESCEND) == [b"c", b"b\xff"]
    assert keys(filled, *ALL, 1, 0, NONE, VERSION) == [b"a"]  # a target without an order: ascending
    assert keys(filled, *ALL, 1, 0, DESCEND, VERSION) == [b"ab"]
    assert keys(filled, *ALL, 2, 0, DESCEND, CREATE) == [b"c", b"b\xff"]
    assert keys(filled, *ALL, 2, 0, DESCEND, MOD) == [b"ab", b"c"]
    assert keys(filled, *ALL, 2, 0, ASCEND, VALUE) == [b"a", b"b"]


def test_bounds_of_revisions_do_not_change_the_count(filled: Writer) -> None:
    filled("put", b"a", b"new")
    plain = (0, 0, NONE, KEY, False, False)
    assert keys(filled, *ALL, *plain, 7, 0) == [b"a", b"c"]
    assert keys(filled, *ALL, *plain, 0, 3) == [b"ab"]
    assert keys(filled, *ALL, *plain, 0, 0, 7, 0) == [b"c"]
    assert keys(filled, *ALL, *plain, 0, 0, 0, 2) == [b"a"]
    assert filled.read("range", *ALL, 1, 0, NONE, KEY, False, False, 7)[1][2:] == (True, 6)


@pytest.mark.parametrize(
    "fields, expected",
    [
        ({"limit": 2}, ("ab", True, 4)),
        ({"limit": 4}, ("abcd", False, 4)),
        ({"limit": 2, "count_only": True}, ("", False, 4)),
        ({"min_mod": 6}, ("ab", False, 4)),
        ({"min_mod": 6, "limit": 1}, ("a", True, 4)),
        ({"min_mod": 6, "limit": 2}, ("ab", False, 4)),
        ({"max_create": 3}, ("ab", False, 4)),
        ({"max_create": 3, "limit": 2}, ("ab", False, 4)),
        ({"min_create": 9}, ("", False, 4)),
        ({"order": DESCEND, "target": MOD}, ("abdc", False, 4)),
        ({"order": DESCEND, "target": MOD, "limit": 2}, ("ab", True, 4)),
        ({"order": DESCEND, "target": VERSION}, ("abcd", False, 4)),
        ({"target": VALUE}, ("cdba", False, 4)),
        ({"target": MOD, "limit": 4}, ("cdba", False, 4)),
        ({"order": ASCEND, "limit": 2}, ("ab", True, 4)),
        ({"revision": 4}, ("abc", False, 3)),
        ({"revision": 4, "limit": 2}, ("ab", True, 3)),
        ({"revision": 4, "count_only": True}, ("", False, 3)),
        ({"revision": 5, "limit": 2, "min_mod": 3}, ("bc", True, 4)),
        ({"count_only": True, "min_mod": 6}, ("", False, 4)),
    ],
)
def test_ranges_are_answered_as_etcd_answered_them(fields: dict[str, Any], expected: tuple[Any, ...]) -> None:
    """Each was asked of etcd 3.5.1: which keys, `more`, and `count`."""
    write = Writer()
    for key, value in (b"av", b"bv", b"cv", b"dv", b"bw", b"ax"):  # type: ignore[misc]
        write("put", bytes([key]), bytes([value]))
    _, found, more, count = write.store.read(Range(b"a", b"z")._replace(**fields))[1]
    assert ("".join(row[0].decode() for row in found), more, count) == expected


def test_keys_are_in_the_order_of_their_bytes(write: Writer) -> None:
    """Also those that are no UTF-8, which as text with surrogates would come after most that are."""
    given = [b"\x80", "é".encode(), "\U0001f600".encode(), "\uffff".encode(), b"z", b"\xff", b"\0"]
    for key in given:
        write("put", key, b"")
    assert keys(write, *ALL) == sorted(given)


def test_pages_are_bounded_and_go_on_at_one_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    write = Writer()
    for n in range(MAX_PAGE_ROWS + 10):
        write("put", b"small%05d" % n, b"v")
    for n, size in enumerate([MAX_PAGE_BYTES + 1, 1, MAX_PAGE_BYTES // 2, MAX_PAGE_BYTES // 2, 7]):
        write("put", b"large%d" % n, b"v" * size)
    revision = write.store.data.revision

    def pages(prefix: bytes) -> list[list[bytes]]:
        start, end = prefix_range(prefix)
        found, more = [], True
        while more:
            _, (_, page, more, _) = write.read(
                "range", start, end, 0, revision, NONE, KEY, False, False, 0, 0, 0, 0, True
            )
            found.append([row[0] for row in page])
            start = page[-1][0] + b"\0"
            write("delete", page[-1][0])
            write("put", b"small9", b"later")
        return found

    assert [len(page) for page in pages(b"small")] == [MAX_PAGE_ROWS, 10]
    assert pages(b"large") == [[b"large0"], [b"large1", b"large2"], [b"large3", b"large4"]]


def test_range_too_large_to_sort_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "MAX_RANGE_KEYS", 3)
    write = Writer()
    for n in range(4):
        write("put", b"k%d" % n, b"")
    write("put", b"k0", b"")
    for args in [(0, 0, DESCEND), (0, 0), (0, 5), (4, 0), (0, 0, NONE, KEY, False, False, 1)]:
        ok, result = write.read("range", *ALL, *args)
        assert not ok and result[0] == RANGE_TOO_LARGE
    assert write.read("range", *ALL, 3)[1][2:] == (True, 4)
    assert write.read("range", *ALL, 0, 0, NONE, KEY, False, True) == (True, (6, [], False, 4))
    assert len(rows(write, b"k0", b"k3", 2, 0, DESCEND)) == 2


# -- the past ------------------------------------------------------------------------------------------------


def test_a_history_that_yields_takes_nothing_but_the_past(write: Writer) -> None:
    for key, value in ((b"k", b"1"), (b"gone", b"x"), (b"k", b"2")):
        write("put", key, value)
    write("delete", b"gone")
    size = write.store.snapshot_bytes
    write.index += 1
    assert write.store.apply(write.index, ["", 0, 0, 0, "drop_history"]) == (True, None)
    assert len(write.store.data.history) == 0 and write.store.snapshot_bytes < size
    assert (
        rows(write, b"k") == [(b"k", b"2", 2, 4, 2, 0)]
        and write.read("range", b"k", b"", 0, 4)[1][0] == COMPACTED
    )
    assert write("put", b"gone", b"again") == (True, 6) and write("put", b"k", b"3") == (True, 7)
    assert rows(write, b"k", b"", 0, 6) == [(b"k", b"2", 2, 4, 2, 0)]
    assert rows(write, b"gone") == [(b"gone", b"again", 6, 6, 1, 0)]


def test_reads_of_the_past_and_compaction(write: Writer) -> None:
    write("put", b"a", b"1")
    write("put", b"b", b"2")
    write("put", b"a", b"3")
    write("delete", b"b")
    write("put", b"b", b"4")
    assert rows(write, *ALL, 0, 1) == []
    assert rows(write, *ALL, 0, 3) == [(b"a", b"1", 2, 2, 1, 0), (b"b", b"2", 3, 3, 1, 0)]
    assert rows(write, *ALL, 0, 5) == [(b"a", b"3", 2, 4, 2, 0)]
    assert rows(write, b"b", b"", 0, 5) == []
    assert rows(write, *ALL, 0, 6) == rows(write, *ALL)
    assert write.read("range", b"a", b"", 0, 7) == (
        False,
        (FUTURE_REVISION, "revision 7 is not there yet: the newest is 6", 6),
    )
    assert write("compact", 7)[1][0] == FUTURE_REVISION
    assert write("compact", 5) == (True, 6)
    assert rows(write, *ALL, 0, 5) == [(b"a", b"3", 2, 4, 2, 0)]
    for revision in (1, 4):
        assert write.read("range", b"a", b"", 0, revision) == (
            False,
            (COMPACTED, "the history before revision 5 was compacted", 5),
        )
    assert write("compact", 5)[1][0] == write("compact", 3)[1][0] == COMPACTED
    assert write("compact", 6) == (True, 6)
    assert rows(write, *ALL, 0, 6) == rows(write, *ALL)


def test_history_is_bounded_in_events_and_bytes(monkeypatch: pytest.MonkeyPatch, write: Writer) -> None:
    monkeypatch.setattr(history, "MAX_EVENTS", 20)
    monkeypatch.setattr(history, "BLOCK_EVENTS", 5)
    monkeypatch.setattr(history, "MAX_BYTES", 10_000)
    monkeypatch.setattr(history, "BLOCK_BYTES", 1000)
    for n in range(100):
        write("put", b"k%d" % (n % 7), b"v%d" % n)
    events = write.store.data.history
    assert 15 <= len(events) <= 20
    oldest = write.store.data.compact_revision
    assert oldest == events.floor > 80
    assert write.read("range", b"k1", b"", 0, oldest)[0]
    assert write.read("range", b"k1", b"", 0, oldest - 1)[1][2] == oldest
    for n in range(6):
        write("put", b"large", b"v" * 4000)
    assert events.size < 14_000
    write("delete", *ALL)
    assert (
        write.store.data.history.floor == write.store.data.revision - 0 or len(write.store.data.history) <= 20
    )


def test_a_revision_larger_than_the_history_empties_it(
    monkeypatch: pytest.MonkeyPatch, write: Writer
) -> None:
    monkeypatch.setattr(history, "MAX_BYTES", 10_000)
    monkeypatch.setattr(history, "BLOCK_BYTES", 1000)
    for n in range(6):
        write("put", b"%d" % n, b"v" * 3000)
    assert write("delete", *ALL)[1][:2] == (8, 6)
    assert len(write.store.data.history) == 0
    assert write.store.data.compact_revision == 8
    assert rows(write, *ALL, 0, 8) == [], "the newest revision can be read in any case"
    assert write.read("range", *ALL, 0, 7)[1][0] == COMPACTED
    assert write("put", b"a", b"") == (True, 9)
    assert rows(write, *ALL, 0, 9) == [(b"a", b"", 9, 9, 1, 0)]


@pytest.mark.parametrize("seed", range(20))
def test_the_past_is_what_it_was(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Random commands, and after each the whole database is noted; later all of the past that is kept is read."""
    monkeypatch.setattr(history, "MAX_EVENTS", 60)
    monkeypatch.setattr(history, "BLOCK_EVENTS", 7)
    chance, write, past = random.Random(seed), Writer(), {1: []}
    write("lease_grant", 5, 10)
    for _ in range(300):
        key, other = (bytes(chance.choices(b"ab\xff", k=2)) for _ in range(2))
        command = chance.choice(
            [
                ("put", key, b"%d" % chance.randrange(1000), chance.choice([0, 5])),
                ("append", key, b"+"),
                ("delete", key),
                ("delete", min(key, other), max(key, other) + b"\0"),
                ("batch", [["put", key, b"x"], ["delete", other], ["put", key, b"y"]]),
                ("txn", [], [["delete", b"a", b"b"], ["put", b"b" + key, b"t"], ["put", b"c", b""]], []),
            ]
        )
        if command[0] == "batch":
            for each in command[1]:
                write("batch", [each])
                past[write.store.data.revision] = rows(write, *ALL)
        else:
            assert write(*command)[0]
        past[write.store.data.revision] = rows(write, *ALL)
        if chance.random() < 0.05:
            write.restart()
        if chance.random() < 0.02:
            write(
                "compact",
                chance.randint(max(1, write.store.data.compact_revision), write.store.data.revision),
            )
        oldest = write.store.data.compact_revision
        for revision, then in past.items():
            if revision >= max(1, oldest) or revision == write.store.data.revision:
                assert rows(write, *ALL, 0, revision) == then
                assert rows(write, key, b"", 0, revision) == [row for row in then if row[0] == key]


@pytest.mark.parametrize("seed", range(10))
def test_a_restored_history_is_that_of_who_never_stopped(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(history, "MAX_EVENTS", 60)
    monkeypatch.setattr(history, "BLOCK_EVENTS", 7)
    chance, live, restarted = random.Random(seed), Writer(), Writer()
    for _ in range(400):
        key = bytes(chance.choices(b"abcd", k=2))
        command = chance.choice(
            [("put", key, b"v"), ("delete", key), ("delete", key, b"c"), ("put", b"k", b"v")]
        )
        assert live(*command) == restarted(*command)
        if chance.random() < 0.05:
            restarted.restart()
        before, after = live.store.data.history, restarted.store.data.history
        assert list(before.newest_first()) == list(after.newest_first())
        assert (before.floor, before.size) == (after.floor, after.size)
        assert set(after.absent_keys(b"")) <= set(before.absent_keys(b"")), "a deleted key is known for ever"


# -- leases --------------------------------------------------------------------------------------------------


def lease_keys(write: Writer, lease: int) -> list[bytes]:
    return sorted(write.store.data.leases.get(lease).keys)  # type: ignore[union-attr]


def test_leases_hold_keys_until_they_end(write: Writer) -> None:
    assert write("lease_grant", 7, 60) == (True, 1)
    assert write("lease_grant", 7, 30)[1][0] == LEASE_EXISTS
    assert write("put", b"k", b"v", 8)[1][0] == LEASE_NOT_FOUND
    write("lease_grant", 8, 30)
    for key in (b"c", b"a", b"b"):
        write("put", key, b"v", 7)
    write("put", b"b", b"w", 8)  # moves it
    write("put", b"c", b"w")  # detaches it
    write("put", b"d", b"v", 7)
    write("delete", b"d")
    assert lease_keys(write, 7) == [b"a"] and lease_keys(write, 8) == [b"b"]
    assert write.read("leases") == (True, (8, [7, 8]))
    assert write("lease_revoke", 7) == (True, (9, 1))
    assert keys(write, *ALL) == [b"b", b"c"]
    assert write("lease_revoke", 7)[1][0] == LEASE_NOT_FOUND
    write("lease_grant", 7, 10)
    assert lease_keys(write, 7) == []
    assert write("lease_revoke", 7) == (True, (9, 0)), "nothing was deleted, so there is no revision"


def test_expiry_ends_each_lease_with_one_revision(write: Writer) -> None:
    granted = {}
    for lease in (7, 8, 9):
        write("lease_grant", lease, 10)
        granted[lease] = write.index
        for n in range(3):
            write("put", b"%d/%d" % (lease, n), b"", lease)
    write.restart()
    due = [[7, granted[7]], [5, 2], [9, granted[9]], [8, granted[7]]]  # 8 was granted anew since
    assert write.store.apply(write.index + 1, ["", 0, 0, 0, "lease_expire", due]) == (True, None)
    assert write.store.data.revision == 12
    assert [event[1] for event in write.store.data.history.at(11)] == [b"7/0", b"7/1", b"7/2"]
    assert [event[1] for event in write.store.data.history.at(12)] == [b"9/0", b"9/1", b"9/2"]
    assert write.read("leases")[1][1] == [8]


# -- transactions --------------------------------------------------------------------------------------------


def compare(target: int, relation: int, operand: Any, key: bytes = b"k", end: bytes = b"") -> list[Any]:
    return [target, relation, key, end, operand]


@pytest.mark.parametrize(
    "condition, on_key, on_nothing",
    [
        (compare(VALUE, EQUAL, b"v"), True, False),
        (
            compare(VALUE, NOT_EQUAL, b"v"),
            False,
            False,
        ),  # of a key that is not there: false, whatever is asked
        (compare(VALUE, NOT_EQUAL, b"w"), True, False),
        (compare(VALUE, LESS, b"w"), True, False),
        (compare(VALUE, GREATER, b""), True, False),
        (compare(VERSION, EQUAL, 0), False, True),
        (compare(VERSION, EQUAL, 2), True, False),
        (compare(VERSION, LESS, 1), False, True),
        (compare(CREATE, EQUAL, 0), False, True),
        (compare(CREATE, EQUAL, 2), True, False),
        (compare(MOD, GREATER, 2), True, False),
        (compare(MOD, NOT_EQUAL, 3), False, True),
        (compare(LEASE, EQUAL, 7), True, False),
        (compare(LEASE, EQUAL, 0), False, True),
    ],
)
def test_compares_of_a_key_and_of_none(condition: list[Any], on_key: bool, on_nothing: bool) -> None:
    write = Writer()
    assert write.read("txn_read", [condition], [], [])[1][1] is on_nothing
    write("lease_grant", 7, 60)
    write("put", b"k", b"u", 7)
    write("put", b"k", b"v", 7)
    assert write.read("txn_read", [condition], [], [])[1][1] is on_key


def test_a_compare_over_a_range_holds_for_all_keys_of_it() -> None:
    write = Writer()
    for key in (b"a", b"b", b"c"):
        write("put", key, b"v")
    write("put", b"c", b"w")

    def holds(*condition: Any) -> bool:
        return write.read("txn_read", [compare(*condition)], [], [])[1][1]

    assert holds(VALUE, EQUAL, b"v", b"a", b"c") and not holds(VALUE, EQUAL, b"v", b"a", b"\0")
    assert holds(VERSION, GREATER, 0, b"\0", b"\0")
    for target in (VERSION, CREATE, MOD, LEASE):
        of_nothing = [
            holds(target, relation, 0, b"x", b"z") for relation in (EQUAL, GREATER, LESS, NOT_EQUAL)
        ]
        assert of_nothing == [True, False, False, False], "a range without keys is as a key that is not there"
    assert not any(holds(VALUE, relation, b"", b"x", b"z") for relation in (EQUAL, GREATER, LESS, NOT_EQUAL))


def test_a_read_that_compares_very_many_keys_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "MAX_RANGE_KEYS", 5)
    write = Writer()
    for n in range(6):
        write("put", b"%d" % n, b"")
    many, few = compare(VERSION, GREATER, 0, *ALL), compare(VERSION, GREATER, 0, b"0", b"5")
    assert write.read("txn_read", [few], [], [])[1][1]
    assert write.read("txn_read", [many], [], [])[1][0] == RANGE_TOO_LARGE
    assert write.read("txn_read", [], [["txn_read", [many], [], []]], [])[1][0] == RANGE_TOO_LARGE
    assert write("txn", [many], [["put", b"0", b""]], [])[0], (
        "a write is carried out where it holds up nobody"
    )


def test_a_transaction_whose_answers_are_large_together_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "MAX_ANSWER_BYTES", 1000)
    write = Writer()
    write("put", b"k", b"v" * 400)
    read = ["range", b"k"]
    assert len(write.read("txn_read", [], [read, read], [])[1][2]) == 2
    assert write.read("txn_read", [], [read, read, read], [])[1][0] == RANGE_TOO_LARGE
    assert write.read("txn_read", [], [read, ["txn_read", [], [read, read], []]], [])[1][0] == RANGE_TOO_LARGE


def test_a_transaction_is_one_revision_and_sees_its_own_writes(write: Writer) -> None:
    write("put", b"a", b"1")
    success = [
        ["put", b"b", b"2", 0, PREV_KV],
        ["range", *ALL],
        ["delete", b"a", b"", True],
        ["get", b"a"],
        ["append", b"c", b"3"],
    ]
    assert write("txn", [compare(VALUE, EQUAL, b"1", b"a")], success, []) == (
        True,
        (
            3,
            True,
            (
                (3, None),
                (3, ((b"a", b"1", 2, 2, 1, 0), (b"b", b"2", 3, 3, 1, 0)), False, 2),
                (3, 1, ((b"a", b"1", 2, 2, 1, 0),)),
                (3, None),
                3,
            ),
        ),
    )
    assert rows(write, *ALL) == [(b"b", b"2", 3, 3, 1, 0), (b"c", b"3", 3, 3, 1, 0)]
    assert [event[1] for event in write.store.data.history.at(3)] == [b"b", b"a", b"c"]


def test_compares_come_before_all_changes_also_those_of_a_nested_transaction(write: Writer) -> None:
    inner = ["txn", [compare(VERSION, EQUAL, 0)], [["put", b"seen", b"absent"]], [["put", b"seen", b"there"]]]
    write("txn", [], [["put", b"k", b"v"], inner], [])
    assert write.value(b"seen") == b"absent"
    write("txn", [], [["put", b"k", b"v"], inner], [])
    assert write.value(b"seen") == b"there"


def test_a_read_of_the_past_in_a_transaction_that_writes(write: Writer) -> None:
    write("put", b"k", b"1")
    write("put", b"k", b"2")
    ok, (_, _, results) = write("txn", [], [["delete", b"k"], ["range", *ALL, 0, 2]], [])
    assert ok and results[1] == (3, ((b"k", b"1", 2, 2, 1, 0),), False, 1)


@pytest.mark.parametrize(
    "refused, code",
    [
        (["put", b"z", b"", 99], LEASE_NOT_FOUND),
        (["put", b"z", b"", 0, IGNORE_VALUE], KEY_NOT_FOUND),
        (["range", b"k", b"", 0, 50], FUTURE_REVISION),
        (["txn", [], [["put", b"z", b"", 99]], []], LEASE_NOT_FOUND),
    ],
)
def test_a_transaction_that_is_refused_leaves_nothing(write: Writer, refused: list[Any], code: str) -> None:
    write("lease_grant", 5, 60)
    write("put", b"a", b"1", 5)
    write("put", b"b", b"1")
    size = write.store.data.bytes
    changes = [
        ["put", b"a", b"longer"],
        ["put", b"b", b"2", 5],
        ["delete", b"c"],
        ["put", b"new", b"", 5],
        ["delete", b"d", b"\0"],
    ]
    write("put", b"d", b"1", 5)
    write("delete", b"d")
    write("put", b"e", b"1", 5)
    before, size = rows(write, *ALL), write.store.data.bytes
    ok, (found, _, _) = write("txn", [], [*changes[:4], ["delete", b"e"], refused], [])
    assert not ok and found == code
    assert rows(write, *ALL) == before and write.store.data.bytes == size
    assert lease_keys(write, 5) == [b"a", b"e"]
    write.restart()
    assert write("put", b"new", b"") == (True, 7)


@pytest.mark.parametrize(
    "success, failure, is_refused",
    [
        ([["put", b"k", b""], ["put", b"k", b""]], [], True),
        ([], [["put", b"k", b""], ["append", b"k", b""]], True),
        ([["put", b"k", b""]], [["put", b"k", b""]], False),
        ([["delete", b"a", b"z"], ["put", b"k", b""]], [], True),
        ([["put", b"k", b""], ["delete", b"k"]], [], True),
        ([["delete", b"a", b"k"], ["put", b"k", b""]], [], False),
        ([["delete", b"a", b"\0"], ["put", b"k", b""]], [], True),  # etcd takes that one
        ([["delete", b"a", b"z"], ["delete", b"b", b"z"]], [], False),
        ([["put", b"k", b""], ["txn", [], [["put", b"k", b""]], []]], [], True),
        ([["put", b"k", b""], ["txn", [], [], [["delete", b"k"]]]], [], True),
        ([["delete", b"k"], ["txn", [], [], [["put", b"k", b""]]]], [], True),
        ([["txn", [], [["put", b"k", b""]], [["put", b"k", b"x"]]]], [], False),
        ([["txn", [], [["put", b"k", b""]], []], ["txn", [], [["put", b"k", b""]], []]], [], True),
        ([["txn", [], [["put", b"k", b""]], []], ["txn", [], [["delete", b"k"]], []]], [], True),  # etcd takes that one
        ([["put", b"k", b""], ["range", b"k"], ["get", b"k"]], [], False),
    ],
)  # fmt: skip
def test_a_key_written_twice_is_refused(success: list[Any], failure: list[Any], is_refused: bool) -> None:
    write = Writer()
    if is_refused:
        with pytest.raises(InvalidRequestError, match="written twice"):
            write("txn", [], success, failure)
    else:
        assert write("txn", [], success, failure)[0]


def test_the_number_of_operations_is_bounded() -> None:
    write = Writer()

    def puts(count: int, prefix: bytes = b"") -> list[Any]:
        return [["put", prefix + b"%d" % n, b""] for n in range(count)]

    assert write("txn", [], puts(128), puts(128))[0]
    for success in [puts(129), [*puts(27), ["txn", [], puts(101, b"x"), []]]]:
        with pytest.raises(InvalidRequestError, match="too many operations"):
            write("txn", [], success, [])
    assert write("txn", [], [*puts(27), ["txn", [], puts(100, b"x"), []]], [])[0]
    with pytest.raises(InvalidRequestError, match="too many operations"):
        write("txn", [compare(VERSION, EQUAL, 0)] * 129, [], [])
    nested: Any = ["txn", [], [], []]
    for _ in range(9):
        nested = ["txn", [], [nested], []]
    with pytest.raises(InvalidRequestError, match="nested too deeply"):
        write("txn", [], [nested], [])


def test_a_transaction_that_only_reads_is_another_operation() -> None:
    write = Writer()
    write("put", b"k", b"v")
    assert write.read("txn_read", [], [["get", b"k"], ["txn_read", [], [["get", b"x"]], []]], []) == (
        True,
        (2, True, ((2, (b"v", 2, 2, 1, 0)), (2, True, ((2, None),)))),
    )
    with pytest.raises(InvalidRequestError, match="one of"):
        write.read("txn_read", [], [["put", b"k", b"v"]], [])
