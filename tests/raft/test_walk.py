"""Random walks of a cluster of cores (walk.py): safety at every step, and life again once the faults end.

A failure names its seed. To see that walk alone, with a trace of all that happened:

    RAFTKV_WALK_SEED=17 python -m pytest -s tests/raft/test_walk.py

RAFTKV_WALKS=2000 walks longer than the default.
"""

from __future__ import annotations

import os

import pytest

from tests.raft.walk import Walk

SEED = os.environ.get("RAFTKV_WALK_SEED")
WALKS = int(os.environ.get("RAFTKV_WALKS", "40"))
EVENTS = 5000


@pytest.mark.parametrize("seed", [int(SEED)] if SEED else range(WALKS))
def test_random_walk(seed: int) -> None:
    trace: list[str] = []
    try:
        walk = Walk(seed, trace.append)
        walk.run(EVENTS)
        walk.settle()
    except Exception as error:
        if SEED:
            print("\n".join(trace))
        end = "\n".join(trace[-30:])
        pytest.fail(
            f"seed {seed}: {type(error).__name__}: {error}\n"
            f"to see it alone: RAFTKV_WALK_SEED={seed} python -m pytest -s {__file__}\n"
            f"the end of its trace:\n{end}"
        )


def test_a_walk_is_fixed_by_its_seed() -> None:
    traces = []
    for _ in range(2):
        trace: list[str] = []
        Walk(3, trace.append).run(1000)
        traces.append(trace)
    assert traces[0] == traces[1] and len(traces[0]) > 100
