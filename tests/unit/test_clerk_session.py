"""The client's half of "exactly once", rule by rule, on a clock that is a number."""

from __future__ import annotations

import random

import pytest
from raftkv import errors
from raftkv.client.command import Command, Done, Send
from raftkv.client.leader_search import MAX_PAUSE_S, STALE_S, LeaderSearch
from raftkv.client.numbering import Numbering
from raftkv.client.session import ATTEMPTS_S, SILENT_S, ClerkSession
from raftkv.kvdb.operations import OPERATIONS
from raftkv.kvdb.session_table import MAX_IN_FLIGHT

SERVERS = (1, 2, 3)
NAME, BIRTH = "name-1", 17


class Client:
    """A ClerkSession whose actions are sorted: `sends` by server, `done` commands."""

    def __init__(self, servers=SERVERS, seed=1):
        self.names = 0
        self.session = ClerkSession(servers, random.Random(seed), draw_name=self.draw_name)
        self.now = 100.0
        self.sends = []
        self.done = []

    def draw_name(self):
        self.names += 1
        return f"name-{self.names}"

    def start(self, method, *args, timeout_s=10.0):
        command = Command(OPERATIONS[method].of(args), self.now + timeout_s)
        self._take(self.session.start(command, self.now))
        return command

    def event(self, name, send, *args):
        """Tell what became of `send`."""
        method = getattr(self.session, name)
        self._take(method(send.command, send.attempt, *args, self.now))

    def answer(self, send, result):
        self.event("answered", send, result)

    def refuse(self, send, code, detail=None):
        self.event("refused", send, code, f"refused: {code}", detail)

    def redirect(self, send, leader, proposed=False):
        self.refuse(send, errors.NOT_LEADER, {"leader": leader, "proposed": proposed})

    def lose(self, send, sent):
        self.event("lost", send, sent, "connection lost")

    def time_out(self, send, sent=True):
        self.now = max(self.now, send.command.sent_at + send.timeout_s)
        self.event("timed_out", send, sent)

    def wake(self):
        assert self.session.wake_at is not None, "nothing is planned"
        self.now = max(self.now, self.session.wake_at)
        self._take(self.session.wake(self.now))

    def take(self):
        """The only attempt that was sent since the last call."""
        assert len(self.sends) == 1, f"one attempt was expected, not {self.sends}"
        return self.sends.pop()

    def take_all(self):
        sends, self.sends = self.sends, []
        return sends

    def _take(self, actions):
        for action in actions:
            if isinstance(action, Send):
                self.sends.append(action)
            else:
                assert isinstance(action, Done), action
                assert action.command.done, "a Done for a command that is not"
                self.done.append(action.command)


@pytest.fixture
def new():
    return Client()


@pytest.fixture
def client():
    """One that has a name and knows the leader, `client.leader`."""
    client = Client()
    client.start("put", "k", "v")
    hello = client.take()
    client.answer(hello, {"applied": BIRTH, "leader": hello.server})
    client.answer(client.take(), 18)
    client.done.clear()
    client.leader = hello.server
    client.others = [server for server in SERVERS if server != client.leader]
    return client


# -- numbers (rule 1) ----------------------------------------------------------------------------------------


def test_acked_is_the_lowest_number_without_an_answer():
    numbering = Numbering(NAME, BIRTH)
    first, second, third = (numbering.take() for _ in range(3))
    assert numbering.acked == first
    numbering.answered(second)
    assert numbering.acked == first
    numbering.answered(first)
    assert numbering.acked == third
    numbering.answered(third)
    assert numbering.acked == third + 1 == numbering.take()


def test_no_number_is_given_out_that_the_servers_would_refuse():
    numbering = Numbering(NAME, BIRTH)
    while numbering.has_room():
        last = numbering.take()
    assert last == numbering.acked + MAX_IN_FLIGHT - 1
    numbering.answered(2)
    assert not numbering.has_room()
    numbering.answered(1)
    assert numbering.has_room()
    assert numbering.acked == 3


