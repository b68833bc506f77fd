"""What nodes say to each other: one small class a message.

Messages are one-way: the reply of the paper's RPC is a message of its own, so that the core is indifferent to
loss, delay, duplication and reordering. In every message `sender` and `to` are uids and `term` is the
sender's current term. Indexes and terms of log entries are named `..._index` and `..._term`.
"""

from __future__ import annotations

from typing import NamedTuple, Union

from raftkv.raft.types import Entry, Snapshot


class RequestPreVote(NamedTuple):
    """ "Would you vote for me in term `term + 1`?" Changes nothing at the receiver (thesis 9.6)."""

    sender: int
    to: int
    term: int
    last_index: int
    last_term: int


class PreVoteReply(NamedTuple):
    """`campaign_term` is the term that was asked about: the asker's `term + 1`."""

    sender: int
    to: int
    term: int
    campaign_term: int
    granted: bool


class RequestVote(NamedTuple):
    """ "Vote for me in `term`; this is how far my log goes" (paper 5.2, 5.4.1). `is_transfer`: the leader of the
    term before has asked the sender to stand (thesis 3.10), so that it counts also while that leader is heard."""

    sender: int
    to: int
    term: int
    last_index: int
    last_term: int
    is_transfer: bool = False


class VoteReply(NamedTuple):
    sender: int
    to: int
    term: int
    granted: bool


class AppendEntries(NamedTuple):
    """Entries that follow the entry `prev_index` of `prev_term` (paper 5.3). May be empty: a probe."""

    sender: int
    to: int
    term: int
    prev_index: int
    prev_term: int
    entries: tuple[Entry, ...]
    commit: int


class AppendAccepted(NamedTuple):
    """Everything up to `match_index` is durable at the sender and equal to the leader's log."""

    sender: int
    to: int
    term: int
    match_index: int


class AppendRejected(NamedTuple):
    """The sender has no entry `prev_index` of the term that the leader named.

    `hint_index` and `hint_term` name the last entry at the sender at or before `prev_index` that can be equal
    to the leader's: the leader skips a whole divergent term at once (paper 5.3, end).
    """

    sender: int
    to: int
    term: int
    prev_index: int
    hint_index: int
    hint_term: int


class Heartbeat(NamedTuple):
    """ "I lead." `commit` is never beyond what the receiver is known to hold; `round` numbers the leader's
    heartbeat rounds, for ReadIndex (thesis 6.4). `match`: up to where the receiver has acknowledged the log to this
    leader; one that does not hold it has lost its disk."""

    sender: int
    to: int
    term: int
    commit: int
    round: int
    match: int = 0


class HeartbeatReply(NamedTuple):
    """`is_short_of_room`: the sender's disk is full, but for what it keeps for deletes and votes."""

    sender: int
    to: int
    term: int
    round: int
    is_short_of_room: bool = False


class InstallSnapshot(NamedTuple):
    """A chunk of the leader's snapshot file (paper section 7): the bytes from `offset` on; `done` with the
    last.

    The core emits it with empty `data` and `done` False; whoever sends it reads the chunk from the file.
    """

    sender: int
    to: int
    term: int
    snapshot: Snapshot
    offset: int
    data: bytes
    done: bool


class SnapshotReply(NamedTuple):
    """The sender has the first `offset` bytes of the snapshot at `snapshot_index`; go on from there."""

    sender: int
    to: int
    term: int
    snapshot_index: int
    offset: int


class StaleTerm(NamedTuple):
    """ "Your term is over, this is mine": the answer to a leader's message of an earlier term."""

    sender: int
    to: int
    term: int


class TimeoutNow(NamedTuple):
    """ "Stand for election at once: you hold all that I do, and should lead" (thesis 3.10)."""

    sender: int
    to: int
    term: int


class Resigned(NamedTuple):
    """ "I lead this term no more; elect another one." A hint: who does not get it waits for its timeout."""

    sender: int
    to: int
    term: int


Message = Union[
    RequestPreVote, PreVoteReply, RequestVote, VoteReply, AppendEntries, AppendAccepted, AppendRejected,
    Heartbeat, HeartbeatReply, InstallSnapshot, SnapshotReply, StaleTerm, Resigned, TimeoutNow,
]  # fmt: skip
