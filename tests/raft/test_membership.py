"""Changes of the members: who counts when, what is refused, and how a leadership is handed over (paper section 6,
thesis 3.10 and chapter 4)."""

from __future__ import annotations

import random

import pytest
from raftkv.errors import InvalidChangeError, InvariantError, NotLeaderError, OverloadedError
from raftkv.raft.changes import Change
from raftkv.raft.configuration import Configuration, MemberRecord
from raftkv.raft.core import Raft
from raftkv.raft.log import RaftLog
from raftkv.raft.messages import (
    AppendAccepted,
    AppendEntries,
    Heartbeat,
    PreVoteReply,
    RequestVote,
    TimeoutNow,
    VoteReply,
)
from raftkv.raft.types import CONFIG, Entry, HardState, Role, Snapshot

from tests.raft.harness import (
    HEARTBEAT_S,
    TIMEOUT_S,
    Driven,
    make,
    make_follower,
    make_leader,
    make_steady_leader,
    of,
)

ADD_4 = Change(add=(MemberRecord(4, 4),))


def begin(driven: Driven, wanted: Change) -> list:
    driven.raft.propose_configuration(wanted)
    return driven.run()


def configurations(driven: Driven) -> list[Configuration]:
    return [Configuration.from_plain(entry.data) for entry in driven.raft.log.entries if entry.kind == CONFIG]


def test_no_change_begins_before_the_leaders_own_no_op_is_committed() -> None:
    """The bug of single-server changes (Ongaro, 2015)."""
    driven = make_leader(terms=[1, 1])
    with pytest.raises(InvalidChangeError, match="the leader is new"):
        driven.raft.propose_configuration(ADD_4)
    driven.accept(2)
    driven.raft.propose_configuration(ADD_4)


def test_no_change_begins_while_another_one_is_under_way() -> None:
    driven = make_steady_leader()
    begin(driven, Change(remove=(3,)))
    for _ in range(2):  # the joint configuration, then the final one
        with pytest.raises(InvalidChangeError, match="another change"):
            driven.raft.propose_configuration(ADD_4)
        driven.accept(2, 3) if 3 in driven.raft.progress else driven.accept(2)
    driven.raft.propose_configuration(ADD_4)


def test_a_joint_change_is_committed_by_both_majorities_and_by_neither_alone() -> None:
    driven = make_steady_leader()
    begin(driven, Change(add=(MemberRecord(4, 4), MemberRecord(5, 5)), promote=(4, 5), remove=(2, 3)))
    commit = driven.raft.log.commit
    driven.accept(2, 3)
    assert driven.raft.log.commit == commit, "the old majority alone has committed it"
    driven.accept(4)
    assert driven.raft.log.commit == commit + 1
    assert configurations(driven)[-1] == Configuration(
        (1, 4, 5), (), (), (MemberRecord(4, 4), MemberRecord(5, 5)), (2, 3)
    )


def test_a_joint_candidate_needs_both_majorities() -> None:
    driven = make_follower(terms=[1], term=1)
    joint = Entry.create(2, 1, CONFIG, Configuration((1, 4, 5), (1, 2, 3)).to_plain())
    driven.step(AppendEntries(2, 1, 1, 1, 1, (joint,), 1))
    driven.time_out()
    driven.step(*[PreVoteReply(peer, 1, 1, 2, True) for peer in (2, 4)])
    driven.step(VoteReply(2, 1, 2, True), VoteReply(3, 1, 2, True))
    assert driven.raft.role is Role.CANDIDATE
    driven.step(VoteReply(5, 1, 2, True))
    assert driven.raft.role is Role.LEADER


def test_a_learner_is_sent_everything_and_counted_nowhere() -> None:
    driven = make_steady_leader(voters=(1, 2))
    sent = begin(driven, Change(add=(MemberRecord(4, 4, held=True),)))
    assert {message.to for message in of(AppendEntries, sent)} == {2, 4}
    commit = driven.raft.log.commit
    driven.accept(4)
    assert driven.raft.log.commit == commit
    driven.wait(TIMEOUT_S / 2)
    driven.accept(4)
    driven.wait(TIMEOUT_S / 2 + HEARTBEAT_S)
    assert driven.raft.role is Role.FOLLOWER, "a learner was counted among those that are heard"


