"""What a node keeps: a disk that holds what was saved, and a state machine that is a list of commands."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import Any

from raftkv.raft.log import RaftLog
from raftkv.raft.types import COMMAND, Entry, HardState, Snapshot


class SimDisk:
    """Hard state, log and snapshots, by the rules of the real persister. What was saved outlives a crash."""

    def __init__(self, first: Snapshot) -> None:
        self.hard_state = HardState()
        self.snapshot: Snapshot | None = None
        self.content = b""
        self.entries: list[Entry] = []
        self.damage_next = False  # the next snapshot that is received whole turns out damaged
        self._first = first  # the state before the first entry
        self._base = 0  # the index before the first of `entries`
        self._part: tuple[Snapshot | None, bytes] = (None, b"")

    def save(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        """An entry whose index is taken replaces that one and all after it."""
        self.hard_state = hard_state or self.hard_state
        if not entries:
            return
        last = self._base + len(self.entries)
        assert self._base < entries[0].index <= last + 1, (
            f"{entries[0]} after {self._base}..{last} leaves a gap"
        )
        self.entries[entries[0].index - self._base - 1 :] = entries

    def write_snapshot(self, snapshot: Snapshot, content: bytes) -> None:
        """An own snapshot. One that took so long that a newer one came is not kept."""
        if self.snapshot is None or snapshot.index > self.snapshot.index:
            self.snapshot, self.content = snapshot, content

    def receive_chunk(self, snapshot: Snapshot, offset: int, data: bytes, done: bool) -> int:
        """Returns how many bytes of this snapshot are held now."""
        which, held = self._part
        if which != snapshot:
            held = b""
        if offset == len(held):
            held += data
            if done and (self.damage_next or not Machine.is_whole(held)):
                self.damage_next, held = False, b""
        self._part = (snapshot, held)
        return len(held)

    def install(self, snapshot: Snapshot) -> None:
        """Section 7: what follows the snapshot is kept if the log holds its last entry."""
        self.snapshot, self.content = snapshot, self._part[1]
        self._part = (None, b"")
        self.entries = self._after(snapshot)
        self._base = snapshot.index

    def recover(self) -> RaftLog:
        """What a start finds."""
        if self.snapshot is None:
            return RaftLog(self._first, self.entries)
        if not self._holds(self.snapshot):
            self.entries, self._base = [], self.snapshot.index
        return RaftLog(self.snapshot, self._after(self.snapshot))

    def _holds(self, snapshot: Snapshot) -> bool:
        at = snapshot.index - self._base
        return at == 0 or (0 < at <= len(self.entries) and self.entries[at - 1].term == snapshot.term)

    def _after(self, snapshot: Snapshot) -> list[Entry]:
        return self.entries[snapshot.index - self._base :] if self._holds(snapshot) else []


class Machine:
    """The state machine: all commands, in the order in which they were applied."""

    def __init__(self) -> None:
        self.applied = 0
        self.commands: list[tuple[int, Any]] = []

    def apply(self, entries: Sequence[Entry]) -> None:
        assert entries[0].index == self.applied + 1, f"{entries[0]} applied after {self.applied}"
        self.commands += [(entry.index, entry.data) for entry in entries if entry.kind == COMMAND]
        self.applied = entries[-1].index

    def dump(self) -> bytes:
        content = json.dumps(self.commands).encode()
        return content + b"%08x" % zlib.crc32(content)

    @staticmethod
    def is_whole(content: bytes) -> bool:
        return content[-8:] == b"%08x" % zlib.crc32(content[:-8])

    def load(self, snapshot: Snapshot, content: bytes) -> None:
        assert self.is_whole(content), f"{snapshot} is damaged"
        self.commands = [(index, data) for index, data in json.loads(content[:-8])]
        self.applied = snapshot.index
