"""One run, from a seed to what came of it; and many of them, on several processors."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty
from typing import Any, Callable, NamedTuple

from tests.sim.fiber import on_one_processor
from tests.sim.plan import SIZES, Plan
from tests.sim.world import Failure, World

PATIENCE_S = 120.0  # for the next outcome of several processes: a run takes a second or a few


class Case(NamedTuple):
    """What to run. `events`: before the faults end; None is up to the seed. `only`: the faults that may
    strike. `mutant`: how the product is broken (tests/mutants). `places`: where servers die, if not anywhere."""

    seed: int
    sizes: tuple[int, ...] = SIZES
    events: int | None = None
    only: tuple[int, ...] | None = None
    mutant: str | None = None
    places: tuple[str, ...] = ()

    def command(self, option: str = "--replay") -> str:
        """The command that runs it alone."""
        words = ["python -m tests.sim", option, str(self.seed)]
        words += ["--servers", ",".join(map(str, self.sizes))] if self.sizes != SIZES else []
        words += ["--events", str(self.events)] if self.events is not None else []
        words += ["--only", ",".join(map(str, self.only)) or "none"] if self.only is not None else []
        words += ["--mutant", f'"{self.mutant}"'] if self.mutant else []
        words += ["--places", ",".join(self.places)] if self.places else []
        return " ".join(words)


class Outcome(NamedTuple):
    """What came of a run. `failure` is None if nothing was wrong. `seconds` are virtual."""

    case: Case
    failure: str | None
    events: int
    seconds: float
    count: Counter[str]
    points: Counter[str]
    struck: tuple[int, ...]


def fresh_start() -> int:
    """A seed of the clock, from which on few have been run before."""
    return int(time.time()) % 10_000_000 * 1000


def run(case: Case, say: Callable[[str], None] | None = None) -> Outcome:
    """Run one case. `say` gets the trace."""
    if case.mutant is not None:
        from tests.mutants.breaking import in_force  # rarely needed
        from tests.mutants.table import BY_NAME

        with in_force(BY_NAME[case.mutant].breakage):
            return run(case._replace(mutant=None), say)._replace(case=case)
    plan = Plan(case.seed, case.sizes, case.events, case.places)
    if say is not None:
        say(f"seed {case.seed}: {plan}")
    world = World(plan, only=case.only, say=say)
    failure = None
    try:
        with _silence(), on_one_processor():
            world.run()
    except Failure as error:
        failure = str(error)
        if say is not None:
            say(f"FAILED: {failure}")
    return Outcome(case, failure, world.events, world.now, world.count, world.points, tuple(world.struck))


@contextmanager
def _silence() -> Iterator[None]:
    """What the product logs of simulated time and machines would only confuse."""
    log = logging.getLogger("raftkv")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(level)


def run_many(first: Case, count: int | None, minutes: float | None, jobs: int) -> Iterator[Outcome]:
    """Run `first` and those with the seeds after it, on `jobs` processes, until there were `count` or the
    time is over.

    The outcomes come in the order in which they are there.
    """
    if jobs == 1:
        yield from _in_turn(first, count, minutes, 0, 1)
        return
    context = multiprocessing.get_context()
    queue = context.Queue()
    under_way: dict[int, int] = {}  # number of the process -> seed
    workers = [
        context.Process(target=_work, args=(queue, first, count, minutes, number, jobs), daemon=True)
        for number in range(jobs)
    ]
    for worker in workers:
        worker.start()
    try:
        working = jobs
        while working:
            try:
                outcome = queue.get(timeout=PATIENCE_S)
            except Empty:
                raise RuntimeError(
                    f"nothing for {PATIENCE_S:g} s: one of the seeds {sorted(under_way.values())} stands still; "
                    "python -m tests.sim --replay SEED shows where"
                ) from None
            if isinstance(outcome, tuple) and not isinstance(outcome, Outcome):
                under_way.__setitem__(*outcome)
            elif outcome is None:
                working -= 1
            elif isinstance(outcome, Outcome):
                under_way = {at: seed for at, seed in under_way.items() if seed != outcome.case.seed}
                yield outcome
            else:
                raise RuntimeError(f"a process of the simulator's died:\n{outcome}")
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()


def _work(queue: Any, first: Case, count: int | None, minutes: float | None, number: int, jobs: int) -> None:
    """The work of process `number` of `jobs`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who collects
    os.environ.pop("RAFTKV_CHECK", None)  # the simulator checks by itself, after every event
    gc.set_threshold(100_000, 20, 100)  # the cluster of one run is garbage all at once
    try:
        with on_one_processor(number):
            for outcome in _in_turn(
                first, count, minutes, number, jobs, lambda seed: queue.put((number, seed))
            ):
                queue.put(outcome)
        queue.put(None)
    except BaseException:
        queue.put(traceback.format_exc())
        raise


def _in_turn(
    first: Case,
    count: int | None,
    minutes: float | None,
    number: int,
    jobs: int,
    on_begin: Callable[[int], None] = lambda seed: None,
) -> Iterator[Outcome]:
    end = float("inf") if minutes is None else time.monotonic() + 60 * minutes
    while (count is None or number < count) and time.monotonic() < end:
        on_begin(first.seed + number)
        yield run(first._replace(seed=first.seed + number))
        number += jobs
