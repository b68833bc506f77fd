"""Snapshots (paper section 7) as the core sees them: when one is sent, in chunks, resumed, refused; what
happens to the log; compaction; and who votes, from log and snapshot (thesis 4.1)."""

from __future__ import annotations

import pytest
from raftkv.raft.configuration import Configuration
from raftkv.raft.log import RaftLog
from raftkv.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Message,
    RequestVote,
    SnapshotReply,
    StaleTerm,
)
from raftkv.raft.progress import ProgressState
from raftkv.raft.types import COMMAND, CONFIG, Entry, Role, Snapshot

from tests.raft.harness import (
    HEARTBEAT_S,
    TIMEOUT_S,
    Driven,
    append,
    make,
    make_copy,
    make_follower,
    make_steady_leader,
    of,
    only,
    sync,
    terms_of,
)

VOTERS = Configuration((1, 2, 3))


def snap(index: int, term: int) -> Snapshot:
    return Snapshot(index, term, VOTERS)


def make_compacted_leader(at: int = 5) -> Driven:
    """Leads term 2 with 9 entries of term 1 and its no-op; entries up to `at` are only in a snapshot."""
    driven = make_steady_leader(terms=[1] * 9)
    driven.raft.compact(snap(at, 1))
    return driven


def test_a_long_log_is_let_go_of_in_steps() -> None:
    driven = make(terms=[1] * 9, term=1)
    driven.raft.log.commit_to(9)
    driven.raft.log.applied_to(9)
    firsts = []
    while driven.raft.compact(snap(8, 1), most=3):
        firsts.append(driven.raft.log.first_index)
    assert firsts == [4, 7] and driven.raft.log.first_index == 9


def send_snapshot(driven: Driven, peer: int = 2) -> InstallSnapshot:
    """Let `peer` lack what is compacted away. Returns the first chunk that the leader sends it."""
    raft = driven.raft
    raft.progress[peer].match = 0
    raft.progress[peer].become_probe()
    return only(of(InstallSnapshot, driven.step(HeartbeatReply(peer, raft.id, raft.term, 0))))


def chunk(
    driven: Driven, snapshot: Snapshot, offset: int = 0, done: bool = False, sender: int = 2
) -> Message:
    return InstallSnapshot(sender, driven.raft.id, driven.raft.term, snapshot, offset, b"data", done)


def install(driven: Driven, snapshot: Snapshot) -> list:
    """Receive and store the one and only chunk of `snapshot`."""
    driven.step(chunk(driven, snapshot, done=True))
    driven.raft.chunk_stored(driven.chunks.pop(), 4, True)
    return driven.run()


# -- the leader's side -----------------------------------------------------------------------------


def test_a_follower_that_lacks_compacted_entries_gets_the_snapshot() -> None:
    driven = make_compacted_leader()
    assert send_snapshot(driven) == InstallSnapshot(1, 2, 2, snap(5, 1), 0, b"", False)
    assert driven.raft.progress[2].state is ProgressState.SNAPSHOT


def test_a_rejected_append_leads_to_the_snapshot_when_the_logs_part_before_its_end() -> None:
    driven = make(terms=[1] * 9, term=1)
    driven.become_leader()
    driven.accept(3)
    driven.raft.compact(snap(5, 1))
    sent = driven.step(AppendRejected(2, 1, 2, 9, 3, 1))
    assert of(InstallSnapshot, sent) == [InstallSnapshot(1, 2, 2, snap(5, 1), 0, b"", False)]


def test_chunks_go_out_one_after_the_other() -> None:
    driven = make_compacted_leader()
    send_snapshot(driven)
    assert only(driven.step(SnapshotReply(2, 1, 2, 5, 100))).offset == 100
    assert driven.step(SnapshotReply(2, 1, 2, 5, 100)) == [], "a doubled answer is no news"
    assert only(driven.step(SnapshotReply(2, 1, 2, 5, 200))).offset == 200
    assert driven.step(SnapshotReply(2, 1, 2, 4, 300)) == [], "about another snapshot"


def test_a_transfer_goes_on_where_the_follower_says() -> None:
    driven = make_compacted_leader()
    send_snapshot(driven)
    for held in (7000, 7100, 0):  # from a transfer before this one; one chunk more; it found it damaged
        assert only(driven.step(SnapshotReply(2, 1, 2, 5, held))).offset == held


