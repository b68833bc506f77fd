"""Progress: how a run is going."""

from __future__ import annotations

from typing import TextIO

from raftkv.bench.histogram import Histogram
from raftkv.bench.result import Result

_ERASE_LINE = "\r\x1b[K"


class Progress:
    """Says how a run is going: one line that is written anew on a terminal, else a line a
    second."""

    def __init__(self, stream: TextIO, quiet: bool = False) -> None:
        self._stream = stream
        self._quiet = quiet
        self._terminal = stream.isatty()
        self._since_s = 0.0
        self._latencies = Histogram()

    def begin(self) -> None:
        """A new run begins."""
        self._since_s, self._latencies = 0.0, Histogram()

    def slice(self, latencies: Histogram, result: Result, leader: int | None) -> None:
        """A slice of time is over: its latencies, and the result so far."""
        self._latencies.add(latencies)
        workload, now_s = result.workload, result.seconds
        passed_s = now_s - self._since_s
        if not self._terminal and passed_s < 0.99:
            return
        rate = self._latencies.count * workload.batch / passed_s
        p50, p99 = (format_us(self._latencies.percentile(percent) / 1e3) for percent in (50, 99))
        led = "no leader" if leader is None else f"node {leader} leads"
        failed = f"   {result.failures} errors" if result.failures else ""
        self.say(f"{workload.name:<8} {now_s:6.1f} s {rate:>9,.0f}/s   p50 {p50}   p99 {p99}   {led}{failed}")
        self._since_s, self._latencies = now_s, Histogram()

    def say(self, line: str) -> None:
        """Anything else that passes."""
        if self._quiet:
            return
        self._stream.write(f"{_ERASE_LINE}{line}" if self._terminal else f"{line}\n")
        self._stream.flush()

    def clear(self) -> None:
        """Nothing more to be said for now."""
        if self._terminal and not self._quiet:
            self._stream.write(_ERASE_LINE)
            self._stream.flush()


def format_us(microseconds: float) -> str:
    """A duration for people: 812 us, 1.23 ms, 2.50 s."""
    if microseconds < 1000:
        return f"{microseconds:.0f} us"
    if microseconds < 1e6:
        return f"{microseconds / 1e3:.2f} ms"
    return f"{microseconds / 1e6:.2f} s"
