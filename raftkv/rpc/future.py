"""CallFuture: a Future that an exception out of a signal handler cannot break.

A thread that waits in `Future.result()` of the standard library holds and releases a lock in many steps. When
a signal handler raises between two of them, the lock stays locked, or the caller gets "release unlocked lock"
in place of the handler's exception; and who sets the result then waits for ever. So nothing here that a user
calls takes a lock.
"""

from __future__ import annotations

import logging
import queue
import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, Callable

from raftkv import forks
from raftkv.errors import ClosedError

logger = logging.getLogger("raftkv.rpc")

_STUCK_S = 0.2  # nobody holds a Future's lock for so long who will let it go again


class CallFuture(Future[Any]):
    """The outcome of a call that is under way. It cannot be cancelled. `keeps` lives until there is one."""

    def __init__(self, keeps: object = None) -> None:
        # The library's own state, in place of super().__init__(): who waits() there needs only the lock of the
        # condition, and that costs a fifth.
        self._condition: Any = threading.RLock()
        self._state = "RUNNING"
        self._result = self._exception = None
        self._waiters: list[Any] = []
        self._keeps = keeps
        self._outcome: tuple[Any, BaseException | None] | None = None
        self._waiting: list[queue.SimpleQueue[None]] = []
        self._callbacks: list[Callable[[Future[Any]], object]] = []
        self._generation = forks.generation

    def settle(self, result: Any, error: BaseException | None = None) -> None:
        """Sets the outcome, once. Only for a thread that no signal handler interrupts."""
        self._outcome = (result, error)
        for signal in self._waiting:
            signal.put(None)
        self._tell_the_library(result, error)
        self._keeps = None
        if self._callbacks:
            self._call_back()

    def result(self, timeout: float | None = None) -> Any:
        result, error = self._wait(timeout)
        if error is not None:
            try:
                raise error
            finally:
                del error  # no circle of error, traceback and frame
        return result

    def exception(self, timeout: float | None = None) -> BaseException | None:
        return self._wait(timeout)[1]

    def done(self) -> bool:
        return self._outcome is not None

    def running(self) -> bool:
        return self._outcome is None

    def cancel(self) -> bool:
        return False

    def cancelled(self) -> bool:
        return False

    def add_done_callback(self, fn: Callable[[Future[Any]], object]) -> None:
        self._callbacks.append(fn)
        if self._outcome is not None:
            self._call_back()

    def _wait(self, timeout_s: float | None) -> tuple[Any, BaseException | None]:
        if self._outcome is None:
            if self._generation != forks.generation:
                raise ClosedError("this Future belongs to the process that forked this one: ask there")
            signal: queue.SimpleQueue[None] = queue.SimpleQueue()
            self._waiting.append(signal)
            if self._outcome is None:
                try:
                    signal.get(timeout=timeout_s if timeout_s is None else max(0.0, timeout_s))
                except queue.Empty:
                    raise FutureTimeoutError(f"no outcome within {timeout_s:g} s") from None
        assert self._outcome is not None, "woken without an outcome"
        return self._outcome

    def _call_back(self) -> None:
        while self._callbacks:
            try:
                callback = self._callbacks.pop(0)
            except IndexError:
                return  # another thread was faster
            try:
                callback(self)
            except Exception:
                logger.exception("a callback of a Future raised")

    def _tell_the_library(self, result: Any, error: BaseException | None) -> None:
        """For concurrent.futures.wait() and as_completed(), which look at the library's own state."""
        lock = self._condition
        if not lock.acquire(blocking=False) and not lock.acquire(timeout=_STUCK_S):
            lock = self._condition = threading.RLock()  # a signal handler raised while they held it
            lock.acquire()
        try:
            self._result, self._exception = result, error
            self._state = "FINISHED"
            for waiter in self._waiters:
                if error is None:
                    waiter.add_result(self)
                else:
                    waiter.add_exception(self)
        finally:
            lock.release()
