"""Histories of clients that are processes: written line by line while they run, and put together afterwards.

The format is that of tests/linearizability/history.py. All processes of one machine share the clock
time.monotonic().
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO


class Recorder:
    """Writes the events of several clients to one file. Thread-safe.

    Call invoke() before the request can leave, and end() after its outcome is known.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._lock = threading.Lock()

    def invoke(self, process: str, f: str, key: str, value: Any) -> None:
        self._write(process, "invoke", f, key, value)

    def end(self, process: str, type: str, f: str, key: str, value: Any = None, error: str = "") -> None:
        """`type`: ok, fail (certainly without effect, for ever) or info (nobody knows)."""
        self._write(process, type, f, key, value, error)

    def _write(self, process: str, type: str, f: str, key: str, value: Any, error: str = "") -> None:
        event = {"process": process, "type": type, "f": f, "key": key, "value": value, "time": 0.0}
        if error:
            event["error"] = error
        with self._lock:
            event["time"] = time.monotonic()
            self._file.write(json.dumps(event) + "\n")


def merge(files: Iterable[Path]) -> list[dict[str, Any]]:
    """The events of all files in the order of time; an invoke comes first where times are equal."""
    events: list[dict[str, Any]] = []
    for path in files:
        lines = path.read_text(encoding="ascii").splitlines()
        for number, line in enumerate(lines, 1):
            event = _parse(line)
            if event is not None:
                events.append(event)
            else:  # a client was killed while it wrote; what it had under way has no outcome
                assert number == len(lines), f"{path}: line {number} is no event: {line!r}"
    return sorted(events, key=lambda event: (event["time"], event["type"] != "invoke"))


def _parse(line: str) -> dict[str, Any] | None:
    try:
        return json.loads(line)
    except ValueError:
        return None


def by_key(events: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The events of each key."""
    keys: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        keys.setdefault(event["key"], []).append(event)
    return keys


def outcomes(events: Iterable[dict[str, Any]]) -> tuple[int, int, int]:
    """How many operations are ok, failed, and of unknown outcome."""
    counts = {"invoke": 0, "ok": 0, "fail": 0, "info": 0}
    for event in events:
        counts[event["type"]] += 1
    return counts["ok"], counts["fail"], counts["invoke"] - counts["ok"] - counts["fail"]
