"""Saying what was refused, without letting a hostile peer, or one that tries again and again, fill the log."""

from __future__ import annotations

import logging
import threading
import time

logger = logging.getLogger("raftkv.rpc")

_WINDOW_S = 10.0
_MOST_IN_A_WINDOW = 20
_REMIND_S = 60.0  # a complaint that goes on is said again so often
_OVER_S = 10.0  # one that is not repeated for so long is over


class _Complaint:
    """One host and one reason."""

    def __init__(self, now: float) -> None:
        self.said_at = self.last_at = now
        self.untold = 0  # repetitions since it was said


class Complaints:
    """Each complaint is one WARNING line. The same one of the same host is said once a minute while it goes
    on, and once more when it is over, with the number of repetitions. Beyond 20 lines in ten seconds they are
    only counted. Thread-safe."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._lock = threading.Lock()
        self._current: dict[tuple[str, str], _Complaint] = {}  # (host, reason)
        self._window_end = 0.0
        self._said = 0
        self._unsaid = 0

    def say(self, peer: str, reason: str) -> None:
        """A connection from `peer`, "host:port", was refused or closed."""
        now = time.monotonic()
        host = peer.rpartition(":")[0] or peer
        with self._lock:
            complaint = self._current.get((host, reason))
            if complaint is not None:
                complaint.last_at = now
                complaint.untold += 1
                return
            if not self._may_speak(now):
                self._unsaid += 1
                return
            self._current[host, reason] = _Complaint(now)
        logger.warning("%s: closed %s: %s", self.name, peer, reason)

    def tend(self) -> None:
        """Say what is due. To be called about once a second."""
        now = time.monotonic()
        lines = []
        with self._lock:
            for (host, reason), complaint in [*self._current.items()]:
                over = now >= complaint.last_at + _OVER_S
                if complaint.untold and (over or now >= complaint.said_at + _REMIND_S):
                    lines.append(f"closed {complaint.untold} more from {host}: {reason}")
                    complaint.said_at, complaint.untold = now, 0
                if over:
                    del self._current[host, reason]
            if self._unsaid and now >= self._window_end:
                lines.append(f"{self._unsaid} more connections were refused or closed lately")
                self._unsaid = 0
        for line in lines:
            logger.warning("%s: %s", self.name, line)

    def current(self) -> list[str]:
        """What is not over yet, as "HOST: REASON"."""
        with self._lock:
            return [f"{host}: {reason}" for host, reason in self._current]

    def _may_speak(self, now: float) -> bool:
        if now >= self._window_end:
            self._window_end, self._said = now + _WINDOW_S, 0
        self._said += 1
        return self._said <= _MOST_IN_A_WINDOW
