"""Outsider: stands in for a node while it is not clear yet how this member begins (joining.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from raftkv.errors import NotLeaderError
from raftkv.node.interfaces import Refusal
from raftkv.raft.messages import Message
from raftkv.raft.types import Snapshot

_NUMBERS = ("term", "commit_index", "applied_index", "log_last_index", "log_bytes", "snapshot_index")


class Outsider:
    """It has RaftNode's methods, takes no part, and knows no leader. Thread-safe."""

    no_room = ""

    def __init__(self, id: int) -> None:
        self._id = id

    def propose(self, commands: Sequence[Any], contexts: Sequence[Any]) -> None:
        raise NotLeaderError(None)

    def read_index(self, contexts: Sequence[Any]) -> None:
        raise NotLeaderError(None)

    def read_now(self, contexts: Sequence[Any]) -> None:
        raise NotLeaderError(None)

    def status(self) -> dict[str, Any]:
        joining = {"id": self._id, "role": "joining", "leader": None, "log_first_index": 1}
        return {**joining, **dict.fromkeys(_NUMBERS, 0)}

    def problems(self) -> list[str]:
        return []

    def get_state(self) -> tuple[int, bool]:
        return 0, False

    def step(self, messages: Sequence[Message]) -> list[Refusal]:
        return []

    def lost_contact(self, peer: int) -> None:
        """It has none."""

    def snapshot_unreadable(self, peer: int, snapshot: Snapshot) -> None:
        """It sends none."""
