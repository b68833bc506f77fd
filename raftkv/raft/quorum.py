"""What the voters of a configuration have decided, as pure functions. Nothing else counts heads.

While a change is joint, each decision needs a majority of the voters and one of the outgoing voters (paper
section 6).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat

from raftkv.raft.configuration import Configuration


class VoteResult(enum.Enum):
    WON = "won"
    LOST = "lost"
    PENDING = "pending"


def vote_result(configuration: Configuration, votes: Mapping[int, bool]) -> VoteResult:
    """What `votes` (uid -> granted) decide. Votes of others than voters do not count."""
    results = {_majority_vote(voters, votes) for voters in _majorities(configuration)}
    if VoteResult.LOST in results:
        return VoteResult.LOST
    return VoteResult.PENDING if VoteResult.PENDING in results else VoteResult.WON


def is_majority(configuration: Configuration, uids: Iterable[int]) -> bool:
    """Could these decide? False while nobody can: there are no voters yet."""
    votes = dict.fromkeys(uids, True)
    return bool(configuration.voters) and vote_result(configuration, votes) is VoteResult.WON


def quorum_value(configuration: Configuration, values: Mapping[int, float]) -> float:
    """The largest value that is reached by a majority, while joint by both; a voter without one counts as 0.

    With match indexes this is the highest index that is committed (paper 5.3); with heartbeat rounds, the
    last round that was answered (thesis 6.4); with times last heard from, the moment since which a majority
    has been heard (thesis 6.2).
    """
    if not configuration.outgoing:
        return _majority_value(configuration.voters, values)
    return min(_majority_value(voters, values) for voters in _majorities(configuration))


def _majorities(configuration: Configuration) -> list[tuple[int, ...]]:
    outgoing = [configuration.outgoing] if configuration.outgoing else []
    return [configuration.voters, *outgoing]


def _size(voters: Sequence[int]) -> int:
    """The smallest number of voters that is a majority. Two majorities always share a member."""
    return len(voters) // 2 + 1


def _majority_vote(voters: Sequence[int], votes: Mapping[int, bool]) -> VoteResult:
    granted = sum(1 for voter in voters if votes.get(voter) is True)
    refused = sum(1 for voter in voters if votes.get(voter) is False)
    if granted >= _size(voters):
        return VoteResult.WON
    if refused > len(voters) - _size(voters):
        return VoteResult.LOST
    return VoteResult.PENDING


def _majority_value(voters: Sequence[int], values: Mapping[int, float]) -> float:
    if not voters:
        return 0
    ranked = sorted(map(values.get, voters, repeat(0)))
    return ranked[-_size(voters)]
