"""Progress: the transitions that the tests of replication and snapshots (tests/raft) do not come to."""

from __future__ import annotations

import pytest
from raftkv.raft.configuration import Configuration
from raftkv.raft.progress import Progress, ProgressState
from raftkv.raft.types import Snapshot

from tests.raft.harness import entries

SNAPSHOT = Snapshot(10, 1, Configuration((1, 2, 3)))


def new(next: int = 21, match: int = 0) -> Progress:
    progress = Progress(next, 0.0, 1, 10_000)
    progress.match = match
    return progress


def replicating() -> Progress:
    progress = new(match=5)
    progress.become_replicate()
    return progress


def test_an_empty_probe_is_accepted_without_news() -> None:
    progress = new(match=5)
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
    progress = new(21, match=7)
    progress.sent_entries([])
    assert progress.rejected(20, retry)
    assert progress.next == next and not progress.paused


@pytest.mark.parametrize("prev", [5, 3])
def test_a_rejection_of_what_was_acknowledged_is_no_news(prev: int) -> None:
    for progress in (new(match=5), replicating()):
        state = progress.state
        assert not progress.rejected(prev, 2)
        assert (progress.state, progress.match) == (state, 5)


def test_a_heartbeats_answer_opens_no_window() -> None:
    """What is under way may still be on its way to a slow disk."""
    progress = replicating()
    progress.sent_entries(entries([1], 6))
    progress.heartbeat_answered(0, overdue=True)
    assert progress.paused


def test_entries_accepted_beyond_those_sent_are_not_sent() -> None:
    """A message from before the last probe arrived after all."""
    progress = replicating()
    assert progress.accepted(9)
    assert progress.next == 10


def sending() -> Progress:
    progress = new(3)
    progress.become_snapshot(SNAPSHOT)
    return progress


@pytest.mark.parametrize(
    "match, state",
    [(9, ProgressState.SNAPSHOT), (10, ProgressState.REPLICATE), (12, ProgressState.REPLICATE)],
)
def test_a_follower_at_the_snapshots_index_is_replicated_to(match: int, state: ProgressState) -> None:
    progress = sending()
    progress.accepted(match)
    assert progress.state is state and progress.match == match and progress.next == match + 1
    assert (progress.snapshot is None) is (state is ProgressState.REPLICATE)


def test_an_old_answer_while_a_snapshot_is_sent_is_no_news() -> None:
    progress = sending()
    assert not progress.rejected(2, 1) and not progress.received_chunk(9, 200)
    assert progress.state is ProgressState.SNAPSHOT


def test_the_answered_round_never_goes_back() -> None:
    progress = new()
    progress.heartbeat_answered(4, overdue=True)
    progress.heartbeat_answered(2, overdue=True)
    assert progress.round == 4
