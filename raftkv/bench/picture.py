"""The picture of one run: its latency and its rate over time, and how its latencies are distributed."""

from __future__ import annotations

import os

from raftkv.bench.result import Result
from raftkv.bench.svg import Axis, Series, document, line_chart
from raftkv.errors import ConfigError

_PERCENT_TICKS = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999)


def draw(result: Result, path: str) -> None:
    """Write it to a file. Raises ConfigError if that cannot be written."""
    workload = result.workload
    clients = "1 client" if workload.clients == 1 else f"{workload.clients} clients"
    what = f"{workload.name}: {clients}, {workload.value_size} byte values"
    what += f", batches of {workload.batch}" if workload.batch > 1 else ""
    time = Axis("seconds")
    slices = result.slices
    p50 = [(one.end_s, one.p50_us / 1e3 if one.ops_per_s else None) for one in slices]
    p99 = [(one.end_s, one.p99_us / 1e3 if one.ops_per_s else None) for one in slices]
    rate = [(one.end_s, float(one.ops_per_s)) for one in slices]
    shares = Axis(
        "percent of the requests that took no longer",
        log=True,
        ticks=[(_rarity(percent), f"{percent:g}") for percent in _PERCENT_TICKS],
    )
    charts = [
        line_chart(what, time, Axis("latency, ms", log=True), [Series("p50", p50), Series("p99", p99)]),
        line_chart("Rate", time, Axis("operations a second"), [Series("successful operations", rate)]),
        line_chart(
            "Distribution", shares, Axis("latency, ms", log=True), [Series("latency", _distribution(result))]
        ),
    ]
    write(path, document(charts))


def write(path: str, text: str) -> None:
    """Raises ConfigError."""
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot write: {error.strerror}") from None


def path_for(path: str, name: str, alone: bool) -> str:
    """Where the picture of a workload goes: into the given file, or beside it if there are several."""
    stem, ending = os.path.splitext(path)
    return path if alone else f"{stem}-{name}{ending}"


def _distribution(result: Result) -> list[tuple[float, float]]:
    count = result.latencies.count
    points = []
    below = 0
    for middle_ns, seen in result.latencies.cumulated():
        points.append((_rarity(100 * below / count), middle_ns / 1e6))
        below = seen
    return points


def _rarity(percent: float) -> float:
    """One request in how many is beyond: what gives the tail the same room as the rest."""
    return 1 / (1 - percent / 100)
