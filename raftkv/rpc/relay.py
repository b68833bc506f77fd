"""Relay: two threads, one of which runs a loop; the other one takes it over when the first is held up."""

from __future__ import annotations

import threading
import time
from typing import Callable


class Relay:
    """`run()` is the loop: it returns when close() was called, or when leave() has returned False. Its threads
    are those that call serve()."""

    def __init__(self, run: Callable[[], None]) -> None:
        self._run = run
        self.threads: list[threading.Thread] = []
        self._turns = threading.Semaphore(0)  # a permit: nobody runs the loop
        self._lock = threading.Lock()  # guards the next two
        self._runner: int | None = None  # the identity of the thread that runs the loop
        self._inside = False  # between enter() and leave(); set by that thread without the lock
        self.closing = False

    def start(self, start_thread: Callable[[Callable[[], None], str], threading.Thread], name: str) -> None:
        """Starts the threads, by `start_thread(body, name)`, which may raise."""
        for each in (name, f"{name}-spare"):
            self.threads.append(start_thread(self._serve, each))
        self._turns.release()

    def _serve(self) -> None:
        while True:
            self._turns.acquire()
            if self.closing:
                return
            with self._lock:
                self._runner, self._inside = threading.get_ident(), False
            self._run()

    def enter(self) -> None:
        """The thread that runs the loop begins what may hold it up."""
        self._inside = True

    def leave(self) -> bool:
        """It goes on. False: it was relieved meanwhile, and must touch nothing more."""
        with self._lock:
            if self._runner != threading.get_ident():
                return False
            self._inside = False
            return True

    def relieve(self, thread: int) -> None:
        """If the thread of this identity is between enter() and leave(), the other one runs the loop from now
        on. Thread-safe."""
        with self._lock:
            if self._runner == thread and self._inside:
                self._runner = None
                self._turns.release()

    def close(self, wake: Callable[[], None], timeout_s: float) -> None:
        """Ends the loop, which `wake()` has look round, and joins the threads; one that is held up for longer
        than `timeout_s` is relieved."""
        self.closing = True
        wake()
        self._turns.release(len(self.threads) + 1)  # who waits for one sees that there are none any more
        deadline = time.monotonic() + timeout_s
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            self._runner = None
