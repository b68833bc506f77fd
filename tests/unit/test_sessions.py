"""The rules by which a command takes effect once (thesis section 6.3), seen through the store."""

from __future__ import annotations

import time

import pytest
from raftkv.errors import BAD_REQUEST, SESSION_EXPIRED, STALE_SEQUENCE, TOO_MANY_IN_FLIGHT
from raftkv.kvdb import operations
from raftkv.kvdb import session_table as sessions
from raftkv.kvdb.store import Store, encode_record


class Log:
    """A store, and the log that is fed to it: each command gets the next index."""

    def __init__(self):
        self.store = Store()
        self.index = 0

    def apply(self, *data):
        self.index += 1
        return self.store.apply(self.index, list(data))

    def register(self):
        ok, client = self.apply(0, 0, 0, "register")
        assert ok and client == self.index
        return client

    def append(self, client, seq, acked=0, key="k", value="x"):
        return self.apply(client, seq, acked, "append", key, value)

    @property
    def value(self):
        item = self.store.get("k")
        return item and item[0]

    def snapshot_and_restore(self):
        view = self.store.begin_snapshot()
        records = []
        while True:
            chunk = view.next_chunk(3)
            if not chunk:
                break
            records += chunk
        view.close()
        self.store = Store.restore(records)


@pytest.fixture(params=["as it is", "restored from a snapshot before each command"])
def log(request, monkeypatch):
    log = Log()
    if request.param != "as it is":
        apply = log.apply

        def apply_to_restored(*data):
            log.snapshot_and_restore()
            return apply(*data)

        monkeypatch.setattr(log, "apply", apply_to_restored)
    return log


def refusal(answer):
    ok, (code, message, detail) = answer
    assert ok is False and message and detail is None
    return code


def test_a_client_id_is_the_index_of_its_registration(log):
    assert [log.register(), log.register()] == [1, 2]


def test_a_repeated_command_is_answered_but_not_applied_again(log):
    client = log.register()
    first = log.append(client, 1)
    assert first == (True, 2)
    assert log.append(client, 1) == first
    assert log.append(client, 1, acked=1) == first
    assert log.value == "x"
    assert log.store.get("k") == ("x", 2)


@pytest.mark.parametrize(
    "operation, answer",
    [
        (("put", "k", "v"), (True, 3)),
        (("append", "k", "v"), (True, 3)),
        (("delete", "k"), (True, True)),
        (("delete", "nothing"), (True, False)),
        (("cas", "k", "a", "b"), (True, True)),
        (("cas", "k", "b", "c"), (True, False)),
        (("batch", [["delete", "k"], ["delete", "k"]]), (True, [(True, True), (True, False)])),
    ],
)
def test_each_kind_of_result_is_remembered(log, operation, answer):
    client = log.register()
    log.apply(client, 0, 0, "put", "k", "a")
    assert log.apply(client, 1, 0, *operation) == answer
    log.apply(client, 2, 0, "put", "k", "changed since")
    assert log.apply(client, 1, 0, *operation) == answer
    assert log.value == "changed since"


def test_a_refusal_is_remembered_like_any_result(log, monkeypatch):
    monkeypatch.setattr(operations, "MAX_VALUE_BYTES", 3)
    client = log.register()
    log.append(client, 1, value="abc")
    assert refusal(log.append(client, 2, value="d")) == BAD_REQUEST
    log.apply(client, 3, 0, "delete", "k")
    assert refusal(log.append(client, 2, value="d")) == BAD_REQUEST
    assert log.value is None


def test_commands_in_flight_may_arrive_in_any_order(log):
    client = log.register()
    for seq in [3, 1, 4, 2]:
        assert log.append(client, seq, value=str(seq)) == (True, log.index)
    for seq, revision in [(1, 3), (2, 5), (3, 2), (4, 4)]:
        assert log.append(client, seq) == (True, revision)
    assert log.value == "3142"


def test_a_command_the_client_no_longer_waits_for_is_not_applied_late(log):
    client = log.register()
    assert log.append(client, 5, acked=5)[0]
    assert refusal(log.append(client, 4, acked=1)) == STALE_SEQUENCE  # it never arrived before
    assert log.append(client, 6, acked=6)[0]
    assert refusal(log.append(client, 5, acked=5)) == STALE_SEQUENCE  # forgotten since
    assert log.value == "xx"


def test_the_floor_never_falls(log):
    client = log.register()
    assert log.append(client, 8, acked=7)[0]
    assert log.append(client, 9, acked=0)[0]
    assert refusal(log.append(client, 6, acked=0)) == STALE_SEQUENCE


def test_an_unknown_client_is_refused_and_nothing_applied(log):
    client = log.register()
    for unknown in [0, client + 1, 2**62]:
        assert refusal(log.append(unknown, 1)) == SESSION_EXPIRED
    assert log.value is None


def test_sequence_numbers_reach_a_window_above_the_floor(log):
    client = log.register()
    top = sessions.MAX_IN_FLIGHT + 6
    assert refusal(log.append(client, top + 1, acked=7)) == TOO_MANY_IN_FLIGHT
    assert log.append(client, top, acked=7)[0]
    assert refusal(log.append(client, top + 1, acked=7)) == TOO_MANY_IN_FLIGHT
    assert log.append(client, top + 1, acked=8)[0]  # a refusal for being early does not stick
    assert log.value == "xx"


def test_clients_do_not_share_sequence_numbers(log):
    one, other = log.register(), log.register()
    assert log.append(one, 1)[0] and log.append(other, 1)[0]
    assert log.value == "xx"


