"""Which key comes next: all equally often, or some much more often than others."""

from __future__ import annotations

import random
from typing import Callable

PREFIX = "bench/"  # of every key that a benchmark writes, so that it harms nobody else's
ZIPFIAN_THETA = 0.99  # YCSB's

Chooser = Callable[[], int]


def key_name(number: int) -> str:
    """The key with that number, from 0 up."""
    return f"{PREFIX}{number:06d}"


def uniform(keys: int, rng: random.Random) -> Chooser:
    """Chooses from 0 to `keys` - 1, each equally often."""
    chance = rng.random
    return lambda: int(chance() * keys)


def zipfian(keys: int, rng: random.Random, theta: float = ZIPFIAN_THETA) -> Chooser:
    """Chooses number i, from 0 to `keys` - 1, with a frequency proportional to 1 / (i + 1) ** theta.

    The generator is that of Gray et al., Quickly Generating Billion-Record Synthetic Databases (SIGMOD 1994),
    as YCSB uses it. Its start takes time proportional to `keys`: 0.1 s for a million.
    """
    if keys < 3:  # eta would divide by zero; and nobody can tell
        return uniform(keys, rng)
    zeta = sum(1 / i**theta for i in range(1, keys + 1))
    second = 1 + 0.5**theta
    alpha = 1 / (1 - theta)
    eta = (1 - (2 / keys) ** (1 - theta)) / (1 - second / zeta)
    chance = rng.random

    def choose() -> int:
        u = chance()
        if u * zeta < 1:
            return 0
        if u * zeta < second:
            return 1
        return min(keys - 1, int(keys * (eta * u - eta + 1) ** alpha))

    return choose
