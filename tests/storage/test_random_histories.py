"""Histories that Raft may cause, at random, with crashes, full disks and failing fsyncs in between."""

from __future__ import annotations

import contextlib
import errno
import random
from collections.abc import Iterator
from typing import Any

import pytest
from raftkv.errors import NoRoomError, StorageError
from raftkv.raft.types import Entry, HardState, Snapshot
from raftkv.storage.identity import Life
from raftkv.storage.persister import Persister

from tests.sim.disk import SOME, Crash, SimDisk
from tests.storage.model import (
    Model,
    Step,
    entries,
    lines,
    open_persister,
    snapshot,
    visible,
)
from tests.storage.steps import append, transfer

SEEDS = 150
STEPS = 60


@pytest.mark.parametrize("block", range(4))
def test_random_histories(block: int) -> None:
    for seed in range(block * SEEDS // 4, (block + 1) * SEEDS // 4):
        _History(seed).run()


class _History:
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.seed = seed
        self.disk = SimDisk(random.Random(-seed), reorders=self.rng.random() < 0.5)
        self.model = Model(HardState(1))
        self.committed = 0
        self.persister = self.open()
        self.persister.save(self.model.hard_state, [])  # which comes before all else
        self.done: list[str] = []

    def open(self) -> Persister:
        persister = open_persister(self.disk, reserve_bytes=self.rng.choice([0, 0, 500]))
        while persister.tend_reserve():
            pass
        return persister

    def run(self) -> None:
        for _ in range(STEPS):
            for step in self.next_steps():
                if not self.attempt(step):
                    break
        self.reopen([self.model])

    def attempt(self, step: Step) -> bool:
        """Run one step. False if a fault hit it; then the disk was opened anew."""
        legal = step.during(self.model)
        self.done.append(f"{step.method}{step.args}")
        with contextlib.suppress(StorageError, Crash):
            try:
                with self.fault():
                    step.run(self.persister)
            except NoRoomError:
                if self.rng.random() < 0.5:
                    raise
                step.run(self.persister)  # there is room again
            self.model = legal[-1]
            return True
        self.reopen(legal)
        return False

    @contextlib.contextmanager
    def fault(self) -> Iterator[None]:
        """One step in ten is hit by something."""
        kind = self.rng.choice(["crash", "fsync", "full", *["none"] * 27])
        left = self.rng.randint(0, 8)

        def before(operation: str, path: str) -> None:
            nonlocal left
            left -= 1
            if kind == "crash" and left < 0:
                raise Crash
            if kind == "fsync" and left < 0 and operation in ("sync", "sync_folder"):
                raise OSError(errno.EIO, "Input/output error", path)

        if kind == "full":
            self.disk.capacity = self.disk.used() + self.rng.randint(0, 300)
        if kind != "none":
            self.done.append(f"[{kind}]")
            self.disk.before = before
        try:
            yield
        finally:
            self.disk.capacity = None
            self.disk.before = lambda operation, path: None

    def reopen(self, legal: list[Model]) -> None:
        """The process ends, or the machine, perhaps again while the process begins anew."""
        for _ in range(self.rng.choice([1, 1, 2])):
            if self.rng.random() < 0.5:
                self.disk.power_cut(SOME)
                self.done.append("[power cut]")
            else:
                self.disk.kill()
                self.done.append("[kill]")
            self.persister = self.open()
            found = visible(self.persister)
            states = [model for model in legal if model.visible() == found]
            history = "\n  ".join(self.done)
            assert states, f"seed {self.seed}: found\n  {found}\nlegal are\n  {legal}\nhistory:\n  {history}"
            model = states[0]
            if model.snapshot is not None and not model.leads_to(model.snapshot):
                model = model._replace(log=(), follows=model.snapshot)
            self.model = model._replace(hard_state=found[0])
            legal = [self.model]
        self.committed = max(self.snapshot_index, min(self.committed, self.last))

    # -- what may come next ----------------------------------------------------------------------------------

    @property
    def snapshot_index(self) -> int:
        return self.model.snapshot.index if self.model.snapshot else 0

    @property
    def last(self) -> int:
        return max(self.model.log[-1].index if self.model.log else 0, self.snapshot_index)

    @property
    def term(self) -> int:
        return self.model.visible()[0].term

    def term_at(self, index: int) -> int | None:
        return next((entry.term for entry in self.model.log if entry.index == index), None)

    def next_steps(self) -> list[Step]:
        choices: list[Any] = [self.append] * 6
        choices += [self.replace, self.new_term, self.commit, self.own_snapshot, self.transfer] * 2
        choices += [self.peer, self.compact, self.snapshot_ahead]
        steps: list[Step] = self.rng.choice(choices)()
        return steps

    def new_entries(self, first: int, term: int) -> list[Entry]:
        return entries(first, first + self.rng.randint(0, 7), term)

    def append(self) -> list[Step]:
        first = self.last + 1 if self.model.log and self.model.log[-1].index > self.snapshot_index else None
        if first is None and self.model.snapshot is None:
            first = 1
        return [append(self.new_entries(first or self.snapshot_index + 1, self.term))] if self.term else []

    def replace(self) -> list[Step]:
        if self.committed >= self.last:
            return []
        first, term = self.rng.randint(self.committed + 1, self.last), self.term + 1
        return [Step("save", (HardState(term, None), self.new_entries(first, term)))]

    def new_term(self) -> list[Step]:
        return [Step("save", (HardState(self.term + 1, self.rng.choice([None, 1, 2, 3])), []))]

    def commit(self) -> list[Step]:
        self.committed = self.rng.randint(self.committed, self.last)
        return []

    def own_snapshot(self) -> list[Step]:
        index = self.rng.randint(self.snapshot_index, self.committed)
        term = self.term_at(index)
        if term is None or index == self.snapshot_index:
            return []
        return [self.write(snapshot(index, term))]

    def write(self, taken: Snapshot) -> Step:
        return Step("write_snapshot", (taken, lines(taken, self.rng.randint(0, 5))))

    def compact(self) -> list[Step]:
        return [Step("compact", (self.rng.randint(0, self.snapshot_index),))]

    def snapshot_ahead(self) -> list[Step]:
        """Of entries that are committed and applied, but that the log-writer has not come to yet."""
        term = self.term + 1
        first = self.rng.randint(self.committed + 1, self.last + 1)
        waiting = entries(first, first + 5, term)
        taken = snapshot(first + self.rng.randint(0, 4), term)
        self.committed = taken.index
        begin = self.rng.choice([first, taken.index + 1])
        late = Step("save", (HardState(term, None), [entry for entry in waiting if entry.index >= begin]))
        return [self.write(taken), *self.rng.choice([[], self.compact_to(taken)]), late]

    def compact_to(self, taken: Snapshot) -> list[Step]:
        return [Step("compact", (taken.index,))]

    def transfer(self) -> list[Step]:
        index = self.committed + self.rng.randint(1, 10)
        term = self.term_at(index)
        if term is None or self.rng.random() < 0.3:
            term = self.term
        steps = transfer(snapshot(index, term))
        if not term or self.rng.random() < 0.2:
            return steps[:2] if term else []
        self.committed = index
        return steps

    def peer(self) -> list[Step]:
        return [Step("remember", (self.rng.choice([2, 3]), Life(1, self.rng.randint(1, 9))))]