@pytest.mark.parametrize("held", [100, 0])
def test_a_lost_chunk_and_a_damaged_snapshot_of_one_are_sent_again_after_a_heartbeat(held: int) -> None:
    driven = make_compacted_leader()
    send_snapshot(driven)
    driven.step(SnapshotReply(2, 1, 2, 5, held))
    driven.wait(HEARTBEAT_S)
    assert only(of(InstallSnapshot, driven.step(HeartbeatReply(2, 1, 2, 0)))).offset == held


def test_a_chunk_that_takes_its_time_is_not_sent_again_with_each_round_of_reads() -> None:
    """A disk may take longer for a chunk than many rounds take."""
    driven = make_compacted_leader()
    send_snapshot(driven)
    again = []
    for _ in range(10):
        driven.wait(HEARTBEAT_S / 5)
        again += of(InstallSnapshot, driven.step(HeartbeatReply(2, 1, 2, 0)))
    assert len(again) == 2


def test_after_the_snapshot_come_the_entries_that_follow_it() -> None:
    driven = make_compacted_leader()
    send_snapshot(driven)
    sent = only(of(AppendEntries, driven.accept(2, match=5)))
    assert (sent.prev_index, sent.prev_term, len(sent.entries)) == (5, 1, 5)
    assert driven.raft.progress[2].state is ProgressState.REPLICATE


def test_no_entries_go_to_who_receives_a_snapshot() -> None:
    driven = make_compacted_leader()
    send_snapshot(driven)
    assert [m.to for m in of(AppendEntries, driven.propose("x"))] == [3]
    assert [m.to for m in of(Heartbeat, driven.wait(HEARTBEAT_S))] == [2, 3], "but heartbeats do"


def test_compaction_waits_for_a_transfer_to_a_live_follower() -> None:
    """Otherwise a follower that takes long would have to begin again, for ever."""
    driven = make_compacted_leader(at=5)
    send_snapshot(driven)
    driven.raft.compact(snap(9, 1))
    assert driven.raft.log.first_index == 6
    assert only(driven.step(SnapshotReply(2, 1, 2, 5, 100))).snapshot == snap(5, 1)
    assert only(of(AppendEntries, driven.accept(2, match=5))).prev_index == 5
    driven.accept(2)
    driven.raft.compact(snap(10, 2))
    assert driven.raft.log.first_index == 11


def test_compaction_does_not_wait_for_a_follower_that_is_gone() -> None:
    driven = make_compacted_leader(at=5)
    send_snapshot(driven)
    driven.wait(TIMEOUT_S * 0.6)
    driven.step(HeartbeatReply(3, 1, 2, 0))
    driven.wait(TIMEOUT_S * 0.6)
    assert driven.raft.role is Role.LEADER
    driven.raft.compact(snap(9, 1))
    assert driven.raft.log.first_index == 10


def make_lagging(lag: int, **options: int) -> tuple[Driven, Driven]:
    """(leader, node 2), which lacks the last `lag` entries: they were lost. Node 3 holds them."""
    leader = make_steady_leader(**options)
    follower = make_copy(leader, 2)
    for i in range(lag):
        leader.propose(f"lost {i}")
    leader.accept(3)
    return leader, follower


def compact_all(driven: Driven) -> None:
    """A snapshot of all that is applied becomes durable."""
    log = driven.raft.log
    driven.raft.compact(snap(log.applied, log.term(log.applied) or 0))


def catch_up(leader: Driven, follower: Driven) -> list[Message]:
    said: list[Message] = []
    for _ in range(3):
        said += sync(leader.wait(HEARTBEAT_S), leader, follower)
    return said


def test_a_follower_that_lags_a_little_when_a_snapshot_is_taken_gets_entries() -> None:
    leader, follower = make_lagging(5)
    compact_all(leader)
    said = catch_up(leader, follower)
    assert not of(InstallSnapshot, said)
    assert follower.raft.log.last_index == 6 and follower.raft.log.commit == 6
    leader.propose("next")
    leader.accept()
    compact_all(leader)
    assert leader.raft.log.first_index == 8, "what nobody lacks any more is let go of"


