"""Linearizable reads without a log entry: ReadIndex (thesis 6.4; design, trap 4)."""

from __future__ import annotations

import pytest
from raftkv.errors import NotLeaderError
from raftkv.raft.messages import AppendAccepted, AppendEntries, Heartbeat, HeartbeatReply, StaleTerm

from tests.raft.harness import (
    HEARTBEAT_S,
    TIMEOUT_S,
    Driven,
    make_leader,
    make_steady_leader,
    of,
)


def answer(driven: Driven, peer: int, round: int) -> list:
    return driven.step(HeartbeatReply(peer, driven.raft.id, driven.raft.term, round))


def rounds(messages: list) -> set:
    return {message.round for message in of(Heartbeat, messages)}


def test_a_read_is_answered_after_a_majority_confirmed_the_leader() -> None:
    driven = make_steady_leader(terms=[1], voters=range(1, 6))
    assert rounds(driven.read("r")) == {1}, "at once, not with the next periodic heartbeat"
    answer(driven, 2, 1)
    assert driven.reads == []
    answer(driven, 3, 1)
    assert driven.reads == [("r", 2)]


def test_one_follower_answering_twice_is_no_majority() -> None:
    driven = make_steady_leader(voters=range(1, 6))
    driven.read("r")
    answer(driven, 2, 1)
    answer(driven, 2, 1)
    answer(driven, 9, 1)
    driven.step(AppendAccepted(3, 1, 1, 1))  # no answer to a round
    assert driven.reads == []


def test_the_index_is_the_commit_index_when_the_round_began() -> None:
    driven = make_steady_leader()
    driven.propose("x")
    driven.read("r")
    driven.accept(2)
    answer(driven, 2, 1)
    assert driven.reads == [("r", 1)], "the write was not committed when the read came"
    driven.read("s")
    answer(driven, 2, 2)
    assert driven.reads[-1] == ("s", 2)


def test_an_answer_to_an_earlier_round_does_not_confirm_a_read() -> None:
    """It left its follower before the read came: that follower may have elected another leader since."""
    driven = make_steady_leader()
    driven.wait(HEARTBEAT_S)
    driven.read("r")
    answer(driven, 2, 0)
    answer(driven, 3, 0)
    assert driven.reads == []


def test_reads_that_come_during_a_round_share_the_next_one() -> None:
    driven = make_steady_leader()
    driven.read("a")
    assert driven.read("b") == [] and driven.read("c") == []
    assert rounds(answer(driven, 2, 1)) == {2}
    assert driven.reads == [("a", 1)]
    answer(driven, 3, 1)
    assert driven.reads == [("a", 1)], "a late answer to the first round"
    answer(driven, 3, 2)
    assert driven.reads == [("a", 1), ("b", 1), ("c", 1)]


def test_a_lost_round_is_made_up_for_by_the_periodic_heartbeat() -> None:
    driven = make_steady_leader()
    driven.read("r")
    assert rounds(driven.wait(HEARTBEAT_S)) == {1}


def asked(messages: list) -> list:
    return [message.to for message in of(Heartbeat, messages)]


def test_a_round_is_asked_of_those_whose_answers_made_up_the_last_one() -> None:
    driven = make_steady_leader(voters=range(1, 6))
    assert asked(driven.read("a")) == [2, 3, 4, 5], "who is quick is not known yet"
    answer(driven, 5, 1)
    answer(driven, 3, 1)
    answer(driven, 2, 1)  # too late
    assert asked(driven.read("b")) == [3, 5]
    driven.wait(HEARTBEAT_S)
    answer(driven, 2, 2)
    answer(driven, 4, 2)
    assert [context for context, _ in driven.reads] == ["a", "b"], "all were asked"
    assert asked(driven.read("c")) == [2, 4]


def test_with_each_periodic_heartbeat_all_get_a_chance_to_be_asked_again() -> None:
    driven = make_steady_leader()
    driven.read("a")
    answer(driven, 2, 1)
    assert asked(driven.read("b")) == [2]
    answer(driven, 2, 2)
    driven.wait(HEARTBEAT_S)
    assert asked(driven.read("c")) == [2, 3]
    answer(driven, 3, 3)
    assert asked(driven.read("d")) == [3]


def test_all_are_asked_when_a_round_is_not_answered_from_one_tick_to_the_next() -> None:
    driven = make_steady_leader()
    driven.read("a")
    answer(driven, 2, 1)
    driven.wait(HEARTBEAT_S)  # now the periodic heartbeat is far
    driven.read("b")
    answer(driven, 2, 2)
    assert asked(driven.read("c")) == [2]
    assert asked(driven.wait(HEARTBEAT_S / 5)) == [], "it may have left just before the tick"
    assert asked(driven.wait(HEARTBEAT_S / 5)) == [2, 3]
    assert asked(driven.wait(HEARTBEAT_S / 5)) == [], "once; then the periodic heartbeat asks again"
    assert asked(driven.wait(HEARTBEAT_S / 5)) == []
    answer(driven, 3, 3)
    assert [context for context, _ in driven.reads] == ["a", "b", "c"]
    assert asked(driven.read("d")) == [3], "not of the silent one any more"
    answer(driven, 3, 4)
    assert asked(driven.wait(HEARTBEAT_S / 5)) == [], "nothing is under way"
    assert asked(driven.wait(HEARTBEAT_S / 5)) == []


