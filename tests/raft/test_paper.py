"""The paper's rules, section by section, on the core. The list follows etcd's raft_paper_test.go.

What goes beyond the paper's own pages (the thesis, our Progress, snapshots) is in the other files here.
"""

from __future__ import annotations

import pytest
from raftkv.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Heartbeat,
    RequestPreVote,
    RequestVote,
    StaleTerm,
    VoteReply,
)
from raftkv.raft.types import Role

from tests.raft.harness import (
    HEARTBEAT_S,
    TIMEOUT_S,
    Driven,
    append,
    make,
    make_follower,
    make_leader,
    make_steady_leader,
    of,
    only,
    sync,
    terms_of,
)

STEP_S = TIMEOUT_S / 50


def seconds_until_campaign(driven: Driven) -> float:
    """How long it takes until this node, hearing nothing, begins (another) pre-vote."""
    waited = 0.0
    while waited < 10 * TIMEOUT_S:
        waited += STEP_S
        if of(RequestPreVote, driven.wait(STEP_S)):
            return waited
    raise AssertionError(f"no election within {waited} s")


# -- 5.1: terms ------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.PRE_CANDIDATE, Role.CANDIDATE, Role.LEADER])
def test_a_message_of_a_later_term_makes_a_follower_of_that_term(role: Role) -> None:
    """5.1: "If a candidate or leader discovers that its term is out of date, it immediately reverts"."""
    driven = make(terms=[1])
    if role is Role.PRE_CANDIDATE:
        driven.time_out()
    elif role is Role.CANDIDATE:
        driven.become_candidate()
    elif role is Role.LEADER:
        driven.become_leader()
    assert driven.raft.role is role
    driven.step(append(driven.raft, (1, 1), term=7))
    assert (driven.raft.term, driven.raft.role, driven.raft.leader) == (7, Role.FOLLOWER, 2)
    assert driven.raft.hard_state.vote is None


def test_a_request_of_an_earlier_term_is_refused_and_changes_nothing() -> None:
    """5.1: "If a server receives a request with a stale term number, it rejects the request"."""
    driven = make_follower(terms=[1, 2, 3])
    reply = only(driven.step(append(driven.raft, (1, 1), [2, 2], term=2, sender=3)))
    assert reply == StaleTerm(1, 3, 3)
    assert terms_of(driven.raft) == [1, 2, 3] and driven.raft.leader == 2
    reply = only(driven.step(RequestVote(3, 1, 2, 99, 2)))
    assert reply == VoteReply(1, 3, 3, False)
    assert driven.raft.vote is None


# -- 5.2: leader election --------------------------------------------------------------------------


def test_servers_start_as_followers() -> None:
    assert make(terms=[1, 2], term=5, vote=1).raft.role is Role.FOLLOWER


def test_a_leader_sends_heartbeats_to_all_and_they_carry_no_entries() -> None:
    """5.2: "Leaders send periodic heartbeats (…) to all followers in order to maintain their authority"."""
    driven = make_steady_leader(terms=[1])
    sent = driven.wait(HEARTBEAT_S)
    assert sent == [Heartbeat(1, 2, 2, 2, 0, 2), Heartbeat(1, 3, 2, 2, 0, 2)]
    assert driven.wait(HEARTBEAT_S / 2) == []
    assert len(driven.wait(HEARTBEAT_S)) == 2


def test_a_follower_that_hears_nothing_starts_an_election() -> None:
    """5.2: it increments its term, votes for itself, asks all others (after the pre-vote of thesis 9.6)."""
    driven = make_follower(terms=[1])
    assert not driven.wait(TIMEOUT_S * 0.99) and driven.raft.role is Role.FOLLOWER
    assert of(RequestPreVote, driven.wait(TIMEOUT_S * 1.01))
    driven = make_follower(terms=[1])
    requests = driven.become_candidate()
    assert requests == [RequestVote(1, 2, 2, 1, 1), RequestVote(1, 3, 2, 1, 1)]
    assert driven.raft.hard_state == (2, 1)


def test_a_candidate_that_neither_wins_nor_loses_starts_a_new_election() -> None:
    """5.2: "each candidate will time out and start a new election by incrementing its term"."""
    driven = make(terms=[1])
    driven.become_candidate()
    assert driven.raft.term == 2
    requests = driven.become_candidate()
    assert driven.raft.hard_state == (3, 1)
    assert [request.term for request in of(RequestVote, requests)] == [3, 3]


