"""What a node stands between: the state machine that it replicates, and the network that carries its
messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from raftkv.raft.messages import Message
from raftkv.raft.types import Entry, Role


class RoleChange(NamedTuple):
    """This node's role, or the term, or the leader it knows, is another one now."""

    role: Role
    term: int
    leader: int | None
    reason: str


class Refusal(NamedTuple):
    """The node `sender` sent what no correct node sends."""

    sender: int
    reason: str


class Consensus(Protocol):
    """What a state machine can ask of the node that replicates it; see RaftNode. Thread-safe."""

    def propose(self, commands: Sequence[Any], contexts: Sequence[Any], term: int = 0) -> None: ...

    def read_index(self, contexts: Sequence[Any]) -> None: ...

    def read_now(self, contexts: Sequence[Any]) -> None: ...

    @property
    def no_room(self) -> str:
        """Why this leader takes no writes that make the data larger; "" if it does, or does not lead."""

    def status(self) -> dict[str, Any]: ...


class StateMachine(Protocol):
    """What a node replicates. Called by one thread at a time, in the order of the log."""

    def apply(self, entries: list[Entry], contexts: list[Any]) -> None:
        """Apply `entries`. `contexts` are those who proposed them here and wait for an answer, aligned to the
        entries with None where nobody waits; [] if nobody does."""

    def takes_long(self, entries: list[Entry]) -> bool:
        """Whether to apply `entries` takes much longer than their bytes tell."""

    def read(self, contexts: list[Any]) -> None:
        """Answer reads: what was applied up to now is recent enough for them."""

    def refuse(self, proposals: list[Any], reads: list[Any]) -> None:
        """Leadership ended: these will not be answered. The proposals may still be committed by the next
        leader."""

    def role_changed(self, change: RoleChange) -> None: ...

    def replicated_by(self, consensus: Consensus) -> None:
        """From now on `consensus` is what takes its commands. Called before the first request, and again when
        this member takes part."""

    def snapshot_bytes(self) -> int:
        """About the size that a snapshot of it would have."""

    def begin_snapshot(self) -> SnapshotView:
        """Fix the state as it is now, to be written while the state machine goes on."""

    def restore(self, records: Iterable[Any]) -> None:
        """Begin anew from a snapshot's records."""

    def encode_record(self, record: Any) -> bytes:
        """A record's line in the snapshot file. Called on the snapshot thread, at any time."""


class SnapshotView(Protocol):
    """The state at the moment of begin_snapshot(). Never called while apply() runs."""

    def next_chunk(self, n: int) -> list[Any]:
        """The next records, of about `n` keys, as plain data; [] after the last."""

    def close(self) -> None: ...


class Network(Protocol):
    """Carries messages to other nodes; it may lose, delay and reorder them."""

    def enqueue(self, messages: Sequence[Message]) -> None:
        """Take messages, in their order; called with the mutex held, so it only keeps them."""

    def flush(self) -> None:
        """Send what was kept, without ever waiting for a slow peer."""
