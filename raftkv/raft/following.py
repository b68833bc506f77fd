"""Following: what a node does with the messages of the leader of its term (5.3, section 7 of the Raft paper).

Who leads, and for how long without a message, is core.py's to know: what arrives here is of the current term
and from its leader.
"""

from __future__ import annotations

from typing import Any, Callable

from raftkv.errors import ProtocolError
from raftkv.raft.log import RaftLog
from raftkv.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Message,
    SnapshotReply,
)
from raftkv.raft.output import Output
from raftkv.raft.types import Snapshot


class Following:
    """Puts what the leader sends into the log and the output. Not thread-safe."""

    def __init__(self, id: int, log: RaftLog, output: Output) -> None:
        self._id, self._log, self._output = id, log, output
        self.installing: Snapshot | None = None  # its last chunk is on the way to the disk
        self.is_short_of_room = False  # see Raft.note_room()

    def check(self, message: Message) -> None:
        """Raises ProtocolError if `message` contradicts what is committed: a leader has all of that (5.4.3)."""
        if type(message) is AppendEntries:
            if message.prev_index <= self._log.commit:
                self._check_committed(message.prev_index, message.prev_term)
                for entry in message.entries:
                    self._check_committed(entry.index, entry.term)
        elif type(message) is InstallSnapshot:
            self._check_committed(message.snapshot.index, message.snapshot.term)

    def _check_committed(self, index: int, term: int) -> None:
        own = self._log.term(index)
        if index <= self._log.commit and own is not None and own != term:
            raise ProtocolError(f"its entry {index} is of term {term}, and the one committed here of {own}")

    def what_is_lost(self, heartbeat: Heartbeat) -> str | None:
        """A leader knows that this node has acknowledged, in its term, what is not here: the disk has lost it, or
        is an older copy. None if nothing shows that.

        What is acknowledged to a leader stays in the log for as long as it leads.
        """
        last = self._log.last_index
        if heartbeat.match <= last or self.installing is not None:
            return None
        return f"the log ends with entry {last}, and this server had acknowledged entry {heartbeat.match}"

    def step(self, message: Message) -> None:
        _STEP[type(message)](self, message)

    def _step_append_entries(self, m: AppendEntries) -> None:
        if self.installing is not None:
            return  # what follows the snapshot must not be stored before it
        log, commit = self._log, self._log.commit
        if m.prev_index < commit:  # late: what is committed is equal in both logs
            entries = m.entries[commit - m.prev_index :]
            if not entries:
                self._output.promise(AppendAccepted(self._id, m.sender, m.term, commit))
                return
        elif log.term(m.prev_index) == m.prev_term:
            entries = m.entries
        else:
            hint_index, hint_term = log.find_conflict_by_term(m.prev_index, m.prev_term)
            self._output.promise(
                AppendRejected(self._id, m.sender, m.term, m.prev_index, hint_index, hint_term)
            )
            return
        verified = m.prev_index + len(m.entries)
        # Only a real conflict removes entries: a late message with fewer of them must not (5.3).
        new_from = (
            entries[0].index if m.prev_index == log.last_index and entries else log.find_conflict(entries)
        )
        if new_from:
            log.append(entries[new_from - entries[0].index :])
            self._output.replaced_from(new_from)
        log.commit_to(min(m.commit, verified))  # never beyond what this message has verified
        self._output.promise(AppendAccepted(self._id, m.sender, m.term, verified))

    def _step_heartbeat(self, m: Heartbeat) -> None:
        if self.installing is None:
            self._log.commit_to(min(m.commit, self._log.last_index))
        # Not a promise: it says that this node follows now, which no crash makes untrue. So a slow disk
        # neither holds up reads nor makes a live follower look dead.
        self._output.send(HeartbeatReply(self._id, m.sender, m.term, m.round, self.is_short_of_room))

    def _step_install_snapshot(self, m: InstallSnapshot) -> None:
        if m.snapshot.index <= self._log.commit:  # older than what is here: never applied over it
            self._output.promise(AppendAccepted(self._id, m.sender, m.term, self._log.commit))
        elif self.installing is None and self._output.chunk is None:
            self._output.chunk = m  # one at a time; a dropped one is sent again
            if m.done:
                self.installing = m.snapshot

    def chunk_stored(self, chunk: InstallSnapshot, offset: int, installed: bool, term: int) -> bool:
        """See Raft.chunk_stored(); `term` is that of now. Returns whether the log begins anew with it."""
        if chunk.done:
            self.installing = None
        snapshot = chunk.snapshot
        if not installed:
            self._output.promise(SnapshotReply(self._id, chunk.sender, term, snapshot.index, offset))
            return False
        is_news = snapshot.index > self._log.commit
        if is_news:
            self._log.restore(snapshot)  # the entries it keeps had been handed out before the chunk was
            self._output.restored(snapshot)
        self._output.promise(AppendAccepted(self._id, chunk.sender, term, snapshot.index))
        return is_news


_STEP: dict[type, Callable[[Following, Any], None]] = {
    AppendEntries: Following._step_append_entries,
    Heartbeat: Following._step_heartbeat,
    InstallSnapshot: Following._step_install_snapshot,
}

FROM_LEADER = tuple(_STEP)
