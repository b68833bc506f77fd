"""What another node says never ends this one, however wrong it is: it is taken in, or refused by ProtocolError."""

from __future__ import annotations

import random
from typing import Any, get_args, get_type_hints

import pytest
from raftkv.errors import ProtocolError
from raftkv.node.wire import MAX_NUMBER, from_plain, to_plain
from raftkv.raft.configuration import Configuration
from raftkv.raft.messages import (
    AppendAccepted,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Message,
    RequestVote,
)
from raftkv.raft.types import MAX_TERM_LEAP, Entry, Role, Snapshot

from tests.raft.harness import Driven, append, entry, make_follower, make_leader, make_steady_leader

SEEDS = range(3)
STEPS = 1000


def numbers(rng: random.Random, driven: Driven) -> int:
    """Mostly such as a bug would make: near those that matter here."""
    raft = driven.raft
    near = rng.choice(
        [0, raft.term, raft.log.commit, raft.log.last_index, raft.log.snapshot.index, MAX_NUMBER]
    )
    return min(MAX_NUMBER, max(0, near + rng.randint(-2, 2)))


def lie(rng: random.Random, driven: Driven) -> Message:
    """A message of the right types."""
    cls: Any = rng.choice(get_args(Message))
    values: dict[str, Any] = {}
    for name, type_ in get_type_hints(cls).items():
        if type_ is int:
            values[name] = numbers(rng, driven)
        elif type_ is bool:
            values[name] = rng.random() < 0.7
        elif type_ is bytes:
            values[name] = rng.randbytes(rng.randint(0, 3))
        elif type_ is Snapshot:
            values[name] = Snapshot(numbers(rng, driven), numbers(rng, driven), Configuration((1, 2, 3)))
        else:
            values[name] = tuple(_entries(rng, driven, values["prev_index"]))
    values.update(sender=rng.choice((2, 3)), to=1)
    if rng.random() < 0.9:
        values["term"] = driven.raft.term
    return cls(**values)


def _entries(rng: random.Random, driven: Driven, prev_index: int) -> list[Entry]:
    start = min(prev_index, MAX_NUMBER - 9) + 1
    terms = sorted(rng.randint(1, driven.raft.term + 1) for _ in range(rng.randint(0, 4)))
    return [entry(index, term) for index, term in enumerate(terms, start)]


@pytest.mark.parametrize("role", ["leader", "follower"])
@pytest.mark.parametrize("seed", SEEDS)
def test_no_lie_ends_a_core(role: str, seed: int) -> None:
    rng = random.Random(f"{role} {seed}")
    told = refused = 0
    base = Snapshot(2, 1, Configuration((1, 2, 3)))
    driven = (make_leader if role == "leader" else make_follower)(snapshot=base, terms=[1, 2, 2, 4])
    for _ in range(STEPS):
        if role == "leader" and driven.raft.role is not Role.LEADER:
            driven.become_leader()
        if rng.random() < 0.05:
            driven.propose("x") if role == "leader" else driven.time_out()
        try:
            message = from_plain(to_plain(lie(rng, driven)))
        except ProtocolError:
            continue  # refused before it came to the core
        told += 1
        try:
            driven.step(message)
        except ProtocolError:
            refused += 1
            driven.run()
        for chunk in driven.chunks:
            driven.raft.chunk_stored(chunk, rng.randint(0, 3), rng.random() < 0.3 and chunk.done)
        driven.chunks.clear()
    assert told > STEPS / 3 and 0 < refused < told


def steady_leader() -> Driven:
    return make_steady_leader(terms=[1, 2])


def follower() -> Driven:
    driven = make_follower(terms=[1, 2, 2, 4], term=5)
    driven.step(Heartbeat(2, 1, 5, 3, 1))
    assert driven.raft.log.commit == 3
    return driven


@pytest.mark.parametrize(
    "node, message, says",
    [
        (steady_leader, Heartbeat(2, 1, 3, 0, 0), "nodes 1 and 2 both lead term 3"),
        (steady_leader, AppendAccepted(2, 1, 3, 99), "it acknowledges entry 99, and the last one here is 3"),
        (steady_leader, HeartbeatReply(2, 1, 3, 99), "round 99 before it was asked"),
        (steady_leader, RequestVote(2, 1, MAX_TERM_LEAP + 4, 9, 9), "and this node only at 3"),
        (follower, Heartbeat(3, 1, 5, 0, 0), "nodes 2 and 3 both lead term 5"),
        (
            follower,
            append(follower().raft, (1, 1), [3]),
            "entry 2 is of term 3, and the one committed here of 2",
        ),
        (follower, append(follower().raft, (3, 1)), "entry 3 is of term 1, and the one committed here of 2"),
        (
            follower,
            InstallSnapshot(2, 1, 5, Snapshot(3, 1, Configuration((1, 2, 3))), 0, b"", False),
            "entry 3 is of term 1, and the one committed here of 2",
        ),
    ],
)
def test_a_message_against_the_rules_is_refused_and_changes_nothing(
    node: Any, message: Message, says: str
) -> None:
    driven = node()
    raft, log = driven.raft, driven.raft.log
    before = raft.hard_state, raft.role, raft.leader, log.last_index, log.commit
    with pytest.raises(ProtocolError, match=says):
        driven.raft.step(message)
    assert (raft.hard_state, raft.role, raft.leader, log.last_index, log.commit) == before
    assert driven.run() == []
