"""Trying mutants, on several processes: each must be caught, by what does not complain without it."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from pathlib import Path
from typing import NamedTuple

from tests.mutants.breaking import in_force
from tests.mutants.mutant import VARIABLE, Mutant
from tests.mutants.table import BY_NAME
from tests.sim.runner import Case, run

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 120.0  # for one test
_FAILED, _PASSED = 1, 0  # exit statuses of pytest


class Result(NamedTuple):
    """What came of a mutant. `problem`: why it does not count as caught; "" if it does. `complaint`: what the
    test or the simulator says. `seeds`: how many it took."""

    problem: str
    complaint: str = ""
    seeds: int = 0
    seconds: float = 0.0


def try_all(mutants: Sequence[Mutant], jobs: int) -> Iterator[tuple[Mutant, Result]]:
    """Each with its result, in the order in which they are there."""
    with ProcessPoolExecutor(jobs, initializer=_begin) as pool:
        tests = dict.fromkeys(mutant.test for mutant in mutants if mutant.test)
        intact = {test: pool.submit(run_test, test) for test in tests}
        todo = {pool.submit(_try_named, mutant.name): mutant for mutant in mutants}
        while todo:
            for future in wait(todo, return_when=FIRST_COMPLETED).done:
                mutant, result = todo.pop(future), future.result()
                if mutant.test:
                    result = _compared(result, *intact[mutant.test].result())
                yield mutant, result


def _begin() -> None:
    os.environ.pop("RAFTKV_CHECK", None)  # the simulator checks by itself, after every event
    gc.set_threshold(100_000, 20, 100)  # the cluster of one run is garbage all at once


def _compared(result: Result, status: int, complaint: str) -> Result:
    """`result`, unless its test has ended with `status` without the mutant, too."""
    if status == _PASSED:
        return result
    return result._replace(problem=f"its test does not pass without it: {complaint}")


def _try_named(name: str) -> Result:
    return try_one(BY_NAME[name])


def try_one(mutant: Mutant) -> Result:
    """In this process; what its test says without the mutant is not looked at."""
    started = time.monotonic()
    try:
        result = _try_test(mutant) if mutant.test else _try_seeds(mutant)
    except Exception as error:  # the mutant cannot be applied, or ended the simulator
        result = Result(f"{type(error).__name__}: {error}")
    return result._replace(seconds=time.monotonic() - started)


def _try_seeds(mutant: Mutant) -> Result:
    for seed in range(1, mutant.within + 1):
        case = Case(seed, mutant=mutant.name)
        complaint = run(case).failure
        if complaint is not None:
            intact = run(case._replace(mutant=None)).failure
            problem = "" if intact is None else f"seed {seed} fails without it: {intact}"
            return Result(problem, complaint, seed)
    return Result(f"not in {mutant.within} seeds")


def _try_test(mutant: Mutant) -> Result:
    with in_force(mutant.breakage):
        pass  # raises if it cannot be; a pytest that ends for that reason would look like one that failed
    status, complaint = run_test(mutant.test, mutant.name)
    if status == _FAILED:
        return Result("", complaint)
    return Result(f"its test did not fail, but ended with {status}: {complaint}")


def run_test(test: str, mutant: str = "") -> tuple[int, str]:
    """Run a test of the suite in a process of its own. Returns pytest's exit status, and its last words."""
    test = str(ROOT / "tests" / test)
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", test]
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    if mutant:
        command += ["-p", "tests.mutants.plugin"]
        environment[VARIABLE] = mutant
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        output = process.communicate(timeout=PATIENCE_S)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return -1, f"it had not ended after {PATIENCE_S:g} s"
    return process.returncode, _last_words(output)


def _last_words(output: str) -> str:
    """The assertion that failed; else pytest's summary."""
    errors: list[str] = re.findall(r"^E +(.+)", output, re.MULTILINE)
    lines = errors or output.strip().splitlines()[-1:]
    return lines[0] if lines else "it said nothing"
