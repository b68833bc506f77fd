"""Replication between leader and follower where messages are late, lost, doubled or out of order; the
leader's window (Progress), commitment (figure 8) and the bound on what waits for it."""

from __future__ import annotations

import pytest
from raftkv.errors import NotLeaderError, OverloadedError
from raftkv.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Heartbeat,
    HeartbeatReply,
    StaleTerm,
    VoteReply,
)
from raftkv.raft.progress import ProgressState
from raftkv.raft.types import Role

from tests.raft.harness import (
    HEARTBEAT_S,
    TIMEOUT_S,
    append,
    make,
    make_copy,
    make_follower,
    make_leader,
    make_steady_leader,
    of,
    only,
    sync,
    terms_of,
)

# -- one round trip a divergent term (5.3, end) ----------------------------------------------------


@pytest.mark.parametrize(
    "ours, theirs, rejections",
    [
        ([1] * 10 + [5] * 10_000, [1] * 10, 1),  # it lacks 10,000 entries
        ([1] * 10 + [5] * 10_000, [1] * 10 + [2] * 10_000, 1),  # it has 10,000 others
        ([1] * 10 + [2] * 10_000, [1] * 10 + [4] * 10_000, 1),  # of a later term than ours
        ([1] * 10 + [5], [1] * 10 + [2] * 5000 + [3] * 5000 + [4] * 5000, 1),  # longer than ours
        ([1] * 5 + [4] * 5000 + [6] * 5000, [1] * 5 + [3] * 5000 + [5] * 5000, 2),  # terms in turn
        ([1] * 5 + [3] * 50 + [5] * 50 + [7] * 50, [1] * 5 + [2] * 50 + [4] * 50 + [6] * 50, 3),
    ],
)
def test_a_log_astray_costs_one_round_trip_a_divergent_term(
    ours: list, theirs: list, rejections: int
) -> None:
    """5.3: "the protocol can be optimized (…): one AppendEntries RPC will be required for each term with
    conflicting entries, rather than one RPC per entry"."""
    leader = make(terms=ours, term=7)
    follower = make(2, terms=theirs, term=7)
    leader.become_candidate()
    said = sync(leader.step(VoteReply(3, 1, 8, True)), leader, follower)
    assert len(of(AppendRejected, said)) <= rejections
    assert terms_of(follower.raft) == ours + [8]


def test_a_hint_never_points_below_what_the_leader_knows_to_agree() -> None:
    driven = make_steady_leader(terms=[1, 1])
    driven.propose("a", "b", "c")
    driven.accept(2, match=4)
    again = only(of(AppendEntries, driven.step(AppendRejected(2, 1, 2, 6, 1, 1))))
    assert again.prev_index == 4


# -- figure 8 --------------------------------------------------------------------------------------


def test_figure_8_an_old_entry_on_a_majority_is_not_yet_committed() -> None:
    """(c): S1, leader of term 4, has its entry of term 2 on a majority; S5 may still overwrite it (d). Only
    with an entry of term 4 on the same majority (e) it is committed, and S5 cannot be elected."""
    leader = make(1, range(1, 6), terms=[1, 2], term=3)
    leader.become_leader()
    assert (leader.raft.term, terms_of(leader.raft)) == (4, [1, 2, 4])
    leader.accept(2, 3, match=2)
    assert leader.raft.log.commit == 0
    leader.accept(2, 3, match=3)
    assert leader.raft.log.commit == 3
    assert [e.term for e in leader.applied] == [1, 2, 4]
    voter = make(2, range(1, 6), terms=[1, 2, 4])
    assert voter.raft.log.is_up_to_date(2, 3) is False, "S5's log ends with term 3"


# -- stale, reordered, doubled AppendEntries -------------------------------------------------------


def test_a_late_append_with_fewer_entries_removes_nothing() -> None:
    """5.3: "If the follower has all the entries the leader sent, the follower MUST NOT truncate its log"."""
    driven = make_follower(terms=[1], term=1)
    driven.step(append(driven.raft, (1, 1), [1, 1, 1]))
    assert driven.step(append(driven.raft, (1, 1), [1])) == [AppendAccepted(1, 2, 1, 2)]
    assert driven.step(append(driven.raft, (1, 1), [])) == [AppendAccepted(1, 2, 1, 1)]
    assert terms_of(driven.raft) == [1, 1, 1, 1]
    assert [e.index for e in driven.saved] == [2, 3, 4], "and nothing is stored twice"


