"""What `status` says: a table, sentences on what is wrong, and whether there is a leader."""

from __future__ import annotations

import json

import pytest
from raftkv.cli import status as status_module
from raftkv.cli.call import execute
from raftkv.cli.commands import COMMANDS
from raftkv.cli.outcome import DONE, UNAVAILABLE
from raftkv.cli.printable import width
from raftkv.cli.status import MUCH_LAG, format_bytes, problems_of, status_outcome, status_plain, status_table

from tests.unit.test_cli_commands import FakeClerk

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
        "server  address         role      term  commit  applied  log            lag  version  alive",
        "1       127.0.0.1:7001  leader    3     120     120      2.0 KiB (101)  0    0.1.0    yes",
        "2       127.0.0.1:7002  follower  3     120     113      2.0 KiB (101)  7    0.1.0    yes",
        "3       127.0.0.1:7003  -         -     -       -        -              -    -        no: connection refused",
    ]


def test_wide_and_unseen_characters_keep_the_table_aligned():
    table = status_table([{**LEADER, "version": "日本\u200b"}, FOLLOWER]).splitlines()
    assert "日本\\u200b" in table[1]
    assert len({width(line.rpartition(" ")[0]) for line in table}) == 1


def test_lag_is_measured_from_the_leader_of_the_highest_term():
    deposed = {**LEADER, "id": 3, "term": 2, "commit_index": 500}
    ahead = {**FOLLOWER, "applied_index": 121}
    lags = [line.split()[-3] for line in status_table([LEADER, ahead, deposed]).splitlines()]
    assert lags == ["lag", "0", "0", "0"]
    lags = [line.split()[-3] for line in status_table([FOLLOWER, {**FOLLOWER, "id": 3}]).splitlines()]
    assert lags == ["lag", "-", "-"], "without a leader no lag is known"


@pytest.mark.parametrize(
    "servers, problems",
    [
        ([LEADER, FOLLOWER], []),
        ([LEADER, DEAD], []),  # the table says why
        ([LEADER, {**FOLLOWER, "leader": None}], ["server 2: it knows no leader: it hears from none"]),
        (
            [LEADER, {**FOLLOWER, "role": "joining", "term": 0, "leader": None}],
            ["server 2: it takes no part yet: its disk is empty, and it waits to be a member"],
        ),
        (
            [LEADER, {**FOLLOWER, "term": 2, "leader": 3}],
            ["server 2: it follows server 3 in term 2, while server 1 leads in term 3"],
        ),
        (
            [{**LEADER, "commit_index": MUCH_LAG + 113}, FOLLOWER],
            [f"server 2: it lags: {MUCH_LAG} entries behind the leader"],
        ),
        (
            [{**LEADER, "problems": ["its disk is full\x1b[2J"]}, FOLLOWER],
            ["server 1: its disk is full\\e[2J"],
        ),
    ],
)
def test_status_says_why_a_server_takes_no_part(servers, problems):
    assert problems_of(servers) == problems
    assert status_outcome(servers).text.splitlines()[1 + len(servers) :] == problems


@pytest.mark.parametrize(
    "servers, status",
    [
        ([LEADER, FOLLOWER, DEAD], DONE),
        ([FOLLOWER, DEAD], UNAVAILABLE),
        ([DEAD, DEAD], UNAVAILABLE),
        ([LEADER, {**FOLLOWER, "term": 4}, {**FOLLOWER, "term": 4}], UNAVAILABLE),  # a deposed one
    ],
)
def test_without_a_leader_status_is_an_error(servers, status):
    for line in (["status"], ["status", "--json"]):
        outcome = execute(COMMANDS, FakeClerk(servers=servers), line)
        assert outcome.status == status
        assert outcome.shown
        assert ("there is no leader" in outcome.error) == (status != DONE)


@pytest.mark.parametrize(
    "silent_ms, error",
    [
        ([110, 210, 310], "there is no leader that a majority hears (server 1: for 310 ms): "),
        ([10, 110, None], "there is no leader: "),  # it has noticed
        ([40] * 15, ""),  # the others hear it, though not us
        ([None], "there is no leader: "),
    ],
)
def test_a_leader_whose_followers_died_is_asked_again(silent_ms, error, monkeypatch):
    """The clock moves by 100 ms each time that the servers are asked."""
    asked = []

    class Clerk:
        def status(self):
            silent = silent_ms[len(asked)]
            asked.append(silent)
            first = {**FOLLOWER, "id": 1} if silent is None else {**LEADER, "quorum_silent_ms": silent}
            return [first, {**DEAD, "id": 2}, DEAD]

    monkeypatch.setattr(status_module, "ASK_AGAIN_S", 0.0)
    outcome = status_module.run_status(Clerk(), lambda: len(asked) * 0.1)
    assert outcome.status == (UNAVAILABLE if error else DONE)
    assert outcome.error.startswith(error) and len(asked) == len(silent_ms)


def test_status_json_has_all_fields_of_all_servers_even_dead_ones():
    servers = json.loads(
        execute(COMMANDS, FakeClerk(servers=[LEADER, FOLLOWER, DEAD]), ["status", "--json"]).shown
    )["servers"]
    unknown = {
        "error": None,
        "problems": [],
        "alarms": [],
        "data_bytes": None,
        "quorum_silent_ms": None,
        "members": None,
        "recovered": None,
    }
    assert servers[0] == {**LEADER, **unknown}
    assert set(servers[2]) == set(servers[0])
    known = {field for field, value in servers[2].items() if value not in (None, [])}
    assert known == {"id", "address", "alive", "error"}
    assert status_plain([{**LEADER, "new": 1}])["servers"][0]["new"] == 1, "what a newer server says is kept"


def test_sizes():
    sizes = (0, 1023, 1024, 33554432, 5 << 40)
    assert [format_bytes(size) for size in sizes] == ["0 B", "1023 B", "1.0 KiB", "32.0 MiB", "5120.0 GiB"]


@pytest.mark.parametrize(
    "row, says",
    [
        ({"lacks": 42, "caught_up": False}, "it is catching up, and lacks 42 entries"),
        ({"lacks": 0, "caught_up": True}, "it has caught up; `member promote 4` lets it vote"),
    ],
)
def test_a_learner_is_said_to_be_one_with_how_far_it_is_by_the_leaders_count(row, says):
    leader = {**LEADER, "members": [{"id": 4, "role": "learner", **row}]}
    learner = {**FOLLOWER, "id": 4, "role": "learner"}
    assert problems_of([leader, learner]) == [f"server 4: it does not vote yet: {says}"]


def test_learners_count_for_no_majority():
    candidate = {**LEADER, "role": "candidate", "leader": None}
    servers = [
        candidate,
        DEAD,
        {**DEAD, "id": 2},
        *({**FOLLOWER, "id": id, "role": "learner"} for id in (4, 5)),
    ]
    assert "wait until 2 of the 3 servers" in status_outcome(servers).error
