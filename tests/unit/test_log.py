"""RaftLog: the log in memory, and how far it is durable, committed and applied."""

from __future__ import annotations

import random
import sys

import pytest
from raftkv.errors import ForeignDataError
from raftkv.raft.configuration import Configuration
from raftkv.raft.log import RaftLog
from raftkv.raft.types import CONFIG, Entry, Snapshot

from tests.raft.harness import empty_snapshot, entries, entry

VOTERS = Configuration((1, 2, 3))


def make(*terms: int, snapshot: int = 0, term: int = 0, commit: int = 0) -> RaftLog:
    log = RaftLog(Snapshot(snapshot, term, VOTERS), entries(terms, snapshot + 1))
    log.commit_to(max(commit, snapshot))
    return log


def terms(log: RaftLog) -> list:
    return [entry.term for entry in log.entries]


def configured(index: int, term: int, *voters: int) -> Entry:
    return Entry.create(index, term, CONFIG, Configuration(voters).to_plain())


# -- asking ----------------------------------------------------------------------------------------


def test_recovered_entries_are_durable() -> None:
    log = make(1, 1, 2)
    assert (log.first_index, log.last_index, log.last_term, log.stable, log.commit, log.applied) == (
        1,
        3,
        2,
        3,
        0,
        0,
    )
    log = make(3, 3, snapshot=7, term=2)
    assert (log.first_index, log.last_index, log.last_term, log.stable, log.commit, log.applied) == (
        8,
        9,
        3,
        9,
        7,
        7,
    )
    log = make(snapshot=7, term=2)
    assert (log.first_index, log.last_index, log.last_term) == (8, 7, 2)


def test_terms_of_what_is_here_and_none_of_what_is_not() -> None:
    log = make(3, 4, snapshot=7, term=2)
    assert [log.term(index) for index in range(6, 11)] == [None, 2, 3, 4, None]
    assert make(1).term(0) == 0


def test_a_slice_holds_both_ends_and_as_many_bytes_as_allowed_but_one_entry() -> None:
    log = make(1, 1, 1, 1)
    size = len(log.entries[0].line)
    assert [e.index for e in log.slice(2, 3)] == [2, 3]
    assert [e.index for e in log.slice(2, 9)] == [2, 3, 4]
    assert [e.index for e in log.slice(1, 4, 2 * size)] == [1, 2]
    assert [e.index for e in log.slice(1, 4, 2 * size - 1)] == [1]
    assert [e.index for e in log.slice(1, 4, 1)] == [1]
    assert log.slice(5, 4) == []
    with pytest.raises(AssertionError):
        make(1, snapshot=7, term=1).slice(7, 8)


def test_find_conflict_names_the_first_entry_that_is_missing_or_different() -> None:
    log = make(1, 2, 2)
    assert log.find_conflict([]) == 0
    assert log.find_conflict(entries([1, 2], 1)) == 0
    assert log.find_conflict(entries([2, 2, 2], 2)) == 4
    assert log.find_conflict(entries([1, 1, 1], 1)) == 2
    assert log.find_conflict(entries([3], 1)) == 1


@pytest.mark.parametrize(
    "index, term, found",
    [
        (6, 5, (6, 5)),
        (6, 4, (4, 2)),
        (6, 2, (4, 2)),
        (6, 1, (2, 1)),
        (6, 0, (0, 0)),
        (99, 9, (6, 5)),
        (3, 9, (3, 2)),
        (0, 0, (0, 0)),
    ],
)
def test_find_conflict_by_term_skips_a_whole_term(index: int, term: int, found: tuple) -> None:
    assert make(1, 1, 2, 2, 5, 5).find_conflict_by_term(index, term) == found


def test_find_conflict_by_term_stops_at_what_is_compacted_away() -> None:
    log = make(5, 5, snapshot=4, term=2)
    assert log.find_conflict_by_term(6, 3) == (4, 2)
    assert log.find_conflict_by_term(3, 3) == (3, 0)


def test_find_conflict_by_term_agrees_with_its_definition() -> None:
    rng = random.Random(1)
    for _ in range(300):
        log = make(*sorted(rng.choices(range(1, 6), k=rng.randint(0, 9))))
        index, term = rng.randint(0, 12), rng.randint(0, 6)
        expected = max(i for i in range(min(index, log.last_index) + 1) if (log.term(i) or 0) <= term)
        assert log.find_conflict_by_term(index, term) == (expected, log.term(expected))


# -- changing --------------------------------------------------------------------------------------


def test_appending_at_the_end() -> None:
    log = make(1)
    log.append(entries([1, 2], 2))
    log.append([])
    assert terms(log) == [1, 1, 2] and log.stable == 1


def test_appending_where_the_index_is_taken_replaces_all_from_there() -> None:
    log = make(1, 1, 1, 1)
    log.append(entries([2], 3))
    assert terms(log) == [1, 1, 2] and log.stable == 2
    assert log.bytes == sum(len(e.line) for e in log.entries)


