"""Threads: all that a node needs of the operating system's scheduler.

A node asks this object for time, locks, conditions and threads, and nothing else. So a simulator can give it
one of its own, and the node's loops run there as they run here.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from types import TracebackType
from typing import Any, Callable, NamedTuple, Protocol

from raftkv.errors import ResourceError
from raftkv.threads import start_thread

SPARE = 4  # threads that stand by: for a snapshot, for applying much at once, and while others of these end
MOST_AT_ONCE = SPARE + 3  # with the log-writer, the ticker, and who ends leases
_STANDBY = "standby"


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


class _Job(NamedTuple):
    """What a thread does."""

    name: str
    target: Callable[..., None]
    args: tuple[Any, ...]


class Threads:
    """The threads of one node. Thread-safe.

    Some stand by from prepare() on, so that what is only done at times, a snapshot say, needs no new thread at
    a moment when the system has none.

    `on_fatal(error)` is called at most once, by the first thread that cannot go on.
    """

    def __init__(self, on_fatal: Callable[[BaseException], None]) -> None:
        self._on_fatal = on_fatal
        self._failed = threading.Lock()  # acquired by the first thread that cannot go on
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # on what follows
        self._all: list[threading.Thread] = []
        self._standing_by: list[queue.SimpleQueue[_Job | None]] = []
        self._spare = 0  # so many should stand by

    clock = staticmethod(time.monotonic)  # seconds; never goes back

    def current(self) -> Any:
        """The thread that calls: what is equal for one and the same."""
        return threading.get_ident()

    def lock(self) -> Lock:
        return threading.Lock()

    def condition(self, lock: Lock) -> Condition:
        return threading.Condition(lock)  # type: ignore[arg-type]

    def prepare(self) -> None:
        """Have as many threads as a node needs at most. Raises ResourceError."""
        with self._lock:
            self._spare = SPARE
            while len(self._standing_by) < MOST_AT_ONCE:
                self._begin(None)

    def start(self, name: str, target: Callable[..., None], *args: Any) -> None:
        """Run target(*args) on a thread of its own. If it dies, the node does. Raises ResourceError if none
        stands by and the system has no more."""
        job = _Job(name, target, args)
        with self._lock:
            if self._standing_by:
                self._standing_by.pop().put(job)
            else:
                self._begin(job)
            with contextlib.suppress(ResourceError):  # then with fewer, until some have done their work
                while len(self._standing_by) < self._spare and not self.stopping:
                    self._begin(None)

    def repeat(self, name: str, wait_s: float, action: Callable[[], float]) -> None:
        """Call action() again and again on a thread of its own, until stop(): first after `wait_s` seconds, then
        always after as many as it returned. Raises ResourceError, as start() does."""
        self.start(name, self._repeat, wait_s, action)

    def sleep(self, seconds: float) -> bool:
        """Wait so long, or until stop(). Returns whether the node stops."""
        return self._stopping.wait(seconds)

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def stop(self) -> None:
        """The node stops: whoever sleeps wakes up. (Whoever waits on a condition must be notified.)"""
        with self._lock:
            self._stopping.set()
            while self._standing_by:
                self._standing_by.pop().put(None)

    def join(self, timeout_s: float) -> bool:
        """Wait until all threads but the calling one have ended, for so long. Returns whether they have."""
        deadline = time.monotonic() + timeout_s
        while True:  # one of them may be about to start another
            with self._lock:
                others = [thread for thread in self._alive() if thread is not threading.current_thread()]
            if not others or time.monotonic() >= deadline:
                return not others
            others[0].join(max(0.0, deadline - time.monotonic()))

    def fail(self, error: BaseException) -> None:
        """The node cannot go on."""
        if self._failed.acquire(blocking=False):
            self._on_fatal(error)

    def _repeat(self, wait_s: float, action: Callable[[], float]) -> None:
        while not self.sleep(wait_s):
            wait_s = action()

    def _alive(self) -> list[threading.Thread]:
        return [thread for thread in self._all if thread.is_alive()]

    def _begin(self, job: _Job | None) -> None:
        """With the lock held: a new thread for `job`, or to stand by. Raises ResourceError."""
        orders: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        thread = start_thread(lambda: self._obey(orders), _STANDBY if job is None else job.name)
        self._all = [*self._alive(), thread]
        if job is None:
            self._standing_by.append(orders)
        else:
            orders.put(job)

    def _obey(self, orders: queue.SimpleQueue[_Job | None]) -> None:
        """A thread's body: work, and stand by again if too few do."""
        while True:
            job = orders.get()
            if job is None:
                return
            threading.current_thread().name = job.name
            self._run(job.target, *job.args)
            threading.current_thread().name = _STANDBY
            with self._lock:
                if self.stopping or len(self._standing_by) >= self._spare:
                    return
                self._standing_by.append(orders)

    def _run(self, target: Callable[..., None], *args: Any) -> None:
        try:
            target(*args)
        except BaseException as error:
            self.fail(error)
