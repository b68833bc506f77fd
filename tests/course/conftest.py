"""Every test of this folder takes `course`: its Run, with a fixed seed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.course.run import Run
from tests.sim.fiber import on_one_processor

SEED = 1
ROUNDS = 1  # the command runs all


@pytest.fixture
def course(request: pytest.FixtureRequest) -> Iterator[Run]:
    variant = getattr(request.node, "callspec", None)
    name = variant.id if variant else request.node.name[len("test_") :]
    run = Run(name, SEED, rounds=ROUNDS)
    again = f"python -m tests.course {name} --start {SEED} --rounds {ROUNDS} --trace"
    print(f"seed {SEED}; to replay with a trace: {again}")
    try:
        with on_one_processor():
            yield run
    finally:
        run.close()
