"""`member` and `transfer`: what the Clerk is asked, what is shown, and how each is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from raftkv.cli.call import execute
from raftkv.cli.commands import COMMANDS
from raftkv.cli.outcome import BAD_INPUT, DONE, NO, UNAVAILABLE
from raftkv.cli.words import split_line
from raftkv.errors import InvalidChangeError, OutcomeUnknown

ROWS = [
    {
        "id": 1,
        "role": "voter",
        "client_address": "a:1",
        "peer_address": "a:2",
        "http_address": "",
        "lacks": 0,
    },
    {
        "id": 4,
        "role": "learner",
        "client_address": "d:1",
        "peer_address": "d:2",
        "http_address": "",
        "lacks": 12,
    },
]
ROWS = [{**row, "alive": row["id"] == 1, "caught_up": False} for row in ROWS]


class MemberClerk:
    """Notes what it is asked, or fails with `error`."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[Any] = []
        self._error = error

    def __getattr__(self, name: str) -> Any:
        def method(*args: Any, **options: Any) -> Any:
            self.calls.append((name, *args, *options))
            if self._error is not None:
                raise self._error
            return 2 if name == "transfer" else ROWS

        return method


@pytest.mark.parametrize(
    "line, call",
    [
        ("member list", ("member_list",)),
        ("member add 4 d:1 d:2", ("member_add", 4, "d:1", "d:2")),
        ("member add 4 d:1 d:2 --learner", ("member_add", 4, "d:1", "d:2", "learner")),
        ("member remove 4", ("member_remove", 4)),
        ("member promote 4", ("member_promote", 4)),
        ("member replace 1 4 d:1 d:2", ("member_replace", 1, 4, "d:1", "d:2")),
        ("member move 1 - b:2", ("member_move", 1, "", "b:2")),
        ("transfer", ("transfer", None)),
        ("transfer 2", ("transfer", 2)),
    ],
)
def test_each_action_is_a_method_of_the_clerk(line: str, call: Any) -> None:
    clerk = MemberClerk()
    assert execute(COMMANDS, clerk, split_line(line)).status == DONE
    assert clerk.calls == [call]


def test_the_members_as_a_table_and_as_json() -> None:
    shown = execute(COMMANDS, MemberClerk(), ["member", "list"])
    assert shown.text is not None and shown.text.splitlines() == [
        "server  address  peer address  role     lacks  alive",
        "1       a:1      a:2           voter    0      yes",
        "4       d:1      d:2           learner  12     no",
    ]
    shown = execute(COMMANDS, MemberClerk(), ["member", "list", "--json"])
    assert shown.shown is not None and json.loads(shown.shown) == {"members": ROWS}


@pytest.mark.parametrize(
    "line, says",
    [
        ("member", "ACTION is missing"),
        ("member destroy 1", "there is no `member destroy`"),
        ("member ad 1 a:1 a:2", "did you mean add?"),
        ("member add 4 d:1", "usage: member add ID CLIENT_ADDRESS PEER_ADDRESS [--learner]"),
        ("member remove four", "the id of a server must be 1 or more, not 'four'"),
        ("member remove 4 --learner", "--learner is an option of `member add`"),
        ("transfer 0", "the id of a server must be 1 or more"),
    ],
)
def test_senseless_command_is_refused_before_any_server_is_asked(line: str, says: str) -> None:
    clerk = MemberClerk()
    outcome = execute(COMMANDS, clerk, split_line(line))
    assert outcome.status == BAD_INPUT and says in outcome.error and not clerk.calls


@pytest.mark.parametrize(
    "error, status", [(InvalidChangeError("no"), NO), (OutcomeUnknown("not through in time"), UNAVAILABLE)]
)
def test_a_refusal_and_a_change_that_goes_on_have_different_statuses(error: Exception, status: int) -> None:
    outcome = execute(COMMANDS, MemberClerk(error), split_line("member remove 1"))
    assert (outcome.status, outcome.error) == (status, str(error))
