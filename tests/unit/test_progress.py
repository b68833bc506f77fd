"""Progress: what a leader knows of one follower, transition by transition."""

from __future__ import annotations

import pytest
from raftkv.raft.progress import Progress, ProgressState
from raftkv.raft.types import COMMAND, Configuration, Entry, Snapshot

SNAPSHOT = Snapshot(10, 1, Configuration((1, 2, 3)))


def new(next: int = 21, max_inflight: int = 3, max_inflight_bytes: int = 10_000) -> Progress:
    return Progress(next, 0.0, max_inflight, max_inflight_bytes)


def replicating(match: int = 5, **limits: int) -> Progress:
    progress = new(**limits)
    progress.match = match
    progress.become_replicate()
    return progress


def some(first: int, last: int, data: str = "") -> list[Entry]:
    return [Entry.create(index, 1, COMMAND, data) for index in range(first, last + 1)]


# -- probe -----------------------------------------------------------------------------------------


def test_it_begins_with_a_probe_of_the_leaders_last_entry() -> None:
    progress = new(21)
    assert (progress.state, progress.match, progress.next) == (ProgressState.PROBE, 0, 21)
    assert not progress.paused


def test_a_probe_waits_for_an_answer_and_sends_nothing_ahead() -> None:
    progress = new(21)
    progress.sent_entries(some(21, 25))
    assert progress.paused and progress.next == 21
    progress.heartbeat_answered(0, overdue=True)
    assert not progress.paused, "it is alive, so the probe is lost"


def test_a_probe_that_is_accepted_begins_replication() -> None:
    progress = new(21)
    progress.sent_entries(some(21, 25))
    assert progress.accepted(25)
    assert (progress.state, progress.match, progress.next) == (ProgressState.REPLICATE, 25, 26)


def test_an_empty_probe_is_accepted_without_news() -> None:
    progress = new()
    progress.match = 5
    progress.become_probe()
    assert not progress.accepted(5)
    assert (progress.state, progress.next) == (ProgressState.REPLICATE, 6)


def test_a_probe_goes_on_when_less_was_accepted_than_it_asked_about() -> None:
    """An acknowledgement of something earlier; what was asked is not answered yet."""
    progress = new(21)
    assert progress.accepted(10)
    assert (progress.state, progress.match, progress.next) == (ProgressState.PROBE, 10, 21)


@pytest.mark.parametrize("retry, next", [(12, 13), (19, 20), (25, 20), (3, 8), (0, 8)])
def test_a_rejected_probe_moves_to_the_hint_but_back_at_least_one_and_not_below_match(
    retry: int, next: int
) -> None:
    progress = new(21)
    progress.match = 7
    progress.sent_entries([])
    assert progress.rejected(20, retry)
    assert progress.next == next and not progress.paused


@pytest.mark.parametrize("prev", [19, 21, 5])
def test_a_rejection_of_another_probe_is_no_news(prev: int) -> None:
    progress = new(21)
    progress.sent_entries([])
    assert not progress.rejected(prev, 3)
    assert progress.next == 21 and progress.paused


def test_a_rejection_of_what_was_acknowledged_is_not_answered_at_once() -> None:
    progress = new()
    progress.match = 5
    progress.become_probe()
    progress.sent_entries([])
    assert not progress.rejected(5, 2)
    assert progress.paused and progress.next == 6


# -- replicate -------------------------------------------------------------------------------------


def test_replication_sends_ahead() -> None:
    progress = replicating()
    progress.sent_entries(some(6, 8))
    progress.sent_entries(some(9, 9))
    assert progress.next == 10 and progress.match == 5 and not progress.paused


def test_the_window_counts_messages() -> None:
    progress = replicating(max_inflight=3)
    for index in (6, 7, 8):
        assert not progress.paused
        progress.sent_entries(some(index, index))
    assert progress.paused
    progress.sent_entries([])
    progress.accepted(5)
    assert progress.paused, "nothing of it was answered"
    progress.accepted(6)
    assert not progress.paused
    progress.sent_entries(some(9, 9))
    assert progress.paused
    progress.accepted(9)
    for index in (10, 11, 12):
        assert not progress.paused, "one answer can be for several"
        progress.sent_entries(some(index, index))