def test_neither_gaps_nor_committed_entries_can_be_written() -> None:
    log = make(1, 1, commit=2)
    with pytest.raises(AssertionError, match="gap"):
        log.append(entries([1], 4))
    with pytest.raises(AssertionError, match="committed"):
        log.append(entries([2], 2))
    assert terms(log) == [1, 1]


def test_commit_and_applied_go_forward_and_stay_in_order() -> None:
    log = make(1, 1, 1)
    log.commit_to(2)
    log.commit_to(1)
    assert log.commit == 2
    with pytest.raises(AssertionError):
        log.commit_to(4)
    with pytest.raises(AssertionError):
        log.applied_to(3)
    log.applied_to(2)
    with pytest.raises(AssertionError):
        log.applied_to(1)


def test_compaction_forgets_what_is_applied_and_nothing_else() -> None:
    log = make(1, 1, 2, 2, commit=3)
    log.applied_to(3)
    with pytest.raises(AssertionError):
        log.compact(4)
    log.compact(3)
    assert log.snapshot == Snapshot(3, 2, VOTERS) and terms(log) == [2] and log.first_index == 4
    assert log.bytes == len(log.entries[0].line) and log.stable == 4
    log.compact(2)
    assert log.first_index == 4, "an older one is no news"


def test_compacted_entries_need_not_be_on_this_disk() -> None:
    """Others committed it, and the state machine's snapshot stands for it now."""
    log = make(1)
    log.append(entries([1, 1], 2))
    log.commit_to(3)
    log.applied_to(3)
    log.compact(2)
    assert log.stable == 2 and log.last_index == 3


def test_restore_beyond_the_end_drops_all() -> None:
    log = make(1, 1)
    log.restore(Snapshot(9, 1, VOTERS))
    assert (log.last_index, log.stable, log.last_term, log.bytes) == (9, 9, 1, 0)


@pytest.mark.parametrize("how", ["truncated", "restored"])
def test_many_entries_that_are_dropped_are_freed_in_steps(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raftkv.raft.log.FREED_AT_ONCE", 2)
    log = make(1, 1, 1, 1, 1)
    dropped = log.entries[:]

    def references() -> int:
        return sum(sys.getrefcount(dropped[at]) for at in range(5))

    before = references()
    if how == "truncated":
        log.append(entries((2,), 1))
    else:
        log.restore(Snapshot(9, 2, VOTERS))
    freed = [before - references()]
    for _ in range(4):
        log.free_dropped()
        freed.append(before - references())
    assert freed == [0, 2, 4, 5, 5]


def test_no_older_snapshot_over_newer_state() -> None:
    log = make(1, 1, 1, commit=2)
    with pytest.raises(AssertionError, match="older"):
        log.restore(Snapshot(2, 1, VOTERS))


# -- configurations --------------------------------------------------------------------------------


def test_the_newest_configuration_counts_and_a_truncated_one_does_not() -> None:
    log = RaftLog(empty_snapshot((1,)), [configured(1, 1, 1, 2), entry(2, 1), configured(3, 1, 1, 2, 3)])
    assert log.configuration.voters == (1, 2, 3)
    assert [log.configuration_at(index).voters for index in range(4)] == [(1,), (1, 2), (1, 2), (1, 2, 3)]
    log.append([entry(3, 2)])
    assert log.configuration.voters == (1, 2)
    log.append([configured(4, 2, 7)])
    assert log.configuration.voters == (7,)
    log.append([entry(1, 3)])
    assert log.configuration.voters == (1,)


def test_a_configuration_of_another_version_is_said() -> None:
    plain = {**Configuration((1, 2)).to_plain(), "witnesses": [3]}
    with pytest.raises(ForeignDataError, match="cannot read the entry 1 of term 2"):
        RaftLog(Snapshot(0, 0, VOTERS), [Entry.create(1, 2, CONFIG, plain)])


def test_configurations_survive_compaction_and_restore() -> None:
    log = RaftLog(
        empty_snapshot((1,)), [configured(1, 1, 1, 2), entry(2, 1), configured(3, 1, 1, 2, 3), entry(4, 1)]
    )
    log.commit_to(4)
    log.applied_to(2)
    log.compact(2)
    assert log.snapshot.configuration.voters == (1, 2) and log.configuration.voters == (1, 2, 3)
    log.applied_to(4)
    log.compact(4)
    assert log.snapshot.configuration.voters == (1, 2, 3)
    log.append([configured(5, 1, 9), entry(6, 1)])
    log.restore(Snapshot(5, 1, Configuration((9,))))
    assert log.configuration.voters == (9,) and log.last_index == 6
    log.restore(Snapshot(8, 2, Configuration((4, 5))))
    assert log.configuration.voters == (4, 5)
