"""The rules by which a command takes effect once (thesis section 6.3), seen through the store."""

from __future__ import annotations

import time

import pytest
from raftkv.errors import BAD_REQUEST, SESSION_EXPIRED, STALE_SEQUENCE, TOO_MANY_IN_FLIGHT
from raftkv.kvdb import session_table as sessions
from raftkv.kvdb import writes
from raftkv.kvdb.limits import MAX_OUTCOME_BYTES
from raftkv.kvdb.outcomes import RESULT_BYTES
from raftkv.kvdb.snapshot_view import encode_record
from raftkv.kvdb.store import Store

from tests.unit.writer import dump, rest_of, restore


class Log:
    """A store, and the log that is fed to it: each command gets the next index, from 2 on. `births`: of the clients."""

    def __init__(self):
        self.store = Store()
        self.index = 1
        self.births = {}

    def apply(self, client, *data):
        self.index += 1
        return self.store.apply(self.index, [client, self.births.get(client, 0), *data])

    def client(self):
        """A new one, which has been told the applied index."""
        name = f"client {len(self.births)}"
        self.births[name] = self.index
        return name

    def append(self, client, seq, acked=0, key="k", value="x"):
        return self.apply(client, seq, acked, "append", key, value)

    def users(self, count):
        """Clients with two commands each."""
        clients = [self.client() for _ in range(count)]
        for client in clients:
            assert self.append(client, 1)[0] and self.append(client, 2)[0]
        return clients

    @property
    def value(self):
        item = self.store.data.get(b"k")
        return item and item[0].decode()

    def snapshot_and_restore(self):
        self.store = restore(dump(self.store, 3))


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
    ok, (code, message, _) = answer
    assert ok is False and message
    return code


def test_a_repeated_command_is_answered_but_not_applied_again(log):
    client = log.client()
    first = log.append(client, 1)
    assert first == (True, 2)
    assert log.append(client, 1) == first
    assert log.append(client, 1, acked=1) == first
    assert log.value == "x"
    assert log.store.data.get(b"k") == (b"x", 2, 2, 1, 0)


@pytest.mark.parametrize(
    "operation, answer",
    [
        (("put", "k", "v"), (True, 3)),
        (("put", "k", "v", 0, 1), (True, (3, (b"k", b"a", 2, 2, 1, 0)))),
        (("append", "k", "v"), (True, 3)),
        (("delete", "k"), (True, (3, 1, ()))),
        (("delete", "nothing"), (True, (2, 0, ()))),
        (("cas", "k", "a", "b"), (True, (3, True))),
        (("batch", [["delete", "k"], ["delete", "k"]]), (True, ((True, (3, 1, ())), (True, (3, 0, ()))))),
        (
            ("txn", [], [["range", "a", "z"]], []),
            (True, (2, True, ((2, ((b"k", b"a", 2, 2, 1, 0),), False, 1),))),
        ),
        (("put", "k", "v", 99), (False, writes.NO_SUCH_LEASE[1])),
    ],
)
def test_each_kind_of_result_is_remembered(log, operation, answer):
    client = log.client()
    log.apply(client, 0, 0, "put", "k", "a")
    assert log.apply(client, 1, 0, *operation) == answer
    log.apply(client, 2, 0, "put", "k", "changed since")
    assert log.apply(client, 1, 0, *operation) == answer
    assert log.value == "changed since"


def test_a_refusal_is_remembered_like_any_result(log, monkeypatch):
    monkeypatch.setattr(writes, "MAX_VALUE_BYTES", 3)
    client = log.client()
    log.append(client, 1, value="abc")
    assert refusal(log.append(client, 2, value="d")) == BAD_REQUEST
    log.apply(client, 3, 0, "delete", "k")
    assert refusal(log.append(client, 2, value="d")) == BAD_REQUEST
    assert log.value is None


def test_commands_in_flight_may_arrive_in_any_order(log):
    client = log.client()
    for seq in [3, 1, 4, 2]:
        assert log.append(client, seq, value=str(seq)) == (True, log.store.data.revision)
    for seq, revision in [(1, 3), (2, 5), (3, 2), (4, 4)]:
        assert log.append(client, seq) == (True, revision)
    assert log.value == "3142"


def test_a_command_the_client_no_longer_waits_for_is_not_applied_late(log):
    client = log.client()
    assert log.append(client, 5, acked=5)[0]
    assert refusal(log.append(client, 4, acked=1)) == STALE_SEQUENCE  # it never arrived before
    assert log.append(client, 6, acked=6)[0]
    assert refusal(log.append(client, 5, acked=5)) == STALE_SEQUENCE  # forgotten since
    assert log.value == "xx"


