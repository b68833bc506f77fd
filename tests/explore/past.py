"""Messages that can have no effect any more, whatever happens: they are taken off the way.

The term on a server's disk never goes back, and a role that ended does not come back in the same term.
"""

from __future__ import annotations

from raftkv.raft.messages import (
    AppendAccepted,
    AppendRejected,
    HeartbeatReply,
    Message,
    PreVoteReply,
    Resigned,
    SnapshotReply,
    StaleTerm,
    TimeoutNow,
    VoteReply,
)
from raftkv.raft.types import Role

from tests.explore.view import View

_UNANSWERED = {AppendAccepted, AppendRejected, HeartbeatReply, Resigned, SnapshotReply, TimeoutNow, VoteReply}
_FOR_LEADERS = {AppendAccepted, AppendRejected, HeartbeatReply, SnapshotReply}


def is_past(message: Message, receiver: View) -> bool:
    """Of an earlier term and not even answered; or for a leader or candidate of a term in which the receiver is none
    any more, and will not be one again."""
    kind, term = type(message), receiver.disk.hard_state.term
    if kind is StaleTerm:
        return message.term <= term
    if kind is PreVoteReply:
        return max(message.campaign_term, message.term) <= term  # type: ignore[union-attr]
    if message.term < term:
        return kind in _UNANSWERED
    if message.term == term == receiver.term:
        if kind in _FOR_LEADERS:
            return receiver.role is not Role.LEADER
        if kind is VoteReply:
            return receiver.role is not Role.CANDIDATE
    return False
