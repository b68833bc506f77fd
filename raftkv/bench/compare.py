"""One sitting: what the machine allows at best, and what the database makes of it."""

from __future__ import annotations

from typing import Any, NamedTuple

from raftkv.bench.floor import IN_FLIGHT, Floor
from raftkv.bench.result import Result

WORKLOADS = ("put1", "put64", "put256", "inflight", "batch", "get1", "get64")


class Row(NamedTuple):
    """`ratio` is to `floor`: how many times as long for a single client, else how many times as many."""

    name: str
    ops_per_s: float
    p50_us: float
    ratio: float | None = None
    floor: str = ""


def floor_rows(floor: Floor, nodes: int) -> list[Row]:
    """What the workloads are held against."""
    singles = [
        ("fsync", floor.fsync_us),
        ("round trip", floor.round_trip_us),
        ("put floor", floor.put_us(nodes)),
        ("get floor", floor.get_us(nodes)),
    ]
    echoes = [("echo", floor.echo_per_s), ("echo+fsync", floor.durable_echo_per_s)]
    return [
        *(Row(name, 1e6 / us, us) for name, us in singles),
        *(Row(name, rate, IN_FLIGHT / rate * 1e6) for name, rate in echoes),
    ]


def row(result: Result, floor: Floor, nodes: int) -> Row:
    """A workload beside its floor."""
    workload, rate = result.workload, result.ops_per_s
    p50_us = result.latencies.percentile(50) / 1e3
    writes = workload.op not in ("get", "scan")
    if workload.clients == workload.in_flight == workload.batch == 1:
        us = floor.put_us(nodes) if writes else floor.get_us(nodes)
        return Row(workload.name, rate, p50_us, p50_us / us, "put floor" if writes else "get floor")
    best = floor.durable_echo_per_s if writes else floor.echo_per_s
    return Row(workload.name, rate, p50_us, rate / best, "echo+fsync" if writes else "echo")


def heading() -> str:
    return f"{'':<12}{'a second':>10}{'p50 us':>10}  ratio"


def text(row: Row) -> str:
    """A line of the table."""
    line = f"{row.name:<12}{row.ops_per_s:>10,.0f}{row.p50_us:>10,.0f}"
    if row.ratio is None:
        return line
    return f"{line}  {row.ratio:.2f} x {'p50 of' if row.floor.endswith('floor') else 'rate of'} {row.floor}"


def plain(floor: Floor, nodes: int) -> dict[str, Any]:
    """The floor as a line of JSON."""
    return {
        "peer": "floor",
        "fsync_us": round(floor.fsync_us, 1),
        "round_trip_us": round(floor.round_trip_us, 1),
        "put1_us": round(floor.put_us(nodes), 1),
        "get1_us": round(floor.get_us(nodes), 1),
        "echo_per_s": round(floor.echo_per_s),
        "echo_fsync_per_s": round(floor.durable_echo_per_s),
    }
