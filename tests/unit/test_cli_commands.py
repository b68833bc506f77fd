"""The client's commands: words to outcomes, texts, JSON and exit statuses. Clerk is a dict here."""

from __future__ import annotations

import json
import random
import shlex

import pytest
from raftkv import errors
from raftkv.cli.commands import (
    BAD_INPUT,
    COMMANDS,
    DONE,
    NO,
    NOT_AUTHORISED,
    UNAVAILABLE,
    Outcome,
    UsageError,
    execute,
    help_text,
    split_line,
)
from raftkv.cli.status import format_bytes, status_plain, status_table


class FakeClerk:
    """Clerk's methods on a dict. `failure`: an exception that every method raises instead."""

    def __init__(self, data=None, failure=None, servers=()):
        self.data = {key: (value, 1) for key, value in (data or {}).items()}
        self.failure = failure
        self.servers = list(servers)
        self.revision = 1

    def _write(self, key, value):
        if self.failure:
            raise self.failure
        self.revision += 1
        self.data[key] = (value, self.revision)
        return self.revision

    def get_with_revision(self, key):
        if self.failure:
            raise self.failure
        return self.data.get(key)

    def put(self, key, value):
        return self._write(key, value)

    def append(self, key, value):
        return self._write(key, self.data.get(key, ("", 0))[0] + value)

    def delete(self, key):
        return self.data.pop(key, None) is not None

    def cas(self, key, expected, value):
        if self.data.get(key, (None, 0))[0] != expected:
            return False
        self._write(key, value)
        return True

    def scan(self, prefix="", start="", limit=None):
        found = sorted(key for key in self.data if key.startswith(prefix) and key >= start)
        return [(key, *self.data[key]) for key in found[:limit]]

    def status(self):
        return self.servers


def run(clerk, line, as_json=False):
    return execute(COMMANDS, clerk, split_line(line), as_json)


@pytest.mark.parametrize(
    "line, status, text",
    [
        ("get a", DONE, "one"),
        ("get none", NO, "(nil)"),
        ("put b 'two words'", DONE, "OK"),
        ("append a +", DONE, "OK"),
        ("delete a", DONE, "OK"),
        ("delete none", NO, "(nil)"),
        ("cas a one two", DONE, "OK"),
        ("cas a other two", NO, "(the key does not hold that value)"),
        ("cas --absent b x", DONE, "OK"),
        ("cas --absent a x", NO, "(the key exists)"),
        ("scan", DONE, "a one\n'a key' ''"),
        ("scan 'a '", DONE, "'a key' ''"),
        ("scan --start 'a ' a", DONE, "'a key' ''"),
        ("scan --limit 1", DONE, "a one"),
        ("scan x", DONE, "(empty)"),
    ],
)
def test_outcomes(line, status, text):
    assert run(FakeClerk({"a": "one", "a key": ""}), line)[:2] == (status, text)


@pytest.mark.parametrize(
    "line, effect",
    [
        ("put k 'hello, world'", "hello, world"),
        ('put k "it\'s"', "it's"),
        ("put k ''", ""),
        ("put k -x", "-x"),
        ("put k --json", "--json"),
        ("put k --json --json", "--json"),
        ("append k --help", "old--help"),
        ("cas k old --json", "--json"),
        ("cas k old new --json", "new"),
        ("put k a\\ b", "a b"),
    ],
)
def test_a_value_may_be_any_word(line, effect):
    clerk = FakeClerk({"k": "old"})
    assert run(clerk, line).status == DONE
    assert clerk.data["k"][0] == effect


@pytest.mark.parametrize(
    "line, status, plain",
    [
        ("get a", DONE, {"key": "a", "value": "one", "revision": 1}),
        ("get none", NO, {"key": "none", "value": None, "revision": None}),
        ("put a x", DONE, {"key": "a", "revision": 2}),
        ("append a x", DONE, {"key": "a", "revision": 2}),
        ("delete a", DONE, {"key": "a", "deleted": True}),
        ("delete none", NO, {"key": "none", "deleted": False}),
        ("cas a one two", DONE, {"key": "a", "swapped": True}),
        ("cas a no two", NO, {"key": "a", "swapped": False}),
        ("scan", DONE, {"items": [{"key": "a", "value": "one", "revision": 1}]}),
        ("scan none", DONE, {"items": []}),
    ],
)
def test_json(line, status, plain):
    for outcome in (
        run(FakeClerk({"a": "one"}), line, as_json=True),
        run(FakeClerk({"a": "one"}), line + " --json"),
    ):
        assert outcome.status == status
        assert "\n" not in outcome.text
        assert json.loads(outcome.text) == plain


@pytest.mark.parametrize(
    "line, message",
    [
        ("got a", "unknown command 'got'; `help` lists the commands"),
        ("get", "usage: get KEY"),
        ("get a b", "usage: get KEY"),
        ("put a", "usage: put KEY VALUE"),
        ("append a b c", "usage: append KEY VALUE"),
        ("cas a b", "usage: cas KEY EXPECTED NEW | --absent KEY NEW"),
        ("status now", "usage: status"),
        ("scan a b", "unrecognized arguments: b; usage: scan [PREFIX] [--start KEY] [--limit N]"),
        ("scan --limit x", "argument --limit: invalid int value: 'x'; usage: scan"),
        ("scan --limit 0", "--limit must be 1 or more, not 0"),
        ("scan --what", "unrecognized arguments: --what; usage: scan"),
    ],
)
def test_bad_usage(line, message):
    outcome = run(FakeClerk({"a": "one"}), line)
    assert (outcome.status, outcome.text) == (BAD_INPUT, "")
    assert outcome.error.startswith(message)


