"""Run: one course test with one seed: what it may open, and the figures it reports."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple, TypeVar

from tests.course.kv_cluster import KVCluster
from tests.course.raft_cluster import RaftCluster

W = TypeVar("W", bound=Any)

ROUNDS = 3  # the course's


class Figure(NamedTuple):
    """Something that a test measured, and the course's bound on it (None: it sets none)."""

    what: str
    value: float
    limit: float | None


class Run:
    """`seed` decides everything that happens; `say` gets the trace, if anybody wants it. `rounds`: of most tests of
    lab 3."""

    def __init__(
        self, name: str, seed: int, say: Callable[[str], None] | None = None, rounds: int = ROUNDS
    ) -> None:
        self.name, self.seed, self.say, self.rounds = name, seed, say, rounds
        self.figures: list[Figure] = []
        self._worlds: list[Any] = []

    def raft(
        self, servers: int, *, unreliable: bool = False, snapshots: bool = False, one_by_one: bool = False
    ) -> RaftCluster:
        return RaftCluster(self, servers, unreliable=unreliable, snapshots=snapshots, one_by_one=one_by_one)

    def kv(self, servers: int, *, unreliable: bool = False, max_raft_state: int = -1) -> KVCluster:
        return KVCluster(self, servers, unreliable=unreliable, max_raft_state=max_raft_state)

    def at_most(self, what: str, value: float, limit: float) -> None:
        """`value` must be at most `limit`, which is the course's."""
        self.note(what, value, limit)
        assert value <= limit, f"{what}: {value}, and at most {limit} are allowed"

    def note(self, what: str, value: float, limit: float | None = None) -> None:
        """Remember a figure for the table."""
        self.figures.append(Figure(what, value, limit))

    # -- for the clusters -----------------------------------------------------------------------------------

    def seed_of(self, what: str) -> str:
        return f"{self.seed}/{self.name}/{what}"

    def open(self, world: W) -> W:
        """`world` is closed with this run."""
        self._worlds.append(world)
        return world

    def close(self) -> None:
        for world in self._worlds:
            world.close()
