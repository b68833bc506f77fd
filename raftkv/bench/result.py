"""Result: what was measured, added up from what the processes of clients report."""

from __future__ import annotations

import dataclasses
from typing import Any, Callable, NamedTuple

from raftkv.bench.histogram import Histogram
from raftkv.bench.recorder import GAP_S, Gap, common_gaps
from raftkv.bench.workloads import Workload


class Slice(NamedTuple):
    """What happened in a slice of time: `begin_s` to `end_s`, in seconds after the beginning."""

    begin_s: float
    end_s: float
    ops_per_s: float
    p50_us: float
    p99_us: float


@dataclasses.dataclass
class Result:
    """What was measured. `seconds` are fewer than the workload's if `interrupted`."""

    workload: Workload
    begin: float  # in the time of perf_counter(), as the gaps
    seconds: float = 0.0
    latencies: Histogram = dataclasses.field(default_factory=Histogram)  # of requests
    errors: dict[str, tuple[int, str]] = dataclasses.field(default_factory=dict)  # kind: how many, an example
    slices: list[Slice] = dataclasses.field(default_factory=list)
    gaps: list[Gap] = dataclasses.field(default_factory=list)  # when nobody had a success
    interrupted: bool = False

    @property
    def ops_per_s(self) -> float:
        """Successful operations, of which a batch has several, a second."""
        return self.operations / self.seconds if self.seconds else 0.0

    @property
    def operations(self) -> int:
        """How many were successful."""
        return self.latencies.count * self.workload.batch

    @property
    def failures(self) -> int:
        """How many requests failed."""
        return sum(count for count, _ in self.errors.values())

    def worst_gap_s(self) -> float:
        """The longest time without a success; 0.0 if none was longer than GAP_S."""
        return max((end - start for start, end in self.gaps), default=0.0)

    def recovery_s(self, killed_at: float, dead_at: float) -> float:
        """How long after `killed_at` the silence ended that began by `dead_at`; 0.0 if there was none.

        (The last answers of a dead server may still be on their way to the clients.)
        """
        ends = [end for start, end in self.gaps if start <= dead_at + GAP_S and end > killed_at]
        return max(ends, default=killed_at) - killed_at


#: Is told of each slice of time that is over: its latencies, and the result so far, whose last slice it is.
OnSlice = Callable[[Histogram, Result], None]


class Sum:
    """Adds up the reports of all processes into `result`."""

    def __init__(self, result: Result, processes: int, slot_s: float, on_slice: OnSlice) -> None:
        self.result = result
        self._slot_s = slot_s
        self._on_slice = on_slice
        self._gaps: list[list[Gap]] = [[] for _ in range(processes)]
        self._slots: dict[int, list[Histogram]] = {}  # those that not all processes have reported

    def add(self, number: int, report: dict[str, Any]) -> None:
        """A report as load.py writes it, of the process with that number."""
        result, slot = self.result, report["slot"]
        for kind, (count, example) in report["errors"].items():
            known, first = result.errors.get(kind, (0, example))
            result.errors[kind] = (known + count, first)
        if slot < 1:
            return  # the warm-up
        self._gaps[number] += [(start, end) for start, end in report["gaps"]]
        reports = self._slots.setdefault(slot, [])
        reports.append(Histogram.from_plain(report["latencies"]))
        if len(reports) == len(self._gaps):
            self._complete(slot)

    def finish(self) -> Result:
        """No more reports will come."""
        self.result.gaps = common_gaps(self._gaps)
        return self.result

    def _complete(self, slot: int) -> None:
        result, total = self.result, Histogram()
        for report in self._slots.pop(slot):
            total.add(report)
        begin, end = (slot - 1) * self._slot_s, min(slot * self._slot_s, result.workload.seconds)
        rate = total.count * result.workload.batch / (end - begin)
        p50, p99 = (total.percentile(percent) / 1e3 for percent in (50, 99))
        result.seconds = end
        result.latencies.add(total)
        result.slices.append(Slice(begin, end, rate, p50, p99))
        self._on_slice(total, result)
