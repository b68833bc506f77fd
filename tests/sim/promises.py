"""What a process has said that it must remember: whatever becomes of it, its next life has to stand by
that."""

from __future__ import annotations

from typing import NamedTuple

from raftkv.raft.core import Raft
from raftkv.raft.messages import (
    AppendAccepted,
    HeartbeatReply,
    Message,
    RequestPreVote,
    RequestVote,
    VoteReply,
)
from raftkv.raft.types import HardState
from raftkv.storage.persister import Persister


class Promised(NamedTuple):
    """What the process that ended had promised, or believed durable."""

    hard_state: HardState  # that it had saved
    term: int  # of the latest message that it sent
    vote: int | None  # that it gave in this term
    entries: list[tuple[int, int]]  # (index, term)
    snapshot_index: int


class Promises:
    """What one process has said."""

    def __init__(self) -> None:
        self._term = 0
        self._vote: int | None = None
        self._match: tuple[int, int | None] = (
            0,
            None,
        )  # (index, term) of the last entry that it acknowledged

    def note(self, message: Message, raft: Raft) -> None:
        """`message` has left."""
        kind = type(message)
        if kind is RequestPreVote or kind is HeartbeatReply or (kind is RequestVote and message.is_transfer):
            return  # promises nothing: see Raft._step_heartbeat, and Raft._become_candidate
        if message.term > self._term:
            self._term, self._vote = message.term, None
        if message.term < max(self._term, raft.term):
            return  # left late: the log may hold other entries by now than it speaks of
        if kind is RequestVote:
            self._vote = message.sender
        elif kind is VoteReply and message.granted:
            self._vote = message.to
        elif kind is AppendAccepted and message.match_index >= self._match[0]:
            self._match = (message.match_index, raft.log.term(message.match_index))

    def at_the_end(self, raft: Raft, persister: Persister) -> Promised:
        """The process ends: what must be found after it."""
        log = raft.log
        index, term = self._match
        durable = max(
            log.stable, index if log.term(index) == term else 0
        )  # else it was replaced since, by a leader
        entries = [(entry.index, entry.term) for entry in log.entries if entry.index <= durable]
        return Promised(persister.hard_state, self._term, self._vote, entries, log.snapshot.index)


def check_kept(id: int, promised: Promised, persister: Persister) -> None:
    """Does the disk that was opened now still hold it all? Raises AssertionError."""
    found = persister.hard_state
    for term, vote in (promised.hard_state[:2], (promised.term, promised.vote)):
        assert found.term >= term, f"n{id} was in term {term}, and begins again in term {found.term}"
        assert found.term > term or vote in (None, found.vote), (
            f"n{id} voted for {vote} in term {term}, and finds a vote for {found.vote}"
        )
    index, term = persister.snapshot[:2] if persister.snapshot else (0, 0)
    assert index >= promised.snapshot_index, (
        f"n{id} had a snapshot at {promised.snapshot_index}, and finds one at {index}"
    )
    if (index, term) not in promised.entries and any(each[0] == index for each in promised.entries):
        return  # a snapshot was installed that shows the rest of the log to be of another history
    terms = {entry.index: entry.term for entry in persister.entries}
    for entry_index, entry_term in promised.entries:
        assert entry_index <= index or terms.get(entry_index) == entry_term, (
            f"n{id} held the entry {entry_index}@{entry_term}, and finds {terms.get(entry_index)} there"
        )
