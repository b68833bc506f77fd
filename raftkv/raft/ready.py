"""Ready: what the core wants done, and in which order."""

from __future__ import annotations

from typing import Any, NamedTuple

from raftkv.raft.messages import InstallSnapshot, Message
from raftkv.raft.types import Entry, HardState, Snapshot


class Ready(NamedTuple):
    """Everything the core wants done.

    1. `messages` may leave at once.
    2. `hard_state` (if not None), then `entries`, then `chunk` are made durable, in this order, and after
       those of every earlier Ready. An entry whose index is taken replaces that one and all after it.
    3. Then `promises` may leave, the messages that say that it is durable, and `advance(ready)` is called.
       For a `chunk`, `chunk_stored()` is called as well.
    4. `restore`, if not None, is a durable snapshot that the state machine begins anew from, and `committed`
       are then the entries it applies, in this order and after those of every earlier Ready. They need not
       wait for 2 and 3: a majority holds them. `applied_to()` reports how far the state machine has come.
    5. `reads` are answered once the state machine has applied each one's index: (context, index).
       `lost_reads` are the contexts that never will be, because leadership ended.
    """

    messages: list[Message]
    hard_state: HardState | None
    entries: list[Entry]
    chunk: InstallSnapshot | None
    promises: list[Message]
    restore: Snapshot | None
    committed: list[Entry]
    reads: list[tuple[Any, int]]
    lost_reads: list[Any]

    @property
    def needs_disk(self) -> bool:
        return bool(self.hard_state or self.entries or self.chunk)