def test_reads_without_end_keep_no_heartbeat_from_those_who_are_not_asked() -> None:
    driven = make_steady_leader()
    driven.read(0)
    answer(driven, 2, 1)
    heard = []
    for round in range(2, 22):
        messages = driven.wait(HEARTBEAT_S / 5) + driven.read(round)
        heard.append(3 in asked(messages))
        answer(driven, 2, round)
    intervals = "".join("H" if here else "." for here in heard).split("H")
    assert max(map(len, intervals)) <= 4, f"a gap of more than an interval: {heard}"
    assert len(intervals) <= 6, f"more often than that: {heard}"


@pytest.mark.parametrize("voters", (2, 3, 4, 5, 7))
def test_a_round_is_asked_of_enough(voters: int) -> None:
    driven = make_steady_leader(voters=range(1, voters + 1))
    for round in range(1, 4):
        for peer in asked(driven.read(round)):
            answer(driven, peer, round)
        assert len(driven.reads) == round
    assert len(asked(driven.read("last"))) == voters // 2


def test_all_are_asked_when_the_connection_from_one_of_the_asked_is_lost() -> None:
    driven = make_steady_leader()
    driven.read("a")
    answer(driven, 2, 1)
    driven.read("b")
    assert asked(driven.lose(3)) == [], "nobody waits for that one"
    assert asked(driven.lose(2)) == [2, 3]
    answer(driven, 2, 2)
    assert asked(driven.lose(2)) == [], "nobody waits at all"
    assert asked(driven.read("c")) == [2, 3]


def test_no_read_before_the_no_op_of_the_own_term_is_committed() -> None:
    """6.4, step 1: until then a new leader does not know which entries are committed."""
    driven = make_leader(terms=[1, 1])
    driven.read("r")
    answer(driven, 2, 0)
    answer(driven, 3, 0)
    assert driven.reads == []
    assert rounds(driven.accept(2)) == {1}, "now that the no-op is committed the round begins"
    answer(driven, 2, 1)
    assert driven.reads == [("r", 3)]


def test_a_deposed_leader_answers_nothing() -> None:
    driven = make_steady_leader()
    driven.read("waiting")
    driven.read("next")
    driven.step(StaleTerm(3, 1, 2))
    driven.step(HeartbeatReply(2, 1, 1, 1), HeartbeatReply(2, 1, 2, 1), HeartbeatReply(3, 1, 2, 1))
    assert driven.reads == [] and sorted(driven.lost_reads) == ["next", "waiting"]
    with pytest.raises(NotLeaderError):
        driven.raft.read_index("late")


def test_a_leader_cut_off_answers_nothing_and_gives_up() -> None:
    driven = make_steady_leader()
    driven.read("r")
    driven.wait(TIMEOUT_S * 0.9)
    assert driven.reads == [] and driven.lost_reads == []
    driven.wait(TIMEOUT_S * 0.2)
    assert driven.reads == [] and driven.lost_reads == ["r"]


def test_a_round_of_an_earlier_leadership_confirms_nothing() -> None:
    """The same node leads again: answers to its former self, and their numbers, mean nothing."""
    driven = make_steady_leader()
    driven.read("old")
    driven.step(StaleTerm(3, 1, 2))
    driven.become_leader()
    driven.accept(2)
    driven.read("new")
    driven.step(HeartbeatReply(2, 1, 1, 9), HeartbeatReply(3, 1, 1, 9))
    assert driven.reads == []
    answer(driven, 2, 1)
    assert driven.reads == [("new", 2)] and driven.lost_reads == ["old"]


def test_reads_confirmed_but_not_taken_are_lost_with_the_leadership() -> None:
    raft = make_steady_leader().raft
    raft.read_index("r")
    raft.step(HeartbeatReply(2, 1, 1, 1))
    raft.step(StaleTerm(3, 1, 2))
    ready = raft.ready()
    assert (ready.reads, ready.lost_reads) == ([], ["r"])


def test_a_cluster_of_one_confirms_itself() -> None:
    driven = make_steady_leader(voters=[1])
    assert driven.read("a") == []
    driven.read("b")
    assert driven.reads == [("a", 1), ("b", 1)]


def test_a_read_writes_no_entry() -> None:
    driven = make_steady_leader()
    sent = driven.read("r") + answer(driven, 2, 1)
    assert not of(AppendEntries, sent) and driven.raft.log.last_index == 1