@pytest.mark.parametrize(
    "voters, votes, role",
    [
        (1, {}, Role.LEADER),
        (3, {2: True, 3: True}, Role.LEADER),
        (3, {2: True}, Role.LEADER),
        (5, {2: True, 3: True, 4: True, 5: True}, Role.LEADER),
        (5, {2: True, 3: True}, Role.LEADER),
        (3, {2: False, 3: False}, Role.FOLLOWER),
        (5, {2: False, 3: False, 4: False, 5: False}, Role.FOLLOWER),
        (5, {2: True, 3: False, 4: False, 5: False}, Role.FOLLOWER),
        (3, {}, Role.CANDIDATE),
        (3, {2: False}, Role.CANDIDATE),
        (5, {2: True}, Role.CANDIDATE),
        (5, {2: False, 3: False}, Role.CANDIDATE),
        (5, {}, Role.CANDIDATE),
        (4, {2: True}, Role.CANDIDATE),
        (4, {2: False, 3: False}, Role.FOLLOWER),
        (3, {9: True}, Role.CANDIDATE),  # no voter
    ],
)
def test_an_election_is_won_lost_or_open(voters: int, votes: dict, role: Role) -> None:
    """5.2: "A candidate wins an election if it receives votes from a majority of the servers"."""
    driven = make(voters=range(1, voters + 1))
    driven.become_candidate()
    for voter, granted in votes.items():
        driven.step(VoteReply(voter, 1, 1, granted))
    assert driven.raft.role is role
    assert driven.raft.term == 1


@pytest.mark.parametrize(
    "vote, candidate, granted",
    [
        (None, 2, True),
        (None, 3, True),
        (2, 2, True),
        (3, 3, True),
        (2, 3, False),
        (3, 2, False),
        (1, 2, False),
    ],
)
def test_one_vote_a_term_first_come_first_served(vote: int, candidate: int, granted: bool) -> None:
    """5.2: "Each server will vote for at most one candidate in a given term"."""
    driven = make(term=4, vote=vote)
    assert driven.step(RequestVote(candidate, 1, 4, 0, 0)) == [VoteReply(1, candidate, 4, granted)]
    assert driven.raft.hard_state.vote == (candidate if granted else vote)


@pytest.mark.parametrize("term", [1, 2, 9])
def test_a_candidate_that_hears_a_leader_of_its_term_or_a_later_one_falls_back(term: int) -> None:
    """5.2: "If the leader's term is at least as large (…) the candidate recognizes the leader"."""
    driven = make()
    driven.become_candidate()
    driven.step(AppendEntries(3, 1, term, 0, 0, (), 0))
    assert (driven.raft.role, driven.raft.term, driven.raft.leader) == (Role.FOLLOWER, term, 3)


def test_a_candidate_does_not_fall_back_for_a_leader_of_an_earlier_term() -> None:
    """5.2: "If the term in the RPC is smaller (…) the candidate rejects the RPC and continues"."""
    driven = make(terms=[1])
    driven.become_candidate()
    assert driven.step(AppendEntries(3, 1, 1, 0, 0, (), 0)) == [StaleTerm(1, 3, 2)]
    assert driven.raft.role is Role.CANDIDATE


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE])
def test_election_timeouts_are_random_between_one_and_two_timeouts(role: Role) -> None:
    """5.2: "election timeouts are chosen randomly from a fixed interval"."""
    waits = []
    for seed in range(60):
        driven = make_follower(seed=seed)
        if role is Role.CANDIDATE:
            driven.become_candidate()
        waits.append(seconds_until_campaign(driven))
    assert TIMEOUT_S <= min(waits) <= 1.1 * TIMEOUT_S, min(waits)
    assert 1.9 * TIMEOUT_S <= max(waits) <= 2 * TIMEOUT_S + STEP_S, max(waits)
    assert len({round(wait, 6) for wait in waits}) > 20, "hardly random"


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE])
def test_randomness_keeps_timeouts_apart(role: Role) -> None:
    """5.2: so that "in most cases only a single server will time out", before another does."""
    conflicts = 0
    for round in range(100):
        waits = []
        for id in range(1, 6):
            driven = make(id, range(1, 6), seed=round * 10 + id)
            if role is Role.CANDIDATE:
                driven.become_candidate()
            waits.append(seconds_until_campaign(driven))
        first, second = sorted(waits)[:2]
        conflicts += second - first < STEP_S / 2
    assert conflicts <= 30, f"in {conflicts} of 100 rounds two of five nodes timed out together"


