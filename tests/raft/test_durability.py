"""Durable first: what may be said, and counted, before the disk has it, and what may not (design, section 4).

The driver's side of the bargain is in the docstring of raftkv.raft.types.Ready.
"""

from __future__ import annotations

from raftkv.raft.messages import (
    AppendAccepted,
    AppendEntries,
    Heartbeat,
    HeartbeatReply,
    PreVoteReply,
    RequestVote,
    StaleTerm,
    TimeoutNow,
    VoteReply,
)
from raftkv.raft.types import Role

from tests.raft.harness import (
    TIMEOUT_S,
    append,
    make,
    make_follower,
    make_steady_leader,
    of,
)

# -- votes -----------------------------------------------------------------------------------------


def test_vote_requests_leave_only_after_the_vote_for_itself_is_durable() -> None:
    raft = make(terms=[1]).raft
    raft.tick(2 * TIMEOUT_S)
    raft.ready()
    raft.step(PreVoteReply(2, 1, 1, 2, True))
    ready = raft.ready()
    assert ready.hard_state == (2, 1)
    assert not ready.messages and len(of(RequestVote, ready.promises)) == 2


def test_a_candidate_counts_its_own_vote_only_once_durable() -> None:
    raft = make(terms=[1]).raft
    raft.tick(2 * TIMEOUT_S)
    raft.step(PreVoteReply(2, 1, 1, 2, True))
    ready = raft.ready()
    raft.step(VoteReply(2, 1, 2, True))
    assert raft.role is Role.CANDIDATE, "one vote of three, its own is still on the way to the disk"
    raft.advance(ready)
    assert raft.role is Role.LEADER


def test_a_candidate_leads_only_once_its_own_vote_is_durable_whoever_else_voted_for_it() -> None:
    raft = make_follower(terms=[1], term=1).raft
    raft.step(TimeoutNow(2, 1, 1))
    ready = raft.ready()
    assert len(of(RequestVote, ready.messages)) == 2, "clients wait for the end of a transfer"
    raft.step(VoteReply(2, 1, 2, True))
    raft.step(VoteReply(3, 1, 2, True))
    assert raft.role is Role.CANDIDATE, (
        "after a crash it could lead term 2 again, and write something else in it"
    )
    raft.advance(ready)
    assert raft.role is Role.LEADER


def test_a_vote_made_durable_late_does_not_count_in_the_next_term() -> None:
    raft = make(terms=[1]).raft
    raft.step(append(raft, (1, 1), [1]))
    before = raft.ready()
    raft.lost_contact(2)
    raft.tick(0.5 * TIMEOUT_S)
    raft.step(PreVoteReply(2, 1, 1, 2, True))
    slow = raft.ready()
    raft.tick(1.5 * TIMEOUT_S)
    raft.advance(before)  # the disk moves, or it would not stand again
    raft.tick(2.4 * TIMEOUT_S)
    raft.step(PreVoteReply(2, 1, 2, 3, True))
    assert (raft.role, raft.term) == (Role.CANDIDATE, 3)
    later = raft.ready()
    raft.advance(slow)
    raft.step(VoteReply(2, 1, 3, True))
    assert raft.role is Role.CANDIDATE
    raft.advance(later)
    assert raft.role is Role.LEADER


def test_a_granted_vote_leaves_with_the_write_that_makes_it_durable() -> None:
    raft = make(terms=[1]).raft
    raft.step(RequestVote(2, 1, 2, 1, 1))
    ready = raft.ready()
    assert ready.hard_state == (2, 2)
    assert ready.promises == [VoteReply(1, 2, 2, True)] and not ready.messages


def test_votes_of_an_earlier_candidacy_do_not_count() -> None:
    driven = make(voters=range(1, 6))
    driven.become_candidate()
    driven.step(VoteReply(2, 1, 1, True))
    driven.become_candidate()
    driven.step(VoteReply(3, 1, 1, True), VoteReply(4, 1, 1, True), VoteReply(5, 1, 1, True))
    assert (driven.raft.role, driven.raft.term) == (Role.CANDIDATE, 2)
    driven.step(VoteReply(3, 1, 2, True), VoteReply(3, 1, 2, True))
    assert driven.raft.role is Role.CANDIDATE, "one voter's answer, doubled"
    driven.step(VoteReply(4, 1, 2, True))
    assert driven.raft.role is Role.LEADER


# -- entries ---------------------------------------------------------------------------------------


