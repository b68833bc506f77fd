"""That the verdict sees what is wrong, and only that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.client import SHARED_SESSION
from tests.chaos.recorder import Recorder, merge, outcomes
from tests.chaos.resources import Resources, Sample, read_proc
from tests.chaos.verdict import check_counters, check_histories, check_logs, check_terms

Step = tuple[str, str, str, str, Any]  # process, type, f, key, value


def history(*steps: Step) -> list[dict[str, Any]]:
    names = ("process", "type", "f", "key", "value")
    return [{**dict(zip(names, step)), "time": float(at)} for at, step in enumerate(steps)]


def appended(*words: tuple[str, str]) -> list[dict[str, Any]]:
    """A counter's history of (word, outcome)."""
    steps: list[Step] = []
    for word, outcome in words:
        process = word.split(".")[0]
        steps += [
            (process, "invoke", "append", "count-0", f"{word};"),
            (process, outcome, "append", "count-0", None),
        ]
    return history(*steps)


WORDS = (
    ("A.0.1", "ok"),
    ("B.0.1", "fail"),
    ("A.0.2", "info"),
    ("A.0.3", "ok"),
    (f"C.{SHARED_SESSION}.1", "info"),
)


@pytest.mark.parametrize(
    "value", ["A.0.1;A.0.3;", "A.0.1;A.0.2;A.0.3;", f"C.{SHARED_SESSION}.1;A.0.1;A.0.3;"]
)
def test_a_counter_that_is_right(value: str) -> None:
    assert check_counters(appended(*WORDS), {"count-0": value}) == (1, [])


@pytest.mark.parametrize(
    "value, problem",
    [
        ("A.0.1;", "'A.0.3', whose outcome was ok, is there 0 times"),
        (None, "'A.0.1', whose outcome was ok, is there 0 times"),
        ("A.0.1;A.0.3;A.0.1;", "'A.0.1', whose outcome was ok, is there 2 times"),
        ("A.0.1;A.0.2;A.0.2;A.0.3;", "'A.0.2', whose outcome was info, is there 2 times"),
        ("A.0.1;A.0.3;B.0.1;", "'B.0.1', whose outcome was fail, is there 1 times"),
        ("A.0.1;A.0.3;A.0.2;", "'A.0.2' comes after number 3 of the same client"),
        ("A.0.1;A.0.3;Z.0.1;", "nobody ever appended 'Z.0.1'"),
    ],
)
def test_a_counter_that_is_wrong(value: str | None, problem: str) -> None:
    assert f"count-0: {problem}" in check_counters(appended(*WORDS), {"count-0": value}).problems


def test_a_stale_read_is_found_and_its_history_is_kept(tmp_path: Path) -> None:
    events = history(
        ("A", "invoke", "put", "k", "1"),
        ("A", "ok", "put", "k", "1"),
        ("A", "invoke", "put", "k", "2"),
        ("A", "ok", "put", "k", "2"),
        ("B", "invoke", "get", "k", None),
        ("B", "ok", "get", "k", "1"),
        ("B", "invoke", "get", "other", None),
        ("B", "info", "get", "other", None),
    )
    said: list[str] = []
    keys, problems = check_histories(events, tmp_path, said.append)
    assert keys == 2 and len(problems) == 1 and said
    assert str(tmp_path / "violation-k.jsonl") in problems[0]
    assert len((tmp_path / "violation-k.jsonl").read_text().splitlines()) == 6


def test_two_leaders_of_a_term_are_found() -> None:
    logs = {1: "x INFO leader in term 3\nx INFO leader in term 5\n", 2: "x INFO leader in term 4\n"}
    assert check_terms(logs) == (3, [])
    assert check_terms({**logs, 3: "x INFO leader in term 5\n"}).problems == ["nodes 1 and 3 led term 5"]


def test_a_traceback_in_a_log_is_found() -> None:
    assert check_logs({1: "INFO all is well"}) == []
    assert "node 2" in check_logs({1: "", 2: "INFO\nTraceback (most recent call last)\nAssertionError: x"})[0]


# -- recorder ------------------------------------------------------------------------------------------------


def test_histories_of_several_processes_are_merged_in_the_order_of_time(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    with open(paths[0], "w") as a, open(paths[1], "w") as b:
        first, second = Recorder(a), Recorder(b)
        first.invoke("A", "put", "k", "1")
        second.invoke("B", "get", "k", None)
        first.end("A", "info", "put", "k", error="no answer")
        second.end("B", "ok", "get", "k", "1")
    merged = merge(paths)
    assert [(event["process"], event["type"]) for event in merged] == [
        ("A", "invoke"), ("B", "invoke"), ("A", "info"), ("B", "ok"),
    ]  # fmt: skip
    assert outcomes(merged) == (1, 0, 1)


def test_at_equal_times_an_operation_begins_before_another_one_ends(tmp_path: Path) -> None:
    events = history(("A", "ok", "get", "k", None), ("B", "invoke", "get", "k", None))
    events[1]["time"] = events[0]["time"]
    path = tmp_path / "h"
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    assert [event["type"] for event in merge([path])] == ["invoke", "ok"]


def test_only_the_last_line_may_be_torn(tmp_path: Path) -> None:
    path = tmp_path / "h"
    line = json.dumps(history(("A", "invoke", "get", "k", None))[0])
    path.write_text(f"{line}\n{line[:20]}")
    assert len(merge([path])) == 1
    path.write_text(f"{line[:20]}\n{line}\n")
    with pytest.raises(AssertionError, match="line 1 is no event"):
        merge([path])


# -- resources -----------------------------------------------------------------------------------------------


def resources(memory_at_end: int, files_at_end: int = 30) -> Resources:
    """Of a node that was sampled every second for 200 s."""
    found = Resources(dict)
    found.samples[1] = [
        Sample(at, memory_at_end if at >= 150 else 20_000, 2048, 11, files_at_end if at >= 150 else 30, at)
        for at in range(200)
    ]
    return found


def test_a_growing_resource_is_found() -> None:
    assert resources(21_000).growing(200) == []
    assert resources(40_000).growing(200) == ["node 1: memory grew from 19.5M to 39.1M"]
    assert resources(40_000).table(200)[1].split()[-5:] == ["19.5M", "19.5M", "19.5M", "39.1M", "39.1M"]
    assert resources(20_000, 60).growing(200) == ["node 1: files grew from 30 to 60"]


def test_a_resource_seen_too_shortly_is_not_called_flat() -> None:
    assert resources(20_000).comparable(200)
    assert not resources(20_000).comparable(99), "a short run"
    assert not resources(20_000).comparable(1000), "the node was gone for most of it"
    assert not Resources(dict).comparable(200), "no samples at all"


def test_this_process_can_be_sampled(tmp_path: Path) -> None:
    import os
    import threading

    before = read_proc(os.getpid(), tmp_path, 1.0, 2.0)
    if before is None:
        pytest.skip("this system has no /proc")
    assert before.memory > 1000 and before.threads >= threading.active_count() and before.data == 0
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "7-1.jsonl").write_bytes(bytes(5000))
    with open(tmp_path / "x", "w"):
        after = read_proc(os.getpid(), tmp_path, 1.0, 2.0)
    assert after is not None and after.files == before.files + 1 and after.data == 4