def test_the_window_counts_bytes() -> None:
    progress = replicating(max_inflight_bytes=1000)
    progress.sent_entries(some(6, 8, "x" * 250))
    assert not progress.paused
    progress.sent_entries(some(9, 9, "x" * 250))
    assert progress.paused
    progress.accepted(8)
    assert not progress.paused
    progress.sent_entries(some(10, 10, "x" * 800))
    assert progress.paused
    progress.accepted(10)
    assert not progress.paused


def test_a_heartbeats_answer_opens_no_window() -> None:
    """What is under way may still be on its way to a slow disk."""
    progress = replicating(max_inflight=1)
    progress.sent_entries(some(6, 6))
    progress.heartbeat_answered(0, overdue=True)
    assert progress.paused


def test_a_rejection_while_replicating_means_that_something_was_lost() -> None:
    progress = replicating(match=5)
    progress.sent_entries(some(6, 8))
    progress.sent_entries(some(9, 9))
    assert progress.rejected(8, 5)
    assert (progress.state, progress.next) == (ProgressState.PROBE, 6)


def test_a_late_rejection_while_replicating_is_no_news() -> None:
    progress = replicating(match=5)
    assert not progress.rejected(5, 2) and not progress.rejected(3, 2)
    assert progress.state is ProgressState.REPLICATE


def test_match_never_goes_back() -> None:
    progress = replicating(match=5)
    assert not progress.accepted(3) and not progress.accepted(5)
    assert progress.match == 5
    progress.become_probe()
    assert (progress.match, progress.next) == (5, 6)


def test_what_was_accepted_beyond_what_was_sent_is_not_sent() -> None:
    """A message from before the last probe arrived after all."""
    progress = replicating(match=5)
    assert progress.accepted(9)
    assert progress.next == 10


# -- snapshot --------------------------------------------------------------------------------------


def sending() -> Progress:
    progress = new(3)
    progress.become_snapshot(SNAPSHOT)
    return progress


def test_a_snapshot_is_sent_one_chunk_at_a_time() -> None:
    progress = sending()
    assert (progress.state, progress.snapshot, progress.snapshot_offset) == (
        ProgressState.SNAPSHOT,
        SNAPSHOT,
        0,
    )
    assert not progress.paused
    progress.sent_chunk()
    assert progress.paused
    assert progress.received_chunk(10, 100)
    assert not progress.paused and progress.snapshot_offset == 100


def test_a_doubled_answer_and_one_about_another_snapshot_are_no_news() -> None:
    progress = sending()
    progress.received_chunk(10, 100)
    progress.sent_chunk()
    assert not progress.received_chunk(10, 100) and not progress.received_chunk(9, 200)
    assert progress.paused


def test_a_damaged_snapshot_begins_again() -> None:
    progress = sending()
    progress.received_chunk(10, 100)
    progress.sent_chunk()
    assert progress.received_chunk(10, 0)
    assert progress.snapshot_offset == 0 and not progress.paused


def test_a_lost_chunk_is_sent_again_after_a_heartbeat() -> None:
    progress = sending()
    progress.sent_chunk()
    progress.heartbeat_answered(0, overdue=True)
    assert not progress.paused


@pytest.mark.parametrize(
    "match, state",
    [(9, ProgressState.SNAPSHOT), (10, ProgressState.REPLICATE), (12, ProgressState.REPLICATE)],
)
def test_who_reached_the_snapshots_index_is_replicated_to(match: int, state: ProgressState) -> None:
    progress = sending()
    progress.accepted(match)
    assert progress.state is state and progress.match == match and progress.next == match + 1
    assert (progress.snapshot is None) is (state is ProgressState.REPLICATE)


def test_a_rejection_while_a_snapshot_is_sent_is_old() -> None:
    progress = sending()
    assert not progress.rejected(2, 1) and progress.state is ProgressState.SNAPSHOT


def test_the_answered_round_never_goes_back() -> None:
    progress = new()
    progress.heartbeat_answered(4, overdue=True)
    progress.heartbeat_answered(2, overdue=True)
    assert progress.round == 4
