"""The histogram of kvbench against sorted lists."""

from __future__ import annotations

import json
import random

import pytest
from raftkv.bench.histogram import Histogram

PERCENTS = (0.1, 1, 10, 50, 90, 99, 99.9, 100)


def recorded(values) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


def of_sorted(values, percent: float) -> int:
    """The smallest value that `percent` of all do not exceed."""
    return next(value for at, value in enumerate(values, 1) if at >= len(values) * percent / 100)


@pytest.mark.parametrize("seed", range(20))
def test_percentiles_are_within_a_percent_of_those_of_a_sorted_list(seed):
    rng = random.Random(seed)
    values = sorted(int(rng.lognormvariate(rng.choice([2, 12]), 3)) for _ in range(rng.choice([1, 10, 3000])))
    histogram = recorded(values)
    for percent in PERCENTS:
        exact = of_sorted(values, percent)
        assert histogram.percentile(percent) == pytest.approx(exact, rel=0.008, abs=0.5), percent
    assert (histogram.count, histogram.max_ns) == (len(values), values[-1])


def test_sum_of_two_is_the_histogram_of_both():
    rng = random.Random(1)
    left, right = ([rng.randrange(10**9) for _ in range(1000)] for _ in range(2))
    both = recorded(left + right)
    for one, other in ((left, right), (right, left)):
        total = recorded(one)
        total.add(recorded(other))
        assert [*total.cumulated()] == [*both.cumulated()]
        assert (total.count, total.max_ns) == (both.count, both.max_ns)


def test_a_histogram_survives_json():
    histogram = recorded([1, 5, 5, 10**6, 10**9])
    again = Histogram.from_plain(json.loads(json.dumps(histogram.to_plain())))
    assert [*again.cumulated()] == [*histogram.cumulated()]
    assert (again.count, again.max_ns) == (histogram.count, histogram.max_ns)


def test_an_empty_one_says_zero():
    assert (Histogram().percentile(50), Histogram().max_ns, [*Histogram().cumulated()]) == (0.0, 0, [])
