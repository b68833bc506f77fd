"""Elections beyond the paper's section 5.2: pre-vote (thesis 9.6), withheld votes (4.2.3), check-quorum
(6.2), members that lost their disk, and the hint that a connection broke."""

from __future__ import annotations

import pytest
from raftkv.raft import invariants
from raftkv.raft.messages import (
    AppendAccepted,
    AppendEntries,
    Heartbeat,
    HeartbeatReply,
    PreVoteReply,
    RequestPreVote,
    RequestVote,
    StaleTerm,
    VoteReply,
)
from raftkv.raft.types import Role

from tests.raft.harness import (
    HEARTBEAT_S,
    TIMEOUT_S,
    append,
    make,
    make_follower,
    make_leader,
    make_steady_leader,
    of,
    only,
)


def test_a_sole_voter_leads_at_its_first_tick() -> None:
    driven = make(voters=(1,))
    driven.wait(0.0)
    assert driven.raft.role is Role.LEADER


# -- pre-vote (thesis 9.6) -------------------------------------------------------------------------


def test_a_pre_vote_costs_no_term_and_no_write() -> None:
    driven = make_follower(terms=[1, 1], term=3, vote=2)
    sent = driven.time_out()
    assert sent == [RequestPreVote(1, 2, 3, 2, 1), RequestPreVote(1, 3, 3, 2, 1)]
    assert driven.raft.role is Role.PRE_CANDIDATE and driven.raft.leader is None
    assert driven.raft.hard_state == (3, 2)
    driven.time_out()
    assert driven.raft.hard_state == (3, 2), "alone, it asks again and again, in the same term"


@pytest.mark.parametrize(
    "campaign_term, granted, role",
    [
        (2, [True], Role.CANDIDATE),
        (2, [False], Role.PRE_CANDIDATE),
        (2, [False, False], Role.FOLLOWER),
        (1, [True, True], Role.PRE_CANDIDATE),  # answers to the pre-vote of another term
        (3, [True, True], Role.PRE_CANDIDATE),
    ],
)
def test_a_pre_vote_is_won_lost_or_open(campaign_term: int, granted: list[bool], role: Role) -> None:
    driven = make(terms=[1])
    driven.time_out()
    for peer, grants in enumerate(granted, 2):
        driven.step(PreVoteReply(peer, 1, 1, campaign_term, grants))
    assert (driven.raft.role, driven.raft.term) == (role, 2 if role is Role.CANDIDATE else 1)
    assert driven.time_out(), "and if nothing came of it, later it tries again"


def test_an_answer_of_a_node_in_an_earlier_term_counts() -> None:
    """The asker may be ahead: it campaigned, and was cut off."""
    driven = make(terms=[1], term=5)
    driven.time_out()
    driven.step(PreVoteReply(2, 1, 3, 6, True))
    assert (driven.raft.role, driven.raft.term) == (Role.CANDIDATE, 6)


def test_granting_a_pre_vote_changes_nothing_here() -> None:
    driven = make(terms=[1])
    before = driven.raft.hard_state
    driven.wait(TIMEOUT_S * 0.9)
    reply = only(driven.step(RequestPreVote(2, 1, 8, 1, 1)))
    assert reply == PreVoteReply(1, 2, 1, 9, True)
    assert driven.step(RequestPreVote(3, 1, 1, 1, 1)) == [PreVoteReply(1, 3, 1, 2, True)], (
        "any number of them"
    )
    assert driven.raft.hard_state == before
    assert driven.wait(TIMEOUT_S * 1.1), "its own timer went on"


def test_a_pre_vote_is_refused_while_a_leader_is_alive() -> None:
    driven = make_follower(leader=2, term=1)
    driven.wait(TIMEOUT_S * 0.99)
    assert only(driven.step(RequestPreVote(3, 1, 1, 9, 1))).granted is False
    driven.wait(TIMEOUT_S * 0.01)
    assert only(driven.step(RequestPreVote(3, 1, 1, 9, 1))).granted is True


def test_a_pre_candidate_of_an_earlier_term_learns_of_the_later_one() -> None:
    """Otherwise a node with the longer log and one with the later term could wait for each other for ever."""
    driven = make(terms=[1], term=6)
    assert driven.step(RequestPreVote(2, 1, 4, 9, 4)) == [PreVoteReply(1, 2, 6, 5, False)]
    asker = make(2, terms=[1, 4])
    asker.time_out()
    asker.step(PreVoteReply(1, 2, 6, 5, False))
    assert (asker.raft.role, asker.raft.term) == (Role.FOLLOWER, 6)