def test_a_follower_that_lags_far_behind_when_a_snapshot_is_taken_gets_the_snapshot() -> None:
    leader, follower = make_lagging(50, max_kept_bytes=1000)
    compact_all(leader)
    assert leader.raft.log.first_index == 52
    assert of(InstallSnapshot, catch_up(leader, follower))


def test_follower_that_lags_far_behind_is_no_reason_to_keep_nothing_for_another() -> None:
    leader = make_steady_leader(voters=[1, 2, 3, 4, 5], max_kept_bytes=300)
    for i in range(50):
        leader.propose("x")
    leader.accept(4, 5)
    leader.accept(3, match=48)
    leader.accept(2, match=2)
    compact_all(leader)
    assert leader.raft.log.first_index == 49


def test_nothing_is_kept_for_who_is_gone() -> None:
    leader, _ = make_lagging(5)
    for _ in range(3):
        leader.wait(TIMEOUT_S * 0.4)
        leader.step(HeartbeatReply(3, 1, 1, 0))
    compact_all(leader)
    assert leader.raft.log.first_index == 7


@pytest.mark.parametrize("state", [ProgressState.REPLICATE, ProgressState.SNAPSHOT])
def test_entries_kept_for_a_crawling_follower_are_bounded(state: ProgressState) -> None:
    driven = make_steady_leader(max_kept_bytes=1000)
    if state is ProgressState.SNAPSHOT:
        compact_all(driven)
        send_snapshot(driven)
    largest = 0
    for _ in range(100):
        driven.propose("x" * 50)
        driven.accept(3)
        driven.step(HeartbeatReply(2, 1, 1, 0))
        compact_all(driven)
        largest = max(largest, driven.raft.log.bytes)
    assert 900 <= largest <= 1000


def test_the_newest_snapshot_is_sent_when_the_file_of_an_older_one_is_gone() -> None:
    driven = make_compacted_leader(at=5)
    send_snapshot(driven)
    driven.step(SnapshotReply(2, 1, 2, 5, 100))
    driven.raft.compact(snap(9, 1))
    driven.raft.snapshot_unreadable(2, snap(4, 1))
    assert driven.raft.progress[2].snapshot == snap(5, 1), "another one than that which is being sent"
    driven.raft.snapshot_unreadable(2, snap(5, 1))
    sent = only(of(InstallSnapshot, driven.step(HeartbeatReply(2, 1, 2, 0))))
    assert (sent.snapshot, sent.offset) == (snap(9, 1), 0)


def test_an_older_snapshot_written_late_does_not_take_the_place_of_a_newer_one() -> None:
    """The own one may take minutes to write; meanwhile a newer one may have been received and installed."""
    driven = make_follower(terms=[1, 1, 1], term=1)
    driven.step(append(driven.raft, (3, 1), commit=3))
    install(driven, snap(9, 1))
    driven.raft.compact(snap(3, 1))
    assert driven.raft.latest_snapshot == snap(9, 1) and driven.raft.log.snapshot == snap(9, 1)


# -- the follower's side ---------------------------------------------------------------------------


def test_a_chunk_is_stored_before_it_is_acknowledged() -> None:
    raft = make_follower(term=1).raft
    driven = Driven(raft)
    raft.step(chunk(driven, snap(5, 1)))
    ready = raft.ready()
    assert ready.chunk is not None and not ready.promises and not ready.messages and ready.needs_disk
    raft.chunk_stored(ready.chunk, 4, False)
    assert raft.ready().promises == [SnapshotReply(1, 2, 1, 5, 4)]


def test_a_complete_snapshot_replaces_the_log() -> None:
    """Section 7: "the follower discards its entire log; it is all superseded by the snapshot"."""
    driven = make_follower(terms=[1, 1], term=3)
    sent = install(driven, snap(9, 3))
    assert sent == [AppendAccepted(1, 2, 3, 9)]
    log = driven.raft.log
    assert (log.snapshot, log.commit, log.applied, log.stable, log.last_index) == (snap(9, 3), 9, 9, 9, 9)
    assert driven.restored == [snap(9, 3)] and driven.applied == []
    driven.step(append(driven.raft, (9, 3), [3, 3], commit=11))
    assert [e.index for e in driven.applied] == [10, 11] and [e.index for e in driven.saved] == [10, 11]


