"""MemberCommands: a change is seen through to its end, whatever becomes of the answers on the way."""

from __future__ import annotations

import time
from typing import Any, Callable

import pytest
from raftkv.client import members as members_module
from raftkv.client.members import MemberCommands
from raftkv.errors import InvalidChangeError, OutcomeUnknown


class Leader(MemberCommands):
    """Answers for the cluster: `on_change(action, state)` is what a request does to the state, or raises; `later(state)`
    happens before each list but the first."""

    def __init__(
        self, on_change: Callable[..., None], later: Callable[[Any], None] = lambda state: None
    ) -> None:
        self.state: dict[str, Any] = {
            "leader": 1,
            "is_changing": False,
            "is_handing_over": False,
            "members": [],
        }
        self.asked: list[str] = []
        self._on_change, self._later = on_change, later
        for id in (1, 2):
            self.join(id, "voter")

    def join(self, id: int, role: str, **fields: Any) -> None:
        row = {"id": id, "role": role, "client_address": f"a:{id}", "peer_address": f"b:{id}", "lacks": 7}
        self.state["members"].append({**row, "caught_up": False, **fields})

    def _ask(self, operation: Any, deadline: float) -> Any:
        if operation.action != "list":
            self._on_change(operation.action, self)
        elif self.asked:
            self._later(self)
        self.asked.append(operation.action)
        return self.state

    def _until(self, timeout: float | None) -> float:
        return time.monotonic() + (timeout or 5.0)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members_module, "POLL_S", 0.001)


def leave(leader: Leader, id: int) -> None:
    leader.state["members"] = [row for row in leader.state["members"] if row["id"] != id]


def test_a_change_is_done_when_it_is_seen_and_nothing_is_under_way() -> None:
    def begin(action: str, leader: Leader) -> None:
        leader.state["is_changing"] = True
        leave(leader, 2)

    def end(leader: Leader) -> None:
        leader.state["is_changing"] = len(leader.asked) < 4

    leader = Leader(begin, end)
    assert [row["id"] for row in leader.member_remove(2)] == [1]
    assert leader.asked == ["list", "remove", "list", "list", "list"]


def test_a_refusal_of_what_an_attempt_did_whose_answer_was_lost_is_none() -> None:
    def refuse(action: str, leader: Leader) -> None:
        leave(leader, 2)
        raise InvalidChangeError("there is no member 2")

    assert [row["id"] for row in Leader(refuse).member_remove(2)] == [1]


def test_a_refusal_is_one_if_all_was_so_before() -> None:
    def refuse(action: str, leader: Leader) -> None:
        raise InvalidChangeError("there is no member 9")

    with pytest.raises(InvalidChangeError, match="no member 9"):
        Leader(refuse).member_remove(9)


def test_a_server_that_has_not_come_yet_is_waited_for() -> None:
    attempts = []

    def add(action: str, leader: Leader) -> None:
        attempts.append(action)
        if len(attempts) < 3:
            raise InvalidChangeError("it has not come", may_pass=True)
        leader.join(3, "voter")

    assert [row["id"] for row in Leader(add).member_add(3, "a:3", "b:3")] == [1, 2, 3]
    assert attempts == ["add"] * 3


def test_a_change_that_is_not_through_in_time_is_said_to_go_on_and_what_it_waits_for() -> None:
    leader = Leader(lambda action, leader: leader.join(3, "learner"))
    with pytest.raises(OutcomeUnknown, match=r"has begun.*goes on by itself \(member 3 lacks 7 entries\)"):
        leader.member_add(3, "a:3", "b:3", timeout=0.05)


def test_replacing_is_to_add_a_learner_to_wait_for_it_and_to_swap() -> None:
    def begin(action: str, leader: Leader) -> None:
        if action == "add":
            leader.join(3, "learner")
        else:
            assert leader.state["members"][-1]["caught_up"], (
                "a learner that lacks entries does not replace anybody"
            )
            leave(leader, 2)
            leader.state["members"][-1]["role"] = "voter"

    def catch_up(leader: Leader) -> None:
        leader.state["members"][-1]["caught_up"] = len(leader.asked) > 5

    leader = Leader(begin, catch_up)
    assert [row["id"] for row in leader.member_replace(2, 3, "a:3", "b:3")] == [1, 3]
    assert [action for action in leader.asked if action != "list"] == ["add", "swap"]


def test_a_replacement_whose_learner_is_slow_says_that_it_may_be_repeated() -> None:
    leader = Leader(lambda action, leader: leader.join(3, "learner"))
    with pytest.raises(OutcomeUnknown, match=r"member 3 is a learner now .*: repeat the command"):
        leader.member_replace(2, 3, "a:3", "b:3", timeout=0.05)
    assert "swap" not in leader.asked


@pytest.mark.parametrize(
    "old, new, says", [(2, 2, "cannot replace itself"), (9, 3, "there is no member 9: the members are 1, 2")]
)
def test_a_replacement_that_makes_no_sense_adds_nobody(old: int, new: int, says: str) -> None:
    leader = Leader(lambda action, leader: pytest.fail("something was changed"))
    with pytest.raises(InvalidChangeError, match=says):
        leader.member_replace(old, new, "a:3", "b:3")


def test_a_transfer_is_done_when_the_other_one_leads_and_failed_when_it_did_not_take_over() -> None:
    def begin(action: str, leader: Leader) -> None:
        leader.state["is_handing_over"] = True

    def take_over(leader: Leader) -> None:
        leader.state.update(leader=2, is_handing_over=False)

    assert Leader(begin, take_over).transfer(2) == 2
    with pytest.raises(InvalidChangeError, match="server 1 leads on"):
        Leader(begin, lambda leader: leader.state.update(is_handing_over=False)).transfer(2)
