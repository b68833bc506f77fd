"""Outbox: what a client is sent, and has not taken yet."""

from __future__ import annotations

import socket
import time
from collections import deque


class Outbox:
    """Not thread-safe. `unsent`: how many bytes wait; `taken_at`: when the client has last taken some."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._waiting: deque[bytes | memoryview] = deque()
        self.unsent = 0
        self.taken_at = 0.0

    def add(self, data: bytes) -> None:
        """To be sent by flush()."""
        if not self.unsent:
            self.taken_at = time.monotonic()
        self._waiting.append(data)
        self.unsent += len(data)

    def clear(self) -> None:
        """Nobody takes it any more."""
        self._waiting.clear()
        self.unsent = 0

    def flush(self) -> None:
        """Send what can be sent now. Raises OSError if the connection is gone."""
        try:
            while self._waiting:
                if len(self._waiting) > 1 and self.unsent < _JOINED:
                    self._waiting = deque([b"".join(self._waiting)])
                data = self._waiting[0]
                sent = self._sock.send(data)
                self.unsent -= sent
                self.taken_at = time.monotonic()
                if sent == len(data):
                    self._waiting.popleft()
                else:
                    self._waiting[0] = memoryview(data)[sent:]
        except BlockingIOError:
            pass  # the rest goes when the client takes more


_JOINED = 256 << 10  # so many bytes in several pieces are sent as one