def test_the_floor_never_falls(log):
    client = log.client()
    assert log.append(client, 8, acked=7)[0]
    assert log.append(client, 9, acked=0)[0]
    assert refusal(log.append(client, 6, acked=0)) == STALE_SEQUENCE


# -- names and births ----------------------------------------------------------------------------------------


def test_the_first_command_begins_a_session(log):
    client = log.client()
    assert log.append(client, 1) == (True, 2)
    assert log.index == 2 and len(log.store.sessions) == 1


@pytest.mark.parametrize("birth", [-1, 0, 3, 2**62])
def test_a_birth_that_no_server_can_have_told_begins_nothing(log, birth):
    """One that is not after the horizon, or not before the entry."""
    log.births["forger"] = birth
    log.index = 2
    answer = log.append("forger", 1)
    assert refusal(answer) == SESSION_EXPIRED and answer[1][2] == {"birth": 3}
    assert log.value is None and len(log.store.sessions) == 0


def test_a_known_name_with_another_birth_is_refused(log):
    client = log.client()
    log.append(client, 1)
    log.births[client] = log.index
    assert refusal(log.append(client, 1)) == refusal(log.append(client, 2)) == SESSION_EXPIRED
    assert log.value == "x"


def test_a_retry_that_comes_after_its_session_was_forgotten_is_not_applied(log, monkeypatch):
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 2)
    early, client = log.client(), log.client()
    assert log.append(client, 1)[0]
    log.users(2)
    assert log.store.sessions.horizon == log.births[client]
    answer = log.append(client, 1)
    assert refusal(answer) == SESSION_EXPIRED
    assert log.value == "xxxxx"
    assert refusal(log.append(early, 1)) == SESSION_EXPIRED, "its birth is not after the horizon"
    log.births["again"] = answer[1][2]["birth"]
    assert log.append("again", 1)[0], "the birth that comes with the refusal is good"


def test_the_horizon_never_falls_and_shuts_nobody_out(log, monkeypatch):
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 2)
    horizon = 0
    for _ in range(20):
        client = log.client()
        assert log.append(client, 1)[0]
        assert horizon <= log.store.sessions.horizon < log.births[client]
        horizon = log.store.sessions.horizon
    assert horizon > 10


def test_clients_of_one_command_never_push_out_those_of_more(log, monkeypatch):
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 5)
    idle = log.users(4)
    for _ in range(20):
        assert log.append(log.client(), 1)[0]
    assert all(log.append(client, 3)[0] for client in idle)


def test_a_retry_of_the_only_command_does_not_make_it_two(log, monkeypatch):
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 2)
    client = log.client()
    for _ in range(3):
        assert log.append(client, 1)[0]
    log.users(2)
    assert refusal(log.append(client, 1)) == SESSION_EXPIRED


def test_the_least_recently_used_session_makes_room(log, monkeypatch):
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 3)
    oldest, middle, newest = log.users(3)
    log.append(oldest, 3)  # used: now `middle` is next
    (fourth,) = log.users(1)
    assert refusal(log.append(middle, 3)) == SESSION_EXPIRED
    assert all(log.append(client, 4)[0] for client in [newest, oldest, fourth])
    # A repeated and a refused command count as use, too.
    log.append(newest, 4)
    log.append(fourth, 4)
    log.users(1)
    assert refusal(log.append(oldest, 5)) == SESSION_EXPIRED
    assert log.append(newest, 5)[0]


# -- limits --------------------------------------------------------------------------------------------------


def test_sequence_numbers_reach_a_window_above_the_floor(log):
    client = log.client()
    top = sessions.MAX_IN_FLIGHT + 6
    assert refusal(log.append(client, top + 1, acked=7)) == TOO_MANY_IN_FLIGHT
    assert log.append(client, top, acked=7)[0]
    assert refusal(log.append(client, top + 1, acked=7)) == TOO_MANY_IN_FLIGHT
    assert log.append(client, top + 1, acked=8)[0]  # a refusal for being early does not stick
    assert log.value == "xx"


def test_clients_do_not_share_sequence_numbers(log):
    one, other = log.client(), log.client()
    assert log.append(one, 1)[0] and log.append(other, 1)[0]
    assert log.value == "xx"


