"""Memory, threads and open files of the nodes, and the size of their data, sampled over a run. From /proc, so
on Linux only; elsewhere: no samples.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Callable, NamedTuple

PARTS = 4  # of the run, in the table
MIN_RUN_S = 100.0  # in a shorter run, what grows is mostly what a young process needs
MIN_SAMPLES = 8  # of a node in a part

#: The rows of the table. The data is there to explain the memory.
COLUMNS = ("memory", "data", "threads", "files")

#: How much more the last part may show than the second: (factor, and so much on top). In kB for memory.
SLACK = {"memory": (1.25, 4096), "threads": (1.0, 4), "files": (1.0, 12)}


class Sample(NamedTuple):
    at_s: float  # since the beginning of the run
    memory: int  # resident, kB
    data: int  # the size of its newest snapshot, kB
    threads: int
    files: int  # open
    age_s: float  # of the process


def read_proc(pid: int, data_dir: Path, at_s: float, age_s: float) -> Sample | None:
    """What process `pid`, a node with that data, uses now; None if it is gone, or the system has no /proc."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            status = file.read()
        files = len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None
    memory, threads = (re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE) for name in ("VmRSS", "Threads"))
    if memory is None or threads is None:
        return None  # a zombie
    return Sample(at_s, int(memory[1]), _snapshot_kb(data_dir), int(threads[1]), files, age_s)


def _snapshot_kb(data_dir: Path) -> int:
    sizes = [0]
    for path in data_dir.glob("snapshot/*.jsonl"):
        with contextlib.suppress(FileNotFoundError):  # a newer one has replaced it meanwhile
            sizes.append(path.stat().st_size)
    return max(sizes) // 1024


class Resources:
    """The samples of each node. `processes()` gives those that run, by node: pid and data folder."""

    def __init__(self, processes: Callable[[], Mapping[int, tuple[int, Path]]]) -> None:
        self._processes = processes
        self._born: dict[int, tuple[int, float]] = {}  # node -> (pid, when it was first seen)
        self.samples: dict[int, list[Sample]] = {}

    def sample(self, at_s: float) -> None:
        for node, (pid, data_dir) in self._processes().items():
            if self._born.get(node, (0, 0.0))[0] != pid:
                self._born[node] = (pid, at_s)
            found = read_proc(pid, data_dir, at_s, at_s - self._born[node][1])
            if found is not None:
                self.samples.setdefault(node, []).append(found)

    def table(self, length_s: float) -> list[str]:
        """The lines of the table: for each part of the run the median, and the highest of all."""
        quarters = "".join(f"{f'part {part + 1}':>8}" for part in range(PARTS))
        lines = [f"{'node':<6}{'oldest':>8}  {'':<8}{quarters}{'highest':>9}"]
        for node, samples in sorted(self.samples.items()):
            for index, what in enumerate(COLUMNS):
                values = [getattr(sample, what) for sample in samples]
                parts = "".join(f"{_text(what, m):>8}" for m in self._medians(node, what, length_s))
                age = f"{max(sample.age_s for sample in samples):.0f} s"
                left = f"{node:<6}{age:>8}" if index == 0 else " " * 14
                lines.append(f"{left}  {what:<8}{parts}{_text(what, max(values)):>9}")
        return lines

    def comparable(self, length_s: float) -> bool:
        """Was the run long enough, and a node alive long enough, to tell whether anything grows?"""
        return length_s >= MIN_RUN_S and any(
            None not in (medians[1], medians[-1])
            for medians in (self._medians(node, "memory", length_s) for node in self.samples)
        )

    def growing(self, length_s: float) -> list[str]:
        """What was more in the last part than in the second, by more than SLACK. Of a short run: nothing."""
        if length_s < MIN_RUN_S:
            return []
        problems = []
        for node in sorted(self.samples):
            for what, (factor, extra) in SLACK.items():
                medians = self._medians(node, what, length_s)
                before, after = medians[1], medians[-1]
                if before is not None and after is not None and after > before * factor + extra:
                    problems.append(
                        f"node {node}: {what} grew from {_text(what, before)} to {_text(what, after)}"
                    )
        return problems

    def _medians(self, node: int, what: str, length_s: float) -> list[float | None]:
        parts: list[list[int]] = [[] for _ in range(PARTS)]
        for sample in self.samples[node]:
            parts[min(PARTS - 1, int(sample.at_s / length_s * PARTS))].append(getattr(sample, what))
        return [median(part) if len(part) >= MIN_SAMPLES else None for part in parts]


def _text(what: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value / 1024:.1f}M" if what in ("memory", "data") else f"{value:.0f}"
