"""What a set of voters has decided, as pure functions."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence


class VoteResult(enum.Enum):
    WON = "won"
    LOST = "lost"
    PENDING = "pending"


def quorum_size(voters: Sequence[int]) -> int:
    """The smallest number of voters that is a majority. Two majorities always share a member."""
    return len(voters) // 2 + 1


def vote_result(voters: Sequence[int], votes: Mapping[int, bool]) -> VoteResult:
    """What `votes` (voter id -> granted) decide among `voters`. Votes of others do not count."""
    granted = sum(1 for voter in voters if votes.get(voter) is True)
    refused = sum(1 for voter in voters if votes.get(voter) is False)
    if granted >= quorum_size(voters):
        return VoteResult.WON
    if refused > len(voters) - quorum_size(voters):
        return VoteResult.LOST
    return VoteResult.PENDING


def quorum_value(voters: Sequence[int], values: Mapping[int, float]) -> float:
    """The largest value that a majority of `voters` has reached; a voter without one counts as 0.

    With match indexes this is the highest index that a majority holds (paper 5.3); with heartbeat rounds, the
    last round that a majority has answered (thesis 6.4); with times last heard from, the moment since which a
    majority has been heard (thesis 6.2).
    """
    ranked = sorted([values.get(voter, 0) for voter in voters], reverse=True)
    return ranked[quorum_size(voters) - 1]
