"""Recorder: what the clients of one process have seen, in slices of time."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

from raftkv.bench.histogram import Histogram

GAP_S = 0.005  # a shorter time without a success is not worth a note

Gap = tuple[float, float]  # from, to: no success between


class Recorder:
    """Takes notes of the requests that are answered between the times `begin` and `end` (perf_counter, s).

    `succeeded` and `failed` may be called by any thread, take() by one.
    """

    def __init__(self, begin: float, end: float) -> None:
        self._begin = begin
        self._end = end
        self._last = begin  # the last success
        # Both are queues, since appending to one is atomic, and cheaper than any lock.
        self._successes: deque[tuple[float, float]] = deque()
        self._failures: deque[Exception] = deque()
        self.succeeded = self._successes.append  # takes (when it was asked, when answered)
        self.failed = self._failures.append  # takes the exception

    def take(self, over: bool = False) -> dict[str, Any]:
        """What came since the last call, as plain data; with `over`, also the gap at the end."""
        gaps: list[Gap] = []
        histogram = Histogram()
        queue, begin, end = self._successes, self._begin, self._end
        answered = [queue.popleft() for _ in range(len(queue))]
        for at, asked in sorted((done, asked) for asked, done in answered):
            if begin <= at <= end:
                histogram.record(int((at - asked) * 1e9))
                if at - self._last > GAP_S:
                    gaps.append((self._last, at))
                self._last = max(self._last, at)
        if over and end - self._last > GAP_S:
            gaps.append((self._last, end))
        return {"latencies": histogram.to_plain(), "gaps": gaps, "errors": self._take_errors()}

    def _take_errors(self) -> dict[str, list[Any]]:
        """By kind: how often, and the first one's message."""
        failures = [self._failures.popleft() for _ in range(len(self._failures))]
        counts = Counter(type(error).__name__ for error in failures)
        messages = {type(error).__name__: str(error) for error in reversed(failures)}
        return {kind: [count, messages[kind]] for kind, count in counts.items()}


def common_gaps(all_gaps: list[list[Gap]]) -> list[Gap]:
    """When nobody had a success: what the gaps of all processes, each in order of time, have in common."""
    if not all_gaps:
        return []
    common, *others = all_gaps
    for gaps in others:
        common = _intersection(common, gaps)
    return common


def _intersection(left: list[Gap], right: list[Gap]) -> list[Gap]:
    result, i, j = [], 0, 0
    while i < len(left) and j < len(right):
        start, end = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if start < end:
            result.append((start, end))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return result
