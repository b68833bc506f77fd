"""What the tests of the core share: cores made to measure, and one core driven by hand.

`Driven` is a core whose disk is instant and whose state machine is a list: whatever comes out is done at
once and remembered, and the messages are returned. Tests about the order of effects call ready() themselves.
The invariants are checked after every input.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from raftkv.raft import invariants
from raftkv.raft.core import Raft
from raftkv.raft.log import RaftLog
from raftkv.raft.messages import (
    AppendAccepted,
    AppendEntries,
    Heartbeat,
    Message,
    PreVoteReply,
    VoteReply,
)
from raftkv.raft.types import (
    COMMAND,
    Configuration,
    Entry,
    HardState,
    Options,
    Role,
    Snapshot,
)

TIMEOUT_S = Options().election_timeout_s
HEARTBEAT_S = Options().heartbeat_interval_s

M = TypeVar("M")


def entry(index: int, term: int, data: Any = None, kind: str = COMMAND) -> Entry:
    return Entry.create(index, term, kind, data)


def entries(terms: Iterable[int], start: int = 1) -> list[Entry]:
    """Entries from `start` on with these terms, as figure 7 draws logs."""
    return [entry(index, term) for index, term in enumerate(terms, start)]


def terms_of(raft: Raft) -> list[int]:
    return [entry.term for entry in raft.log.entries]


def empty_snapshot(voters: Sequence[int]) -> Snapshot:
    """The state before the first entry."""
    return Snapshot(0, 0, Configuration(tuple(voters)))


class Driven:
    """A core with an instant disk and an instant state machine."""

    def __init__(self, raft: Raft) -> None:
        self.raft = raft
        self.saved: list[Entry] = []  # all entries that were handed out to be stored, in order
        self.applied: list[Entry] = []
        self.restored: list[Snapshot] = []
        self.reads: list[tuple[Any, int]] = []
        self.lost_reads: list[Any] = []
        self.chunks: list[Any] = []  # snapshot chunks handed out; tests call chunk_stored themselves
        self._seen = invariants.observe(raft)

    def run(self) -> list[Message]:
        """Do all there is to do. Returns the messages that left."""
        sent: list[Message] = []
        self._check()
        while self.raft.has_ready:
            ready = self.raft.ready()
            sent += ready.messages
            self.saved += ready.entries
            if ready.chunk is not None:
                self.chunks.append(ready.chunk)
            sent += ready.promises
            self.raft.advance(ready)
            if ready.restore is not None:
                self.restored.append(ready.restore)
            self.applied += ready.committed
            if ready.committed:
                self.raft.applied_to(ready.committed[-1].index)
            self.reads += ready.reads
            self.lost_reads += ready.lost_reads
            self._check()
        return sent

    def _check(self) -> None:
        invariants.check_state(self.raft)
        self._seen = invariants.check_delta(self._seen, self.raft)

    def step(self, *messages: Message) -> list[Message]:
        for message in messages:
            self.raft.step(message)
        return self.run()

    def wait(self, seconds: float) -> list[Message]:
        self.raft.tick(self.raft.now + seconds)
        return self.run()

    def time_out(self) -> list[Message]:
        """Let the longest election timeout pass at once."""
        return self.wait(2 * TIMEOUT_S)

    def propose(self, *commands: Any) -> list[Message]:
        self.raft.propose(commands)
        return self.run()

    def read(self, context: Any) -> list[Message]:
        self.raft.read_index(context)
        return self.run()

    def lose(self, peer: int) -> list[Message]:
        """The connection from `peer` breaks."""
        self.raft.lost_contact(peer)
        return self.run()

    def accept(self, *peers: int, match: int | None = None) -> list[Message]:
        """These followers (all, if none is named) hold the leader's log up to `match`, else all of it."""
        raft = self.raft
        match = raft.log.last_index if match is None else match
        return self.step(
            *[AppendAccepted(peer, raft.id, raft.term, match) for peer in peers or sorted(raft.progress)]
        )

    # -- roles -------------------------------------------------------------------------------------

    def supporters(self) -> list[int]:
        """As many other voters as, with this node, make the smallest majority."""
        others = [voter for voter in self.raft.configuration.voters if voter != self.raft.id]
        return others[: len(self.raft.configuration.voters) // 2]

    def become_candidate(self) -> list[Message]:
        """Time out and win the pre-vote. Returns the RequestVotes."""
        raft = self.raft
        sent = self.time_out()
        for peer in self.supporters():
            sent = self.step(PreVoteReply(peer, raft.id, raft.term, raft.term + 1, True))
        assert raft.role is Role.CANDIDATE or not self.supporters(), f"is {raft.role.value}, not candidate"
        return sent

    def become_leader(self) -> list[Message]:
        """Win an election. Returns what the new leader sends."""
        raft = self.raft
        sent = self.become_candidate()
        for peer in self.supporters():
            sent = self.step(VoteReply(peer, raft.id, raft.term, True))
        assert raft.role is Role.LEADER, f"is {raft.role.value}, not leader"
        return sent


def make(
    id: int = 1,
    voters: Sequence[int] = (1, 2, 3),
    *,
    terms: Sequence[int] = (),
    term: int | None = None,
    vote: int | None = None,
    snapshot: Snapshot | None = None,
    seed: int = 1,
    **options: Any,
) -> Driven:
    """A node that comes up with a log of these terms (after `snapshot`), in `term`, else its last entry's."""
    base = snapshot or empty_snapshot(voters)
    log = RaftLog(base, entries(terms, base.index + 1))
    if term is None:
        term = log.last_term
    raft = Raft(id, log, HardState(term, vote), rng=random.Random(seed), options=Options(**options))
    return Driven(raft)


def make_leader(id: int = 1, voters: Sequence[int] = (1, 2, 3), **state: Any) -> Driven:
    """A node that has won an election in the term after that of make(), and has sent its no-op."""
    driven = make(id, voters, **state)
    driven.become_leader()
    return driven


def make_steady_leader(id: int = 1, voters: Sequence[int] = (1, 2, 3), **state: Any) -> Driven:
    """A leader whose no-op all followers hold: everything is committed, each follower in REPLICATE."""
    driven = make_leader(id, voters, **state)
    driven.accept()
    return driven


def make_follower(leader: int = 2, **state: Any) -> Driven:
    """A node that follows `leader`, heard a moment ago, in the term of make()."""
    driven = make(**state)
    raft = driven.raft
    raft.step(
        AppendEntries(leader, raft.id, raft.term, raft.log.snapshot.index, raft.log.snapshot.term, (), 0)
    )
    driven.run()
    return driven


def make_copy(leader: Driven, id: int) -> Driven:
    """A follower that holds all of `leader`'s log, and follows it."""
    raft = leader.raft
    log = RaftLog(raft.log.snapshot, raft.log.entries)
    driven = Driven(Raft(id, log, HardState(raft.term), rng=random.Random(id), options=raft.options))
    driven.step(Heartbeat(raft.id, id, raft.term, 0, 0))
    return driven


def append(
    raft: Raft,
    prev: tuple[int, int],
    terms: Sequence[int] = (),
    *,
    sender: int = 2,
    commit: int = 0,
    term: int | None = None,
) -> AppendEntries:
    """An AppendEntries to `raft`, in its own term unless told otherwise. `prev` is (index, term)."""
    new = tuple(entries(terms, prev[0] + 1))
    return AppendEntries(sender, raft.id, raft.term if term is None else term, prev[0], prev[1], new, commit)


def sync(messages: Sequence[Message], *nodes: Driven) -> list[Message]:
    """Carry `messages` and all that follow from them between `nodes` until nobody says any more.

    Returns all that was said, in order. Messages to nodes that are not named are lost.
    """
    by_id = {driven.raft.id: driven for driven in nodes}
    said = list(messages)
    for at in range(100_000):
        if at == len(said):
            return said
        if said[at].to in by_id:
            said += by_id[said[at].to].step(said[at])
    raise AssertionError(f"these nodes never fall silent; the last message is {said[-1]}")


def of(kind: type[M], messages: Iterable[Any]) -> list[M]:
    """Those of `messages` that are of this class."""
    return [message for message in messages if type(message) is kind]


def only(messages: Sequence[M]) -> M:
    """The one message there is."""
    assert len(messages) == 1, f"expected one message, got {messages}"
    return messages[0]
