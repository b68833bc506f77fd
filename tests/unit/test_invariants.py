"""The invariants themselves: each one notices the state it exists for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable

import pytest
from raftkv.raft import invariants
from raftkv.raft.changes import Change
from raftkv.raft.configuration import Configuration
from raftkv.raft.core import Raft
from raftkv.raft.progress import ProgressState
from raftkv.raft.types import CONFIG, Entry, Role

from tests.raft.harness import Driven, entry, make, make_follower, make_leader, make_steady_leader


def leader() -> Driven:
    driven = make_steady_leader(terms=[1, 1])
    driven.propose("a", "b")
    return driven


def set_log(**values: int) -> Callable[[Raft], Any]:
    return lambda raft: raft.log.__dict__.update(values)


def set_raft(**values: Any) -> Callable[[Raft], Any]:
    return lambda raft: raft.__dict__.update(values)


def set_progress(**values: Any) -> Callable[[Raft], Any]:
    return lambda raft: raft.progress[2].__dict__.update(values)


def in_force(raft: Raft, *voters: int) -> None:
    """They vote, and that is committed."""
    index = raft.log.last_index + 1
    raft.log.append([Entry.create(index, raft.term, CONFIG, Configuration(voters).to_plain())])
    raft.log.commit_to(index)


BROKEN = {
    "applied beyond commit": set_log(applied=4),
    "commit beyond last": set_log(commit=9, applied=2),
    "snapshot beyond applied": set_log(applied=-1),
    "stable beyond last": set_log(stable=9),
    "an index that skips one": lambda raft: raft.log.entries.__setitem__(-1, entry(6, 2)),
    "first index not after the snapshot": set_log(first_index=2),
    "last index not that of the last entry": set_log(last_index=4),
    "a gap": lambda raft: raft.log.entries.pop(1),
    "a term above the current": lambda raft: raft.log.entries.__setitem__(-1, entry(5, 9)),
    "terms that go back": lambda raft: raft.log.entries.__setitem__(0, entry(1, 3)),
    "a leader that voted for another": set_raft(vote=2),
    "a leader that follows another": set_raft(leader=2),
    "a follower that believes it leads": set_raft(role=Role.FOLLOWER),
    "a candidate without its vote": set_raft(role=Role.CANDIDATE, leader=None, vote=None),
    "match not below next": set_progress(next=4, match=4),
    "match beyond the leader's log": set_progress(match=9, next=10),
    "a snapshot sent, but none": set_progress(state=ProgressState.SNAPSHOT),
    "a member that is sent nothing": lambda raft: raft.leadership.progress.pop(3),
    "a leader whose removal is committed": lambda raft: (
        in_force(raft, 2, 3),
        raft.leadership.progress.clear(),
    ),
    "a candidate that is no voter": lambda raft: (
        in_force(raft, 2, 3),
        set_raft(role=Role.CANDIDATE, leader=None, leadership=None)(raft),
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_check_state_notices(name: str) -> None:
    raft = leader().raft
    invariants.check_state(raft)
    BROKEN[name](raft)
    with pytest.raises(AssertionError):
        invariants.check_state(raft)


CHANGES = {
    "term": set_raft(term=1),
    "commit": set_log(commit=2, applied=2),
    "applied": set_log(applied=1),
    "a second vote in a term": set_raft(vote=3),
    "a vote taken back": set_raft(vote=None),
    "a leader's log that shrinks": lambda raft: raft.log._truncate(raft.log.last_index),
    "another entry where one was committed": lambda raft: raft.log.entries.__setitem__(2, entry(3, 1)),
}


def configuration(index: int, voters: Sequence[int], outgoing: Sequence[int] = ()) -> Callable[[Raft], Any]:
    plain = Configuration(tuple(voters), tuple(outgoing)).to_plain()
    return lambda raft: raft.log.append([Entry.create(index, raft.term, CONFIG, plain)])


def test_check_delta_notices_a_change_of_voters_that_is_not_joint() -> None:
    raft = make_follower(terms=[1], term=1).raft
    before = invariants.observe(raft)
    configuration(2, (1, 2, 3, 4), (1, 2, 3))(raft)
    joint = invariants.check_delta(before, raft)
    configuration(3, (1, 2, 3, 4))(raft)
    invariants.check_delta(joint, raft)
    for index, voters, seen in ((3, (1, 2, 4), joint), (2, (1, 2, 3, 4), before)):
        configuration(index, voters)(raft)
        with pytest.raises(AssertionError, match="is followed by"):
            invariants.check_delta(seen, raft)


def test_check_delta_notices_a_leaders_second_change_before_the_first_is_committed() -> None:
    driven = make_steady_leader()
    driven.raft.propose_configuration(Change(remove=(3,)))
    driven.run()
    before = invariants.observe(driven.raft)
    configuration(driven.raft.log.last_index + 1, (1, 2))(driven.raft)
    with pytest.raises(AssertionError, match="is not committed"):
        invariants.check_delta(before, driven.raft)


def test_check_delta_notices_a_new_leaders_change_before_its_no_op_is_committed() -> None:
    driven = make_leader(terms=[1])
    before = invariants.observe(driven.raft)
    configuration(3, (1, 2, 3, 4), (1, 2, 3))(driven.raft)
    with pytest.raises(AssertionError, match="nothing of term 2 is committed"):
        invariants.check_delta(before, driven.raft)


@pytest.mark.parametrize("name", CHANGES)
def test_check_delta_notices(name: str) -> None:
    raft = leader().raft
    before = invariants.observe(raft)
    assert invariants.check_delta(before, raft) == before
    CHANGES[name](raft)
    with pytest.raises(AssertionError):
        invariants.check_delta(before, raft)


def test_check_delta_lets_a_new_term_forget_the_vote() -> None:
    raft = leader().raft
    before = invariants.observe(raft)
    raft.term, raft.vote, raft.role, raft.leader = 7, None, Role.FOLLOWER, None
    invariants.check_delta(before, raft)


def looked_at(*rafts: Raft) -> invariants.ClusterHistory:
    """What is remembered of a cluster after these, one after the other."""
    history = invariants.ClusterHistory()
    for raft in rafts:
        history.check([raft])
    return history


def committed(id: int, terms: list[int], commit: int) -> Raft:
    raft = make(id, terms=terms, term=3).raft
    raft.log.commit_to(commit)
    return raft


def with_entry(raft: Raft, at: int, data: str) -> Raft:
    """Its log has another command there."""
    raft.log.entries[at - 1] = entry(at, raft.log.entries[at - 1].term, data)
    return raft


def test_two_leaders_of_a_term_are_noticed_even_if_never_at_once() -> None:
    history = looked_at(make_steady_leader(1).raft, make_steady_leader(1).raft)
    with pytest.raises(AssertionError, match="both led term 1"):
        history.check([make_steady_leader(2).raft])


@pytest.mark.parametrize("restarted", [False, True])
def test_two_entries_committed_at_one_index_are_noticed(restarted: bool) -> None:
    history = looked_at(committed(1, [1, 1, 1], 3), committed(2, [1, 1, 2], 2))
    if restarted:
        history.restarted(1)
    with pytest.raises(AssertionError, match="committed"):
        history.check([committed(1 if restarted else 2, [1, 1, 2], 3)])


def test_a_leader_that_lacks_a_committed_entry_is_noticed() -> None:
    follower = make_follower(terms=[1, 1, 1], term=1).raft
    follower.log.commit_to(3)
    history = looked_at(follower)
    history.check_leader_completeness(make_steady_leader(2, terms=[1, 1, 1]).raft)
    for terms in ([1], [1, 1, 2]):
        with pytest.raises(AssertionError, match="lacks"):
            history.check_leader_completeness(make_steady_leader(2, terms=terms).raft)


def test_logs_that_agree_after_they_differ_are_noticed() -> None:
    one = make(1, terms=[1, 2, 3]).raft
    invariants.check_log_matching([one, make(2, terms=[1, 2, 4, 4]).raft])
    same_terms = with_entry(make(2, terms=[1, 2, 3]).raft, 2, "another command")
    for other in (make(2, terms=[1, 1, 3]).raft, same_terms):
        with pytest.raises(AssertionError, match="differ"):
            invariants.check_log_matching([one, make(3, terms=[]).raft, other])  # not only neighbours


OTHERS = {
    "another term before it": make(2, terms=[1, 1, 3]).raft,
    "another command": with_entry(make(2, terms=[1, 2, 3]).raft, 3, "another"),
    "an equal end behind another command": with_entry(make(2, terms=[1, 2, 3]).raft, 2, "another"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_an_entry_that_another_log_had_otherwise_is_noticed_also_after_that_one_is_gone(name: str) -> None:
    history = looked_at(make(1, terms=[1, 2, 3]).raft, make(3, terms=[1, 2, 4]).raft)
    with pytest.raises(AssertionError, match="where another log had"):
        history.check([OTHERS[name]])


def test_a_log_is_looked_at_again_where_it_was_replaced_and_after_a_restart() -> None:
    raft = make(1, terms=[1, 1, 1], term=2).raft
    history = looked_at(raft)
    right = raft.log.entries[2]
    raft.log.append([entry(2, 2)])
    history.check([raft])
    history.check([make(2, terms=[1, 2, 2]).raft])
    raft.log.append([entry(3, 2, "wrong")])
    with pytest.raises(AssertionError, match="where another log had"):
        history.check([raft])
    raft.log.append([entry(3, 2), right._replace(index=4)])
    history.check([raft])
    history.restarted(1)
    with pytest.raises(AssertionError, match="where another log had"):
        history.check([with_entry(make(1, terms=[1, 1, 2], term=2).raft, 1, "wrong")])
