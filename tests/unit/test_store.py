"""The store as a whole: snapshots, and random commands against a model."""

from __future__ import annotations

import copy
import json
import random

import pytest
from raftkv.errors import BAD_REQUEST, SESSION_EXPIRED, STALE_SEQUENCE, TOO_MANY_IN_FLIGHT, ForeignDataError
from raftkv.kvdb import history, snapshot_view, sorted_items, writes
from raftkv.kvdb import session_table as sessions
from raftkv.kvdb.limits import KEY_BYTES, MAX_VALUE_BYTES
from raftkv.kvdb.outcomes import RESULT_BYTES
from raftkv.kvdb.ranges import ALL
from raftkv.kvdb.snapshot_view import encode_record
from raftkv.kvdb.store import Store
from raftkv.raft.types import COMMAND, NOOP, Entry

from tests.unit.writer import Writer, dump, rest_of, restore


@pytest.fixture
def write():
    return Writer()


def rows(store):
    return [(key, *item) for key, item in store.data.items.iterate()]


def test_a_value_grows_to_the_limit_and_not_beyond(write):
    assert write("put", b"k", b"v" * (MAX_VALUE_BYTES - 2))[0]
    assert write("append", b"k", b"xx")[0]
    full = write.store.data.get(b"k")
    for answer in [
        write("append", b"k", b"x"),
        write("batch", [["put", b"l", b"1"], ["append", b"k", b"x"]]),
    ]:
        ok, result = answer
        ok, (code, message, detail) = (ok, result) if not ok else result[1]
        assert (ok, code, detail) == (False, BAD_REQUEST, None)
        assert "1572864 bytes" in message
    assert write.store.data.get(b"k") == full
    assert write.value(b"l") == b"1", "the other operations of the batch take effect"
    assert write("append", b"k", b"")[0]


@pytest.mark.parametrize(
    "data, why",
    [
        (["one", 1, 2, 2, "rename", "k", "l"], "there is no operation 'rename'"),
        (["one", 1, 2, 2, "put", "k"], "put takes 2 to 4 arguments, not 1"),
        (["one", 1, 99, 2, "append", "k", 5], "the value must be text (str) or bytes, not int"),
        (["one", 1, 2, 2, "batch", [["put", "k", "v"], ["rename"]]], "'rename'"),
        ([], "list index out of range"),
        ({"op": "put"}, "4"),
        (None, "'NoneType' object is not subscriptable"),
    ],
)
def test_an_entry_of_another_version_stops_the_store_with_a_sentence(write, data, why):
    write("put", b"k", b"1")
    entry = Entry.create(7, 4, COMMAND, data)
    with pytest.raises(ForeignDataError) as refusal:
        write.store.apply_entries([Entry.create(6, 4, NOOP, None), entry])
    assert str(refusal.value).startswith("this version of raftkv cannot read the entry 7 of term 4 (")
    assert why in str(refusal.value)


def test_a_bug_of_the_store_is_not_taken_for_an_entry_of_another_version(write, monkeypatch):
    monkeypatch.setattr(write.store.data, "put_all", lambda keys, values: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write.store.apply_entries([Entry.create(7, 4, COMMAND, ["one", 1, 2, 2, "put", "k", "v"])])


# -- snapshots -----------------------------------------------------------------------------------------------


def test_a_snapshot_is_lines_of_json_and_restores_to_the_same(write):
    key = "kéy\n\0\U0001f600".encode()
    write("lease_grant", 5, 60)
    write("put", key, b'a "value"\n\xff')
    write("put", b"deleted", b"v", 5)
    write("delete", b"deleted")
    lines = dump(write.store)
    assert json.loads(lines[0]) == ["store", 4, 5, 0, 4, 0, 2]
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 and line.isascii() for line in lines)
    restored = restore(lines)
    assert restored.data.get(key) == (b'a "value"\n\xff', 2, 2, 1, 0)
    assert restored.data.get(b"deleted") is None
    assert restored.data.get_at(b"deleted", 3) == (b"v", 3, 3, 1, 5)
    assert dump(restored) == lines
    assert restored.apply(6, ["one", 1, 4, 4, "delete", "deleted"]) == (True, (4, 1, ())), (
        "the session came with it"
    )


def test_a_snapshot_has_the_past_of_a_key_that_came_back(write):
    write("put", b"k", b"v")
    write("delete", b"k")
    write("put", b"k", b"w")
    data = restore(dump(write.store)).data
    assert [data.get_at(b"k", revision) for revision in (2, 3, 4)] == [
        (b"v", 2, 2, 1, 0),
        None,
        (b"w", 4, 4, 1, 0),
    ]


