"""Where the fresh seeds of this test run start, said at its end whether they passed or not."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.sim.runner import Case, fresh_start

_START = pytest.StashKey[int]()


@pytest.fixture
def start(request: pytest.FixtureRequest) -> int:
    """The first of the fresh seeds: RAFTKV_SIM_START, or of the clock."""
    start = int(os.environ.get("RAFTKV_SIM_START", fresh_start()))
    request.config.stash[_START] = start
    return start


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    start = config.stash.get(_START, None)
    if start is not None:
        terminalreporter.write_line(
            f"tests/sim: fresh seeds from {start} on; again: RAFTKV_SIM_START={start}"
        )
        terminalreporter.write_line(f"           one with its trace: {Case(start).command()}")
