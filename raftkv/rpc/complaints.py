"""Saying what was refused, without letting a hostile peer fill the log, and then the disk."""

from __future__ import annotations

import logging
import threading
import time

logger = logging.getLogger("raftkv.rpc")

_WINDOW_S = 10.0
_MOST_IN_A_WINDOW = 20


class Complaints:
    """Logs each complaint as one WARNING line; beyond 20 in ten seconds it only counts them. Thread-safe."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._window_end = 0.0
        self._said = 0

    def say(self, peer: str, reason: str) -> None:
        now = time.monotonic()
        with self._lock:
            untold = 0
            if now >= self._window_end:
                untold = max(0, self._said - _MOST_IN_A_WINDOW)
                self._window_end = now + _WINDOW_S
                self._said = 0
            self._said += 1
            silent = self._said > _MOST_IN_A_WINDOW
        if untold:
            logger.warning("%s: %d more connections were refused or closed lately", self._name, untold)
        if not silent:
            logger.warning("%s: closed %s: %s", self._name, peer, reason)
