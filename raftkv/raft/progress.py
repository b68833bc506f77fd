"""Progress: what the leader knows of one follower, and the transitions of that knowledge.

    PROBE       the leader does not know where the follower's log agrees with its own, or whether it is alive:
                one AppendEntries at a time, the next only when it was answered or a heartbeat was.
    REPLICATE   it agrees up to `match`: entries are sent ahead of the answers, within a window.
    SNAPSHOT    it needs entries that are compacted away: the snapshot is sent, a chunk at a time.

Invariants: `match < next`; `match` never decreases; in REPLICATE `next` is one more than the last entry sent.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Sequence

from raftkv.raft.types import Entry, Snapshot


class ProgressState(enum.Enum):
    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class Progress:
    """One follower, seen from the leader. `now` is in seconds, on the clock of Raft.tick."""

    def __init__(self, next: int, now: float, max_inflight: int, max_inflight_bytes: int) -> None:
        self.state = ProgressState.PROBE
        self.match = 0  # the follower is known to hold the leader's log up to here, durably
        self.next = next  # the next entry to send
        self.last_heard = now  # when its last message arrived, for check-quorum
        self.answer_due = now  # if nothing is answered until then, what is under way may be lost
        self.round = 0  # the last heartbeat round it answered, for ReadIndex
        self.is_short_of_room = False  # as its last answer to a heartbeat said
        self.snapshot: Snapshot | None = None  # what is being sent, in SNAPSHOT
        self.snapshot_offset = 0  # the follower holds that many bytes of it
        # In PROBE and SNAPSHOT: a message is out, and no answer to it or to a later heartbeat came.
        self._waiting = False
        self._max_inflight, self._max_inflight_bytes = max_inflight, max_inflight_bytes
        # In REPLICATE: (last index, bytes) of each unanswered message.
        self._inflight: deque[tuple[int, int]] = deque()
        self._inflight_bytes = 0

    # -- transitions -----------------------------------------------------------------------------------------

    def become_probe(self) -> None:
        """Find out anew where the logs agree, from what is certain."""
        self.next = self.match + 1
        self._enter(ProgressState.PROBE)

    def become_replicate(self) -> None:
        self.next = self.match + 1
        self._enter(ProgressState.REPLICATE)

    def become_snapshot(self, snapshot: Snapshot) -> None:
        self._enter(ProgressState.SNAPSHOT)
        self.snapshot = snapshot

    def _enter(self, state: ProgressState) -> None:
        self.state = state
        self.snapshot, self.snapshot_offset = None, 0
        self._waiting = False
        self._inflight.clear()
        self._inflight_bytes = 0

    @property
    def will_hold(self) -> int:
        """It needs nothing up to here any more, unless something is lost."""
        return self.match if self.snapshot is None else self.snapshot.index

    # -- sending ---------------------------------------------------------------------------------------------

    @property
    def paused(self) -> bool:
        """Must nothing more be sent before an answer comes?"""
        if self.state is ProgressState.REPLICATE:
            return (
                len(self._inflight) >= self._max_inflight or self._inflight_bytes >= self._max_inflight_bytes
            )
        return self._waiting

    def sent_entries(self, entries: Sequence[Entry]) -> None:
        """An AppendEntries with these entries (perhaps none) has been handed out."""
        if self.state is ProgressState.PROBE:
            self._waiting = True
        elif entries:
            size = sum([len(entry.line) for entry in entries])
            self.next = entries[-1].index + 1
            self._inflight.append((entries[-1].index, size))
            self._inflight_bytes += size

    def sent_chunk(self) -> None:
        self._waiting = True

    # -- hearing ---------------------------------------------------------------------------------------------

    def accepted(self, match: int) -> bool:
        """The follower holds everything up to `match`. Returns whether that is news."""
        while self._inflight and self._inflight[0][0] <= match:
            self._inflight_bytes -= self._inflight.popleft()[1]
        news = match > self.match
        if news:
            self.match = match
            self.next = max(self.next, match + 1)
        if (
            self.state is ProgressState.PROBE
            and match >= self.next - 1
            or (
                self.state is ProgressState.SNAPSHOT
                and self.snapshot is not None
                and match >= self.snapshot.index
            )
        ):
            self.become_replicate()
        return news

    def rejected(self, prev_index: int, retry_index: int) -> bool:
        """It lacks the entry `prev_index`; `retry_index` is the last one that may agree.

        Returns False for an answer to a message that has been overtaken: it says nothing new. (Or the
        follower's disk lost what it had acknowledged. To ask again at once would be to ask without end.)
        """
        if prev_index <= self.match:
            return False
        if self.state is ProgressState.REPLICATE:
            self.become_probe()
            return True
        if self.state is not ProgressState.PROBE or prev_index != self.next - 1:
            return False
        self.next = max(min(prev_index, retry_index + 1), self.match + 1)
        self._waiting = False
        return True

    def received_chunk(self, snapshot_index: int, offset: int) -> bool:
        """It holds `offset` bytes of the snapshot. Returns whether the next chunk should go out."""
        if self.snapshot is None or self.snapshot.index != snapshot_index or offset == self.snapshot_offset:
            return False
        self.snapshot_offset = offset
        self._waiting = False
        return True

    def heartbeat_answered(self, round: int, overdue: bool) -> None:
        """It is alive. If an answer to what was sent to it is `overdue`, that counts as lost."""
        self.round = max(self.round, round)
        if overdue:
            self._waiting = False
