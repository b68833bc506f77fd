"""Output: what the core has decided, until ready() hands it out. Each thing is handed out once."""

from __future__ import annotations

from typing import Any

from raftkv.raft.log import RaftLog
from raftkv.raft.messages import InstallSnapshot, Message
from raftkv.raft.ready import Ready
from raftkv.raft.types import HardState, Snapshot


class Output:
    """What the next Ready will carry. Of the log, which is durable when this is made, it remembers how far it
    has been handed out. Not thread-safe."""

    def __init__(self, log: RaftLog, hard_state: HardState) -> None:
        self.hard_state = hard_state  # as it was handed out last
        self.chunk: InstallSnapshot | None = None  # to be stored
        self.lost_reads: list[Any] = []
        self._log = log
        self._messages: list[Message] = []
        self._promises: list[Message] = []
        self._restore: Snapshot | None = None
        self._unsaved_index = log.last_index + 1  # entries from here on have not been handed out to be stored
        self._handed_out = log.applied  # committed entries up to here have been handed out to be applied

    def send(self, message: Message) -> None:
        self._messages.append(message)

    def promise(self, message: Message) -> None:
        """Send `message` once all that this node has decided up to now is durable."""
        self._promises.append(message)

    def replaced_from(self, index: int) -> None:
        """The entries of the log from `index` on are other ones than those handed out."""
        self._unsaved_index = min(self._unsaved_index, index)

    def restored(self, snapshot: Snapshot) -> None:
        """The log begins anew after `snapshot`; what it kept had been handed out to be stored."""
        self._unsaved_index = self._log.last_index + 1
        self._handed_out = snapshot.index
        self._restore = snapshot

    @property
    def is_waiting(self) -> bool:
        """Is there anything to hand out, the hard state aside?"""
        return bool(
            self._messages
            or self._promises
            or self.chunk
            or self._restore
            or self._unsaved_index <= self._log.last_index
            or self._handed_out < self._log.commit
            or self.lost_reads
        )

    def take(self, hard_state: HardState | None, reads: list[tuple[Any, int]]) -> Ready:
        """Hand it all out, with the hard state if that is a new one, and the reads that may be answered."""
        log = self._log
        last, commit = log.last_index, log.commit
        entries = log.slice(self._unsaved_index, last) if self._unsaved_index <= last else []
        committed = log.slice(self._handed_out + 1, commit) if self._handed_out < commit else []
        messages, promises, lost_reads = self._messages, self._promises, self.lost_reads
        chunk, restore = self.chunk, self._restore
        self._messages, self._promises, self.lost_reads = [], [], []
        self.chunk = self._restore = None
        self._unsaved_index = last + 1
        self._handed_out = max(self._handed_out, commit)
        if hard_state is not None:
            self.hard_state = hard_state
        return Ready(messages, hard_state, entries, chunk, promises, restore, committed, reads, lost_reads)