def test_a_write_carries_client_number_and_acked(client):
    first, second = client.start("put", "a", "1"), client.start("cas", "b", None, "2")
    sends = client.take_all()
    assert [send.args for send in sends] == [
        (NAME, BIRTH, 2, 2, "a", "1"),
        (NAME, BIRTH, 3, 2, "b", None, "2"),
    ]
    assert [send.server for send in sends] == [client.leader] * 2
    client.answer(sends[1], True)
    client.answer(sends[0], 20)
    assert (first.result, second.result) == (20, True)
    client.start("delete", "a")
    assert client.take().args == (NAME, BIRTH, 4, 4, "a")


def test_a_write_keeps_its_number_and_says_the_latest_acked(client):
    client.start("append", "a", "1")
    client.start("append", "a", "2")
    first, second = client.take_all()
    assert second.args[:4] == (NAME, BIRTH, 3, 2)
    client.answer(first, 20)
    client.lose(second, sent=True)
    assert client.take().args == (NAME, BIRTH, 3, 3, "a", "2")


def test_reads_have_no_number(client):
    read = client.start("get", "a")
    send = client.take()
    assert (send.method, send.args) == ("get", ("a",))
    client.answer(send, ("v", 7))
    assert read.result == ("v", 7)
    client.start("put", "a", "1")
    assert client.take().args[2] == 2


def test_writes_beyond_the_window_wait_for_the_lowest_number(client):
    commands = [client.start("put", "k", str(n)) for n in range(MAX_IN_FLIGHT + 5)]
    sends = client.take_all()
    assert len(sends) == MAX_IN_FLIGHT
    for send in sends[1:]:
        client.answer(send, 99)
    assert client.take_all() == []
    client.answer(sends[0], 99)
    late = client.take_all()
    assert [send.command for send in late] == commands[MAX_IN_FLIGHT:]
    assert late[0].args[2:4] == (MAX_IN_FLIGHT + 2, MAX_IN_FLIGHT + 2)


def test_a_command_that_was_given_up_holds_nothing_back(client):
    command = client.start("put", "k", "v")
    send = client.take()
    client._take(client.session.abandon(command, client.now))
    assert client.done == [command]
    client.start("put", "k", "w")
    assert client.take().args[2:4] == (3, 3)
    client.answer(send, 20)
    assert command.result is None, "the late answer was taken"


# -- name and birth (rule 2) -----------------------------------------------------------------------------------


def test_the_first_write_waits_for_a_birth(new):
    commands = [new.start("put", "k", "1"), new.start("put", "k", "2")]
    hello = new.take()
    assert (hello.method, hello.args) == ("hello", ())
    new.answer(hello, {"applied": BIRTH, "leader": hello.server})
    sends = new.take_all()
    assert [send.command for send in sends] == commands
    assert [send.args[:4] for send in sends] == [(NAME, BIRTH, 1, 1), (NAME, BIRTH, 2, 1)]


def test_reads_need_no_birth(new):
    new.start("get", "k")
    send = new.take()
    assert send.method == "get"
    new.answer(send, None)
    assert new.sends == []


def test_a_hello_whose_answer_was_lost_is_repeated_and_nobody_is_in_doubt(new):
    command = new.start("put", "k", "1", timeout_s=2.0)
    new.lose(new.take(), sent=True)
    again = new.take()
    assert again.method == "hello"
    new.time_out(again)
    while not command.done:
        new.wake()
        for send in new.take_all():
            new.lose(send, sent=True)
    assert type(command.error) is errors.NotApplied


def test_a_hello_that_nobody_needs_any_more_ends(new):
    new.start("put", "k", "1", timeout_s=0.01)
    hello = new.take()
    new.wake()
    assert [type(command.error) for command in new.done] == [errors.NotApplied]
    new.redirect(hello, None)
    assert new.sends == []
    assert new.session.wake_at is None


@pytest.mark.parametrize("leader, asked_next", [(2, 2), (None, None)])
def test_a_hello_says_who_leads_if_its_server_knows(new, leader, asked_next):
    new.start("put", "k", "1")
    hello = new.take()
    while hello.server == leader:
        new = Client(seed=new.names + 2)
        new.start("put", "k", "1")
        hello = new.take()
    new.answer(hello, {"applied": BIRTH, "leader": leader})
    if asked_next is None:
        assert new.sends == [] and new.session.wake_at > new.now, "an election is under way: a pause"
    else:
        assert new.take().server == asked_next


