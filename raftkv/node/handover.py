"""Handover: what waits while the leadership passes to another node (thesis 3.10).

From the moment on that a transfer begins, the leader takes no proposals. They are held here, and so are reads from
the moment on that it leads no more. When the next leader is known, all of that is refused with its name, so that
clients go there at once; when the transfer is given up, it is proposed after all.

What was proposed before is in the log of the next leader, which held all of it before it was told to stand. So
those who wait for that still wait, until it is committed and they are answered from here.

Not thread-safe: the node's mutex is held round every call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from raftkv.node.proposals import Proposals
from raftkv.raft.core import Raft


class Handover:
    """`until`: when what waits is given up, on the core's clock. `writes`: (commands, contexts) of each
    batch."""

    def __init__(self, raft: Raft, proposals: Proposals, until: float) -> None:
        self._raft, self._proposals, self._until = raft, proposals, until
        self.writes: list[tuple[Sequence[Any], Sequence[Any]]] = []
        self.reads: list[Sequence[Any]] = []

    @property
    def holds_writes(self) -> bool:
        """Must proposals wait?"""
        return self._raft.leadership is not None or self._raft.leader is None

    @property
    def holds_reads(self) -> bool:
        return self._raft.leadership is None and self._raft.leader is None

    @property
    def is_over(self) -> bool:
        raft = self._raft
        if raft.now >= self._until:
            return True
        if raft.leadership is not None:
            return not raft.leadership.is_transferring
        return raft.leader is not None and not self._proposals.are_waiting

    @property
    def next_is_known(self) -> bool:
        """Then what waits can be told where to go, also while what was proposed before is not committed."""
        raft = self._raft
        return raft.leadership is None and raft.leader is not None and bool(self.writes or self.reads)

    def take(self) -> tuple[list[Any], list[Any]]:
        """The contexts of the writes and of the reads that wait; they wait no more."""
        writes = [context for _, contexts in self.writes for context in contexts]
        reads = [context for contexts in self.reads for context in contexts]
        self.writes, self.reads = [], []
        return writes, reads