def test_the_least_recently_used_session_makes_room(log, monkeypatch):
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 3)
    oldest, middle, newest = log.register(), log.register(), log.register()
    log.append(oldest, 1)  # used: now `middle` is next
    fourth = log.register()
    assert refusal(log.append(middle, 1)) == SESSION_EXPIRED
    assert all(log.append(client, 2)[0] for client in [newest, oldest, fourth])
    # A repeated and a refused command count as use, too.
    log.append(newest, 2)
    log.register()
    assert refusal(log.append(oldest, 3)) == SESSION_EXPIRED
    assert log.append(newest, 3)[0]


def test_an_expired_client_cannot_apply_a_command_twice(log, monkeypatch):
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 1)
    client = log.register()
    log.append(client, 1)
    log.register()
    assert refusal(log.append(client, 1)) == SESSION_EXPIRED
    assert log.value == "x"


def test_all_remembered_results_together_are_bounded(log, monkeypatch):
    monkeypatch.setattr(sessions, "MAX_RESULTS", 10)
    monkeypatch.setattr(sessions, "MAX_SESSION_RESULTS", 8)
    one, two, three = log.register(), log.register(), log.register()
    for seq in range(5):
        assert log.append(one, seq)[0]
        assert log.append(two, seq)[0]
    assert log.append(three, 0)[0]  # the eleventh result
    assert refusal(log.append(one, 5)) == SESSION_EXPIRED
    assert log.append(two, 4) == (True, 13)
    assert log.append(two, 5)[0] and log.append(three, 1)[0]
    # What a client acknowledged does not count any more.
    for seq in range(6, 30):
        assert log.append(two, seq, acked=seq)[0]
    assert log.append(three, 1)[0], "nothing had to expire: no more than 8 results were kept"


def test_each_operation_of_a_batch_counts_as_a_result(log, monkeypatch):
    monkeypatch.setattr(sessions, "MAX_RESULTS", 10)
    monkeypatch.setattr(sessions, "MAX_SESSION_RESULTS", 8)
    one, two = log.register(), log.register()
    assert log.append(one, 0)[0]
    batch = [["delete", "other"]] * 5
    assert log.apply(two, 0, 0, "batch", batch)[0]
    assert refusal(log.apply(two, 1, 0, "batch", batch)) == TOO_MANY_IN_FLIGHT
    assert log.append(one, 1)[0]
    assert log.apply(two, 1, 1, "batch", batch)[0]  # the first one's answer has come: there is room
    for seq in [2, 3, 4]:
        assert log.append(one, seq)[0]
    assert log.append(one, 5)[0]
    assert refusal(log.apply(two, 1, 1, "batch", batch)) == SESSION_EXPIRED


def test_one_greedy_client_does_not_expire_the_others(log, monkeypatch):
    monkeypatch.setattr(sessions, "MAX_RESULTS", 20)
    monkeypatch.setattr(sessions, "MAX_SESSION_RESULTS", 5)
    modest, greedy = log.register(), log.register()
    assert log.append(modest, 0)[0]
    answers = [log.append(greedy, seq) for seq in range(30)]
    assert [ok for ok, _ in answers] == [True] * 5 + [False] * 25
    assert {refusal(answer) for answer in answers[5:]} == {TOO_MANY_IN_FLIGHT}
    assert log.append(modest, 0) == (True, 3)


def test_a_jump_of_acked_by_2_to_the_60_costs_nothing(log):
    client = log.register()
    for seq in range(100):
        log.append(client, seq)
    begin = time.process_time()
    assert log.append(client, 2**60, acked=2**60 - 1)[0]
    assert time.process_time() - begin < 1
    assert refusal(log.append(client, 99)) == STALE_SEQUENCE
    assert log.append(client, 2**60)[0]
    assert len(log.value) == 101


def test_a_jump_of_acked_keeps_what_is_above_it(log):
    client = log.register()
    for seq in [0, 500, 1000]:
        log.append(client, seq)
    log.append(client, 1010, acked=900)
    assert log.append(client, 1000) == (True, 4)
    assert refusal(log.append(client, 500)) == STALE_SEQUENCE


def test_the_limits_hold_for_the_real_constants():
    # The session in use is never the one that expires: by itself it is always within the bound for all.
    assert sessions.MAX_SESSION_RESULTS < sessions.MAX_RESULTS
    assert sessions.MAX_SESSIONS > 1


def test_a_snapshot_has_the_sessions_of_its_moment(monkeypatch):
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 6)
    log = Log()
    clients = [log.register() for _ in range(6)]
    for seq in range(4):
        for client in clients:
            log.append(client, seq)
    before = Log()
    before.store, before.index = log.store, log.index
    before.snapshot_and_restore()
    view = log.store.begin_snapshot()
    records = view.next_chunk(7) + view.next_chunk(7)  # the format, and one session and a half
    for client in [clients[0], clients[1], clients[4]]:  # dumped, half dumped, not yet dumped
        log.append(client, 4, acked=3)
    log.register()
    assert refusal(log.append(clients[2], 4)) == SESSION_EXPIRED
    while True:
        chunk = view.next_chunk(7)
        if not chunk:
            break
        records += chunk
    view.close()
    assert dump(Store.restore(records)) == dump(before.store)


def dump(store):
    view = store.begin_snapshot()
    lines = []
    while True:
        chunk = view.next_chunk(1000)
        if not chunk:
            break
        lines += map(encode_record, chunk)
    view.close()
    return lines
