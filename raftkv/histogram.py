"""Histogram: how often something took how long, in buckets that are powers of two apart."""

from __future__ import annotations

from bisect import bisect_left

#: Upper bounds of the buckets, in seconds: those of etcd. What took longer is in one more.
BOUNDS_S = tuple(0.001 * 2**exponent for exponent in range(14))


class Histogram:
    """For one thread that observes; any may read, and may see the last observation half."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """It took so long."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    def plain(self) -> tuple[list[int], float]:
        """(the count of each bucket, the sum of all in seconds)."""
        return self.counts[:], self.sum_s