def test_an_append_from_before_the_commit_index_is_acknowledged_up_to_there() -> None:
    driven = make_follower(terms=[1, 1, 1], term=1)
    driven.step(append(driven.raft, (3, 1), commit=3))
    assert driven.step(append(driven.raft, (0, 0), [1])) == [AppendAccepted(1, 2, 1, 3)]
    assert driven.step(append(driven.raft, (0, 0), [1, 1, 1, 1])) == [AppendAccepted(1, 2, 1, 4)]
    assert terms_of(driven.raft) == [1, 1, 1, 1]


def test_commit_goes_no_further_than_the_message_has_verified() -> None:
    """Figure 2, AppendEntries 5: min(leaderCommit, index of last new entry). 3 and 4 are another's."""
    driven = make_follower(terms=[1, 1, 2, 2], term=3)
    driven.step(append(driven.raft, (1, 1), [1], commit=4))
    assert driven.raft.log.commit == 2
    driven.step(append(driven.raft, (2, 1), [], commit=4))
    assert driven.raft.log.commit == 2
    driven.step(append(driven.raft, (2, 1), [3, 3], commit=4))
    assert [e.term for e in driven.applied] == [1, 1, 3, 3]


def test_a_heartbeat_commits_no_more_than_is_here() -> None:
    driven = make_follower(terms=[1, 1], term=1)
    driven.step(Heartbeat(2, 1, 1, 2, 0))
    assert driven.raft.log.commit == 2
    driven.step(Heartbeat(2, 1, 1, 9, 0), Heartbeat(2, 1, 1, 1, 0))
    assert driven.raft.log.commit == 2


def test_a_heartbeat_says_no_more_than_the_follower_is_known_to_hold() -> None:
    """A follower whose log is not yet compared may hold other entries up to there."""
    driven = make_leader(terms=[1, 1])
    driven.accept(2)
    assert driven.raft.log.commit == 3
    beats = {m.to: m.commit for m in of(Heartbeat, driven.wait(HEARTBEAT_S))}
    assert beats == {2: 3, 3: 0}


def test_doubled_and_reordered_appends_leave_the_same_log() -> None:
    driven = make_follower(terms=[1], term=1)
    first = append(driven.raft, (1, 1), [1, 1])
    second = append(driven.raft, (3, 1), [1, 1], commit=3)
    assert isinstance(only(driven.step(second)), AppendRejected)
    driven.step(first, second, first, second, first)
    assert terms_of(driven.raft) == [1] * 5 and driven.raft.log.commit == 3
    assert [e.index for e in driven.saved] == [2, 3, 4, 5]


# -- late replies ----------------------------------------------------------------------------------


def test_match_never_goes_back() -> None:
    driven = make_steady_leader()
    driven.propose("a")
    driven.propose("b")
    driven.accept(2, match=3)
    driven.accept(2, match=1)
    driven.step(AppendRejected(2, 1, 1, 1, 0, 0))
    assert driven.raft.progress[2].match == 3 and driven.raft.log.commit == 3


def test_an_acknowledgement_of_an_earlier_term_is_not_counted() -> None:
    """It may have been for entries that a leader in between has replaced."""
    driven = make_leader(terms=[1, 1, 1], voters=range(1, 6))
    driven.step(AppendAccepted(2, 1, 1, 4), AppendAccepted(3, 1, 1, 4))
    assert driven.raft.progress[2].match == 0 and driven.raft.log.commit == 0


def test_a_late_rejection_does_not_make_the_leader_start_again() -> None:
    driven = make_steady_leader(terms=[1, 1, 1])
    driven.propose("a")
    driven.accept(2)
    assert driven.step(AppendRejected(2, 1, 2, 3, 0, 0)) == []
    assert driven.raft.progress[2].state is ProgressState.REPLICATE


def test_a_late_rejection_while_probing_is_of_another_question() -> None:
    driven = make_leader(terms=[1] * 9)
    driven.step(AppendRejected(2, 1, 2, 9, 5, 1))
    assert driven.raft.progress[2].next == 6
    assert driven.step(AppendRejected(2, 1, 2, 9, 5, 1)) == []
    assert driven.raft.progress[2].next == 6