# -- 5.3: log replication --------------------------------------------------------------------------


def test_a_leader_appends_a_proposal_and_sends_it_to_all() -> None:
    """5.3: it "appends the command to its log as a new entry, then issues AppendEntries RPCs in parallel",
    with "the index and term of the entry in its log that immediately precedes the new entries"."""
    driven = make_steady_leader(terms=[1])
    sent = of(AppendEntries, driven.propose("x"))
    assert [(m.to, m.prev_index, m.prev_term, m.commit) for m in sent] == [(2, 2, 2, 2), (3, 2, 2, 2)]
    assert all([(e.index, e.term, e.data) for e in m.entries] == [(3, 2, "x")] for m in sent)
    assert driven.saved[-1].data == "x", "it must also reach the leader's own disk"
    assert driven.raft.log.commit == 2


def test_a_leader_applies_what_it_committed_and_tells_the_followers() -> None:
    """5.3: it "keeps track of the highest index it knows to be committed, and it includes that index in
    future AppendEntries RPCs (including heartbeats)"."""
    driven = make_steady_leader()
    driven.propose("x")
    driven.accept(2)
    assert [e.data for e in driven.applied] == [None, "x"]
    assert all(m.commit == 2 for m in of(AppendEntries, driven.propose("y")))
    assert [m.commit for m in of(Heartbeat, driven.wait(HEARTBEAT_S))] == [2, 1], "never beyond what it holds"


@pytest.mark.parametrize(
    "voters, acknowledging, commits",
    [
        (1, (), True),
        (3, (), False),
        (3, (2,), True),
        (3, (2, 3), True),
        (5, (), False),
        (5, (2,), False),
        (5, (2, 3), True),
        (5, (2, 3, 4, 5), True),
        (4, (2,), False),
        (3, (9, 8), False),  # no voters
    ],
)
def test_an_entry_is_committed_once_a_majority_holds_it(
    voters: int, acknowledging: tuple, commits: bool
) -> None:
    """5.3: "committed once the leader that created the entry has replicated it on a majority"."""
    driven = make_steady_leader(voters=range(1, voters + 1))
    driven.propose("x")
    for peer in acknowledging:
        driven.step(AppendAccepted(peer, 1, driven.raft.term, driven.raft.log.last_index))
    assert (driven.raft.log.commit == driven.raft.log.last_index) is commits
    assert ("x" in [e.data for e in driven.applied]) is commits


@pytest.mark.parametrize("terms", [[], [2], [1, 2], [1], [1, 1, 2, 2]])
def test_committing_an_entry_commits_all_before_it(terms: list) -> None:
    """5.3: "This also commits all preceding entries in the leader's log, including entries created by
    previous leaders" - and they are applied in log order."""
    driven = make_leader(terms=terms, term=2)
    driven.propose("x")
    driven.accept(3)
    assert [e.index for e in driven.applied] == list(range(1, len(terms) + 3))
    assert [e.term for e in driven.applied] == [*terms, 3, 3]


@pytest.mark.parametrize("sent, commit", [([1], 1), ([1, 1], 1), ([1, 1], 2), ([1, 1, 1], 3)])
def test_a_follower_applies_what_it_learns_is_committed(sent: list, commit: int) -> None:
    """5.3: "Once a follower learns that a log entry is committed, it applies the entry (in log order)"."""
    driven = make(term=1)
    driven.step(append(driven.raft, (0, 0), sent, commit=commit))
    assert [e.index for e in driven.applied] == list(range(1, commit + 1))


@pytest.mark.parametrize(
    "prev, accepted",
    [
        ((0, 0), True),
        ((1, 1), True),
        ((2, 2), True),
        ((1, 2), False),
        ((2, 1), False),
        ((2, 3), False),
        ((3, 2), False),
    ],
)
def test_a_follower_accepts_only_entries_that_follow_its_own(prev: tuple, accepted: bool) -> None:
    """5.3: "If the follower does not find an entry in its log with the same index and term, it refuses"."""
    driven = make(terms=[1, 2], term=3)
    reply = only(driven.step(append(driven.raft, prev)))
    if accepted:
        assert reply == AppendAccepted(1, 2, 3, prev[0])
    else:
        assert isinstance(reply, AppendRejected) and reply.prev_index == prev[0]
        assert reply.hint_index < prev[0] or reply.hint_term < prev[1]