@pytest.mark.parametrize(
    "failure, status",
    [
        (errors.NotApplied("no leader"), UNAVAILABLE),
        (errors.OutcomeUnknown("no answer"), UNAVAILABLE),
        (errors.SessionExpiredError("too long"), UNAVAILABLE),
        (errors.UnavailableError("no leader"), UNAVAILABLE),
        (errors.ClosedError("closed"), UNAVAILABLE),
        (errors.ConnectionLostError("gone"), UNAVAILABLE),
        (errors.RemoteError(errors.OVERLOADED, "too much"), UNAVAILABLE),
        (errors.RemoteError(errors.BAD_REQUEST, "too large"), BAD_INPUT),
        (errors.InvalidRequestError("too large"), BAD_INPUT),
        (errors.ConfigError("bad file"), BAD_INPUT),
        (errors.AuthenticationError("wrong key"), NOT_AUTHORISED),
    ],
)
def test_a_failure_has_its_status_and_its_sentence(failure, status):
    for as_json in (False, True):
        assert run(FakeClerk(failure=failure), "put a b", as_json) == Outcome(status, error=str(failure))


@pytest.mark.parametrize(
    "line, what",
    [
        ("put a 'b", "closing quotation"),
        ('"', "closing quotation"),
        ('a "b\\"', "closing quotation"),
        ("a\\", "escaped character"),
    ],
)
def test_an_unfinished_line_is_bad_usage(line, what):
    with pytest.raises(UsageError, match=f"no {what}: quote a value by shell rules"):
        split_line(line)


def test_words_are_those_of_shlex():
    chance = random.Random(1)
    unfinished = 0
    for _ in range(20_000):
        line = "".join(chance.choices("ab'\"\\ \t\n\u00a0\u00e9", k=chance.randrange(12)))
        try:
            expected = shlex.split(line)
        except ValueError:
            unfinished += 1
            with pytest.raises(UsageError):
                split_line(line)
        else:
            assert split_line(line) == expected, f"of {line!r}"
    assert 1000 < unfinished < 19_000


@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_a_long_value_is_no_problem(quote):
    value = "x" * 5_000_000
    assert split_line(f"put k {quote}{value}{quote}") == ["put", "k", value]


def test_help():
    text = help_text(COMMANDS)
    assert all(f"{name} {command.usage}".rstrip() in text for name, command in COMMANDS.items())
    assert help_text(COMMANDS, "put") == "put KEY VALUE\n    set the key's value"
    with pytest.raises(UsageError, match="no command 'x'"):
        help_text(COMMANDS, "x")


# -- status --------------------------------------------------------------------------------------------------

LEADER = {
    "id": 1,
    "address": "127.0.0.1:7001",
    "alive": True,
    "role": "leader",
    "term": 3,
    "leader": 1,
    "commit_index": 120,
    "applied_index": 120,
    "log_first_index": 21,
    "log_last_index": 121,
    "log_bytes": 2048,
    "snapshot_index": 20,
    "pid": 77,
    "version": "0.1.0",
}
FOLLOWER = {
    **LEADER,
    "id": 2,
    "address": "127.0.0.1:7002",
    "role": "follower",
    "applied_index": 113,
    "pid": 78,
}
DEAD = {"id": 3, "address": "127.0.0.1:7003", "alive": False, "error": "connection refused"}


def test_the_table_of_servers():
    assert status_table([LEADER, FOLLOWER, DEAD]).splitlines() == [
        "server  address         role      term  commit  applied  log            lag  alive",
        "1       127.0.0.1:7001  leader    3     120     120      2.0 KiB (101)  0    yes",
        "2       127.0.0.1:7002  follower  3     120     113      2.0 KiB (101)  7    yes",
        "3       127.0.0.1:7003  -         -     -       -        -              -    no: connection refused",
    ]


def test_lag_is_measured_from_the_leader_of_the_highest_term():
    deposed = {**LEADER, "id": 3, "term": 2, "commit_index": 500}
    ahead = {**FOLLOWER, "applied_index": 121}
    lags = [line.split()[-2] for line in status_table([LEADER, ahead, deposed]).splitlines()]
    assert lags == ["lag", "0", "0", "0"]
    lags = [line.split()[-2] for line in status_table([FOLLOWER, {**FOLLOWER, "id": 3}]).splitlines()]
    assert lags == ["lag", "-", "-"], "without a leader no lag is known"


def test_status_json_has_all_fields_of_all_servers_even_dead_ones():
    servers = status_plain([LEADER, DEAD])["servers"]
    assert servers[0] == LEADER
    assert list(servers[1]) == list(LEADER)
    assert {field for field, value in servers[1].items() if value is not None} == {"id", "address", "alive"}


def test_status_is_an_answer_as_long_as_one_server_is_alive():
    assert run(FakeClerk(servers=[LEADER, DEAD]), "status").status == DONE
    outcome = run(FakeClerk(servers=[{**DEAD, "id": 1}, DEAD]), "status --json")
    assert outcome.status == UNAVAILABLE
    assert [server["alive"] for server in json.loads(outcome.text)["servers"]] == [False, False]


def test_sizes():
    sizes = (0, 1023, 1024, 33554432, 5 << 40)
    assert [format_bytes(size) for size in sizes] == ["0 B", "1023 B", "1.0 KiB", "32.0 MiB", "5120.0 GiB"]