def test_replies_to_a_leader_that_is_none_any_more_do_nothing() -> None:
    driven = make_steady_leader()
    driven.step(StaleTerm(2, 1, 5))
    sent = driven.step(
        AppendAccepted(2, 1, 5, 1),
        AppendRejected(2, 1, 5, 1, 0, 0),
        HeartbeatReply(2, 1, 5, 3),
        VoteReply(2, 1, 5, True),
    )
    assert sent == [] and driven.raft.role is Role.FOLLOWER


# -- the window ------------------------------------------------------------------------------------


def test_while_probing_one_message_at_a_time() -> None:
    driven = make_leader()
    assert of(AppendEntries, driven.propose("a")) == []
    assert of(AppendEntries, driven.step(HeartbeatReply(2, 1, 1, 0))) == [], "its disk is not that quick"
    driven.wait(HEARTBEAT_S)
    again = of(AppendEntries, driven.step(HeartbeatReply(2, 1, 1, 0)))
    assert [(m.to, m.prev_index, len(m.entries)) for m in again] == [(2, 0, 2)], "lost, for all we know"
    assert of(AppendEntries, driven.propose("b")) == []
    driven.accept(2, match=2)
    assert [m.to for m in of(AppendEntries, driven.propose("c"))] == [2], "it is pipelined from now on"


def test_no_more_messages_are_under_way_than_the_window_allows() -> None:
    driven = make_steady_leader(max_inflight_appends=3)
    sent = [len(of(AppendEntries, driven.propose(str(i)))) for i in range(5)]
    assert sent == [2, 2, 2, 0, 0]
    more = of(AppendEntries, driven.accept(2, match=2))
    assert [(m.to, m.prev_index, [e.data for e in m.entries]) for m in more] == [(2, 4, ["3", "4"])]


def test_no_more_bytes_are_under_way_than_the_window_allows() -> None:
    driven = make_steady_leader(max_inflight_bytes=1000)
    sent = [len(of(AppendEntries, driven.propose("x" * 400))) for _ in range(5)]
    assert sent == [2, 2, 2, 0, 0], "the message that passes the bound is the last one"
    assert len(of(AppendEntries, driven.accept(2, match=3))) == 1


def test_a_message_carries_no_more_bytes_than_allowed_but_one_entry() -> None:
    driven = make_leader(max_append_bytes=300)
    driven.propose(*["x" * 100] * 5, "y" * 1000)
    counts = [len(m.entries) for m in of(AppendEntries, driven.accept(2, match=1))]
    assert counts == [2, 2, 1, 1]


@pytest.mark.parametrize("in_the_middle", [True, False])
def test_a_lost_message_is_sent_again(in_the_middle: bool) -> None:
    """The last one after a heartbeat."""
    leader = make_steady_leader()
    follower = make_copy(leader, 2)
    leader.propose("lost")
    sync(leader.propose("second") if in_the_middle else leader.wait(HEARTBEAT_S), leader, follower)
    assert follower.raft.log.entries == leader.raft.log.entries


def test_a_whole_window_lost_is_sent_again_after_a_heartbeat() -> None:
    """Nothing is under way any more, so that only a heartbeat's answer can tell the leader."""
    leader = make_steady_leader(max_inflight_appends=3)
    follower = make_copy(leader, 2)
    for command in "abcde":
        leader.propose(command)
    assert leader.raft.progress[2].paused
    for _ in range(3):
        sync(leader.wait(HEARTBEAT_S), leader, follower)
    assert follower.raft.log.entries == leader.raft.log.entries


def test_a_whole_window_lost_and_compacted_meanwhile_leads_to_the_snapshot() -> None:
    leader = make_steady_leader(max_inflight_appends=3, max_kept_bytes=0)
    follower = make_copy(leader, 2)
    for command in "abcdefgh":
        leader.propose(command)
    leader.accept(3)
    leader.raft.compact(leader.raft.log.snapshot._replace(index=9, term=1))
    for _ in range(3):
        sync(leader.wait(HEARTBEAT_S), leader, follower)
    assert leader.raft.progress[2].state is ProgressState.SNAPSHOT


