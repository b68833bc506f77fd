"""What the simulator tells people: a line now and then, and a summary at the end."""

from __future__ import annotations

import sys
import time
from collections import Counter

from raftkv.node.crash_points import CRASH_POINTS as NODE_POINTS
from raftkv.storage.persister import CRASH_POINTS as DISK_POINTS

from tests.sim.runner import Outcome

PROGRESS_EVERY_S = 10.0  # 0.5 on a terminal

CALM = "calm until all was well, ms"
_PARTITIONS = ("fault: partition", "fault: one way cut", "fault: client cut off")
_POINTS = sorted({*NODE_POINTS, *DISK_POINTS})


class Report:
    """Adds up outcomes. Prints as they come."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._terminal = sys.stdout.isatty()
        self._next = self._began
        self._seeds = self._events = self._servers = 0
        self._seconds = 0.0
        self._longest_calm_ms = 0
        self.count: Counter[str] = Counter()
        self.points: Counter[str] = Counter()
        self.failures: list[Outcome] = []

    def add(self, outcome: Outcome) -> None:
        self._seeds += 1
        self._events += outcome.events
        self._seconds += outcome.seconds
        self._longest_calm_ms = max(self._longest_calm_ms, outcome.count.pop(CALM, 0))
        self.count.update(outcome.count)
        self.points.update(outcome.points)
        if outcome.failure is not None:
            self.failures.append(outcome)
            self._print_failure(outcome)
        now = time.monotonic()
        if now >= self._next:
            self._next = now + (0.5 if self._terminal else PROGRESS_EVERY_S)
            print(self._progress(), end="\r" if self._terminal else "\n", flush=True)

    def _print_failure(self, outcome: Outcome) -> None:
        case = outcome.case
        print(
            f"seed {case.seed} FAILED after {outcome.events} events: {outcome.failure}\n"
            f"    to see it:     {case.command()}\n"
            f"    to shrink it:  {case.command('--shrink')}",
            flush=True,
        )

    def _progress(self) -> str:
        took_s = time.monotonic() - self._began
        return (
            f"{self._seeds} seeds, {len(self.failures)} failed, {self._events} events, "
            f"{self._seeds / took_s * 60:.0f} seeds a minute  "
        )

    def summary(self) -> str:
        """Some lines."""
        took_s = time.monotonic() - self._began
        count = self.count
        named = [point for point in _POINTS if self.points[point]]
        never = [point for point in _POINTS if not self.points[point]]
        rates = f"{self._seeds / took_s * 60:.0f} seeds a minute, {self._events / took_s:.0f} events a second"
        calm = f"after the faults, all was well within {self._longest_calm_ms / 1000:.1f} s"
        partitions = sum(count[name] for name in _PARTITIONS)
        kinds = ("elections", "crashes and stops", "messages", "client operations")
        sums = ", ".join([*(f"{count[kind]:,} {kind}" for kind in kinds), f"{partitions:,} partitions"])
        rest = f"; never at {', '.join(never)}" if 0 < len(never) <= 10 else ""
        lines = [
            f"{self._seeds} seeds, {len(self.failures)} failed, in {took_s:.0f} s ({rates})",
            f"{self._events:,} events in {self._seconds / 3600:.1f} hours of virtual time; {calm}",
            sums,
            f"processes died at {len(named)} of the {len(_POINTS)} named crash points{rest}",
        ]
        width = max((len(name) for name in count), default=0)
        lines += [f"    {name:{width}}  {count[name]:>10,}" for name in sorted(count)]
        return "\n".join(lines)
