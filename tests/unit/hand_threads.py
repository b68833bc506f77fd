"""HandThreads: the threads of a node under test, which run only when the test says so."""

from __future__ import annotations

import queue
import threading
from typing import Any, Callable

from raftkv.node.threads import Condition, Lock, Threads


class HandLock:
    """A lock that something can be done with just before it is released, once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.before_release: Callable[[], None] = lambda: None

    def acquire(self, blocking: bool = True) -> bool:
        return self._lock.acquire(blocking)

    def release(self) -> None:
        before, self.before_release = self.before_release, lambda: None
        before()
        self._lock.release()

    def locked(self) -> bool:
        return self._lock.locked()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class HandThreads(Threads):
    """`started`: (name, target, args) of each thread that was begun and not run yet. `now`: the time in
    seconds. Nobody sleeps. `locks`: all that were made, in order. `waits` gets an item each time a thread
    begins to wait on a condition."""

    def __init__(self, on_fatal: Callable[[BaseException], None]) -> None:
        super().__init__(on_fatal)
        self.now = 0.0
        self.started: list[tuple[str, Callable[..., None], tuple[Any, ...]]] = []
        self.locks: list[HandLock] = []
        self.waits: queue.SimpleQueue[None] = queue.SimpleQueue()

    def clock(self) -> float:
        return self.now

    def lock(self) -> Lock:
        self.locks.append(HandLock())
        return self.locks[-1]

    def condition(self, lock: Lock) -> Condition:
        condition = threading.Condition(lock)  # type: ignore[arg-type]
        wait = condition.wait

        def note_wait(timeout: float | None = None) -> bool:
            self.waits.put(None)  # with the lock held: who takes that next finds it waiting
            return wait(timeout)

        condition.wait = note_wait  # type: ignore[method-assign]
        return condition

    def start(self, name: str, target: Callable[..., None], *args: Any) -> None:
        self.started.append((name, target, args))

    def sleep(self, seconds: float) -> bool:
        return self.stopping

    def run_last(self) -> str:
        """Run the thread that was begun last, to its end. Returns its name."""
        name, target, args = self.started.pop()
        target(*args)
        return name

    def really_start(self, name: str, target: Callable[..., None], *args: Any) -> None:
        super().start(name, target, *args)