def test_a_follower_that_accepts_all_the_time_is_not_probed() -> None:
    """Under load something is always on its way, and a heartbeat's answer overtakes what waits for a disk."""
    leader = make_steady_leader()
    questions = []
    for _ in range(20):
        for _ in range(4):
            leader.propose("x")
            leader.wait(HEARTBEAT_S / 4)
            leader.accept(match=leader.raft.log.last_index - 1)
        questions += of(AppendEntries, leader.step(HeartbeatReply(2, 1, 1, 0), HeartbeatReply(3, 1, 1, 0)))
    assert questions == []


def test_a_follower_that_accepts_nothing_is_probed_once_a_heartbeat_interval() -> None:
    """Rounds for reads may come every millisecond, while its disk takes a second for each write."""
    leader = make_steady_leader()
    leader.propose("x")
    questions = []
    for _ in range(100):
        leader.wait(HEARTBEAT_S / 10)
        questions += of(AppendEntries, leader.step(HeartbeatReply(2, 1, 1, 0)))
    assert 9 <= len(questions) <= 10


def test_a_follower_that_lost_what_it_acknowledged_does_not_keep_the_leader_busy() -> None:
    """Its disk broke its promise. No message may answer another without end, at the speed of the network."""
    leader = make_steady_leader()
    leader.propose("a")
    leader.accept()
    empty = make(2, term=1)
    said = sync(leader.propose("b"), leader, empty)
    for _ in range(4):
        said += sync(leader.wait(HEARTBEAT_S), leader, empty)
    assert len(said) < 100


# -- proposals and their bound ---------------------------------------------------------------------


def test_only_a_leader_takes_proposals_and_reads() -> None:
    driven = make_follower(leader=3, term=1)
    for ask in (lambda: driven.raft.propose(["x"]), lambda: driven.raft.read_index("r")):
        with pytest.raises(NotLeaderError) as refusal:
            ask()
        assert refusal.value.leader == 3 and driven.raft.log.last_index == 0


def test_a_proposal_is_named_by_index_and_term() -> None:
    driven = make_steady_leader(terms=[1])
    assert driven.raft.propose(["a", "b"]) == (3, 2)
    assert driven.raft.start("c") == (5, 2)


def test_uncommitted_entries_queue_to_a_bound() -> None:
    driven = make_steady_leader(max_uncommitted_bytes=1000)
    with pytest.raises(OverloadedError):
        for _ in range(100):
            driven.propose("x" * 100)
    last = driven.raft.log.last_index
    assert last <= 12, "about a thousand bytes"
    with pytest.raises(OverloadedError):
        driven.raft.propose(["y"])
    assert driven.raft.log.last_index == last, "a refused proposal leaves nothing behind"
    driven.accept(2)
    driven.raft.propose(["y"])


def test_a_new_leader_counts_what_its_predecessor_left_uncommitted() -> None:
    driven = make_leader(terms=[1] * 50, max_uncommitted_bytes=500)
    with pytest.raises(OverloadedError):
        driven.raft.propose(["x"])
    driven.accept(2)
    driven.raft.propose(["x"])


def test_entries_that_wait_for_the_leaders_disk_queue_to_a_bound_even_if_committed() -> None:
    """Its disk hangs; the others commit. What is still to be written stays in its memory."""
    raft = make_steady_leader(max_uncommitted_bytes=1000).raft
    to_be_written = []
    with pytest.raises(OverloadedError):
        for _ in range(100):
            raft.propose(["x" * 100])
            to_be_written.append(raft.ready())
            for peer in (2, 3):
                raft.step(AppendAccepted(peer, 1, 1, raft.log.last_index))
    assert raft.log.commit == raft.log.last_index <= 12, "about a thousand bytes"
    with pytest.raises(OverloadedError):
        raft.propose(["y"])
    for ready in to_be_written:
        raft.advance(ready)
    raft.propose(["y"])


def test_a_leader_that_steps_down_keeps_what_it_could_not_commit() -> None:
    """The next leader may."""
    driven = make_steady_leader()
    driven.propose("x")
    driven.wait(2 * TIMEOUT_S)
    assert driven.raft.role is Role.FOLLOWER
    assert driven.raft.log.entries[-1].data == "x"
