"""The simulator as a test: deaths everywhere, and fresh seeds. And is it deterministic, can it fail, and shrink?"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from raftkv.node.crash_points import CRASH_POINTS as NODE_POINTS
from raftkv.storage.persister import CRASH_POINTS as DISK_POINTS

from tests.sim.__main__ import main
from tests.sim.report import Report
from tests.sim.runner import Case, Outcome, run, run_many
from tests.sim.shrink import Shrinker, kind_of

FRESH = 60
MANY = 100
ROOT = Path(__file__).parents[2]


def complaints(outcomes: list[Outcome]) -> str:
    """Which failed, why, and how to see it."""
    failed = [outcome for outcome in outcomes if outcome.failure is not None]
    return "\n".join(f"{outcome.case.command()}\n    {outcome.failure}" for outcome in failed)


# -- the product, under faults -------------------------------------------------------------------------------


def test_servers_die_at_every_crash_point() -> None:
    """At those where nobody has died yet: it takes far fewer seeds than waiting for chance."""
    missing, seed = [*NODE_POINTS, *DISK_POINTS], 0
    while missing and seed < MANY:
        seed += 1
        outcome = run(Case(seed, places=tuple(missing)))
        assert not complaints([outcome]), complaints([outcome])
        missing = [place for place in missing if not outcome.points[place]]
    assert not missing, f"in {MANY} seeds nobody died at {missing}"


def test_fresh_seeds(start: int) -> None:
    outcomes = list(run_many(Case(start), FRESH, None, 2))
    assert sorted(outcome.case.seed for outcome in outcomes) == list(range(start, start + FRESH))
    assert not complaints(outcomes), f"fresh seeds from {start} on:\n{complaints(outcomes)}"
    assert sum(outcome.events for outcome in outcomes) >= 2000 * FRESH, "the runs are too short to show much"


# -- one seed decides everything -----------------------------------------------------------------------------


def trace_of(case: Case) -> list[str]:
    lines: list[str] = []
    run(case, lines.append)
    return lines


def test_a_seed_means_one_history() -> None:
    first = trace_of(Case(9))
    assert len(first) > 1000
    assert trace_of(Case(9)) == first
    assert trace_of(Case(4)) != first


def test_a_trace_does_not_change_what_happens() -> None:
    silent, traced = run(Case(5)), run(Case(5), lambda line: None)
    assert silent == traced


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_a_seed_means_the_same_in_another_process(hash_seed: str) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-m", "tests.sim", "--replay", "9"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=100, check=True)
    assert done.stdout.decode().splitlines() == trace_of(Case(9))


# -- it can fail ---------------------------------------------------------------------------------------------


def test_a_failure_can_be_replayed_and_shrunk(capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = run_many(Case(40, mutant="log not fsynced"), 60, None, 1)
    case = next(o.case for o in outcomes if o.failure)
    whole = run(case)
    assert whole.failure is not None
    smallest = Shrinker(case, lambda line: None).shrink()
    assert smallest.failure is not None and kind_of(smallest.failure) == kind_of(whole.failure)
    assert 0 < len(smallest.struck) < len(whole.struck)
    assert run(smallest.case._replace(mutant=None)).failure is None, "it is the mutant that fails"
    words = re.findall(r'"[^"]*"|\S+', smallest.case.command())
    assert words[:3] == ["python", "-m", "tests.sim"]
    assert main([word.strip('"') for word in words[3:]]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == f"FAILED: {smallest.failure}"


def test_a_cluster_that_does_not_come_to_life_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raftkv.raft.core.Raft._become_pre_candidate", lambda raft: None)
    failure = run(Case(1)).failure
    assert failure is not None and re.search(r"no life \d+\.\d s after the faults", failure)
    assert "waits for" in failure and "n1@" in failure, "it says where everybody is"


def test_a_failure_is_reported_with_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "1", "--start", "5", "--jobs", "1", "--mutant", "log not fsynced"]) == 1
    printed = capsys.readouterr().out
    assert 'python -m tests.sim --replay 5 --mutant "log not fsynced"' in printed
    assert 'python -m tests.sim --shrink 5 --mutant "log not fsynced"' in printed


def test_the_report_adds_up() -> None:
    outcomes = list(run_many(Case(1, (3,)), 2, None, 1))
    report = Report()
    for outcome in outcomes:
        report.add(outcome)
    assert report.count["elections"] == sum(outcome.count["elections"] for outcome in outcomes) > 0
    for total in ("elections", "crashes", "partitions", "messages", "client operations", "events"):
        assert total in report.summary()


# -- what a line of a trace looks like -----------------------------------------------------------------------


def test_the_trace_is_one_line_an_event() -> None:
    lines = trace_of(Case(3, (3,)))
    append = r"^ *\d+\.\d{6}  n\d+@\d+ leader -> n\d+ Append base=\d+@\d+ \[[\d@. ]*\] commit=\d+"
    assert any(re.search(append, line) for line in lines)
    assert not any("\n" in line for line in lines)