def test_a_hello_that_names_the_members_leads_to_a_leader_that_was_not_listed():
    client = Client(servers=(1,))
    client.start("put", "k", "1")
    guide = {"id": 1, "leader": 5, "members": {1: "a:1", 5: "c:1"}, "cluster_id": 9, "applied": BIRTH}
    client.answer(client.take(), guide)
    send = client.take()
    assert (send.server, send.method) == (5, "put")


@pytest.mark.parametrize("answer", [None, {}, {"applied": "7", "leader": "x", "members": 3}])
def test_a_hello_without_a_birth_leaves_it_to_the_refusal_to_bring_one(new, answer):
    command = new.start("put", "k", "1")
    new.answer(new.take(), answer)
    new.wake()
    send = new.take()
    assert send.args[:2] == (NAME, 1)
    new.refuse(send, errors.SESSION_EXPIRED, {"birth": BIRTH})
    new.answer(new.take(), 18)
    assert command.result == 18


def test_a_leader_that_says_hello_and_leads_no_more_is_left(client):
    client.start("hello")
    client.answer(client.take(), {"applied": BIRTH, "leader": client.others[0]})
    client.start("get", "k")
    assert client.take().server == client.others[0]


# -- in doubt, or not (rules 3 and 4) ------------------------------------------------------------------------


def give_up(client, command):
    """Let the deadline of `command` pass; whoever is asked meanwhile knows no leader."""
    while not command.done:
        if client.sends:
            client.redirect(client.take(), None)
        else:
            client.wake()
    return type(command.error)


NOT_IN_DOUBT = {
    "refused by a follower": lambda client, send: client.redirect(send, None),
    "refused, overloaded": lambda client, send: client.refuse(send, errors.OVERLOADED, {"proposed": False}),
    "refused, too many": lambda client, send: client.refuse(send, errors.TOO_MANY_IN_FLIGHT),
    "never sent": lambda client, send: client.lose(send, sent=False),
    "timed out unsent": lambda client, send: client.time_out(send, sent=False),
}
IN_DOUBT = {
    "lost after it was sent": lambda client, send: client.lose(send, sent=True),
    "timed out": lambda client, send: client.time_out(send, sent=True),
    "leadership lost after proposing": lambda client, send: client.redirect(send, None, proposed=True),
    "refused without saying": lambda client, send: client.refuse(send, errors.NOT_LEADER, 3),
    "shutting down": lambda client, send: client.refuse(send, errors.SHUTTING_DOWN),
}


@pytest.mark.parametrize("what", NOT_IN_DOUBT)
def test_certainly_not_applied(client, what):
    command = client.start("put", "k", "v")
    NOT_IN_DOUBT[what](client, client.take())
    assert give_up(client, command) is errors.NotApplied


@pytest.mark.parametrize("what", IN_DOUBT)
def test_outcome_unknown_whatever_follows(client, what):
    command = client.start("put", "k", "v")
    IN_DOUBT[what](client, client.take())
    assert give_up(client, command) is errors.OutcomeUnknown


@pytest.mark.parametrize("what", [*IN_DOUBT, *NOT_IN_DOUBT])
def test_a_read_is_never_in_doubt(client, what):
    command = client.start("get", "k")
    {**IN_DOUBT, **NOT_IN_DOUBT}[what](client, client.take())
    assert give_up(client, command) is errors.UnavailableError


def test_a_write_that_is_in_flight_at_its_deadline_is_in_doubt(client):
    command = client.start("put", "k", "v", timeout_s=0.5)
    send = client.take()
    assert send.timeout_s == pytest.approx(0.5)
    client.time_out(send)
    assert type(command.error) is errors.OutcomeUnknown
    assert "not applied" not in str(command.error)