def test_text_is_readable_in_a_snapshot_and_bytes_are_kept(write):
    write("put", b"city", "Zürich".encode())
    write("put", b"\xff", b"\x80a")
    write("put", b"\xff", b"\x80b")
    (columns,) = [json.loads(line)[1:] for line in dump(write.store) if line.startswith(b'["kv"')]
    assert columns == [["city", "\udcff"], ["Zürich", "\udc80b"], [2, 4], [2, 3], [1, 2], 0]


def test_an_empty_store_has_a_snapshot():
    assert dump(restore(dump(Store()))) == dump(Store()) == [b'["store",4,0,0,1,0,2]\n']


@pytest.mark.parametrize(
    "records", [[], [["store", 3]], [["kv", ["k"], ["v"]]], [["store", 4, 0, 0, 1, 0, 2], ["ttl", []]]]
)
def test_a_snapshot_of_another_format_is_refused(records):
    with pytest.raises(ForeignDataError, match="snapshot"):
        Store.restore(records)


def test_one_snapshot_at_a_time_and_closing_it_makes_room(write):
    write("put", b"k", b"v")
    view = write.store.begin_snapshot()
    with pytest.raises(AssertionError, match="already open"):
        write.store.begin_snapshot()
    view.next_chunk(10)
    view.close()
    assert view.next_chunk(10) == []
    other = write.store.begin_snapshot()
    view.close()  # again, and late: the other view stays open
    write("put", b"k", b"w")
    assert b'["kv",["k"],["v"],2,null,1,0]\n' in rest_of(other)


def test_a_view_that_is_closed_or_done_keeps_nothing(write):
    for n in range(10):
        write("put", b"k%d" % n, b"v")
    view = write.store.begin_snapshot()
    write("delete", b"k3")
    assert view.kept and write.store.sessions._undumped
    view.close()
    write("delete", b"k4")
    assert not view.kept and not write.store.sessions._undumped
    view = write.store.begin_snapshot()
    rest_of(view)
    write("delete", b"k5")
    assert not view.kept
    assert dump(write.store) == dump(restore(dump(write.store)))


def test_views_beside_each_other_and_a_snapshot_are_each_of_their_own_moment(write):
    views, moments = [], []
    snapshot = write.store.begin_snapshot()
    for round in range(4):
        for n in range(round, 30, 2):
            write("put", b"k%02d" % n, b"%d" % round)
        write("delete", b"k%d" % (20 + round))
        views.append(write.store.begin_view())
        moments.append(rows(write.store))
        views[0].next_rows(3)  # what was read is not kept
    write("delete", b"k29")
    views[3].close()
    for view, moment in zip(views[1:3], moments[1:3]):
        found = []
        while (more := view.next_rows(7)) is not None:
            found += more
            write("put", b"new%d" % len(found), b"x")
        assert sorted(found) == moment
    assert [view.kept for view in views[1:]] == [0, 0, 0]
    assert not any(b'"k' in line.replace(b'"kv"', b"") for line in rest_of(snapshot)), "the store was empty"


def test_a_key_that_only_lived_during_the_snapshot_does_not_end_it_early(write):
    for n in range(30):
        write("put", b"k%02d" % n, b"v")
    before = dump(write.store)
    view = write.store.begin_snapshot()
    write("delete", b"k00")
    for n in range(20):
        write("put", b"z%d" % n, b"v")
        write("delete", b"z%d" % n)
    records = [json.loads(line) for line in rest_of(view, 3)]
    assert dump(Store.restore(records)) == before