def test_a_leader_that_appears_ends_a_pre_vote() -> None:
    driven = make(terms=[1])
    driven.time_out()
    driven.step(Heartbeat(3, 1, 1, 0, 0))
    assert (driven.raft.role, driven.raft.leader) == (Role.FOLLOWER, 3)
    driven.step(PreVoteReply(2, 1, 1, 2, True))
    assert driven.raft.role is Role.FOLLOWER, "answers that come later are answers to nobody"


# -- votes are withheld while a leader is alive (thesis 4.2.3) -------------------------------------


def test_a_vote_request_is_ignored_while_a_leader_is_alive() -> None:
    """Within the minimum election timeout of hearing from a current leader, a server "does not update its
    term or grant its vote"."""
    driven = make_follower(leader=2, term=1)
    driven.wait(TIMEOUT_S * 0.99)
    assert driven.step(RequestVote(3, 1, 9, 99, 9)) == []
    assert (driven.raft.term, driven.raft.leader) == (1, 2)
    driven.wait(TIMEOUT_S * 0.01)
    assert driven.step(RequestVote(3, 1, 9, 99, 9)) == [VoteReply(1, 3, 9, True)]


def test_a_leader_is_not_deposed_by_a_vote_request() -> None:
    driven = make_steady_leader()
    assert only(driven.step(RequestPreVote(3, 1, 1, 9, 1))).granted is False
    assert driven.step(RequestVote(3, 1, 9, 99, 9)) == []
    assert (driven.raft.role, driven.raft.term) == (Role.LEADER, 1)


def test_no_vote_for_another_in_a_term_whose_leader_is_known() -> None:
    """A rival of the same term has lost; granting it a vote could only confuse."""
    driven = make_follower(leader=2, term=4)
    assert driven.step(RequestVote(3, 1, 4, 99, 4)) == [VoteReply(1, 3, 4, False)]


def test_a_candidate_in_a_later_term_gets_its_way_through_the_leaders_own_messages() -> None:
    """Its requests are ignored, but it cannot be followed either: so its answer ends the old term (5.1)."""
    driven = make_steady_leader()
    driven.step(StaleTerm(3, 1, 5))
    assert (driven.raft.role, driven.raft.term) == (Role.FOLLOWER, 5)


def test_a_voter_gives_its_candidate_time() -> None:
    """Figure 2, followers: an election begins when the timeout elapses "without (…) granting vote"."""
    driven = make(term=1)
    driven.wait(TIMEOUT_S * 0.99)
    assert only(driven.step(RequestVote(2, 1, 1, 0, 0))).granted is True
    assert driven.wait(TIMEOUT_S * 0.99) == []
    refusing = make(terms=[1])
    refusing.wait(TIMEOUT_S * 0.99)
    assert only(refusing.step(RequestVote(2, 1, 1, 0, 0))).granted is False
    assert of(RequestPreVote, refusing.wait(TIMEOUT_S * 1.01)), "who refused it does not"


# -- check-quorum (thesis 6.2) ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "voters, heard, leads", [(3, 1, True), (3, 0, False), (5, 2, True), (5, 1, False), (1, 0, True)]
)
def test_a_leader_steps_down_without_a_majority(voters: int, heard: int, leads: bool) -> None:
    driven = make_steady_leader(voters=range(1, voters + 1))
    driven.wait(TIMEOUT_S * 0.8)
    for peer in range(2, heard + 2):
        driven.step(HeartbeatReply(peer, 1, 1, 0))
    assert driven.raft.role is Role.LEADER
    driven.wait(TIMEOUT_S * 0.3)
    assert (driven.raft.role is Role.LEADER) is leads
    assert driven.raft.hard_state == (1, 1), "nothing is forgotten"
    assert driven.raft.leader == (1 if leads else None)


def test_messages_of_an_earlier_term_are_no_sign_of_a_majority() -> None:
    driven = make_steady_leader(terms=[1])
    for _ in range(3):
        driven.wait(TIMEOUT_S * 0.4)
        driven.step(AppendAccepted(2, 1, 1, 1), HeartbeatReply(3, 1, 1, 0))
    assert driven.raft.role is Role.FOLLOWER


def test_a_leader_that_was_paused_steps_down_at_its_first_tick() -> None:
    """SIGSTOP for a minute: what it believes of its followers is a minute old."""
    driven = make_steady_leader()
    driven.wait(60)
    assert driven.raft.role is Role.FOLLOWER


# -- a disk that lost something --------------------------------------------------------------------


def test_member_that_lost_what_its_leader_knows_it_acknowledged_takes_no_part_any_more() -> None:
    driven = make_follower(leader=2, term=5, terms=[5, 5])
    assert driven.step(Heartbeat(2, 1, 5, 2, 1, match=3)) == []
    assert driven.raft.lost == "the log ends with entry 2, and this server had acknowledged entry 3"
    assert driven.step(RequestVote(3, 1, 9, 99, 9)) == [] and driven.raft.vote is None
    assert driven.step(append(driven.raft, (2, 5), [5], term=9)) == [] and driven.time_out() == []