def test_the_error_says_what_the_servers_said(client):
    command = client.start("put", "k", "v", timeout_s=0.1)
    client.lose(client.take(), sent=False)
    give_up(client, command)
    assert f"server {client.leader}: connection lost" in str(command.error)
    assert f"server {client.others[0]}: refused: not_leader" in str(command.error)


def test_a_command_that_no_server_takes_is_not_retried(client):
    command = client.start("put", "k", "v")
    client.refuse(client.take(), errors.BAD_REQUEST)
    assert type(command.error) is errors.InvalidRequestError
    assert client.sends == []
    client.start("put", "k", "w")
    assert client.take().server == client.leader


def test_no_room_is_told_at_once_and_keeps_the_leader(client):
    command = client.start("put", "k", "v")
    client.refuse(client.take(), errors.NO_SPACE, {"proposed": False})
    assert type(command.error) is errors.NoSpaceError and isinstance(command.error, errors.NotApplied)
    assert "the put was not applied: refused" in str(command.error)
    client.start("get", "k")
    assert client.take().server == client.leader


def test_no_room_for_a_write_that_was_sent_before_leaves_it_in_doubt(client):
    command = client.start("put", "k", "v")
    client.lose(client.take(), sent=True)
    again = client.take()
    client.refuse(again, errors.NO_SPACE, {"proposed": False})
    assert type(command.error) is errors.OutcomeUnknown and client.session._search.leader == again.server


def test_an_unknown_refusal_is_final_and_honest(client):
    sure, unsure = client.start("put", "k", "1"), client.start("put", "k", "2")
    first, second = client.take_all()
    client.refuse(first, "of the future")
    assert type(sure.error) is errors.RemoteError
    client.lose(second, sent=True)
    client.refuse(client.take(), "of the future")
    assert type(unsure.error) is errors.OutcomeUnknown


def test_a_result_counts_for_any_attempt_and_a_refusal_for_the_latest_only(client):
    command = client.start("append", "k", "v")
    first = client.take()
    client.time_out(first)
    second = client.take()
    client.redirect(first, next(server for server in client.others if server != second.server))
    assert client.sends == [] and not command.done, "a stale refusal was taken"
    client.answer(first, 20)
    assert command.result == 20
    client.answer(second, 20)
    assert client.done == [command]


# -- a silent server (rule 5) --------------------------------------------------------------------------------


def test_a_silent_server_costs_one_attempt_not_the_timeout(client):
    command = client.start("put", "k", "v")
    send = client.take()
    assert send.timeout_s == ATTEMPTS_S[0]
    client.time_out(send)
    again = client.take()
    assert again.server in client.others
    assert again.args[1] == send.args[1]
    assert not command.done


def test_attempts_grow_and_end_with_the_deadline(client):
    client.start("put", "k", "v", timeout_s=100.0)
    seen = []
    for _ in range(5):
        send = client.take()
        seen.append(send.timeout_s)
        client.time_out(send)
        while not client.sends:
            client.wake()
    assert seen == [*ATTEMPTS_S, ATTEMPTS_S[-1], ATTEMPTS_S[-1]]


def test_a_leader_that_answers_others_is_slow_and_stays(client):
    client.start("put", "k", "slow")
    slow = client.take()
    client.now += slow.timeout_s - SILENT_S / 2
    client.start("put", "k", "quick")
    client.answer(client.take(), 20)
    client.time_out(slow)
    again = client.take()
    assert (again.server, again.args[1]) == (client.leader, slow.args[1])


def test_a_leader_that_fell_silent_is_left_even_if_it_answered_since(client):
    client.start("put", "k", "1")
    send = client.take()
    client.start("put", "k", "2")
    client.answer(client.take(), 20)
    client.time_out(send)
    assert client.take().server != client.leader


# -- looking for the leader (rule 6) -------------------------------------------------------------------------


