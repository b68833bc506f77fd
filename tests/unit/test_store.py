from __future__ import annotations

import copy
import json
import random

import pytest
from raftkv.errors import (
    BAD_REQUEST,
    SESSION_EXPIRED,
    STALE_SEQUENCE,
    TOO_MANY_IN_FLIGHT,
    ForeignDataError,
)
from raftkv.kvdb import operations, snapshot_view, sorted_items
from raftkv.kvdb import session_table as sessions
from raftkv.kvdb.limits import KEY_BYTES, MAX_SCAN_BYTES, MAX_SCAN_ROWS, MAX_VALUE_BYTES, utf8_size
from raftkv.kvdb.sorted_items import SortedItems
from raftkv.kvdb.store import Store, encode_record
from raftkv.raft.types import COMMAND, NOOP, Entry


def rest_of(view, n=1000):
    lines = []
    while True:
        records = view.next_chunk(n)
        if not records:
            view.close()
            return lines
        lines += map(encode_record, records)


def dump(store, n=1000):
    return rest_of(store.begin_snapshot(), n)


def restore(lines):
    return Store.restore(map(json.loads, lines))


class Writer:
    """One client of a store."""

    def __init__(self, store=None):
        self.store = store or Store()
        self.index = 1
        self.seq = 0
        self.store.apply(1, [0, 0, 0, "register"])

    def __call__(self, op, *args):
        self.index += 1
        self.seq += 1
        return self.store.apply(self.index, [1, self.seq, self.seq, op, *args])


@pytest.fixture
def write():
    return Writer()


# -- single operations ---------------------------------------------------------------------------------------


def test_put_append_delete_and_cas(write):
    store = write.store
    assert store.get("k") is None
    assert write("put", "k", "a") == (True, 2)
    assert write("append", "k", "b") == (True, 3)
    assert store.get("k") == ("ab", 3)
    assert write("append", "new", "é") == (True, 4)
    assert store.get("new") == ("é", 4)
    assert write("cas", "k", "a", "c") == (True, False)
    assert store.get("k") == ("ab", 3), "a cas that failed must not touch the revision"
    assert write("cas", "k", "ab", "c") == (True, True)
    assert store.get("k") == ("c", 6)
    assert write("cas", "k", None, "d") == (True, False)
    assert write("cas", "absent", None, "") == (True, True)
    assert store.get("absent") == ("", 8)
    assert write("cas", "absent", "", "e") == (True, True)
    assert write("delete", "k") == (True, True)
    assert write("delete", "k") == (True, False)
    assert store.get("k") is None
    assert [key for key, _, _ in store.scan("", "", None)[0]] == ["absent", "new"]


def test_a_batch_is_one_revision_and_answers_each_operation(write):
    write("put", "a", "1")
    answer = write(
        "batch",
        [["put", "b", "2"], ("append", "b", "3"), ["delete", "a"], ["delete", "a"], ["cas", "b", "23", "4"]],
    )
    assert answer == (True, [(True, 3), (True, 3), (True, True), (True, False), (True, True)])
    assert write.store.scan("", "", None) == ([("b", "4", 3)], False)


def test_a_value_grows_to_the_limit_and_not_beyond(write):
    assert write("put", "k", "v" * (MAX_VALUE_BYTES - 2))[0]
    assert write("append", "k", "é")[0]
    full = write.store.get("k")
    for answer in [write("append", "k", "x"), write("batch", [["put", "l", "1"], ["append", "k", "x"]])]:
        ok, result = answer
        ok, (code, message, detail) = (ok, result) if not ok else result[1]
        assert (ok, code, detail) == (False, BAD_REQUEST, None)
        assert "1572864 bytes" in message
    assert write.store.get("k") == full
    assert write.store.get("l") == ("1", 5), "the other operations of the batch take effect"
    assert write("append", "k", "")[0]


