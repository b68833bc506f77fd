"""Waiting for conditions, and watching that they hold. Nothing else in these tests waits for time to pass."""

from __future__ import annotations

import time
from typing import Any, Callable

PATIENCE_S = 30.0  # for what takes a second on a machine that is not busy
POLL_S = 0.02


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> Any:
    """The first true value of `condition()`. Fails, and says what was waited for, if none comes in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s for {what}"
        time.sleep(POLL_S)


def hold(condition: Callable[[], Any], what: str, for_s: float) -> None:
    """Watch for `for_s` that `condition()` is true all the time: for what must not happen."""
    end = time.monotonic() + for_s
    while time.monotonic() < end:
        assert condition(), f"no more: {what}"
        time.sleep(POLL_S)