@pytest.mark.parametrize("deleted_meanwhile", [False, True])
def test_a_chunk_is_bounded_in_rows_and_text(write, deleted_meanwhile):
    keys = [b"k%d" % n for n in range(50)]
    for n, key in enumerate(keys):
        write("put", key, b"v" * (snapshot_view.CHUNK_CHARS // 4 if n < 10 else 1))
    write("put", b"huge", b"v" * snapshot_view.CHUNK_CHARS * 3)
    for seq in range(write.seq + 1, write.seq + 6):  # five batches whose answers the client still waits for
        data = ["one", 1, seq, write.seq + 1, "batch", [["delete", "nothing"]] * 100]
        assert write.store.apply(100 + seq, data)[0]
    write.seq = seq
    view = write.store.begin_snapshot()
    if deleted_meanwhile:
        for key in [*keys, b"huge"]:
            assert write("delete", key)[1][1] == 1
    lines = rest_of(view, n=10)
    found = {kind: [] for kind in ("kv", "sessions", "history")}
    for line in lines[1:]:
        kind, chunk, *_ = json.loads(line)
        found[kind].append(chunk)
    assert max(len(chunk) for chunks in found.values() for chunk in chunks) <= 10
    assert max(map(len, lines)) < snapshot_view.CHUNK_CHARS * 3 + 100
    assert sum(map(len, found["kv"])) == sum(map(len, found["history"])) == 51
    write("put", b"huge", b"")
    write("put", b"k0", b"")
    lines = dump(write.store, n=10)
    assert max(map(len, lines)) < snapshot_view.CHUNK_CHARS * 4 + 100, "the history holds what is large, too"


# -- random commands against a plain model -------------------------------------------------------------------


class Model:
    """The same database as simply as it can be said: no index, no copy-on-write, no counters."""

    def __init__(self):
        self.items, self.revision = {}, 1  # key: (value, create, mod, version, lease)
        self.sessions = {}  # name: [birth, floor, {seq: answer}, commands, used], in any order
        self.horizon = self.clock = 0

    def apply(self, index, data):
        name, birth, seq, acked, op, *args = data
        self.clock += 1
        session = self.sessions.get(name)
        if session is None and self.horizon < birth < index:
            session = self.sessions[name] = [birth, 0, {}, 0, self.clock]
            self.expire(name)
        if session is None or session[0] != birth:
            return False, SESSION_EXPIRED
        session[4] = self.clock
        session[1] = max(session[1], acked)
        session[2] = {seq: answer for seq, answer in session[2].items() if seq >= session[1]}
        if seq in session[2]:
            return session[2][seq]
        if seq < session[1]:
            return False, STALE_SEQUENCE
        if self.size(session) > sessions.MAX_SESSION_BYTES or seq >= session[1] + sessions.MAX_IN_FLIGHT:
            return False, TOO_MANY_IN_FLIGHT
        if op == "batch":
            answer = (True, tuple(self.command(*operation) for operation in args[0]))
        elif op == "puts":
            answer, *_ = [self.command("put", *put) for put in zip(*args)]
        else:
            answer = self.command(op, *args)
        session[2][seq] = answer
        session[3] += 1
        self.expire(name)
        return answer

    @staticmethod
    def size(session):
        def parts(answer):
            return str(answer).count("(") + str(answer).count(f"False, {BAD_REQUEST!r}")

        return RESULT_BYTES * sum(map(parts, session[2].values()))

    def expire(self, in_use):
        while (
            len(self.sessions) > sessions.MAX_SESSIONS
            or sum(map(self.size, self.sessions.values())) > sessions.MAX_BYTES
        ):
            once = [name for name in self.sessions if self.sessions[name][3] < 2]
            kind = once if len(once) > 1 else [name for name in self.sessions if name not in once]
            victim = min(kind, key=lambda name: self.sessions[name][4])
            self.horizon = max(self.horizon, self.sessions.pop(victim)[0])

    def command(self, op, key, *args):
        key = key.encode()
        before = self.items.get(key)
        if op == "delete":
            end = args[0].encode() if args else key + b"\0"
            gone = [each for each in self.items if key <= each < end]
            self.revision += bool(gone)
            for each in gone:
                del self.items[each]
            return True, (self.revision, len(gone), ())
        args = [arg.encode() if isinstance(arg, str) else arg for arg in args]
        old = before[0] if before else None
        if op == "cas" and old != args[0]:
            return True, (self.revision, False)
        new = (old or b"") + args[0] if op == "append" else args[-1]
        if op == "append" and len(new) > writes.MAX_VALUE_BYTES:
            return False, BAD_REQUEST
        self.revision += 1
        create, version = (before[1], before[3] + 1) if before else (self.revision, 1)
        self.items[key] = (new, create, self.revision, version, 0)
        return True, (self.revision, True) if op == "cas" else self.revision


def codes_only(answer):
    """A refusal's message is the store's own; the model knows the code."""
    ok, result = answer
    if not ok:
        return ok, result[0]
    is_batch = type(result) is tuple and result and type(result[0]) is tuple
    return ok, tuple(codes_only(each) for each in result) if is_batch else result


@pytest.fixture
def tight_limits(monkeypatch):
    """Limits so small that random commands meet each of them."""
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 5)
    monkeypatch.setattr(sessions, "MAX_IN_FLIGHT", 6)
    monkeypatch.setattr(sessions, "MAX_BYTES", 14 * RESULT_BYTES)
    monkeypatch.setattr(sessions, "MAX_SESSION_BYTES", 6 * RESULT_BYTES)
    monkeypatch.setattr(writes, "MAX_VALUE_BYTES", 8)
    monkeypatch.setattr(snapshot_view, "CHUNK_CHARS", 25)
    monkeypatch.setattr(sorted_items, "LEAF_KEYS", 3)
    monkeypatch.setattr(history, "MAX_EVENTS", 50)
    monkeypatch.setattr(history, "BLOCK_EVENTS", 5)


class RandomCommands:
    """Commands as clients send them: new, repeated, late, with births that are old, forged or none."""

    ALL = ("put", "put", "append", "append", "delete", "delete", "cas")

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.sent = {}  # client: its commands, by seq
        self.births, self.floors = {}, {}

    def key(self):
        return "".join(self.chance.choices("abé\U0001f600", k=self.chance.choice([1, 2, 2, 3])))

    def operation(self, ops=ALL):
        chance = self.chance
        value = "".join(chance.choices("xyé", k=chance.randint(0, 4)))
        op = chance.choice(ops)
        if op == "delete":
            return (
                [op, self.key()] if chance.random() < 0.8 else [op, *sorted([self.key(), self.key() + "z"])]
            )
        if op == "cas":
            return [op, self.key(), chance.choice([None, None, "", "x"]), value]
        return [op, self.key(), value]

    def next(self, index):
        chance = self.chance
        if not self.sent or chance.random() < 0.08:
            name = f"c{index}"
            self.sent[name], self.floors[name] = {}, 0
            self.births[name] = chance.choice([index - 1] * 8 + [0, max(0, index - 30), index, 10**9])
        client = chance.choice(list(self.sent)[-7:])
        floor = self.floors[client]
        if chance.random() < 0.5:
            self.floors[client] += chance.choice([1, 1, 2, 5])
        seq = max(0, floor + chance.choice([-1, 0, 0, 1, 1, 2, 3, 5, 6]))
        operation = self.operation()
        if chance.random() < 0.15:
            ops = chance.choice([self.ALL, ["put"]])
            operation = ["batch", [self.operation(ops) for _ in range(chance.randint(1, 4))]]
            if ops == ["put"]:
                operation = [
                    "puts",
                    [key for _, key, _ in operation[1]],
                    [value for _, _, value in operation[1]],
                ]
        operation = self.sent[client].setdefault(seq, operation)  # a repeated command is the same command
        birth = self.births[client] if chance.random() < 0.98 else index - 1
        return [client, birth, seq, min(floor, seq), *operation]


@pytest.mark.parametrize("seed", range(25))
def test_random_commands_do_what_the_model_does(tight_limits, seed):
    commands, subject, model = RandomCommands(seed), Store(), Model()
    met = set()
    for i in range(2, 1500):
        data = commands.next(i)
        answer, expected = subject.apply(i, data), model.apply(i, data)
        assert codes_only(answer) == expected, f"seed {seed}, index {i}: {data}"
        met.add(expected[1] if not expected[0] else data[4])
        if i % 50 == 0:
            assert rows(subject) == [(key, *model.items[key]) for key in sorted(model.items)]
            assert subject.sessions.horizon == model.horizon
    assert met >= {SESSION_EXPIRED, STALE_SEQUENCE, TOO_MANY_IN_FLIGHT, BAD_REQUEST, "cas", "batch"}


@pytest.mark.parametrize("seed", range(10))
def test_the_same_commands_make_the_same_bytes(tight_limits, seed):
    """On a leader that made the commands one by one, on a follower that decoded a few together, after any
    snapshot in between."""
    commands = RandomCommands(seed)
    leader, follower, restarted = Store(), Store(), Store()
    entries = []
    for i in range(2, 800):
        data = commands.next(i)
        decoded = json.loads(json.dumps(data))
        assert leader.apply(i, data) == restarted.apply(i, decoded)
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
    size = leader.data_bytes - sum(KEY_BYTES + len(row[0]) + len(row[1]) for row in rows(leader))
    assert leader.sessions.data_bytes == size, "all that is left are sessions"


@pytest.mark.parametrize("seed", range(40))
def test_a_snapshot_is_of_the_moment_it_began_whatever_is_written_meanwhile(tight_limits, seed):
    commands, subject = RandomCommands(seed), Store()
    chance = commands.chance
    i = 2
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
            # What a dump does not show, such as counters, shows in what comes next.
            for k in range(i, i + 60):
                data = follow_up.next(k)
                assert restored.apply(k, data) == before.apply(k, data)
                assert dump(restored) == dump(before)


def test_a_cleared_store_is_empty(write):
    for n in range(3000):
        write("put", b"k%04d" % n, b"v")
    store = write.store
    store.clear()
    assert len(store) == 0 and write.read("range", *ALL)[1][1] == [] and store.data.get(b"k0001") is None