def test_one_asks_while_the_others_wait_and_all_follow(client):
    commands = [client.start("put", "k", str(n)) for n in range(5)]
    sends = client.take_all()
    for send in sends:
        client.lose(send, sent=True)
    asking = client.take()
    assert asking.command is commands[0]
    client.start("get", "k")
    client.redirect(asking, client.others[1])
    asking = client.take()
    assert asking.server == client.others[1]
    client.answer(asking, 30)
    followers = client.take_all()
    assert [send.command for send in followers[:4]] == commands[1:]
    assert [send.args[2] for send in followers[:4]] == [3, 4, 5, 6]
    assert followers[4].method == "get"
    assert {send.server for send in followers} == {client.others[1]}


def test_late_news_of_an_old_leader_do_not_disturb_the_new_one(client):
    for n in range(3):
        client.start("put", "k", str(n))
    first, second, third = client.take_all()
    client.redirect(first, client.others[0])
    client.answer(client.take(), 30)
    client.lose(second, sent=True)
    client.time_out(third)
    assert [send.server for send in client.take_all()] == [client.others[0]] * 2


def test_another_command_asks_when_the_one_that_asks_ends(client):
    first, second = client.start("put", "k", "1"), client.start("put", "k", "2")
    for send in client.take_all():
        client.lose(send, sent=False)
    asking = client.take()
    client._take(client.session.abandon(asking.command, client.now))
    assert asking.command is first
    assert client.take().command is second


def test_an_overloaded_leader_gets_one_command_after_a_pause_then_all(client):
    for n in range(3):
        client.start("put", "k", str(n))
    for send in client.take_all():
        client.refuse(send, errors.OVERLOADED, {"proposed": False})
    assert client.sends == []
    before = client.now
    client.wake()
    assert 0 < client.now - before <= MAX_PAUSE_S
    asking = client.take()
    assert asking.server == client.leader
    client.answer(asking, 30)
    assert len(client.take_all()) == 2


def test_the_deadline_ends_a_command_that_only_waits(client):
    client.start("put", "k", "1", timeout_s=9.0)
    client.lose(client.take(), sent=False)
    asking = client.take()
    waiting = client.start("put", "k", "2", timeout_s=0.3)
    before = client.now
    client.wake()
    assert client.now - before == pytest.approx(0.3)
    assert client.done == [waiting]
    assert type(waiting.error) is errors.NotApplied
    assert not asking.command.done


def test_all_servers_down_is_no_busy_loop(client):
    command = client.start("put", "k", "v", timeout_s=10.0)
    count = 0
    while not command.done:
        if client.sends:
            count += 1
            client.lose(client.take(), sent=False)
        else:
            client.wake()
    assert type(command.error) is errors.NotApplied
    assert 100 <= count <= 200, f"{count} attempts in 10 s"


def test_a_wrong_key_everywhere_ends_the_command_at_once(client):
    command = client.start("put", "k", "v")
    for _ in SERVERS:
        if not client.sends:
            client.wake()
        client.event("unauthorised", client.take(), "the server has another key")
    assert type(command.error) is errors.AuthenticationError


@pytest.mark.parametrize("strangers, at_once", [(2, True), (1, False)])
def test_a_wrong_key_at_all_that_answer_is_the_reason(client, strangers, at_once):
    command, began = client.start("put", "k", "v", timeout_s=3.0), client.now
    while not command.done:
        if not client.sends:
            client.wake()
            continue
        send = client.take()
        if send.server > strangers:
            client.lose(send, sent=False)
        else:
            client.event("unauthorised", send, f"{send.server} has another key")
    assert (type(command.error), str(command.error)[1:]) == (errors.AuthenticationError, " has another key")
    assert (client.now - began < 1.0) == at_once


def test_a_wrong_key_at_one_of_those_that_answer_is_not_the_reason(client):
    command = client.start("put", "k", "v", timeout_s=1.0)
    while not command.done:
        if not client.sends:
            client.wake()
        elif client.sends[0].server == 1:
            client.redirect(client.take(), None)
        else:
            client.event("unauthorised", client.take(), "another key")
    assert type(command.error) is errors.NotApplied


def test_a_wrong_key_at_one_server_is_not_the_end(client):
    command = client.start("put", "k", "v")
    client.event("unauthorised", client.take(), "the server has another key")
    client.lose(client.take(), sent=False)
    client.answer(client.take(), 20)
    assert command.result == 20