def test_a_learner_that_lags_is_promoted_only_when_a_round_was_short() -> None:
    driven = make_steady_leader()
    begin(driven, ADD_4)
    driven.accept(2)
    start = driven.raft.log.last_index
    driven.propose("a", "b")
    driven.accept(2)
    for _ in range(3):
        driven.wait(HEARTBEAT_S)
        driven.accept(2, match=driven.raft.log.last_index)
    driven.accept(4, match=start)  # holds what there was at first; much has come since, and it took its time
    driven.wait(TIMEOUT_S * 0.6)
    driven.accept(2)
    driven.wait(TIMEOUT_S * 0.6)
    driven.propose("c")
    driven.accept(2)
    driven.accept(4, match=start + 2)
    assert driven.raft.configuration.learners == (4,)
    driven.accept(4)
    assert (driven.raft.configuration.voters, driven.raft.configuration.outgoing) == ((1, 2, 3, 4), (1, 2, 3))


def test_a_held_learner_waits_for_its_operator() -> None:
    driven = make_steady_leader()
    begin(driven, Change(add=(MemberRecord(4, 4, held=True),)))
    driven.accept()
    driven.accept()
    assert driven.raft.configuration.learners == (4,)
    begin(driven, Change(promote=(4,)))
    assert driven.raft.configuration.voters == (1, 2, 3, 4)


def test_a_removed_leader_leads_until_that_is_committed_and_counts_itself_no_more() -> None:
    driven = make_steady_leader()
    begin(driven, Change(remove=(1,)))
    driven.accept(2, 3)
    assert (driven.raft.role, driven.raft.configuration.voters) == (Role.LEADER, (2, 3))
    last = driven.raft.log.last_index
    driven.accept(2)
    assert driven.raft.log.commit == last - 1, "it counted itself, or one of two for a majority"
    sent = driven.accept(3)
    assert (driven.raft.log.commit, driven.raft.role) == (last, Role.FOLLOWER)
    assert len(of(TimeoutNow, sent)) == 1
    assert driven.time_out() == [], "a server whose removal is committed stands for election"


def test_a_removal_that_is_not_committed_ends_no_campaign() -> None:
    driven = make_follower(terms=[1], term=1)
    joint = Entry.create(2, 1, CONFIG, Configuration((2, 3), (1, 2, 3)).to_plain())
    final = Entry.create(3, 1, CONFIG, Configuration((2, 3), left=(1,)).to_plain())
    driven.step(AppendEntries(2, 1, 1, 1, 1, (joint,), 1))
    driven.step(AppendEntries(2, 1, 1, 2, 1, (final,), 2))
    driven.time_out()
    assert driven.raft.role is Role.PRE_CANDIDATE
    driven.step(Heartbeat(2, 1, 1, 3, 0))
    driven.time_out()
    assert driven.raft.role is Role.FOLLOWER


def test_a_removed_server_that_starts_with_the_longest_log_stands_for_election() -> None:
    """It knows of no commit, and the others may need its log (seed 94002918)."""
    plain = [Configuration((1, 2)), Configuration((2,), (1, 2)), Configuration((2,), left=(1,))]
    log = [Entry.create(at, 1, CONFIG, each.to_plain()) for at, each in enumerate(plain, 1)]
    raft = Raft(1, RaftLog(Snapshot(0, 0, Configuration()), log), HardState(1), rng=random.Random(1))
    driven = Driven(raft)
    driven.time_out()
    assert raft.role is Role.PRE_CANDIDATE
    driven.step(PreVoteReply(2, 1, 1, 2, True))
    driven.step(VoteReply(2, 1, 2, True))
    assert raft.role is Role.LEADER


