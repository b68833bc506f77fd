"""Waking a thread that sits in select()."""

from __future__ import annotations

import socket


class _Ends:
    """Closed when nobody uses them any more: a descriptor must not be given to somebody else while a thread is
    about to write to it."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.far.setblocking(False)

    def __del__(self) -> None:
        if hasattr(self, "far"):
            self.near.close()
            self.far.close()


class Waker:
    """A socket that becomes readable when any thread calls wake(). Register `socket` in the selector.

    The thread that sleeps calls clear() when select() says that `socket` is readable, and then looks for what
    others left for it to do; they leave it first and call wake() then. So nothing is missed. It has no lock and
    no state that wake() changes: an exception out of a signal handler may end wake() anywhere.
    """

    def __init__(self) -> None:
        """Raises OSError when there are too many open files."""
        self._ends: _Ends | None = _Ends()

    @property
    def socket(self) -> socket.socket:
        assert self._ends is not None, "the socket of a waker that was closed"
        return self._ends.near

    def wake(self) -> None:
        """Thread-safe; never blocks. Does nothing after close()."""
        ends = self._ends
        if ends is not None:
            try:
                ends.far.send(b"\0")
            except OSError:
                pass  # full, which wakes as well

    def clear(self) -> None:
        """Only for the thread that sleeps, when `socket` is readable."""
        try:
            self.socket.recv(4096)
        except BlockingIOError:
            pass  # somebody else's select() had been told

    def close(self) -> None:
        """Only for the thread that sleeps, when it no longer does and its selector is closed."""
        self._ends = None