# -- an expired session (rule 7) -----------------------------------------------------------------------------


def test_expired_and_not_in_doubt_goes_on_under_a_new_name(client):
    command = client.start("append", "k", "v")
    client.redirect(client.take(), client.others[0])
    client.refuse(client.take(), errors.SESSION_EXPIRED, {"birth": 40})
    send = client.take()
    assert (send.server, send.args) == (client.others[0], ("name-2", 40, 1, 1, "k", "v"))
    client.answer(send, 41)
    assert command.result == 41


def test_expired_and_in_doubt_is_an_error(client):
    command = client.start("append", "k", "v")
    client.lose(client.take(), sent=True)
    client.refuse(client.take(), errors.SESSION_EXPIRED, {"birth": 40})
    assert type(command.error) is errors.SessionExpiredError
    assert client.sends == []


def test_expired_with_many_in_flight(client):
    names = ("refused", "answered", "lost", "waiting")
    commands = {name: client.start("append", "k", name) for name in names}
    sends = dict(zip(names, client.take_all()))
    client.lose(sends["waiting"], sent=True)  # in doubt, and asks
    asking = client.take()
    client.answer(asking, 19)
    commands["waiting"] = client.start("append", "k", "waiting")
    sends["waiting"] = client.take()
    client.refuse(sends["refused"], errors.SESSION_EXPIRED, {"birth": 40})
    assert client.take().args[:2] == ("name-2", 40)
    client.answer(sends["answered"], 20)  # applied before the session ended
    client.lose(sends["lost"], sent=True)  # nobody can say any more
    client.lose(sends["waiting"], sent=False)
    assert commands["answered"].result == 20
    assert type(commands["lost"].error) is errors.SessionExpiredError
    assert not commands["refused"].done and not commands["waiting"].done


def test_waiting_commands_of_an_expired_session_are_settled_at_once(client):
    doubtful, sure, asking = (client.start("append", "k", str(n)) for n in range(3))
    sends = client.take_all()
    client.lose(sends[2], sent=False)
    client.lose(sends[0], sent=True)
    client.lose(sends[1], sent=False)
    client.refuse(client.take(), errors.SESSION_EXPIRED, {"birth": 40})
    assert type(doubtful.error) is errors.SessionExpiredError
    first = client.take()
    client.answer(first, 41)
    sent = [(send.command, send.args[:2]) for send in [first, *client.take_all()]]
    assert sorted(sent, key=lambda each: each[0].order) == [(sure, ("name-2", 40)), (asking, ("name-2", 40))]


# -- the end -------------------------------------------------------------------------------------------------


def test_close_tells_those_in_doubt_from_the_others(client):
    doubtful = client.start("put", "k", "1")
    in_flight = client.take()
    client.lose(in_flight, sent=True)
    asking = client.take()
    waiting = client.start("put", "k", "2")
    client._take(client.session.close(client.now))
    assert type(waiting.error) is errors.ClosedError
    client.lose(asking, sent=False)
    assert type(doubtful.error) is errors.OutcomeUnknown
    assert client.sends == [] and client.session.wake_at is None


# -- which server is next (leader_search.py) -----------------------------------------------------------------


@pytest.fixture
def search():
    """Server 1 led, until now."""
    search = LeaderSearch(SERVERS, random.Random(3))
    search.found(1)
    return search


def test_a_hint_is_followed_at_once(search):
    search.redirected(1, 3, now=10.0)
    assert (search.leader, search.candidate) == (None, 3)
    assert search.resume_at <= 10.0


@pytest.mark.parametrize("hint", [None, 1, 99])
def test_without_a_useful_hint_the_next_one_is_asked_after_a_pause(search, hint):
    search.redirected(1, hint, now=10.0)
    assert search.candidate == 2
    assert 10.02 <= search.resume_at <= 10.04


