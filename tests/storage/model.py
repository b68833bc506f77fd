"""What a member's disk may hold after a crash: a model of the Persister that is too simple to be wrong.

A Model is one durable state. Each step says which states a crash in the middle of it may leave (`during`),
the last of which is the one that holds when it returned.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from raftkv.errors import NoRoomError
from raftkv.raft.configuration import Configuration
from raftkv.raft.types import COMMAND, Entry, HardState, Snapshot
from raftkv.storage.identity import Life
from raftkv.storage.persister import Persister

from tests.sim.disk import SimDisk

VOTERS = (1, 2, 3)
FOLDER = "data"


class Model(NamedTuple):
    """`log` is contiguous; `follows` is the snapshot that it was begun after, if it was dropped for one."""

    hard_state: HardState = HardState()
    snapshot: Snapshot | None = None
    log: tuple[Entry, ...] = ()
    follows: Snapshot | None = None
    met: tuple[tuple[int, Life], ...] = ()

    def leads_to(self, snapshot: Snapshot) -> bool:
        """Does the log hold the last entry that `snapshot` stands for?"""
        if self.follows == snapshot:
            return True
        return any(entry.index == snapshot.index and entry.term == snapshot.term for entry in self.log)

    def visible(self) -> tuple[Any, ...]:
        """What opening the folder is to show."""
        entries, term = self.log, self.hard_state.term
        hard_state = self.hard_state
        if self.snapshot is not None:
            entries = tuple(entry for entry in entries if entry.index > self.snapshot.index)
            if not self.leads_to(self.snapshot):
                entries = ()
            if self.snapshot.term > term:
                hard_state = HardState(self.snapshot.term, None)
        return hard_state, self.snapshot, entries, self.met


class Step(NamedTuple):
    """A method of the Persister, and its arguments."""

    method: str
    args: tuple[Any, ...]

    def run(self, persister: Persister) -> None:
        """Raises NoRoomError also where the persister only says that it took nothing."""
        result = getattr(persister, self.method)(*self.args)
        if self.method == "receive_chunk" and result < self.args[1] + len(self.args[2]) or result is False:
            raise NoRoomError(f"{self.method} was not done")

    def during(self, model: Model) -> list[Model]:
        return getattr(self, "_" + self.method)(model, *self.args)  # type: ignore[no-any-return]

    def _save(self, model: Model, hard_state: HardState | None, entries: Sequence[Entry]) -> list[Model]:
        states = [model]
        if hard_state is not None:
            states.append(states[-1]._replace(hard_state=hard_state))
        if entries:
            base, first = states[-1], entries[0].index
            if (
                model.snapshot is not None
                and first > model.snapshot.index
                and not model.leads_to(model.snapshot)
            ):
                base = base._replace(log=(), follows=model.snapshot)
                states.append(base)
            kept = tuple(entry for entry in base.log if entry.index < first)
            states += [base._replace(log=kept + tuple(entries[: n + 1])) for n in range(len(entries))]
        return states

    def _compact(self, model: Model, index: int) -> list[Model]:
        return [model]

    def _write_snapshot(self, model: Model, snapshot: Snapshot, lines: Sequence[bytes]) -> list[Model]:
        if model.snapshot is not None and snapshot.index <= model.snapshot.index:
            return [model]
        return [model, model._replace(snapshot=snapshot)]

    def _receive_chunk(
        self, model: Model, snapshot: Snapshot, offset: int, data: bytes, done: bool
    ) -> list[Model]:
        return [model]

    def _install(self, model: Model, snapshot: Snapshot) -> list[Model]:
        states = self._write_snapshot(model, snapshot, ())
        if len(states) > 1 and not model.leads_to(snapshot):
            states.append(states[-1]._replace(log=(), follows=snapshot))
        return states

    def _remember(self, model: Model, uid: int, life: Life) -> list[Model]:
        return [model, model._replace(met=tuple(sorted({**dict(model.met), uid: life}.items())))]


def open_persister(disk: SimDisk, **options: Any) -> Persister:
    arguments: dict[str, Any] = {
        "node_id": 1,
        "cluster": "raftkv",
        "segment_bytes": 300,
        "draw": itertools.count(7).__next__,
    }
    return Persister(FOLDER, disk=disk, **{**arguments, **options})


def visible(persister: Persister) -> tuple[Any, ...]:
    met = tuple(sorted(persister.identity.met.items()))
    return persister.hard_state, persister.snapshot, tuple(persister.entries), met


def entries(first: int, last: int, term: int) -> list[Entry]:
    """The entries first..last of `term`; the data depends on both, and on nothing else."""
    return [Entry.create(i, term, COMMAND, [f"value {i} of term {term}"]) for i in range(first, last + 1)]


def snapshot(index: int, term: int) -> Snapshot:
    return Snapshot(index, term, Configuration(VOTERS))


def lines(snapshot: Snapshot, count: int = 3) -> list[bytes]:
    """A content that depends on the snapshot."""
    return [b'["%d@%d",%d]\n' % (snapshot.index, snapshot.term, number) for number in range(count)]
