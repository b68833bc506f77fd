"""Exchange: requests to one server and their replies, as callers and the keeper share them.

A user's thread takes no lock, since a signal handler may end it anywhere: it leaves its call in a queue, and
wakes the keeper. Threads that no signal handler interrupts send at once what the socket takes; when the keeper
is awake anyway, it sends the requests of a turn in one write.
"""

from __future__ import annotations

import itertools
import selectors
import threading
from collections import deque
from typing import Any, Callable

from raftkv.errors import ClosedError, RpcError
from raftkv.rpc.calls import Call, CallTable, lost, timed_out
from raftkv.rpc.lane import Lane, Reply
from raftkv.rpc.link import Link
from raftkv.rpc.reading import Reading
from raftkv.rpc.waker import Waker
from raftkv.rpc.wire import dumps, frame


class Exchange:
    """With the server at `where`. Thread-safe, but for what is said to be the keeper's."""

    def __init__(self, where: str, max_buffered_bytes: int) -> None:
        self.where = where
        self.keeper: threading.Thread | None = None
        self.closed = False
        self._max_buffered_bytes = max_buffered_bytes
        self._ids = itertools.count(1)
        # Left by those who must not wait for a lock: new calls, and replies that a Lane's holder has read.
        self._posted: deque[tuple[Call, int]] = deque()
        self._passed_on: deque[Reply] = deque()
        self._waker: Waker | None = None  # while there is a keeper
        self._lock = threading.Lock()  # guards what follows
        self._calls = CallTable()
        self._reading: Reading | None = None  # of the connection; None without one
        self._awake = False  # the keeper is; it will send the backlog before it sleeps again
        self._wakes_at = 0.0  # when the keeper will wake by itself

    # -- without a lock: for any thread, at any moment -------------------------------------------------------

    def check_open(self) -> None:
        """Raises ClosedError after close()."""
        if self.closed:
            raise ClosedError(f"the connection to {self.where} was closed")

    def post(self, call: Call, method: str, args: tuple[Any, ...]) -> None:
        """Has the keeper send a request. Raises ClosedError."""
        request_id = next(self._ids)
        call.frame = frame(dumps((request_id, method, args)))
        self.check_open()
        self._posted.append((call, request_id))
        self.wake()
        while self.closed and self._posted:  # the keeper may have looked for the last time
            self._posted.popleft()[0].fail(lost(f"the connection to {self.where} was closed", sent=False))

    def pass_on(self, replies: list[Reply]) -> None:
        """A Lane's holder has read `replies` to others, or gives the Lane back."""
        self._passed_on.extend(replies)
        self.wake()

    def wake(self) -> None:
        """The keeper, if there is one."""
        waker = self._waker
        if waker is not None:
            waker.wake()

    def close(self) -> None:
        """No more calls; the keeper ends those that are under way."""
        self.closed = True
        self.wake()

    @property
    def is_connected(self) -> bool:
        return self._reading is not None

    @property
    def waiting_bytes(self) -> int:
        """Of requests that the socket has not taken yet."""
        reading = self._reading
        return self._calls.waiting_bytes if reading is None else len(reading.link.backlog)

    def is_busy(self) -> bool:
        """Whether calls are under way."""
        return bool(self._calls or self._posted)

    # -- for threads that no signal handler interrupts -------------------------------------------------------

    def begin(self, call: Call, method: str, args: tuple[Any, ...]) -> None:
        """Sends a request, or has the keeper send it. Raises ClosedError, or ConnectionLostError when too much
        waits to be sent."""
        request_id = next(self._ids)
        call.frame = frame(dumps((request_id, method, args)))
        reading = self._reading
        if reading is not None and reading.link.broken is not None:  # the keeper is about to notice it
            self.lose(reading.link, reading.link.broken)
        with self._lock:
            self._begin(call, request_id)

    def notify(self, frames: bytes) -> bool:
        """Sends whole frames. False: there is no connection, or too much waits for it already."""
        with self._lock:
            reading = self._reading
            if reading is None or len(reading.link.backlog) + len(frames) > self._max_buffered_bytes:
                return False
            self._transmit(reading, frames)
            return True

    def lend(self, slot: list[Lane], context: Any) -> Lane | None:
        """Puts a Lane into `slot` if nothing is under way. Only on the keeper's thread, from resolve()."""
        with self._lock:
            reading = self._reading
            if (
                reading is None or reading.is_lent or self.closed or threading.current_thread() is not self.keeper
                or self._calls or self._posted or reading.link.backlog or reading.link.frames.inside_frame
            ):  # fmt: skip
                return None
            return reading.lend(self._ids, slot, self.pass_on, context)

    def lose(self, link: Link, reason: str) -> None:
        """Gives a connection up, and fails all calls: all were sent on it."""
        with self._lock:
            if link.lost is not None:
                return
            link.lost = reason
            link.shut_down()
            self._reading = None
            calls = self._calls.take_all()
        for call in calls:
            call.fail(lost(f"lost {self.where} before it answered: {reason}", sent=True))

    # -- for the keeper --------------------------------------------------------------------------------------

    def claim(self, waker: Waker) -> bool:
        """The calling thread becomes the keeper, if there is none."""
        with self._lock:
            if self.keeper is not None:
                return False
            self.keeper, self._waker = threading.current_thread(), waker
            return True

    def begin_turn(self) -> None:
        """The keeper is awake: begins what was left for it."""
        self._awake = True
        if self._passed_on:
            self.deliver([self._passed_on.popleft() for _ in range(len(self._passed_on))])
        while self._posted:
            call, request_id = self._posted.popleft()
            try:
                with self._lock:
                    self._begin(call, request_id)
            except RpcError as error:
                call.fail(error)
            except ClosedError as error:
                call.fail(lost(str(error), sent=False))

    def expire(self, now: float, trouble: str | None) -> None:
        """Fails the calls whose time is over. `trouble`: why there is no connection."""
        if now < self._calls.next_expiry:
            return
        with self._lock:
            calls = self._calls.take_expired(now)
        for call in calls:
            if trouble is not None and not call.sent:
                call.fail(lost(trouble, sent=False))
            else:
                call.fail(timed_out(f"no answer from {self.where} in time", sent=call.sent))

    def install(self, reading: Reading) -> None:
        """A new connection: sends the requests that have been waiting for it."""
        link = reading.link
        with self._lock:
            self._reading = reading
            self._calls.waiting_bytes = 0
            for call in self._calls:
                call.sent = True
                link.transmit(call.frame)
                call.frame = b""

    def deliver(self, replies: list[Reply]) -> None:
        """Gives each reply to its call."""
        with self._lock:
            take = self._calls.take
            calls = [take(request_id, ok) for request_id, ok, _ in replies]
        for call, (_, ok, result) in zip(calls, replies):
            if call is not None:  # else its caller waits no longer, or it is the answer to a ping
                call.resolve(ok, result)

    def ping_if_silent(self, reading: Reading, now: float) -> None:
        """And give the connection up after too long a silence."""
        if reading.link.needs_ping(now, bool(self._calls)):
            with self._lock:
                self._transmit(reading, frame(dumps((next(self._ids), "ping", ()))))
        if reading.link.is_dead(now):
            self.lose(reading.link, "nothing was heard of it any more")

    def plan_sleep(self, reading: Reading | None, now: float, connect_at: float) -> tuple[int, float]:
        """The events of the connection that the keeper must watch while it sleeps, and when it must wake by
        itself: without a connection at `connect_at` at the latest."""
        with self._lock:
            events, wakes_at = 0, self._calls.next_expiry
            if reading is None:
                wakes_at = min(wakes_at, connect_at)
            else:
                link = reading.link
                link.flush()
                if link.broken is not None or link.lost is not None:
                    return 0, now
                events = selectors.EVENT_WRITE if link.backlog else 0
                if reading.is_to_watch(now):
                    events |= selectors.EVENT_READ
                else:
                    wakes_at = min(wakes_at, reading.changes_at(now))
                wakes_at = min(wakes_at, link.pulse_at(now, bool(self._calls)))
            if self._posted or self._passed_on or self.closed:
                return events, now
            self._awake, self._wakes_at = False, wakes_at
            return events, wakes_at

    def fail_all(self, error: Callable[[Call], RpcError]) -> None:
        """Fails every call with an error of its own."""
        with self._lock:
            calls = self._calls.take_all()
        while self._posted:
            calls.append(self._posted.popleft()[0])
        for call in calls:
            call.fail(error(call))

    # -- inside ----------------------------------------------------------------------------------------------

    def _begin(self, call: Call, request_id: int) -> None:
        """Sends a request, or else the keeper will, when there is a connection. With the lock held."""
        if self.closed:
            self.check_open()
        calls, reading = self._calls, self._reading
        # waiting_bytes, without the call
        waiting_bytes = calls.waiting_bytes if reading is None else len(reading.link.backlog)
        if waiting_bytes + len(call.frame) > self._max_buffered_bytes:
            raise lost(f"{waiting_bytes} bytes of requests to {self.where} are waiting already", sent=False)
        calls.add(request_id, call)
        if reading is None:
            calls.waiting_bytes += len(call.frame)
            self.wake()
            return
        link = reading.link
        call.sent = True
        if self._awake and not reading.is_lent:
            link.backlog += call.frame
        else:
            self._transmit(reading, call.frame)
            if call.deadline < self._wakes_at or link.next_pulse_at < self._wakes_at:
                self.wake()
        call.frame = b""  # thousands may be under way, and large

    def _transmit(self, reading: Reading, data: bytes) -> None:
        """With the lock held."""
        if reading.recall():
            self.wake()
        link = reading.link
        link.transmit(data)
        if link.backlog or link.broken is not None:
            self.wake()