@pytest.mark.parametrize("term, kept", [(1, [1, 1]), (2, [])])
def test_entries_after_the_snapshot_are_kept_if_the_log_agrees_with_it(term: int, kept: list) -> None:
    """Section 7: "entries following the snapshot are still valid and must be retained"."""
    driven = make_follower(terms=[1, 1, 1, 1, 1], term=2)
    install(driven, snap(3, term))
    assert terms_of(driven.raft) == kept
    assert driven.raft.log.commit == 3


def test_kept_entries_are_not_stored_again_and_replaced_ones_never() -> None:
    raft = make_follower(term=1).raft
    driven = Driven(raft)
    raft.step(append(raft, (0, 0), [1, 1, 1]))
    raft.step(chunk(driven, snap(2, 1), done=True))
    ready = raft.ready()
    assert [e.index for e in ready.entries] == [1, 2, 3] and ready.chunk is not None, "in this order"
    raft.chunk_stored(ready.chunk, 4, True)
    raft.advance(ready)
    later = raft.ready()
    assert later.entries == [] and later.restore == snap(2, 1)
    assert raft.log.stable == 3


@pytest.mark.parametrize("index", [1, 2, 3])
def test_an_older_snapshot_is_never_applied_over_newer_state(index: int) -> None:
    driven = make_follower(terms=[1, 1, 1, 1], term=1)
    driven.step(append(driven.raft, (3, 1), commit=3))
    assert driven.step(chunk(driven, snap(index, 1), done=True)) == [AppendAccepted(1, 2, 1, 3)]
    assert not driven.chunks and not driven.restored
    assert driven.raft.log.last_index == 4


def test_a_snapshot_overtaken_while_it_was_stored_is_dropped() -> None:
    driven = make_follower(terms=[1, 1, 1, 1], term=1)
    driven.step(chunk(driven, snap(3, 1)))
    driven.step(append(driven.raft, (4, 1), commit=4))
    driven.raft.chunk_stored(driven.chunks.pop(), 4, False)
    assert driven.step(chunk(driven, snap(3, 1), offset=4, done=True))[-1] == AppendAccepted(1, 2, 1, 4)
    assert not driven.chunks and driven.raft.log.commit == 4


def test_a_damaged_snapshot_changes_nothing_here() -> None:
    driven = make_follower(terms=[1, 1], term=1)
    driven.step(chunk(driven, snap(9, 1), done=True))
    driven.raft.chunk_stored(driven.chunks.pop(), 0, False)
    assert driven.run() == [SnapshotReply(1, 2, 1, 9, 0)]
    assert not driven.restored and terms_of(driven.raft) == [1, 1]
    assert driven.step(append(driven.raft, (2, 1), [1])) == [AppendAccepted(1, 2, 1, 3)], "and it goes on"


def test_entries_wait_while_the_last_chunk_is_on_its_way_to_the_disk() -> None:
    driven = make_follower(term=1)
    driven.step(chunk(driven, snap(9, 1), done=True))
    assert driven.step(append(driven.raft, (0, 0), [1], commit=1)) == []
    assert driven.step(append(driven.raft, (9, 1), [1], commit=1)) == []
    assert driven.step(Heartbeat(2, 1, 1, 0, 4)) == [HeartbeatReply(1, 2, 1, 4)], "but it is alive"
    assert driven.raft.log.last_index == 0 and driven.raft.log.commit == 0
    driven.raft.chunk_stored(driven.chunks.pop(), 4, True)
    driven.run()
    assert driven.step(append(driven.raft, (9, 1), [1]))[-1] == AppendAccepted(1, 2, 1, 10)


def test_one_chunk_at_a_time_is_on_its_way_to_the_disk() -> None:
    raft = make_follower(term=1).raft
    driven = Driven(raft)
    raft.step(chunk(driven, snap(9, 1), offset=0))
    raft.step(chunk(driven, snap(9, 1), offset=4, done=True))
    ready = raft.ready()
    assert ready.chunk is not None and ready.chunk.offset == 0
    raft.step(append(raft, (0, 0), [1]))
    assert raft.log.last_index == 1, "a dropped last chunk holds nothing up"


