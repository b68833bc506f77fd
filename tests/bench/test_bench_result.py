"""What the processes of clients record, and how it is added up."""

from __future__ import annotations

import json

import pytest
from raftkv.bench.errors import WrongAnswerError
from raftkv.bench.recorder import Recorder, common_gaps
from raftkv.bench.result import Result, Sum
from raftkv.bench.workloads import Workload
from raftkv.errors import NotApplied

BEGIN, END = 100.0, 102.0


def through_json(plain):
    return json.loads(json.dumps(plain))


def test_only_what_is_answered_between_beginning_and_end_counts():
    recorder = Recorder(BEGIN, END)
    for asked, answered in ((98.0, 99.9), (99.9, 100.5), (101.0, 101.5), (101.9, 102.1)):
        recorder.succeeded((asked, answered))
    latencies = recorder.take()["latencies"]
    assert sum(count for _, count in latencies["counts"]) == 2
    assert latencies["max_ns"] == pytest.approx(0.6e9)


def test_gaps_run_from_the_beginning_over_all_calls_to_the_end():
    recorder = Recorder(BEGIN, END)
    recorder.succeeded((100.0, 100.5))
    recorder.succeeded((100.0, 100.503))  # too soon after the last one for a gap
    first = recorder.take()["gaps"]
    recorder.succeeded((100.0, 101.0))
    second = recorder.take(over=True)["gaps"]
    assert first == [(100.0, 100.5)]
    assert second == [(100.503, 101.0), (101.0, 102.0)]
    assert recorder.take()["gaps"] == []


def test_failures_are_counted_by_kind_with_the_first_ones_message():
    recorder = Recorder(BEGIN, END)
    for error in (NotApplied("one"), WrongAnswerError("two"), NotApplied("three")):
        recorder.failed(error)
    assert recorder.take()["errors"] == {"NotApplied": [2, "one"], "WrongAnswerError": [1, "two"]}
    assert recorder.take()["errors"] == {}


def test_common_gaps_are_those_in_which_no_process_had_a_success():
    left = [(0.0, 3.0), (4.0, 6.0), (8.0, 9.0)]
    right = [(1.0, 2.0), (2.5, 5.0), (5.5, 8.5)]
    assert common_gaps([left, right]) == [(1.0, 2.0), (2.5, 3.0), (4.0, 5.0), (5.5, 6.0), (8.0, 8.5)]
    assert common_gaps([left, right, []]) == []
    assert common_gaps([left]) == left
    assert common_gaps([]) == []


def summed(processes: int = 2, batch: int = 1):
    seen = []
    workload = Workload("put", "put", clients=2, batch=batch, seconds=0.75)
    total = Sum(Result(workload, BEGIN), processes, 0.5, lambda latencies, _: seen.append(latencies.count))
    return total, seen


def report(slot: int, *latencies_s: float, errors=None, gaps=()):
    recorder = Recorder(0.0, 1000.0)
    for latency_s in latencies_s:
        recorder.succeeded((1.0, 1.0 + latency_s))
    return through_json({**recorder.take(), "gaps": gaps, "slot": slot, "errors": errors or {}})


def test_a_slice_is_over_when_all_processes_have_reported_it():
    total, seen = summed()
    total.add(0, report(1, 0.001, 0.001))
    total.add(0, report(2, 0.001))
    assert seen == []
    total.add(1, report(1, 0.003))
    assert seen == [3]
    assert total.result.seconds == 0.5
    assert total.result.ops_per_s == 6
    total.add(1, report(2))
    assert seen == [3, 1]
    assert total.result.seconds == 0.75  # the last slice is shorter
    assert [(one.end_s, one.ops_per_s) for one in total.result.slices] == [(0.5, 6.0), (0.75, 4.0)]
    assert total.result.latencies.max_ns == pytest.approx(3e6)


def test_a_batch_is_as_many_operations_but_one_latency():
    total, _ = summed(processes=1, batch=10)
    total.add(0, report(1, 0.002))
    assert (total.result.ops_per_s, total.result.latencies.count) == (20, 1)


def test_of_the_warm_up_only_errors_count():
    total, seen = summed(processes=1)
    total.add(0, report(0, 0.5, errors={"NotApplied": [2, "no leader"]}, gaps=[[99.0, 99.5]]))
    total.add(0, report(1, errors={"NotApplied": [1, "again"], "OutcomeUnknown": [4, "lost"]}))
    result = total.finish()
    assert (seen, result.gaps) == ([0], [])
    assert result.errors == {"NotApplied": (3, "no leader"), "OutcomeUnknown": (4, "lost")}
    assert result.failures == 7


def test_the_recovery_is_the_silence_that_the_kill_caused():
    result = Result(Workload("put", "put"), BEGIN)
    result.gaps = [(100.0, 100.5), (101.0, 101.2), (101.3, 102.0)]
    assert result.worst_gap_s() == pytest.approx(0.7)
    assert result.recovery_s(killed_at=101.1, dead_at=101.11) == pytest.approx(0.1)
    assert result.recovery_s(killed_at=100.9, dead_at=100.998) == pytest.approx(
        0.3
    )  # last answers on their way
    assert result.recovery_s(killed_at=100.6, dead_at=100.7) == 0.0
