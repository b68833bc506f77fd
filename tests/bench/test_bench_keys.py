"""Which keys kvbench chooses."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from raftkv.bench.keys import key_name, uniform, zipfian

DRAWS = 50_000


def drawn(choose) -> Counter:
    return Counter(choose() for _ in range(DRAWS))


def test_uniform_takes_every_key_equally_often():
    counts = drawn(uniform(50, random.Random(7)))
    assert sorted(counts) == list(range(50))
    assert all(abs(count - 1000) < 150 for count in counts.values())  # a standard deviation is 31


@pytest.mark.parametrize("keys", [10, 100_000])
def test_zipfian_takes_the_first_keys_as_often_as_the_law_says(keys):
    counts = drawn(zipfian(keys, random.Random(7)))
    zeta = sum(1 / i**0.99 for i in range(1, keys + 1))
    for number in (0, 1):  # for these two the generator is exact
        expected = DRAWS / (number + 1) ** 0.99 / zeta
        assert counts[number] == pytest.approx(expected, rel=0.06), number
    assert min(counts) >= 0 and max(counts) < keys


@pytest.mark.parametrize("keys", [1, 2, 3])
def test_zipfian_of_a_few_keys_takes_them_all(keys):
    assert sorted(drawn(zipfian(keys, random.Random(7)))) == list(range(keys))


def test_keys_sort_as_their_numbers_do():
    names = [key_name(number) for number in (0, 9, 10, 99_999, 999_999)]
    assert names == sorted(names) and names[0] == "bench/000000"
