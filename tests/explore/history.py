"""The paper's properties over the whole history of a path (figure 3), and who has decided what.

What a path must remember, since servers forget it: who voted for whom, who led, what was committed. Votes and
leaders of terms that all servers have left behind on their disks can contradict nothing any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from raftkv.raft.configuration import Configuration
from raftkv.raft.invariants import check_log_matching
from raftkv.raft.messages import Message, VoteReply
from raftkv.raft.types import Entry

from tests.explore.view import Log, View


class Violation(AssertionError):
    """An invariant does not hold."""


class Vote(NamedTuple):
    term: int
    voter: int
    candidate: int


class History(NamedTuple):
    votes: frozenset[Vote] = frozenset()
    leaders: frozenset[tuple[int, int]] = frozenset()  # (term, id)
    committed: tuple[
        tuple[Entry, int], ...
    ] = ()  # from index 1 on; with the term of the leader that committed it


def is_majority(configuration: Configuration, ids: Iterable[int]) -> bool:
    """Are `ids` a majority of the voters, and while joint one of the outgoing voters, too? Counted here, too, and
    not by what is to be checked."""
    found = set(ids)
    groups = [group for group in (configuration.voters, configuration.outgoing) if group]
    return all(2 * len(found & set(group)) > len(group) for group in groups)


def votes_of(view: View, sent: Sequence[Message]) -> list[Vote]:
    """Those that nobody may take back: its own one that is durable, and those that leave."""
    term, vote = view.disk.hard_state
    own = [Vote(term, view.id, view.id)] if vote == view.id else []
    return own + [Vote(m.term, view.id, m.to) for m in sent if type(m) is VoteReply and m.granted]


class Changed(NamedTuple):
    """What a transition did to a server."""

    before: View
    after: View
    sent: Sequence[Message]
    begins_change: bool  # of the members: the event was the proposal of one

    @property
    def counting(self) -> Configuration:
        """The configuration in force when it counted: a proposed one is in force at once, while the next step of a
        change comes after what is committed in the same transition."""
        return (self.after if self.begins_change else self.before).configuration


def grown(history: History, changed: Changed, views: Sequence[View]) -> History:
    """The history after a transition. `views`: of all servers, afterwards. Raises Violation."""
    before, after, sent, _ = changed
    oldest = min(view.disk.hard_state.term for view in views)
    votes = frozenset(v for v in history.votes.union(votes_of(after, sent)) if v.term >= oldest)
    _check_votes(votes)
    leaders = frozenset(pair for pair in history.leaders if pair[0] >= oldest)
    if after.leads:
        if not before.leads and (after.term, after.id) in leaders:
            raise Violation(
                f"n{after.id} leads term {after.term} for the second time, and may write something else"
            )
        leaders |= {(after.term, after.id)}
        _check_leaders(leaders, before, after, votes)
    committed = _committed(history.committed, after)
    if before.leads and before.commit < after.commit:
        _check_held(changed, views)
    for view in views:
        if view.leads:
            _check_complete(view, committed)
    return History(votes, leaders, committed)


def _check_votes(votes: frozenset[Vote]) -> None:
    given: dict[tuple[int, int], int] = {}
    for term, voter, candidate in votes:
        other = given.setdefault((term, voter), candidate)
        if other != candidate:
            first, second = sorted((other, candidate))
            raise Violation(f"n{voter} has voted for n{first} and for n{second} in term {term}")


def _check_leaders(
    leaders: frozenset[tuple[int, int]], before: View, after: View, votes: frozenset[Vote]
) -> None:
    """Election safety, and that a new leader was elected by majorities."""
    others = sorted(id for term, id in leaders if term == after.term and id != after.id)
    if others:
        raise Violation(f"n{others[0]} and n{after.id} have both led term {after.term}")
    if not (before.leads and before.term == after.term):
        voters = [vote.voter for vote in votes if (vote.term, vote.candidate) == (after.term, after.id)]
        if not is_majority(before.configuration, voters):
            raise Violation(
                f"n{after.id} leads term {after.term} by the votes of {_list(voters)}, no majority of "
                f"{describe(before.configuration)}"
            )


def _committed(known: tuple[tuple[Entry, int], ...], view: View) -> tuple[tuple[Entry, int], ...]:
    """State machine safety: nobody commits another entry at an index."""
    for index in range(view.log.first_index, view.commit + 1):
        entry = view.log.entry(index)
        if entry is None or index > len(known) + 1:
            raise Violation(f"n{view.id} has committed entry {index}, which it does not hold")
        if index == len(known) + 1:
            known = (*known, (entry, view.term))
        elif known[index - 1][0] != entry:
            raise Violation(f"n{view.id} commits {entry}, and another server {known[index - 1][0]}")
    return known


def _check_held(changed: Changed, views: Sequence[View]) -> None:
    """What a leader commits is on the disks of a majority of each configuration in force.

    What follows the entry of that configuration may be counted by the next one, if that was appended in the same
    transition: then the leader was its only voter.
    """
    before, after = changed.before, changed.after
    for index in range(before.commit + 1, after.commit + 1):
        entry = after.log.entry(index)
        allowed = [changed.counting]
        if index > before.log.configurations[-1][0]:
            allowed.append(after.configuration)
        holders = [view.id for view in views if _holds(view, entry)]
        if not any(is_majority(configuration, holders) for configuration in allowed):
            raise Violation(
                f"n{after.id} commits {entry}, which is on the disks of {_list(holders)}, no majority of "
                f"{describe(changed.counting)}"
            )


def _holds(view: View, entry: Entry | None) -> bool:
    """Durably?"""
    disk = view.disk
    return entry is None or entry.index <= disk.snapshot.index or entry in disk.entries


def _check_complete(leader: View, committed: Sequence[tuple[Entry, int]]) -> None:
    """Leader completeness: it holds all that was committed in earlier terms."""
    for entry, term in committed[leader.log.first_index - 1 :]:
        if term < leader.term and leader.log.entry(entry.index) != entry:
            raise Violation(f"n{leader.id} leads term {leader.term} without the committed entry {entry}")


def check_matching(one: View, other: View) -> None:
    """Log matching."""
    try:
        check_log_matching([_Holder(one.id, one.log), _Holder(other.id, other.log)])  # type: ignore[list-item]
    except AssertionError as error:
        raise Violation(str(error)) from None


class _Holder(NamedTuple):
    id: int
    log: Log


def describe(configuration: Configuration) -> str:
    outgoing = f" and of {_list(configuration.outgoing)}" if configuration.outgoing else ""
    return f"{_list(configuration.voters)}{outgoing}"


def _list(ids: Iterable[int]) -> str:
    return " ".join(f"n{id}" for id in sorted(ids)) or "nobody"
