"""The processor time of the servers during a measurement, as Linux counts it (in steps of 10 ms)."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from time import perf_counter


class ServerTime:
    """Processor time, user and system, of the processes `pids`. For one thread."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._timers: list[threading.Timer] = []
        self._readings: list[float | None] = []

    def plan(self, begin: float, seconds: float) -> None:
        """Read at `begin`, in the time of perf_counter(), and `seconds` later."""
        for moment in (begin, begin + seconds):
            timer = threading.Timer(max(0.0, moment - perf_counter()), self._read)
            timer.daemon = True
            timer.start()
            self._timers.append(timer)

    def us_per_op(self, operations: int) -> float | None:
        """Microseconds that all servers together took for an operation; None if that is not known: not all
        ran all the time, they are on other machines, or the system is not Linux."""
        for timer in self._timers:
            timer.join()
        if not self._pids or not operations or None in self._readings:
            return None
        begin, end = (reading for reading in self._readings if reading is not None)
        return round((end - begin) * 1e6 / operations, 2)

    def _read(self) -> None:
        try:
            self._readings.append(sum(map(_seconds, self._pids)))
        except OSError:
            self._readings.append(None)


def _seconds(pid: int) -> float:
    """Raises OSError."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
