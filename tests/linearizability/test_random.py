"""The checker against random histories: as brute force says, where that can; and fast enough for long ones.

RAFTKV_HISTORIES=SEED:COUNT checks others, or more of them, against brute force.
"""

from __future__ import annotations

import os
import random
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.linearizability.brute import linearizable
from tests.linearizability.checker import Result, check
from tests.linearizability.generate import Shape, generate
from tests.linearizability.history import FUNCTIONS
from tests.linearizability.search import OK, VIOLATION

START, COUNT = [int(number) for number in os.environ.get("RAFTKV_HISTORIES", "1:3000").split(":")]


def small(rng: random.Random) -> Shape:
    """A shape that brute force can do: of few values, so that much is possible."""
    return Shape(
        operations=rng.randint(2, 8),
        clients=rng.randint(1, 5),
        functions=rng.sample(FUNCTIONS, rng.randint(2, 5)),
        values=rng.choice([("a",), ("a", "b"), ("a", "aa", "b"), ()]),
        unanswered_percent=rng.choice([0, 0, 20, 50]),
        failed_percent=rng.choice([0, 0, 20]),
        lie_at=rng.choice([None, 1, 2, 4]),
        lie=rng.choice([None, "a", "never written"]),
    )


def test_as_brute_force_says() -> None:
    verdicts = {OK: 0, VIOLATION: 0}
    for seed in range(START, START + COUNT):
        rng = random.Random(seed)
        operations = generate(rng, small(rng))
        expected = OK if linearizable(operations) else VIOLATION
        verdict = check(operations).verdict
        assert verdict == expected, f"again: RAFTKV_HISTORIES={seed}:1; by brute force it is {expected}"
        verdicts[verdict] += 1
    assert COUNT < 100 or min(verdicts.values()) > COUNT // 10, f"they are nearly all the same: {verdicts}"


def test_an_honest_history_is_good() -> None:
    """Brute force and checker might be wrong in the same way; the generator knows better."""
    for seed in range(300):
        rng = random.Random(seed)
        shape = small(rng)._replace(lie_at=None, operations=60)
        assert check(generate(rng, shape)).verdict == OK, f"seed {seed}"


LONG = {
    "put get": ("put", "get"),
    "append get": ("append", "get", "get", "delete"),
    "all": ("put", "append", "get", "get", "cas", "delete"),
}


HONEST = {name: Shape(10_000, 10, LONG[name], values=(), unanswered_percent=0.5) for name in LONG}
LYING = {name: HONEST[name]._replace(lie_at=7000, lie="never written") for name in LONG}


def verdict_on(shape: Shape) -> Result:
    return check(generate(random.Random(1), shape))


@pytest.fixture(scope="module")
def verdicts() -> dict[Shape, Result]:
    """On all of these histories, which take seconds each: on two processors."""
    shapes = [*HONEST.values(), *LYING.values()]
    with ProcessPoolExecutor(2) as pool:
        return dict(zip(shapes, pool.map(verdict_on, shapes)))


@pytest.mark.parametrize("name", LONG)
def test_ten_thousand_operations_of_ten_clients_on_a_key(name: str, verdicts: dict[Shape, Result]) -> None:
    result = verdicts[HONEST[name]]
    assert result.verdict == OK and result.operations == 10_000, str(result)


@pytest.mark.parametrize("name", LONG)
def test_a_lie_among_ten_thousand(name: str, verdicts: dict[Shape, Result]) -> None:
    result = verdicts[LYING[name]]
    assert result.verdict == VIOLATION and result.violation is not None
    assert len(result.violation.contradiction.kept) < 10, "the report does not show what is wrong"