def test_a_leader_sends_entries_while_it_writes_its_own_disk() -> None:
    """Thesis 10.2.1."""
    raft = make_steady_leader().raft
    raft.propose(["x"])
    ready = raft.ready()
    assert len(of(AppendEntries, ready.messages)) == 2 and len(ready.entries) == 1


def test_a_leader_counts_itself_only_once_durable() -> None:
    raft = make_steady_leader().raft
    raft.propose(["x"])
    ready = raft.ready()
    raft.step(AppendAccepted(2, 1, 1, 2))
    assert raft.log.commit == 1, "one of three holds it"
    raft.advance(ready)
    assert raft.log.commit == 2


def test_followers_can_commit_an_entry_before_the_leaders_own_disk_has_it() -> None:
    """Thesis 10.2.1: "the leader may even commit an entry before it has been written to its own disk"."""
    raft = make_steady_leader().raft
    raft.propose(["x"])
    raft.step(AppendAccepted(2, 1, 1, 2))
    raft.step(AppendAccepted(3, 1, 1, 2))
    assert raft.log.commit == 2 and raft.log.stable == 1


def test_a_follower_acknowledges_only_with_the_write() -> None:
    raft = make_follower(terms=[1], term=1).raft
    raft.step(append(raft, (1, 1), [1, 1]))
    ready = raft.ready()
    assert [e.index for e in ready.entries] == [2, 3]
    assert ready.promises == [AppendAccepted(1, 2, 1, 3)] and not ready.messages


def test_an_acknowledgement_of_what_is_still_being_written_waits_too() -> None:
    """The entries are in memory; a doubled message must not be answered before the disk has them."""
    raft = make_follower(terms=[1], term=1).raft
    raft.step(append(raft, (1, 1), [1]))
    raft.ready()
    raft.step(append(raft, (1, 1), [1]))
    again = raft.ready()
    assert again.promises == [AppendAccepted(1, 2, 1, 2)] and not again.entries and not again.messages


def test_entries_replaced_while_on_their_way_to_the_disk_are_not_taken_for_durable() -> None:
    raft = make_follower(terms=[1], term=2).raft
    raft.step(append(raft, (1, 1), [2, 2]))
    old = raft.ready()
    raft.step(append(raft, (1, 1), [3, 3], term=3, sender=3))
    new = raft.ready()
    assert [str(e) for e in new.entries] == ["2@3", "3@3"]
    raft.advance(old)
    assert raft.log.stable == 1
    raft.advance(new)
    assert raft.log.stable == 3


def test_entries_that_come_back_equal_are_not_durable_because_the_first_ones_were() -> None:
    raft = make_follower(terms=[1], term=2).raft
    raft.step(append(raft, (1, 1), [2]))
    first = raft.ready()
    raft.step(append(raft, (1, 1), [3], term=3, sender=3))
    raft.ready()
    raft.step(append(raft, (1, 1), [2, 4], term=4))
    third = raft.ready()
    raft.advance(first)
    assert raft.log.stable == 1, "2@2 was overwritten on the disk since, and its second writing is not done"
    raft.advance(third)
    assert raft.log.stable == 3


def test_a_deposed_leaders_write_commits_nothing() -> None:
    driven = make_steady_leader()
    driven.raft.propose(["x"])
    ready = driven.raft.ready()
    driven.raft.step(AppendAccepted(2, 1, 1, 2))
    driven.raft.step(StaleTerm(3, 1, 9))
    driven.raft.advance(ready)
    assert driven.raft.log.commit == 1


def test_each_thing_is_handed_out_once() -> None:
    raft = make_follower(terms=[1], term=1).raft
    raft.step(append(raft, (1, 1), [1, 1], commit=2))
    first = raft.ready()
    assert len(first.entries) == 2 and [e.index for e in first.committed] == [1, 2]
    assert not raft.has_ready
    second = raft.ready()
    assert not (second.entries or second.committed or second.promises or second.hard_state or second.messages)


def test_a_disk_that_stalls_is_no_reason_to_depose_a_leader() -> None:
    """A reply to a heartbeat says "I have voted for nobody later", and a vote that was given is durable:
    nothing that is on its way to the disk matters to it. If it waits, an fsync longer than an election
    timeout ends a healthy leadership (check-quorum), and every read waits for the followers' disks.
    """
    raft = make_follower(terms=[1], term=1).raft
    raft.step(append(raft, (1, 1), [1]))
    raft.ready()  # its disk is at it
    raft.step(Heartbeat(2, 1, 1, 1, 7))
    assert raft.ready().messages == [HeartbeatReply(1, 2, 1, 7)]
