"""Waking a thread that sits in select()."""

from __future__ import annotations

import socket
import threading


class Waker:
    """A socket that becomes readable when any thread calls wake(). Register `socket` in the selector.

    The thread that sleeps calls clear() when select() says that `socket` is readable, and then looks for what
    others left for it to do; they leave it first and call wake() then. So nothing is missed, and while one
    wake-up is under way the next ones cost no system call.
    """

    def __init__(self) -> None:
        self.socket, self._other_end = socket.socketpair()
        self._woken = False
        self._lock = threading.Lock()

    def wake(self) -> None:
        """Thread-safe; never blocks. Does nothing after close()."""
        if not self._woken:
            with self._lock:  # so that close() cannot give the descriptor to somebody else meanwhile
                if not self._woken:
                    self._woken = True
                    self._other_end.send(b"\0")

    def clear(self) -> None:
        """Only for the thread that sleeps, when `socket` is readable."""
        self.socket.recv(1)
        self._woken = False

    def close(self) -> None:
        """Only for the thread that sleeps, when it no longer does."""
        with self._lock:
            self._woken = True
            self.socket.close()
            self._other_end.close()
