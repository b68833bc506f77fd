"""Chaos in small: a few seconds of it, and what becomes of it when something is wrong."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import run as chaos_run
from tests.chaos.nemesis import Hand, Nemesis
from tests.chaos.run import Run, processes_left
from tests.cluster.waiting import wait_until


def expect_nothing_left(folder: Path) -> None:
    wait_until(lambda: not processes_left(folder), "all processes to be gone")
    assert {thread.name for thread in threading.enumerate()} & {"proxy", "log-1"} == set()


@pytest.mark.skipif(os.name != "posix", reason="it needs signals")
def test_a_few_seconds_of_chaos(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    report = Run(tmp_path, 6.0, 3, seed, print).run()
    print(f"seed {seed}", *report.lines, sep="\n")
    assert report.problems == []
    expect_nothing_left(tmp_path)


class _Betrayal(Nemesis):
    """Kills a node behind the harness's back."""

    def turn(self) -> None:
        process = self._cluster.nodes[1].process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        wait_until(lambda: not self._cluster.nodes[1].running, "node 1 to be gone")
        self._cluster.expect_running()


class _Lie(Nemesis):
    """Adds a word that is there already, behind the back of the history."""

    def wind_down(self, meanwhile: Any) -> None:
        super().wind_down(meanwhile)
        with self._cluster.clerk() as db:
            wait_until(lambda: chaos_run.has_room(db), "the alarm of the last full disk to end")
            value = wait_until(lambda: db.get("count-0"), "a word")
            while not db.cas("count-0", value, value + value[: value.index(";") + 1]):
                value = db.get("count-0")


@pytest.mark.parametrize(
    "nemesis, problem",
    [(_Betrayal, "node 1 ended by itself, with status -9"), (_Lie, "is there 2 times")],
)
def test_a_problem_is_reported_and_nothing_is_left(
    nemesis: Any, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chaos_run, "Nemesis", nemesis)
    report = Run(tmp_path, 0.5, 3, 1, print).run()
    assert any(problem in found for found in report.problems), report.problems
    expect_nothing_left(tmp_path)
    assert (tmp_path / "server1.log").exists() and list(tmp_path.glob("history-*.jsonl"))


# -- the nemesis's hands -------------------------------------------------------------------------------------


def drawn(seed: int, count: int) -> list[str]:
    """The kinds of the first faults of a hand."""
    notes: list[str] = []

    def fault() -> Iterator[float]:
        yield 0.0

    hand = Hand(dict.fromkeys("abcde", fault), random.Random(seed), notes.append, pause_s=0.0)
    while len(notes) < count:
        hand.turn()
    return notes


def test_the_seed_fixes_the_order_of_faults() -> None:
    assert drawn(1, 20) == drawn(1, 20) != drawn(2, 20)


def test_every_kind_comes_equally_often() -> None:
    assert set(Counter(drawn(3, 50)).values()) == {10}


def test_a_resting_hand_ends_its_fault_and_begins_no_other() -> None:
    steps: list[str] = []

    def fault() -> Iterator[float]:
        steps.append("begun")
        yield 0.0
        steps.append("ended")

    hand = Hand({"only": fault}, random.Random(1), lambda kind: None, pause_s=0.0)
    hand.turn()
    hand.resting = True
    assert hand.busy
    for _ in range(5):
        hand.turn()
    assert steps == ["begun", "ended"] and not hand.busy