@pytest.mark.parametrize(
    "data, why",
    [
        ([1, 2, 2, "lease", "k", 5], "there is no operation 'lease'"),
        ([1, 2, 2, "put", "k"], "put takes 2 arguments, not 1"),
        ([1, 99, 2, "put", "k", 5], "the value must be text (str), not int"),
        ([1, 2, 2, "batch", [["put", "k", "v"], ["lease"]]], "'lease'"),
        ([], "list index out of range"),
        ({"op": "put"}, "3"),
        (None, "'NoneType' object is not subscriptable"),
    ],
)
def test_an_entry_of_another_version_stops_the_store_with_a_sentence(write, data, why):
    write("put", "k", "1")
    entry = Entry.create(7, 4, COMMAND, data)
    with pytest.raises(ForeignDataError) as refusal:
        write.store.apply_entries([Entry.create(6, 4, NOOP, None), entry])
    assert str(refusal.value).startswith("this version of raftkv cannot read the entry 7 of term 4 (")
    assert why in str(refusal.value)


def test_a_bug_of_the_store_is_not_taken_for_an_entry_of_another_version(write, monkeypatch):
    monkeypatch.setattr(SortedItems, "set_all", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write.store.apply_entries([Entry.create(7, 4, COMMAND, [1, 2, 2, "put", "k", "v"])])


# -- scan ----------------------------------------------------------------------------------------------------


def test_scan_by_prefix_start_and_limit(write):
    for key in ["b", "a", "ab", "aé", "a\U0001f600", "a\uffff", "c"]:
        write("put", key, key.upper())
    scan = write.store.scan

    def keys(*args):
        rows, more = scan(*args)
        return [key for key, _, _ in rows], more

    assert keys("", "", None) == (["a", "ab", "aé", "a\uffff", "a\U0001f600", "b", "c"], False)
    assert keys("a", "", None) == (["a", "ab", "aé", "a\uffff", "a\U0001f600"], False)
    assert keys("a", "ab\0", 2) == (["aé", "a\uffff"], True)
    assert keys("a", "a\uffff", 2) == (["a\uffff", "a\U0001f600"], False)
    assert keys("a", "b", None) == ([], False)
    assert keys("b", "a", 1) == (["b"], False)
    assert keys("x", "", None) == ([], False)
    assert scan("b", "", 5) == ([("b", "B", 2)], False)


def all_pages(store, prefix, limit):
    start, pages, more = "", [], True
    while more:
        rows, more = store.scan(prefix, start, limit)
        pages.append(rows)
        start = rows[-1][0] + "\0" if rows else start
    return pages


def test_a_page_is_bounded_in_rows_and_bytes_and_the_next_one_goes_on(write):
    for n in range(MAX_SCAN_ROWS + 10):
        write("put", f"small{n:05d}", "v")
    pages = all_pages(write.store, "small", None)
    assert [len(page) for page in pages] == [MAX_SCAN_ROWS, 10]
    assert pages == all_pages(write.store, "small", 2 * MAX_SCAN_ROWS)
    assert [row[0] for page in pages for row in page] == [f"small{n:05d}" for n in range(MAX_SCAN_ROWS + 10)]
    # A value beyond a page's bytes is a page of its own; é counts for two.
    sizes = [MAX_SCAN_BYTES + 1, 1, MAX_SCAN_BYTES // 2, MAX_SCAN_BYTES // 2, 7]
    for n, size in enumerate(sizes):
        write("put", f"large{n}", "é" * (size // 2) + "v" * (size % 2))
    assert [[row[0] for row in page] for page in all_pages(write.store, "large", None)] == [
        ["large0"],
        ["large1", "large2"],
        ["large3", "large4"],
    ]


# -- snapshots -----------------------------------------------------------------------------------------------


def test_a_snapshot_is_lines_of_json_and_restores_to_the_same(write):
    write("put", "kéy\n\0\U0001f600", 'a "value"\n')
    write("put", "deleted", "v")
    write("delete", "deleted")
    lines = dump(write.store)
    assert json.loads(lines[0]) == ["store", 2]
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 and line.isascii() for line in lines)
    restored = restore(lines)
    assert restored.get("kéy\n\0\U0001f600") == ('a "value"\n', 2)
    assert restored.get("deleted") is None
    assert dump(restored) == lines
    assert restored.apply(4, [1, 3, 3, "delete", "deleted"]) == (True, True), "the session came with it"


def test_an_empty_store_has_a_snapshot():
    assert dump(restore(dump(Store()))) == dump(Store()) == [b'["store",2]\n']


@pytest.mark.parametrize(
    "records", [[], [["store", 1]], [["kv", [["k", "v", 1]]]], [["store", 2], ["ttl", []]]]
)
def test_a_snapshot_of_another_format_is_refused(records):
    with pytest.raises(ForeignDataError, match="snapshot"):
        Store.restore(records)


def test_one_snapshot_at_a_time_and_closing_it_makes_room(write):
    write("put", "k", "v")
    view = write.store.begin_snapshot()
    with pytest.raises(AssertionError, match="already open"):
        write.store.begin_snapshot()
    view.next_chunk(10)
    view.close()
    assert view.next_chunk(10) == []
    other = write.store.begin_snapshot()
    view.close()  # again, and late: the other view stays open
    write("put", "k", "w")
    assert b'["kv",[["k","v",2]]]\n' in rest_of(other)


def test_a_view_that_is_closed_or_done_keeps_nothing(write):
    for n in range(10):
        write("put", f"k{n}", "v")
    view = write.store.begin_snapshot()
    write("delete", "k3")
    assert view.kept and write.store._sessions._undumped
    view.close()
    write("delete", "k4")
    assert not view.kept and not write.store._sessions._undumped
    view = write.store.begin_snapshot()
    rest_of(view)
    write("delete", "k5")
    assert not view.kept
    assert dump(write.store) == dump(restore(dump(write.store)))


def test_views_beside_each_other_and_a_snapshot_are_each_of_their_own_moment(write):
    views, moments = [], []
    snapshot = write.store.begin_snapshot()
    for round in range(4):
        for n in range(round, 30, 2):
            write("put", f"k{n:02}", f"{round}")
        write("delete", f"k{20 + round}")
        views.append(write.store.begin_view())
        moments.append(write.store.scan("", "", None)[0])
        views[0].next_rows(3)  # what was read is not kept
    write("delete", "k29")
    views[3].close()
    for view, moment in zip(views[1:3], moments[1:3]):
        rows = []
        while (more := view.next_rows(7)) is not None:
            rows += more
            write("put", f"new{len(rows)}", "x")
        assert sorted(rows) == moment
    assert [view.kept for view in views[1:]] == [0, 0, 0]
    assert b'"k' not in b"".join(rest_of(snapshot)).replace(b'["kv"', b""), "the store was empty"


def test_a_key_that_only_lived_during_the_snapshot_does_not_end_it_early(write):
    for n in range(30):
        write("put", f"k{n:02d}", "v")
    before = dump(write.store)
    view = write.store.begin_snapshot()
    write("delete", "k00")
    for n in range(20):
        write("put", f"z{n}", "v")
        write("delete", f"z{n}")
    records = [json.loads(line) for line in rest_of(view, 3)]
    assert dump(Store.restore(records)) == before


@pytest.mark.parametrize("deleted_meanwhile", [False, True])
def test_a_chunk_is_bounded_in_keys_text_and_results(write, deleted_meanwhile):
    for n in range(50):
        write("put", f"k{n}", "v" * (snapshot_view.CHUNK_CHARS // 4 if n < 10 else 1))
    write("put", "huge", "v" * snapshot_view.CHUNK_CHARS * 3)
    for seq in range(write.seq + 1, write.seq + 6):  # five batches whose answers the client still waits for
        data = [1, seq, write.seq + 1, "batch", [["delete", "nothing"]] * 100]
        assert write.store.apply(100 + seq, data)[0]
    write.seq = seq
    view = write.store.begin_snapshot()
    if deleted_meanwhile:
        for key in [*(f"k{n}" for n in range(50)), "huge"]:
            assert write("delete", key) == (True, True)
    lines = rest_of(view, n=10)
    rows = [json.loads(line)[1] for line in lines if line.startswith(b'["kv"')]
    assert max(map(len, rows)) <= 10
    assert max(map(len, lines)) < snapshot_view.CHUNK_CHARS * 3 + 100
    assert sum(map(len, rows)) == 51
    session_rows = [json.loads(line)[1] for line in lines if line.startswith(b'["sessions"')]
    assert max(len(row) - 1 for row in session_rows) <= 1, "more than one batch's results in a chunk"


# -- random commands against a plain model -------------------------------------------------------------------


class Model:
    """The same database as simply as it can be said: no index, no copy-on-write, no counters."""

    def __init__(self):
        self.items = {}
        self.sessions = []  # [client, floor, {seq: answer}], least recently used first

    def apply(self, index, data):
        client, seq, acked, op, *args = data
        if op == "register":
            self.sessions.append([index, 0, {}])
            self.expire()
            return True, index
        session = next((session for session in self.sessions if session[0] == client), None)
        if session is None:
            return False, SESSION_EXPIRED
        self.sessions.remove(session)
        self.sessions.append(session)
        session[1] = max(session[1], acked)
        session[2] = {seq: answer for seq, answer in session[2].items() if seq >= session[1]}
        if seq in session[2]:
            return session[2][seq]
        if seq < session[1]:
            return False, STALE_SEQUENCE
        operations = args[0] if op == "batch" else [[op, *args]]
        over = self.results(session) + len(operations) > sessions.MAX_SESSION_RESULTS
        if over or seq >= session[1] + sessions.MAX_IN_FLIGHT:
            return False, TOO_MANY_IN_FLIGHT
        answers = [self.execute(index, *operation) for operation in operations]
        session[2][seq] = (True, answers) if op == "batch" else answers[0]
        self.expire()
        return session[2][seq]

    @staticmethod
    def results(session):
        return sum(len(result) if isinstance(result, list) else 1 for _, result in session[2].values())

    def expire(self):
        while (
            len(self.sessions) > sessions.MAX_SESSIONS
            or sum(map(self.results, self.sessions)) > sessions.MAX_RESULTS
        ):
            del self.sessions[0]

    def execute(self, index, op, key, *args):
        old = self.items.get(key, (None, 0))[0]
        if op == "delete":
            return True, self.items.pop(key, None) is not None
        if op == "cas" and old != args[0]:
            return True, False
        new = (old or "") + args[0] if op == "append" else args[-1]
        if op == "append" and len(new.encode()) > operations.MAX_VALUE_BYTES:
            return False, BAD_REQUEST
        self.items[key] = (new, index)
        return True, True if op == "cas" else index


def codes_only(answer):
    """A refusal's message is the store's own; the model knows the code."""
    ok, result = answer
    if not ok:
        return ok, result[0]
    return ok, [codes_only(each) for each in result] if isinstance(result, list) else result


@pytest.fixture
def tight_limits(monkeypatch):
    """Limits so small that random commands meet each of them."""
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 5)
    monkeypatch.setattr(sessions, "MAX_IN_FLIGHT", 6)
    monkeypatch.setattr(sessions, "MAX_RESULTS", 14)
    monkeypatch.setattr(sessions, "MAX_SESSION_RESULTS", 9)
    monkeypatch.setattr(operations, "MAX_VALUE_BYTES", 12)
    monkeypatch.setattr(snapshot_view, "CHUNK_CHARS", 25)
    monkeypatch.setattr(sorted_items, "LEAF_KEYS", 3)


class RandomCommands:
    """Commands as clients send them: new, repeated, late, some from clients that never were."""

    ALL = ("put", "put", "append", "append", "delete", "delete", "cas")

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.sent = {}  # client: its commands, by seq
        self.floors = {}

    def key(self):
        return "".join(self.chance.choices("abé\U0001f600", k=self.chance.choice([1, 2, 2, 3])))

    def operation(self, ops=ALL):
        chance = self.chance
        value = "".join(chance.choices("xyé", k=chance.randint(0, 4)))
        op = chance.choice(ops)
        if op == "delete":
            return [op, self.key()]
        if op == "cas":
            return [op, self.key(), chance.choice([None, None, "", "x"]), value]
        return [op, self.key(), value]

    def next(self, index):
        chance = self.chance
        if not self.sent or chance.random() < 0.05:
            self.sent[index] = {}
            self.floors[index] = 0
            return [0, 0, 0, "register"]
        client = chance.choice(list(self.sent)[-7:])
        floor = self.floors[client]
        if chance.random() < 0.5:
            self.floors[client] += chance.choice([1, 1, 2, 5])
        seq = max(0, floor + chance.choice([-1, 0, 0, 1, 1, 2, 3, 5, 6]))
        operation = self.operation()
        if chance.random() < 0.15:
            ops = chance.choice([self.ALL, ["put"]])
            operation = ["batch", [self.operation(ops) for _ in range(chance.randint(1, 4))]]
        operation = self.sent[client].setdefault(seq, operation)  # a repeated command is the same command
        return [client if chance.random() < 0.98 else 10**9, seq, min(floor, seq), *operation]


def check_reads(subject, model, chance):
    assert {key: subject.get(key) for key in model.items} == model.items
    prefix, start = chance.choice(["", "a", "é", "ab"]), chance.choice(["", "a", "b", "\U0001f600"])
    expected = [(k, *model.items[k]) for k in sorted(model.items) if k.startswith(prefix) and k >= start]
    limit = chance.choice([None, 1, 3])
    shown = expected[:limit]
    assert subject.scan(prefix, start, limit) == (shown, len(shown) < len(expected))


@pytest.mark.parametrize("seed", range(25))
def test_random_commands_do_what_the_model_does(tight_limits, seed):
    commands, subject, model = RandomCommands(seed), Store(), Model()
    met = set()
    for i in range(1, 1500):
        data = commands.next(i)
        answer, expected = subject.apply(i, data), model.apply(i, data)
        assert codes_only(answer) == expected, f"seed {seed}, index {i}: {data}"
        met.add(expected[1] if not expected[0] else data[3])
        if i % 50 == 0:
            check_reads(subject, model, commands.chance)
    assert met >= {SESSION_EXPIRED, STALE_SEQUENCE, TOO_MANY_IN_FLIGHT, BAD_REQUEST, "cas", "batch"}


@pytest.mark.parametrize("seed", range(10))
def test_the_same_commands_make_the_same_bytes(tight_limits, seed):
    """On a leader that made the commands one by one, on a follower that decoded a few together, after any
    snapshot in between."""
    commands = RandomCommands(seed)
    leader, follower, restarted = Store(), Store(), Store()
    entries = []
    for i in range(1, 800):
        data = commands.next(i)
        decoded = json.loads(json.dumps(data))
        answer = leader.apply(i, data)
        assert json.dumps(answer) == json.dumps(restarted.apply(i, decoded))
        entries.append(Entry.create(i, 1, COMMAND, decoded))
        if commands.chance.random() < 0.2:
            follower.apply_entries(entries)
            entries = []
        if commands.chance.random() < 0.02:
            follower.apply_entries(entries)
            entries = []
            lines = dump(leader, commands.chance.choice([1, 3, 1000]))
            restarted = restore(lines)
            assert dump(restarted) == dump(leader) == dump(follower)
    follower.apply_entries(entries)
    assert dump(restarted) == dump(leader) == dump(follower)
    assert restarted.data_bytes == leader.data_bytes == follower.data_bytes
    size = leader.data_bytes
    for page in all_pages(leader, "", None):
        for key, value, _ in page:
            restarted.delete(key)
            size -= KEY_BYTES + utf8_size(key) + utf8_size(value)
    assert restarted.data_bytes == size, "all that is left are sessions"


@pytest.mark.parametrize("seed", range(40))
def test_a_snapshot_is_of_the_moment_it_began_whatever_is_written_meanwhile(tight_limits, seed):
    commands, subject = RandomCommands(seed), Store()
    chance = commands.chance
    i = 1
    for _ in range(12):
        for _ in range(chance.randint(0, 120)):
            subject.apply(i, commands.next(i))
            i += 1
        before = copy.deepcopy(subject)
        view = subject.begin_snapshot()
        lines, n, eagerness = [], chance.choice([1, 2, 5, 50]), chance.choice([0, 1, 3, 10])
        while True:
            records = view.next_chunk(n)
            for _ in range(chance.randint(0, eagerness)):
                subject.apply(i, commands.next(i))
                i += 1
            if not records:
                break
            lines += map(encode_record, records)  # after the writes: a record must not change any more
            if chance.random() < 0.01:
                break  # given up halfway
        done = not records
        view.close()
        if done:
            restored = restore(lines)
            assert dump(restored) == dump(before)
            follow_up = copy.deepcopy(commands)
            for k in range(
                i, i + 60
            ):  # what a dump does not show, such as counters, shows in what comes next
                data = follow_up.next(k)
                assert restored.apply(k, data) == before.apply(k, data)


def test_a_cleared_store_is_empty(write):
    for n in range(3000):
        write("put", f"k{n:04d}", "v")
    store = write.store
    store.clear()
    assert len(store._items) == 0 and store.scan("", "", None) == ([], False) and store.get("k0001") is None
