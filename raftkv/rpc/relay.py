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
        # The identity of the thread that runs the loop, while it is between enter() and leave(). It goes on, or is
        # relieved: whoever pops it has decided that.
        self._inside: list[int] = []
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
            self._run()

    def enter(self) -> list[int]:
        """The thread that runs the loop begins what may hold it up. Returns what it gives to leave()."""
        inside = self._inside = [threading.get_ident()]
        return inside

    @staticmethod
    def leave(inside: list[int]) -> bool:
        """It goes on. False: it was relieved meanwhile, and must touch nothing more."""
        try:
            inside.pop()
            return True
        except IndexError:
            return False

    def relieve(self, thread: int) -> None:
        """If the thread of this identity is between enter() and leave(), the other one runs the loop from now
        on. Thread-safe."""
        inside = self._inside
        if thread in inside and self.leave(inside):
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
        self._inside.clear()  # who is held up still touches nothing when it comes back