@pytest.mark.parametrize(
    "prev, sent, log, saved",
    [
        ((2, 2), [3], [1, 2, 3], [3]),
        ((1, 1), [3, 4], [1, 3, 4], [2, 3]),
        ((0, 0), [1], [1, 2], []),
        ((0, 0), [3], [3], [1]),
        ((0, 0), [1, 2, 4], [1, 2, 4], [3]),
        ((1, 1), [2], [1, 2], []),
        ((2, 2), [], [1, 2], []),
    ],
)
def test_conflicting_entries_are_replaced_and_nothing_else(
    prev: tuple, sent: list, log: list, saved: list
) -> None:
    """5.3, figure 2: "If an existing entry conflicts with a new one, delete the existing entry and all that
    follow it; append any new entries not already in the log" - and they go to the disk."""
    driven = make(terms=[1, 2], term=4)
    reply = only(driven.step(append(driven.raft, prev, sent)))
    assert terms_of(driven.raft) == log
    assert [e.index for e in driven.saved] == saved
    assert reply == AppendAccepted(1, 2, 4, prev[0] + len(sent))


FIGURE_7 = {
    "leader": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6],
    "a": [1, 1, 1, 4, 4, 5, 5, 6, 6],
    "b": [1, 1, 1, 4],
    "c": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    "d": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
    "e": [1, 1, 1, 4, 4, 4, 4],
    "f": [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
}


@pytest.mark.parametrize("follower", "abcdef")
def test_figure_7_a_leader_brings_each_log_into_line(follower: str) -> None:
    leader = make(terms=FIGURE_7["leader"], term=7)
    lagging = make(2, terms=FIGURE_7[follower], term=7)
    leader.become_candidate()
    sync(leader.step(VoteReply(3, 1, 8, True)), leader, lagging)
    assert terms_of(lagging.raft) == FIGURE_7["leader"] + [8]
    assert lagging.raft.log.entries == leader.raft.log.entries
    assert leader.raft.log.commit == 11


# -- 5.4: safety -----------------------------------------------------------------------------------


@pytest.mark.parametrize("terms", [[1], [1, 2], [1, 1, 3]])
def test_a_vote_request_says_how_far_the_log_goes_and_goes_to_all_others(terms: list) -> None:
    """5.4.1: "the RPC includes information about the candidate's log"."""
    driven = make(terms=terms, voters=range(1, 6), term=4)
    requests = driven.become_candidate()
    assert requests == [RequestVote(1, peer, 5, len(terms), terms[-1]) for peer in (2, 3, 4, 5)]


@pytest.mark.parametrize(
    "log, candidate, granted",
    [
        ([1], (1, 1), True),
        ([1], (2, 1), True),
        ([1, 1], (1, 1), False),
        ([1], (1, 2), True),
        ([1], (2, 2), True),
        ([1, 1], (1, 2), True),
        ([2], (1, 1), False),
        ([2], (2, 1), False),
        ([1, 2], (1, 1), False),
        ([1, 2], (9, 1), False),
    ],
)
def test_a_voter_denies_its_vote_to_a_log_less_complete(log: list, candidate: tuple, granted: bool) -> None:
    """5.4.1: "the voter denies its vote if its own log is more up-to-date than that of the candidate"."""
    driven = make(terms=log, term=2)
    assert only(driven.step(RequestPreVote(2, 1, 2, *candidate))).granted is granted, "thesis 9.6"
    assert driven.step(RequestVote(2, 1, 3, *candidate)) == [VoteReply(1, 2, 3, granted)]
    assert driven.raft.hard_state == (3, 2 if granted else None)


@pytest.mark.parametrize("match, commit", [(1, 0), (2, 0), (3, 3)])
def test_only_entries_of_the_own_term_are_committed_by_counting(match: int, commit: int) -> None:
    """5.4.2: "Raft never commits log entries from previous terms by counting replicas"."""
    driven = make_leader(terms=[1, 2])
    driven.accept(2, 3, match=match)
    assert driven.raft.log.commit == commit