def test_a_doubled_last_chunk_is_installed_once() -> None:
    driven = make_follower(term=1)
    driven.step(chunk(driven, snap(9, 1), done=True), chunk(driven, snap(9, 1), done=True))
    driven.step(chunk(driven, snap(9, 1), done=True))
    driven.raft.chunk_stored(only(driven.chunks), 4, True)
    driven.run()
    assert driven.step(chunk(driven, snap(9, 1), done=True)) == [AppendAccepted(1, 2, 1, 9)]
    assert driven.restored == [snap(9, 1)] and len(driven.chunks) == 1


def test_a_chunk_of_an_earlier_terms_leader_is_refused() -> None:
    driven = make_follower(term=4)
    stale = InstallSnapshot(3, 1, 3, snap(9, 1), 0, b"data", True)
    assert driven.step(stale) == [StaleTerm(1, 3, 4)] and not driven.chunks


def test_a_snapshot_installed_after_the_term_ended_is_still_good() -> None:
    """What it holds is committed, whoever leads now."""
    driven = make_follower(term=1)
    driven.step(chunk(driven, snap(9, 1), done=True))
    driven.step(Heartbeat(3, 1, 2, 0, 0))
    driven.raft.chunk_stored(driven.chunks.pop(), 4, True)
    assert driven.run() == [AppendAccepted(1, 2, 2, 9)]
    assert driven.raft.log.commit == 9 and driven.raft.leader == 3


def test_committed_entries_not_yet_handed_out_are_in_the_snapshot() -> None:
    raft = make_follower(terms=[1, 1, 1], term=1).raft
    driven = Driven(raft)
    raft.step(chunk(driven, snap(9, 1), done=True))
    ready = raft.ready()
    raft.chunk_stored(ready.chunk, 4, True)
    later = raft.ready()
    assert later.restore == snap(9, 1) and later.committed == []


def test_a_log_that_begins_with_a_snapshot_can_be_compared_and_elected() -> None:
    driven = make(snapshot=snap(9, 3), term=3)
    assert driven.step(append(driven.raft, (9, 3), [3])) == [AppendAccepted(1, 2, 3, 10)]
    driven = make(snapshot=snap(9, 3), term=3)
    assert driven.become_candidate() == [RequestVote(1, 2, 4, 9, 3), RequestVote(1, 3, 4, 9, 3)]


# -- who votes: Configuration from log and snapshot (thesis 4.1) -----------------------------------


def test_a_configuration_counts_as_soon_as_it_is_in_the_log_and_no_longer_than_that() -> None:
    """Thesis 4.1: "always uses the latest configuration in its log, regardless of whether committed"; it "must be
    prepared to fall back to the previous configuration in its log"."""
    driven = make_follower(terms=[1], term=1)
    entry = Entry.create(2, 1, CONFIG, Configuration((1, 2, 3, 4, 5), (1, 2, 3)).to_plain())
    driven.step(AppendEntries(2, 1, 1, 1, 1, (entry,), 0))
    assert driven.raft.configuration.voters == (1, 2, 3, 4, 5)
    assert driven.raft.log.configuration_at(1).voters == (1, 2, 3)
    driven.step(append(driven.raft, (1, 1), [2], term=2))
    assert driven.raft.configuration.voters == (1, 2, 3)
    install(driven, Snapshot(9, 1, Configuration((1, 2, 3, 4))))
    assert driven.raft.configuration.voters == (1, 2, 3, 4)


def test_a_compacted_log_has_the_members_of_where_it_was_compacted() -> None:
    later = Configuration((1, 2, 3), learners=(4,))
    log = RaftLog(
        Snapshot(0, 0, VOTERS),
        [Entry.create(1, 1, COMMAND, "x"), Entry.create(2, 1, CONFIG, later.to_plain())],
    )
    log.commit_to(2)
    log.applied_to(2)
    log.compact(1)
    assert log.snapshot == Snapshot(1, 1, VOTERS) and log.configuration == later
    log.compact(2)
    assert log.snapshot == Snapshot(2, 1, later)