def test_the_next_leader_goes_on_with_a_change_that_it_finds() -> None:
    driven = make_follower(terms=[1], term=1)
    joint = Entry.create(2, 1, CONFIG, Configuration((1, 2, 3, 4), (1, 2, 3)).to_plain())
    driven.step(AppendEntries(2, 1, 1, 1, 1, (joint,), 1))
    driven.time_out()
    driven.step(*[PreVoteReply(peer, 1, 1, 2, True) for peer in (3, 4)])
    driven.step(*[VoteReply(peer, 1, 2, True) for peer in (3, 4)])
    driven.accept(3, 4)
    assert [each.outgoing for each in configurations(driven)] == [(1, 2, 3), ()]


# -- transfer ------------------------------------------------------------------------------------------------


def test_a_complete_follower_is_told_to_stand_and_others_first_get_the_rest() -> None:
    driven = make_steady_leader()
    driven.propose("a")
    assert driven.raft.transfer_leadership(3) == 3
    assert of(TimeoutNow, driven.run()) == []
    assert of(TimeoutNow, driven.accept(2)) == []
    assert of(TimeoutNow, driven.accept(3)) == [TimeoutNow(1, 3, 1)]


def test_without_a_name_the_voter_that_holds_most_is_chosen() -> None:
    driven = make_steady_leader()
    driven.propose("a")
    driven.accept(3)
    assert driven.raft.transfer_leadership() == 3


def test_nothing_is_proposed_while_leadership_is_handed_over_and_again_when_that_was_in_vain() -> None:
    driven = make_steady_leader()
    driven.raft.transfer_leadership(2)
    with pytest.raises(OverloadedError):
        driven.raft.propose(["a"])
    with pytest.raises(InvalidChangeError, match="being handed"):
        driven.raft.propose_configuration(ADD_4)
    for _ in range(4):
        driven.wait(TIMEOUT_S / 3)
        driven.accept(3)
    driven.raft.propose(["a"])


def test_leadership_is_handed_to_another_voter_only() -> None:
    driven = make_steady_leader()
    begin(driven, Change(add=(MemberRecord(4, 4, held=True),)))
    for to in (1, 4, 9):
        with pytest.raises(InvalidChangeError, match="no other voter"):
            driven.raft.transfer_leadership(to)


def test_a_vote_in_a_transfer_is_given_though_the_leader_was_just_heard() -> None:
    driven = make_follower(leader=2, term=1)
    assert driven.step(RequestVote(3, 1, 2, 0, 0)) == []
    assert driven.step(RequestVote(3, 1, 2, 0, 0, True)) == [VoteReply(1, 3, 2, True)]


def test_a_follower_told_to_stand_asks_for_votes_at_once() -> None:
    driven = make_follower(leader=2, term=1)
    sent = driven.step(TimeoutNow(2, 1, 1))
    assert sent == [RequestVote(1, peer, 2, 0, 0, True) for peer in (2, 3)]


def test_a_learner_that_is_told_to_stand_does_not() -> None:
    driven = make_follower(leader=2, id=9, voters=(2, 3), term=1)
    assert driven.step(TimeoutNow(2, 9, 1)) == []


# -- founding --------------------------------------------------------------------------------------


def test_a_founder_serves_nobody_before_it_has_brought_in_the_others() -> None:
    driven = make(1, voters=())
    alone = Configuration((1,), records=(MemberRecord(1, 1),), cluster_id=1, founding=True)
    driven.raft.found(alone)
    driven.run()
    assert driven.raft.role is Role.LEADER and driven.raft.log.commit == 2
    with pytest.raises(NotLeaderError):
        driven.raft.propose(["x"])
    with pytest.raises(NotLeaderError):
        driven.raft.read_index("x")
    driven.raft.propose_configuration(Change(add=(MemberRecord(2, 2), MemberRecord(3, 3)), promote=(2, 3)))
    assert driven.raft.configuration.cluster_id == 1 and not driven.raft.configuration.founding
    index, _ = driven.raft.propose(["x"])
    driven.run()
    assert driven.raft.log.commit < index, "it alone commits nothing any more"
    driven.step(AppendAccepted(2, 1, 1, index))
    assert driven.raft.log.commit == index


def test_only_an_empty_disk_founds() -> None:
    with pytest.raises(InvariantError):
        make(1, terms=[1]).raft.found(Configuration((1,)))
    with pytest.raises(InvariantError):
        make(1, voters=()).raft.found(Configuration((1, 2)))
