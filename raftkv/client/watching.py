"""Watching: carries out on real connections what the WatchSessions of a Clerk decide.

Its thread, `clerk-watches`, empties the inbox and keeps the time; the threads `clerk-N` bring what the servers say. All of
them are our own, which no signal handler interrupts, and share one lock. What users' threads call takes none: it leaves an
event in the inbox. Nothing is sent while the lock is held.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import queue
import random
import sys
import threading
import time
from functools import partial
from typing import Any, Callable, Optional

from raftkv import errors, forks
from raftkv.client.driver import Driver
from raftkv.client.watch_session import Actions, Open, Say, Told, WatchSession
from raftkv.kvdb.watch_requests import WINDOW, Watch, WatchCancel
from raftkv.rpc.calls import Call
from raftkv.rpc.wire import dumps, frame

logger = logging.getLogger("raftkv.client")

_CLOSE_S = 2.0
_LONG_S = 3600.0
_FOREVER = float("inf")

Notify = Optional[Callable[[], object]]
Waiting = queue.SimpleQueue  # of Told: what a program has not taken yet


class _Entry:
    """A watch, what its program has not taken, how much it has said to have taken, and whether it wants marks of progress."""

    def __init__(self, session: WatchSession, waiting: Waiting[Told], notify: Notify, marks: bool) -> None:
        self.session, self.waiting, self.notify, self.marks = session, waiting, notify, marks
        self.said = 0
        self.mark = 0  # the revision of the last mark of progress


class _Stream(Call):
    """An attempt: replies until a refusal."""

    __slots__ = ("_attempt", "_entry", "_server", "_watching")
    streams = True

    def __init__(self, watching: Watching, entry: _Entry, server: int, attempt: int) -> None:
        super().__init__(_FOREVER)
        self._watching, self._entry, self._server, self._attempt = watching, entry, server, attempt

    def resolve(self, ok: bool, result: Any) -> None:
        if ok and self._entry.session.done:  # it was cancelled before the server knew it
            self._watching.say(Say(self._server, WatchCancel(self._attempt)))
        else:
            if ok:
                self._watching.bind(self._server)
            self._watching.heard(self._entry, self._attempt, result if ok else errors.RemoteError(*result))

    def fail(self, error: errors.RpcError) -> None:
        self._watching.heard(self._entry, self._attempt, error)


class Watching:
    """The watches of one Clerk. Thread-safe. `driver` knows the servers."""

    def __init__(self, driver: Driver) -> None:
        self._driver, self._ends = driver, driver.ends
        self._generation = forks.generation
        self._numbers = itertools.count(1)  # of watches, and of attempts
        self._rng = random.Random()
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = self._is_bound = False
        self._entries: dict[int, _Entry] = {}
        self._lock = threading.Lock()  # for what happens to sessions; guards what follows
        self._wakes: list[tuple[float, int, _Entry]] = []  # a heap: when, and which watch

    # -- for users' threads: without a lock ------------------------------------------------------------------

    def open(self, request: Watch, waiting: Waiting[Told], notify: Notify, marks: bool = False) -> int:
        """Begins a watch; what it tells, with marks of progress if `marks`, is put into `waiting`, after which notify() is called
        on a thread of ours, if it is not None. Returns its number. Raises ClosedError, or UnavailableError when no thread can be started."""
        self._check_open()
        number = next(self._numbers)
        session = WatchSession(
            request,
            lambda: list(self._ends),
            self._rng,
            self._driver.leader,
            lambda: next(self._numbers),
            self._driver.directory.is_foreign,
        )
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="clerk-watches", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                raise errors.UnavailableError(f"the watch was not begun: {error}") from None
        entry = self._entries[number] = _Entry(session, waiting, notify, marks)
        self._inbox.put(lambda: self._happen(entry, lambda: session.start(time.monotonic())))
        if self._closed:
            self._check_open()
        return number

    def taken(self, number: int, position: int) -> None:
        """The program has taken all up to `position`."""
        entry = self._entries.get(number)
        if entry is not None and position - entry.said >= WINDOW // 2:
            entry.said = position
            self._inbox.put(lambda: self._happen(entry, lambda: entry.session.taken(position)))

    def mark(self, number: int) -> int:
        """The revision up to which there is nothing but what is, or was, in the queue of the watch."""
        entry = self._entries.get(number)
        return 0 if entry is None else entry.mark

    def cancel(self, number: int) -> None:
        """Its program wants no more of it."""
        entry = self._entries.pop(number, None)
        if entry is not None:
            self._inbox.put(lambda: self._happen(entry, entry.session.cancel))

    def problem(self, number: int) -> str:
        """Why nobody serves it now."""
        entry = self._entries.get(number)
        return "" if entry is None else entry.session.problem

    def close(self) -> None:
        """All end with ClosedError. Waits for the thread; may be called twice."""
        self.begin_to_close()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_CLOSE_S)

    def begin_to_close(self) -> None:
        """The same without waiting."""
        self._closed = True
        self._inbox.put(None)

    def _check_open(self) -> None:
        if self._closed:
            raise errors.ClosedError("this Clerk was closed: make a new one")
        if self._generation != forks.generation:
            raise errors.ClosedError("this belongs to the process that forked this one")
        if sys.is_finalizing():
            raise errors.UnavailableError("the watch was not begun: the interpreter is shutting down")

    # -- on our own threads ----------------------------------------------------------------------------------

    def heard(self, entry: _Entry, attempt: int, said: Any) -> None:
        """What a server said in the stream of `attempt`, or how that ended."""
        session, now = entry.session, time.monotonic()
        if isinstance(said, errors.RemoteError):
            self._happen(entry, lambda: session.refused(attempt, said, now))
        elif isinstance(said, errors.RaftKVError):
            self._happen(entry, lambda: session.lost(attempt, said, now))
        else:
            self._happen(entry, lambda: session.received(attempt, said, now))

    def bind(self, server: int) -> None:
        """`server` tells of changes: from now on its cluster is ours."""
        if not self._is_bound:
            self._driver.bind(server)
            self._is_bound = True

    def say(self, action: Say) -> None:
        """Sends what has no reply. If there is no connection, there is no stream that it could be about."""
        end, request = self._ends.get(action.server), action.request
        if end is not None:
            end.notify(frame(dumps((None, request.name, request.plain()))))

    def _happen(self, entry: _Entry, event: Callable[[], Actions]) -> None:
        """Something happens to a watch. What it tells is put down with the lock held: in its order."""
        rest: list[Open | Say] = []
        has_told = False
        with self._lock:
            for action in event():
                if isinstance(action, Told):
                    has_told |= self._put(entry, action)
                else:
                    rest.append(action)
            wake_at = entry.session.wake_at
            if wake_at is not None:
                heapq.heappush(self._wakes, (wake_at, next(self._numbers), entry))
                self._inbox.put(_nothing)  # to plan the sleep anew
        if has_told:
            self._notify(entry)
        for action in rest:
            if isinstance(action, Open):
                self._open(entry, action)
            else:
                self.say(action)

    @staticmethod
    def _put(entry: _Entry, told: Told) -> bool:
        if not told.events and told.position >= 0:
            entry.mark = told.revision
            if not (entry.marks and entry.waiting.empty()):
                return False  # who takes the last one before it looks at `mark`
        entry.waiting.put(told)
        return True

    @staticmethod
    def _notify(entry: _Entry) -> None:
        try:
            if entry.notify is not None:
                entry.notify()
        except Exception:
            logger.exception("the notify() of a watch raised")

    def _open(self, entry: _Entry, action: Open) -> None:
        stream, request = _Stream(self, entry, action.server, action.attempt), action.request
        end = self._ends.get(action.server)
        try:
            if end is None:
                raise errors.ClosedError("it is no member any more")
            end.begin(stream, request.name, request.plain())
        except (errors.RpcError, errors.ClosedError) as error:
            stream.fail(errors.ConnectionLostError(str(error)))

    # -- the thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        with self._lock:
            if self._thread is not None:
                return  # two began at once
            self._thread = threading.current_thread()
        try:
            while not self._closed:
                self._turn()
        except BaseException as error:
            if self._generation == forks.generation:
                logger.critical("the thread of a Clerk's watches died", exc_info=error)
        self._closed = True
        for entry in [*self._entries.values()]:
            self._happen(entry, partial(entry.session.fail, errors.ClosedError("this Clerk was closed")))

    def _turn(self) -> None:
        with self._lock:
            wake_at = self._wakes[0][0] if self._wakes else _FOREVER
        event: Callable[[], None] | None = _nothing
        try:
            event = self._inbox.get(timeout=min(max(0.0, wake_at - time.monotonic()), _LONG_S))
        except queue.Empty:
            pass  # the time has come
        if event is not None:
            event()
        for entry in self._due(time.monotonic()):
            self._happen(entry, partial(entry.session.wake, time.monotonic()))

    def _due(self, now: float) -> list[_Entry]:
        due = []
        with self._lock:
            while self._wakes and self._wakes[0][0] <= now:
                due.append(heapq.heappop(self._wakes)[2])
        return due


def _nothing() -> None: ...