def test_a_heartbeat_that_was_overtaken_shows_no_loss() -> None:
    driven = make_follower(leader=2, term=5, terms=[5, 5])
    driven.step(Heartbeat(2, 1, 5, 2, 1, match=2), Heartbeat(2, 1, 5, 0, 1, match=0))
    assert driven.raft.lost is None


# -- members ---------------------------------------------------------------------------------------


def test_a_non_voter_does_not_campaign_but_votes() -> None:
    """It may have been promoted without knowing it yet; who counts its vote knows whether it counts."""
    driven = make(9, voters=(1, 2, 3))
    assert driven.time_out() == []
    assert driven.step(RequestVote(2, 9, 1, 0, 0)) == [VoteReply(9, 2, 1, True)]


# -- the connection to a peer broke ----------------------------------------------------------------


def test_a_lost_connection_to_the_leader_brings_the_election_forward() -> None:
    driven = make_follower(leader=2, term=1)
    driven.raft.lost_contact(2)
    assert of(RequestPreVote, driven.wait(1.2 * HEARTBEAT_S)), "well before the election timeout"


def test_followers_that_lose_the_leader_at_once_take_turns() -> None:
    """Or each votes for itself, nobody wins, and the next try waits for the election timeout."""
    for seed in range(100):
        begun = []
        for id in (1, 2, 4, 5):
            driven = make_follower(leader=3, term=1, id=id, voters=(1, 2, 3, 4, 5), seed=10 * seed + id)
            driven.raft.lost_contact(3)
            lost = driven.raft.now
            while not of(RequestPreVote, driven.wait(HEARTBEAT_S / 20)):
                pass
            begun.append((driven.raft.now - lost) / HEARTBEAT_S)
        gaps = [later - sooner for sooner, later in zip(begun, begun[1:])]
        assert min(gaps) > 0.2 and begun[0] < 0.5, f"they begin after {begun} heartbeat intervals"


def test_a_node_that_has_started_and_reaches_a_majority_does_not_wait_for_the_timeout() -> None:
    driven = make()
    driven.raft.gathered()
    assert not of(RequestPreVote, driven.wait(HEARTBEAT_S)), "a leader is heard first"
    assert of(RequestPreVote, driven.wait(HEARTBEAT_S))


def test_a_node_that_reaches_a_majority_with_a_leader_does_not_stand() -> None:
    driven = make()
    driven.raft.gathered()
    driven.step(Heartbeat(2, 1, 1, 0, 1))
    driven.raft.gathered()
    assert not of(RequestPreVote, driven.wait(TIMEOUT_S * 0.9))


def test_after_a_lost_connection_to_the_leader_others_get_a_vote() -> None:
    driven = make_follower(leader=2, term=1)
    driven.raft.lost_contact(2)
    assert only(driven.step(RequestPreVote(3, 1, 1, 9, 1))).granted is True
    driven.step(AppendEntries(2, 1, 1, 0, 0, (), 0))
    assert only(driven.step(RequestPreVote(3, 1, 1, 9, 1))).granted is False, "it was alive after all"


def test_a_lost_connection_to_another_follower_means_nothing() -> None:
    driven = make_follower(leader=2, term=1)
    driven.raft.lost_contact(3)
    assert driven.wait(TIMEOUT_S * 0.9) == []
    assert only(driven.step(RequestPreVote(3, 1, 1, 9, 1))).granted is False


def test_a_leader_that_loses_a_connection_sends_again_what_may_be_lost() -> None:
    driven = make_steady_leader()
    driven.propose("x")
    driven.raft.lost_contact(2)
    again = only(of(AppendEntries, driven.step(HeartbeatReply(2, 1, 1, 0))))
    assert (again.prev_index, [e.data for e in again.entries]) == (1, ["x"])


def test_a_new_leader_begins_with_a_no_op_of_its_term() -> None:
    """Section 8 of the paper."""
    driven = make_leader(terms=[1, 2])
    assert (driven.saved[-1].index, driven.saved[-1].term, driven.saved[-1].kind) == (3, 3, "noop")


def test_a_leaders_knowledge_ends_with_its_leadership() -> None:
    driven = make_steady_leader()
    leadership = driven.raft.leadership
    assert leadership is not None and set(driven.raft.progress) == {2, 3}
    driven.step(StaleTerm(3, 1, 2))
    assert driven.raft.leadership is None and not driven.raft.progress
    driven.raft.leadership = leadership
    with pytest.raises(AssertionError, match="a follower with a leadership"):
        invariants.check_state(driven.raft)
