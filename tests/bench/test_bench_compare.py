"""What a workload is held against, and how that is shown."""

from __future__ import annotations

import pytest
from raftkv.bench import compare
from raftkv.bench.echo import frame, whole_frames
from raftkv.bench.floor import Floor
from raftkv.bench.result import Result
from raftkv.bench.workloads import Workload, find

FLOOR = Floor(fsync_us=200.0, round_trip_us=50.0, echo_per_s=100_000.0, durable_echo_per_s=40_000.0)


def measured(workload: Workload) -> Result:
    """20,000 requests of 600 us in a second."""
    result = Result(workload, begin=0.0, seconds=1.0)
    for _ in range(20_000):
        result.latencies.record(600_000)
    return result


@pytest.mark.parametrize(
    "name, floor, ratio",
    [
        ("put1", "put floor", 600 / 300),
        ("get1", "get floor", 600 / 100),
        ("put64", "echo+fsync", 0.5),
        ("batch", "echo+fsync", 50.0),
        ("inflight", "echo+fsync", 0.5),
        ("get64", "echo", 0.2),
    ],
)
def test_one_client_is_compared_in_time_and_many_in_rate(name, floor, ratio):
    row = compare.row(measured(find(name)), FLOOR, nodes=3)
    assert (row.name, row.floor) == (name, floor)
    assert row.ratio == pytest.approx(ratio, rel=0.01)
    assert f"{ratio:.2f} x " in compare.text(row._replace(ratio=ratio))


def test_a_single_node_asks_no_follower():
    assert FLOOR.put_us(nodes=1) == 250.0
    assert FLOOR.get_us(nodes=1) == 50.0


def test_frames_are_counted_only_when_they_are_whole():
    data = frame(b"one") + frame(b"") + frame(b"three")
    assert whole_frames(data) == (3, len(data))
    assert whole_frames(data[:-1]) == (2, len(frame(b"one")) + len(frame(b"")))
    assert whole_frames(data[:3]) == (0, 0)