def test_hints_that_loop_end_in_a_pause_and_do_not_hide_the_third(search):
    now, hints, asked = 10.0, {1: 2, 2: 1}, []
    search.redirected(1, 2, now)
    while search.candidate != 3:
        assert len(asked) < 10, f"server 3 is never asked: {asked}"
        assert asked[-3:].count("pause") > 0 or len(asked) < 3, f"a busy loop: {asked}"
        if search.resume_at > now:
            asked.append("pause")
            now = search.resume_at
        asked.append(search.candidate)
        search.asked()
        search.redirected(search.candidate, hints[search.candidate], now)
    assert search.resume_at > now


def test_a_leader_whose_connection_ended_is_asked_again_first_but_once(client):
    client.start("put", "k", "v")
    client.lose(client.take(), sent=True)
    again = client.take()
    assert again.server == client.leader
    client.lose(again, sent=True)
    assert client.take().server != client.leader


def test_a_leader_that_cannot_be_reached_is_left_at_once(client):
    client.start("put", "k", "v")
    client.lose(client.take(), sent=False)
    assert client.take().server != client.leader


def test_a_dead_leader_is_not_asked_again_because_the_others_have_not_noticed(search):
    search.failed(1, since=10.0, now=10.0)
    assert (search.candidate, search.resume_at) == (2, 0.0)
    search.asked()
    search.redirected(2, 1, now=10.001)
    assert search.candidate == 3
    now = 10.0
    while search.resume_at < 10.0 + STALE_S:
        now = search.resume_at
        assert search.candidate != 1
        search.asked()
        search.redirected(search.candidate, None, now)
    search.redirected(search.candidate, 1, now=10.0 + STALE_S)
    assert search.candidate == 1


def test_a_hint_to_a_server_that_was_silent_for_long_is_better_knowledge(search):
    search.failed(1, since=10.0, now=10.0 + ATTEMPTS_S[0])
    search.asked()
    search.redirected(search.candidate, 1, now=10.0 + ATTEMPTS_S[0])
    assert search.candidate == 1


def test_a_silent_server_is_passed_over_in_turn_for_as_long_as_it_cost(search):
    search.failed(1, since=10.0, now=16.0)
    now = 16.0
    while search.resume_at < 22.0:
        now = max(now, search.resume_at)
        assert search.candidate != 1, f"asked again at {now}"
        search.asked()
        search.redirected(search.candidate, None, now)
    search.redirected(3, None, now=22.0)
    assert search.candidate == 1


def test_the_only_live_server_is_asked_again_rather_than_the_dead(search):
    search.failed(1, since=10.0, now=10.0)
    search.failed(2, since=10.0, now=10.0)
    search.redirected(3, None, now=10.1)
    assert search.candidate == 3


def test_a_single_server_works_too():
    search = LeaderSearch([5], random.Random(1))
    search.redirected(5, None, now=1.0)
    search.failed(5, since=1.0, now=1.0)
    assert search.candidate == 5
    assert search.resume_at > 1.0


def test_pauses_stay_short_and_never_overflow(search):
    now, pauses = 10.0, []
    for _ in range(3000):
        search.redirected(search.candidate, None, now)
        pauses.append(search.resume_at - now)
        now = search.resume_at
    assert max(pauses) <= MAX_PAUSE_S + 1e-9
    assert min(pauses[5:]) >= MAX_PAUSE_S / 2 - 1e-9


# -- servers that were not listed ----------------------------------------------------------------------------


def test_a_refusal_that_names_the_members_leads_to_a_leader_that_was_not_listed():
    client = Client(servers=(1,))
    client.start("get", "k")
    members = {1: "a:1", 2: "b:1", 5: "c:1"}
    guide = {"id": 1, "leader": 5, "members": members, "cluster_id": 9, "proposed": False}
    client.refuse(client.take(), errors.NOT_LEADER, guide)
    send = client.take()
    assert send.server == 5
    client.lose(send, sent=False)
    assert {client.take().server} <= {1, 2}, "the others are asked, too"


def test_a_change_of_members_that_is_refused_is_not_repeated(client):
    command = client.start("member", "remove", {"id": 9})
    client.refuse(client.take(), errors.INVALID_CHANGE, {"may_pass": True})
    assert isinstance(command.error, errors.InvalidChangeError) and command.error.may_pass
    assert client.sends == []
