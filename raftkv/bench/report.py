"""What people and programs see of the results: progress, a table, lines of JSON."""

from __future__ import annotations

import json
import sys
from typing import Any, Dict, Optional, TextIO

from raftkv.bench.histogram import Histogram
from raftkv.bench.run import Result, Slice

_ERASE_LINE = "\r\x1b[K"
_COLUMNS = (  # heading, key of a line of JSON, width
    ("workload", "workload", -10),
    ("clients", "clients", 8),
    ("value", "value_size", 8),
    ("batch", "batch", 6),
    ("ops/s", "ops_per_s", 9),
    ("p50 us", "p50_us", 9),
    ("p90 us", "p90_us", 9),
    ("p99 us", "p99_us", 9),
    ("p99.9 us", "p999_us", 9),
    ("max us", "max_us", 10),
    ("errors", "errors", 7),
)


class Progress:
    """How a run is going, on standard error: one line that is written anew on a terminal, else a line a
    second."""

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._since_s = 0.0
        self._latencies = Histogram()

    def begin(self) -> None:
        """A new run begins."""
        self._since_s, self._latencies = 0.0, Histogram()

    def slice(self, name: str, batch: int, new: Slice, leader: Optional[int], errors: int) -> None:
        """What came in since the last call."""
        self._latencies.add(new.latencies)
        passed_s = new.to_s - self._since_s
        if not self._terminal and passed_s < 0.99:
            return
        latencies, rate = self._latencies, self._latencies.count * batch / passed_s
        p50, p99 = (format_us(latencies.percentile(percent) / 1e3) for percent in (50, 99))
        led = "no leader" if leader is None else f"node {leader} leads"
        failed = f"   {errors} errors" if errors else ""
        self.say(f"{name:<8} {new.to_s:6.1f} s {rate:>9,.0f}/s   p50 {p50}   p99 {p99}   {led}{failed}")
        self._since_s, self._latencies = new.to_s, Histogram()

    def say(self, line: str) -> None:
        """Anything else that passes."""
        self._stream.write(f"{_ERASE_LINE}{line}" if self._terminal else f"{line}\n")
        self._stream.flush()

    def clear(self) -> None:
        """Nothing more to be said for now."""
        if self._terminal:
            self._stream.write(_ERASE_LINE)
            self._stream.flush()


def plain(result: Result, nodes: int, elections: int) -> Dict[str, Any]:
    """A result as one line of JSON has it. Its keys are those that etcd-bench prints, and more."""
    workload, latencies = result.workload, result.latencies
    return {
        "peer": "raftkv",
        "nodes": nodes,
        "workload": workload.name,
        "op": f"mixed-{workload.workload}" if workload.op == "mixed" else workload.op,
        "clients": workload.clients,
        "connections": workload.connections,
        "processes": workload.processes,
        "in_flight": workload.in_flight,
        "batch": workload.batch,
        "value_size": workload.value_size,
        "keys": workload.keys,
        "seconds": round(result.seconds, 3),
        "ops_per_s": round(result.operations_per_s),
        **{f"p{name}_us": round(latencies.percentile(percent) / 1e3, 1) for name, percent in _PERCENTS},
        "max_us": round(latencies.max_ns / 1e3, 1),
        "errors": result.failures,
        "errors_by_kind": {kind: count for kind, (count, _) in sorted(result.errors.items())},
        "elections": elections,
        "interrupted": result.interrupted,
    }


_PERCENTS = (("50", 50.0), ("90", 90.0), ("99", 99.0), ("999", 99.9))


def print_json(line: Dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def print_heading() -> None:
    print("".join(_cell(heading, width) for heading, _, width in _COLUMNS), flush=True)


def print_row(line: Dict[str, Any]) -> None:
    """A result, as plain() gives it, as a row of the table."""
    print("".join(_cell(_number(line[key]), width) for _, key, width in _COLUMNS), flush=True)


def _cell(text: str, width: int) -> str:
    return text.ljust(-width) if width < 0 else text.rjust(width + 1)


def _number(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:,.0f}"


def format_us(microseconds: float) -> str:
    """A duration for people: 812 us, 1.23 ms, 2.50 s."""
    if microseconds < 1000:
        return f"{microseconds:.0f} us"
    if microseconds < 1e6:
        return f"{microseconds / 1e3:.2f} ms"
    return f"{microseconds / 1e6:.2f} s"
