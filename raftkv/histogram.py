"""Histogram: how often something took how long, in buckets that are powers of two apart."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

# Upper bounds of the buckets, in seconds, as etcd has them. What took longer is in one more.
DISK_S = tuple(0.001 * 2**exponent for exponent in range(14))
NETWORK_S = tuple(0.0001 * 2**exponent for exponent in range(16))
LOCK_S = tuple(0.00001 * 2**exponent for exponent in range(16))


class Histogram:
    """For one thread that observes; any may read, and may see the last observation half."""

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self._bounds_s = bounds_s
        self.counts = [0] * (len(bounds_s) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """It took so long."""
        self.counts[bisect_left(self._bounds_s, seconds)] += 1
        self.sum_s += seconds

    def plain(self) -> tuple[list[int], float]:
        """(the count of each bucket, the sum of all in seconds)."""
        return self.counts[:], self.sum_s
