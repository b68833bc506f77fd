"""Histogram: many durations in little memory, each known to within one percent.

The idea is HdrHistogram's (Gil Tene): buckets that are 1 ns wide at first, and twice as wide in each
following power of two, so that all of them are equally wide *relative* to what they hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

_BITS = 6
_LINEAR = 1 << (_BITS + 1)  # below this, in nanoseconds, a bucket holds one number


class Histogram:
    """How often which duration was seen, in nanoseconds (int, 0 or more). Not thread-safe.

    `max_ns` is exact; what percentile() returns is at most 0.8 % off.
    """

    __slots__ = ("_counts", "count", "max_ns")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}  # number of the bucket -> how many
        self.count = 0
        self.max_ns = 0

    def record(self, value_ns: int) -> None:
        """Count one duration."""
        if value_ns < _LINEAR:
            bucket = value_ns
        else:
            shift = value_ns.bit_length() - _BITS - 1
            bucket = (shift << _BITS) + (value_ns >> shift)
        counts = self._counts
        counts[bucket] = counts.get(bucket, 0) + 1
        self.count += 1
        self.max_ns = max(self.max_ns, value_ns)

    def add(self, other: Histogram) -> None:
        """Count all that `other` has counted, too."""
        counts = self._counts
        for bucket, count in other._counts.items():
            counts[bucket] = counts.get(bucket, 0) + count
        self.count += other.count
        self.max_ns = max(self.max_ns, other.max_ns)

    def percentile(self, percent: float) -> float:
        """The duration in nanoseconds that `percent` (0 to 100) of all do not exceed; 0.0 if there are
        none."""
        wanted = self.count * percent / 100
        for middle_ns, seen in self.cumulated():
            if seen >= wanted:
                return min(middle_ns, float(self.max_ns))
        return 0.0

    def cumulated(self) -> Iterator[tuple[float, int]]:
        """(middle of a bucket in nanoseconds, how many are in it or below) of all that are not empty."""
        seen = 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            yield _middle_ns(bucket), seen

    def to_plain(self) -> dict[str, object]:
        """Itself as plain data for JSON; from_plain() makes it a histogram again."""
        return {"max_ns": self.max_ns, "counts": [[*item] for item in self._counts.items()]}

    @classmethod
    def from_plain(cls, plain: Mapping[str, object]) -> Histogram:
        histogram = cls()
        counts: list[list[int]] = plain["counts"]  # type: ignore[assignment]
        histogram._counts = {bucket: count for bucket, count in counts}
        histogram.count = sum(histogram._counts.values())
        histogram.max_ns = plain["max_ns"]  # type: ignore[assignment]
        return histogram


def _middle_ns(bucket: int) -> float:
    if bucket < _LINEAR:
        return float(bucket)
    shift = (bucket >> _BITS) - 1
    lowest = (bucket - (shift << _BITS)) << shift
    return lowest + ((1 << shift) - 1) / 2
