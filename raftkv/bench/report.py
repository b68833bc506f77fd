"""What people and programs see of the results: a table, or lines of JSON."""

from __future__ import annotations

import json
from typing import Any

from raftkv.bench.result import Result

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
    ("server us", "server_us", 10),
    ("errors", "errors", 7),
)


def plain(result: Result, nodes: int, elections: int) -> dict[str, Any]:
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
        "idle": workload.idle,
        "in_flight": workload.in_flight,
        "batch": workload.batch,
        "value_size": workload.value_size,
        "keys": workload.keys,
        "seconds": round(result.seconds, 3),
        "ops_per_s": round(result.ops_per_s),
        **{f"p{name}_us": round(latencies.percentile(percent) / 1e3, 1) for name, percent in _PERCENTS},
        "max_us": round(latencies.max_ns / 1e3, 1),
        "errors": result.failures,
        "errors_by_kind": {kind: count for kind, (count, _) in sorted(result.errors.items())},
        "elections": elections,
        "interrupted": result.interrupted,
    }


_PERCENTS = (("50", 50.0), ("90", 90.0), ("99", 99.0), ("999", 99.9))


def to_json(line: dict[str, Any]) -> str:
    return json.dumps(line)


def heading() -> str:
    return "".join(_cell(heading, width) for heading, _, width in _COLUMNS)


def row(line: dict[str, Any]) -> str:
    """A result, as plain() gives it, as a row of the table."""
    return "".join(_cell(_number(line[key]), width) for _, key, width in _COLUMNS)


def _cell(text: str, width: int) -> str:
    return text.ljust(-width) if width < 0 else text.rjust(width + 1)


def _number(value: Any) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:,.0f}"
