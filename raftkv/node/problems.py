"""What keeps members from working together: said once in the log, and shown by `status` while it lasts."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Hashable
from typing import Callable

log = logging.getLogger("raftkv.raft")

_MOST = 100  # at a time; the keys of some come from others
_MOST_CHARS = 400


class Problems:
    """Sentences under keys. Each is one WARNING when it begins and when it changes, and one INFO line when it
    is over. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._current: dict[Hashable, tuple[str, float]] = {}  # key -> (sentence, when it is forgotten)

    def set(self, key: Hashable, sentence: str, lasts_s: float = float("inf")) -> None:
        """`lasts_s`: it is over if it is not set again for so many seconds."""
        sentence = "".join(char if char.isprintable() else "?" for char in sentence[:_MOST_CHARS])
        with self._lock:
            now = self._clock()
            self._forget_old(now)
            before = self._current.get(key)
            if before is None and len(self._current) >= _MOST:
                return
            self._current[key] = sentence, now + lasts_s
        if before is None or before[0] != sentence:
            log.warning("%s", sentence)

    def clear(self, key: Hashable) -> None:
        """There is no such problem, or no longer."""
        with self._lock:
            before = self._current.pop(key, None)
        if before is not None:
            log.info("over: %s", before[0])

    def sentences(self) -> list[str]:
        """What is wrong now."""
        with self._lock:
            self._forget_old(self._clock())
            return [sentence for sentence, _ in self._current.values()]

    def _forget_old(self, now: float) -> None:
        for key in [key for key, (_, until) in self._current.items() if now >= until]:
            log.info("over: %s", self._current.pop(key)[0])
