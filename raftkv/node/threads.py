"""Threads: all that a node needs of the operating system's scheduler.

A node asks this object for time, locks, conditions and threads, and nothing else. So a simulator can give it
one of its own, and the node's loops run there as they run here.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any, Callable, Protocol


class Lock(Protocol):
    """What threading.Lock is. May be released by another thread than the one that acquired it."""

    def acquire(self, blocking: bool = True) -> bool: ...

    def release(self) -> None: ...

    def __enter__(self) -> bool: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class Condition(Protocol):
    """What threading.Condition is to a thread that holds its lock."""

    def wait(self) -> object: ...

    def notify(self) -> None: ...

    def notify_all(self) -> None: ...


class Threads:
    """The threads of one node. Thread-safe.

    `on_fatal(error)` is called at most once, by the first thread that cannot go on.
    """

    def __init__(self, on_fatal: Callable[[BaseException], None]) -> None:
        self._on_fatal = on_fatal
        self._failed = threading.Lock()  # acquired by the first thread that cannot go on
        self._stopping = threading.Event()
        self._all: list[threading.Thread] = []

    def clock(self) -> float:
        """Seconds; never goes back."""
        return time.monotonic()

    def lock(self) -> Lock:
        return threading.Lock()

    def condition(self, lock: Lock) -> Condition:
        return threading.Condition(lock)  # type: ignore[arg-type]

    def start(self, name: str, target: Callable[..., None], *args: Any) -> None:
        """Run target(*args) on a thread of its own. If it dies, the node does."""
        thread = threading.Thread(target=self._run, args=(target, *args), name=name, daemon=True)
        thread.start()
        self._all = [*self._alive(), thread]

    def sleep(self, seconds: float) -> bool:
        """Wait so long, or until stop(). Returns whether the node stops."""
        return self._stopping.wait(seconds)

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def stop(self) -> None:
        """The node stops: whoever sleeps wakes up. (Whoever waits on a condition must be notified.)"""
        self._stopping.set()

    def join(self) -> None:
        """Wait until all threads but the calling one have ended."""
        while True:  # one of them may be about to start another
            others = [thread for thread in self._alive() if thread is not threading.current_thread()]
            if not others:
                return
            for thread in others:
                thread.join()

    def fail(self, error: BaseException) -> None:
        """The node cannot go on."""
        if self._failed.acquire(blocking=False):
            self._on_fatal(error)

    def _alive(self) -> list[threading.Thread]:
        return [thread for thread in self._all if thread.is_alive()]

    def _run(self, target: Callable[..., None], *args: Any) -> None:
        try:
            target(*args)
        except BaseException as error:
            self.fail(error)
