"""Shrinking: which few faults, and how little time, still make a failing run fail in the same way?

Leaving faults out changes all that comes after them, so a smaller run may fail or not, as luck has it; it is
simply tried. First the run is made shorter, then faults are left out, in halves, quarters, … and one by one
(Zeller's delta debugging).
"""

from __future__ import annotations

import re
from typing import Callable

from tests.sim.plan import Plan
from tests.sim.runner import Case, Outcome, run

MOST_RUNS = 400


class Shrinker:
    """`report` gets a line for each step forward."""

    def __init__(self, case: Case, report: Callable[[str], None]) -> None:
        self._report = report
        self._runs = 0
        self._kind: str | None = None
        self.best = self._run(case)
        self._kind = kind_of(self.best.failure) if self.best.failure else None

    def shrink(self) -> Outcome:
        """The smallest failing run that was found; one without a failure if the case does not fail at all."""
        if self.best.failure is None:
            return self.best
        self._use_faults(self.best.struck)
        self._shorten()
        before: tuple[int, ...] = ()
        while before != self.best.struck:
            before = self.best.struck
            self._leave_out_faults()
            self._shorten()
        return self.best

    def _run(self, case: Case) -> Outcome:
        self._runs += 1
        return run(case)

    def _try(self, case: Case) -> bool:
        """Does it still fail so? Then it is the best one."""
        if self._runs >= MOST_RUNS:
            return False
        outcome = self._run(case)
        if outcome.failure is None or kind_of(outcome.failure) != self._kind:
            return False
        self.best = outcome
        self._report(f"{len(outcome.struck)} faults, {outcome.events} events: {outcome.failure}")
        return True

    def _use_faults(self, faults: tuple[int, ...]) -> bool:
        return self._try(self.best.case._replace(only=faults))

    def _shorten(self) -> None:
        """Fewer events before the faults end."""
        case = self.best.case
        events = min(case.events or Plan(case.seed, case.sizes).events, self.best.events)
        step = events // 2
        while step > 20:
            if self._try(self.best.case._replace(events=max(1, events - step))):
                events = max(1, events - step)
            else:
                step //= 2

    def _leave_out_faults(self) -> None:
        parts = 2
        while True:
            faults = list(self.best.struck)
            if len(faults) < 2 or parts > 2 * len(faults):
                break
            size = max(1, len(faults) // parts)
            if not any(self._use_faults(_without(faults, at, size)) for at in range(0, len(faults), size)):
                if size == 1:
                    break
                parts *= 2
        if len(self.best.struck) == 1:
            self._use_faults(())


def _without(faults: list[int], at: int, size: int) -> tuple[int, ...]:
    return tuple(faults[:at] + faults[at + size :])


def kind_of(failure: str) -> str:
    """The failure without its numbers and names: what must stay the same."""
    return re.sub(r"\d+|n\d|c\d|'[^']*'|\(.*\)|\[.*\]|:.*", "", failure.partition(": ")[2])[:60]