def test_all_remembered_outcomes_together_are_bounded(log, monkeypatch):
    monkeypatch.setattr(sessions, "MAX_BYTES", 10 * RESULT_BYTES)
    monkeypatch.setattr(sessions, "MAX_SESSION_BYTES", 7 * RESULT_BYTES)
    one, two, three = log.client(), log.client(), log.client()
    for seq in range(5):
        assert log.append(one, seq)[0]
        assert log.append(two, seq)[0]
    assert log.append(three, 0)[0]  # the eleventh outcome
    assert refusal(log.append(one, 5)) == SESSION_EXPIRED
    # What a client acknowledged does not count any more.
    for seq in range(5, 30):
        assert log.append(two, seq, acked=seq)[0]
    assert log.append(three, 1)[0]


def test_outcomes_count_by_what_they_hold(log, monkeypatch):
    monkeypatch.setattr(sessions, "MAX_BYTES", 100 * RESULT_BYTES)
    monkeypatch.setattr(sessions, "MAX_SESSION_BYTES", 25 * RESULT_BYTES)
    client = log.client()
    batch = [["delete", "other"]] * 5
    assert log.apply(client, 1, 1, "batch", batch)[0]
    assert log.store.sessions.data_bytes == sessions.SESSION_BYTES + (2 + 3 * 5) * RESULT_BYTES
    assert log.apply(client, 2, 1, "batch", batch)[0]
    assert refusal(log.apply(client, 3, 1, "batch", batch)) == TOO_MANY_IN_FLIGHT
    assert log.apply(client, 3, 2, "batch", batch)[0]  # the first one's answer has come: there is room
    log.append(client, 4, 4, value="v" * 1000)
    size = log.store.sessions.data_bytes
    log.apply(client, 5, 4, "put", "k", "", 0, 1)
    assert 1000 < log.store.sessions.data_bytes - size < 1000 + 4 * RESULT_BYTES
    log.append(client, 6, 6)
    assert log.store.sessions.data_bytes == sessions.SESSION_BYTES + RESULT_BYTES


def test_one_greedy_client_does_not_expire_the_others(log, monkeypatch):
    monkeypatch.setattr(sessions, "MAX_BYTES", 20 * RESULT_BYTES)
    monkeypatch.setattr(sessions, "MAX_SESSION_BYTES", 4 * RESULT_BYTES)
    modest, greedy = log.client(), log.client()
    assert log.append(modest, 0)[0]
    answers = [log.append(greedy, seq) for seq in range(30)]
    assert [ok for ok, _ in answers] == [True] * 5 + [False] * 25
    assert {refusal(answer) for answer in answers[5:]} == {TOO_MANY_IN_FLIGHT}
    assert log.append(modest, 0) == (True, 2)


def test_a_jump_of_acked_by_2_to_the_60_costs_nothing(log):
    client = log.client()
    for seq in range(100):
        log.append(client, seq)
    begin = time.process_time()
    assert log.append(client, 2**60, acked=2**60 - 1)[0]
    assert time.process_time() - begin < 1
    assert refusal(log.append(client, 99)) == STALE_SEQUENCE
    assert log.append(client, 2**60)[0]
    assert len(log.value) == 101


def test_a_jump_of_acked_keeps_what_is_above_it(log):
    client = log.client()
    for seq in [0, 500, 1000]:
        log.append(client, seq)
    log.append(client, 1010, acked=900)
    assert log.append(client, 1000) == (True, 4)
    assert refusal(log.append(client, 500)) == STALE_SEQUENCE


def test_the_limits_hold_for_the_real_constants():
    # The session in use is never the one that expires: by itself it is always within the bound for all.
    assert sessions.MAX_SESSION_BYTES + MAX_OUTCOME_BYTES < sessions.MAX_BYTES
    assert sessions.MAX_SESSIONS > 1


def test_a_snapshot_has_the_sessions_of_its_moment(monkeypatch):
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 6)
    log = Log()
    clients = [log.client() for _ in range(6)]
    for seq in range(4):
        for client in clients:
            log.append(client, seq)
    before = dump(log.store)
    view = log.store.begin_snapshot()
    # The first record, and one session and a half.
    records = [encode_record(record) for _ in range(2) for record in view.next_chunk(7)]
    for client in [clients[0], clients[1], clients[4]]:  # dumped, half dumped, not yet dumped
        log.append(client, 4, acked=3)
    log.users(1)
    assert refusal(log.append(clients[2], 4)) == SESSION_EXPIRED
    records += rest_of(view, 7)
    assert dump(restore(records)) == before
