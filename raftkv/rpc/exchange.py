"""What the threads that use a ClientEnd share: its connection, its calls, and the duty to read.

**Who reads.** A thread that blocks in a call reads the connection itself if nobody else does, and delivers
the replies that belong to others: a lone caller pays for no switch of threads. When its own reply is there
it appoints another thread that waits. The keeper (the end's own thread) reads while futures are pending,
because nobody blocks on those here; while the connection is idle, to notice its end; and to hear the answer
to a ping. `Link.reading` says that somebody has the duty, `keeper_reads` that it is the keeper.

**Who sends.** The thread that calls, at once and without waiting. What the socket does not take, the keeper
sends when it can. When many futures are under way the keeper is awake anyway, and sends the requests of a
turn in one write (`awake`).

`lock` guards all state here; it is never held while waiting, nor while anything of the user is called.
"""

from __future__ import annotations

import threading
from typing import Callable

from raftkv.errors import ClosedError, RpcError
from raftkv.rpc.calls import AsyncCall, BlockingCall, Call, CallTable, lost, timed_out
from raftkv.rpc.dial import check_reply
from raftkv.rpc.link import Link
from raftkv.rpc.waker import Waker
from raftkv.rpc.wire import loads

_IDLE_S = 0.1  # after so long without a caller who reads, the keeper watches the connection


class Exchange:
    """See above. Methods take the lock themselves unless they say that it must be held."""

    def __init__(self, where: str, max_buffered_bytes: int, waker: Waker) -> None:
        self.lock = threading.Lock()
        self.link: Link | None = None  # None: not connected
        self.calls = CallTable()
        self.closed = False
        self.keeper_reads = False
        self.awake = False  # the keeper is; it will send the backlog before it sleeps again
        self.dozing = False  # the keeper is: a call has to wake it, or it would ping too late
        self.wakes_at = float("inf")  # when the keeper will wake by itself
        self._where = where
        self._max_buffered_bytes = max_buffered_bytes
        self._waker = waker

    # -- for callers -----------------------------------------------------------------------------------------

    def begin_call(self, request_id: int, call: BlockingCall) -> None:
        """Sends the request; or else the keeper will, when there is a connection."""
        with self.lock:
            self._check_room(call)
            link = self.link
            if link is None:
                self._wait_for_link(call)
            else:
                call.sent = True
                self._transmit(link, call.frame)
                if self.dozing:
                    self._waker.wake()
            self.calls.blocking[request_id] = call
            self._take_reading(call)

    def await_turn(self, call: BlockingCall, timeout_s: float) -> None:
        """Waits until the call has an outcome, or its thread has the duty to read (`call.reads`); possibly
        for less."""
        call.wait(timeout_s)
        with self.lock:
            self._take_reading(call)

    def leave(self, request_id: int, call: BlockingCall) -> None:
        """The thread of a blocking call goes, with its reply or without. If it was to read, another must
        now."""
        with self.lock:
            self.calls.blocking.pop(request_id, None)
            if call.reads is not None:
                self._stop_reading(call.reads)
                call.reads = None
            if self.link is not None and not self.link.reading:
                self._appoint_reader()

    def begin_future(self, request_id: int, call: AsyncCall) -> None:
        with self.lock:
            self._check_room(call)
            link = self.link
            if link is None:
                self._wait_for_link(call)
            else:
                call.sent = True
                if self.awake:
                    link.backlog += call.frame
                else:
                    self._transmit(link, call.frame)
                call.frame = b""  # thousands may be under way, and large
                if self.dozing or not link.reading or call.deadline < self.wakes_at:
                    self._waker.wake()
            self.calls.add_future(request_id, call)

    def notify(self, frames: bytes) -> bool:
        with self.lock:
            link = self.link
            if link is None or len(link.backlog) + len(frames) > self._max_buffered_bytes:
                return False
            self._transmit(link, frames)
            return True

    # -- for whoever reads -----------------------------------------------------------------------------------

    def read(self, link: Link, timeout_s: float) -> bool:
        """Waits for data and delivers the replies in it; says whether one of them was for a blocked caller.
        Only for the thread with the duty to read `link`."""
        try:
            data = link.receive(timeout_s)
            if data is None:
                return False
            replies = [check_reply(loads(payload)) for payload in link.frames.feed(data)]
        except RpcError as error:
            self.lose(link, str(error))
            return False
        with self.lock:
            take = self.calls.take
            calls = [take(request_id) for request_id, _, _ in replies]
        to_caller = False
        for call, (_, ok, result) in zip(calls, replies):
            if call is not None:  # else its caller waits no longer, or it is the answer to a ping
                call.resolve(ok, result)
                to_caller |= type(call) is BlockingCall
        return to_caller

    # -- for everybody ---------------------------------------------------------------------------------------

    def lose(self, link: Link, reason: str) -> None:
        """Gives a connection up, and fails all calls: all were sent on it."""
        with self.lock:
            if link.lost is not None:
                return
            link.lost = reason
            link.shut_down()
            self.link = None
            calls = self.calls.take_all()
            self._waker.wake()
        for call in calls:
            call.fail(lost(f"lost {self._where} before it answered: {reason}", sent=True))

    # -- for the keeper --------------------------------------------------------------------------------------

    def install(self, link: Link) -> None:
        """A new connection: sends the requests that have been waiting for it. The keeper reads."""
        with self.lock:
            self.awake = self.keeper_reads = link.reading = True
            self.link = link
            self.calls.waiting_bytes = 0
            for call in self.calls:
                call.sent = True
                link.transmit(call.frame)

    def bury(self, link: Link) -> None:
        """The keeper lets go of a lost connection: its socket is closed now, or when a caller stops reading
        it."""
        with self.lock:
            link.buried = True
            if self.keeper_reads or not link.reading:
                link.close()
            self.keeper_reads = False

    def settle_reading(self, link: Link, now: float, to_caller: bool) -> None:
        """Whether the keeper reads from now on: it leaves that to the callers while those keep coming and no
        futures are pending. With the lock held."""
        if self.keeper_reads:
            if to_caller and not self.calls.futures:
                self.keeper_reads = False
                self._stop_reading(link)
                self._appoint_reader()
        elif not link.reading and (self.calls.futures or link.awaits_pong or now - link.heard_at >= _IDLE_S):
            self.keeper_reads = link.reading = True

    def plan_sleep(self, link: Link, now: float) -> None:
        """Sets `wakes_at`. With the lock held."""
        pulse_at = link.next_pulse_at
        self.dozing = pulse_at <= now and not self.calls  # silence, and nobody waits for a word
        if self.dozing:
            pulse_at = link.next_idle_pulse_at
        self.wakes_at = min(self.calls.next_expiry, pulse_at)
        if not self.keeper_reads:
            self.wakes_at = min(self.wakes_at, now + _IDLE_S)

    def ping(self, link: Link, frame: bytes) -> None:
        with self.lock:
            self._transmit(link, frame)

    def expire(self, now: float) -> None:
        """Fails the futures whose time is over. (Callers that block look at the clock themselves.)"""
        if now >= self.calls.next_expiry:
            with self.lock:
                calls = self.calls.take_expired(now)
            for call in calls:
                call.fail(timed_out(f"no answer from {self._where} in time", sent=call.sent))

    def fail_all(self, error: Callable[[Call], RpcError], *, close: bool = False) -> None:
        """Fails every call with an error of its own; with `close`, no other call is taken any more."""
        with self.lock:
            self.closed |= close
            calls = self.calls.take_all()
        for call in calls:
            call.fail(error(call))

    # -- inside, with the lock held --------------------------------------------------------------------------

    def _check_room(self, call: Call) -> None:
        if self.closed:
            raise ClosedError(f"the connection to {self._where} was closed")
        waiting = self.calls.waiting_bytes if self.link is None else len(self.link.backlog)
        if waiting + len(call.frame) > self._max_buffered_bytes:
            raise lost(f"{waiting} bytes of requests to {self._where} are waiting already", sent=False)

    def _wait_for_link(self, call: Call) -> None:
        self.calls.waiting_bytes += len(call.frame)
        self._waker.wake()

    def _transmit(self, link: Link, data: bytes) -> None:
        link.transmit(data)
        if link.backlog or link.broken is not None:
            self._waker.wake()

    def _take_reading(self, call: BlockingCall) -> None:
        """Gives the caller the duty to read, if nobody has it and the call still waits."""
        link = self.link
        if link is not None and not link.reading and call.outcome is None:
            link.reading = True
            call.reads = link

    def _stop_reading(self, link: Link) -> None:
        link.reading = False
        if link.buried:
            link.close()

    def _appoint_reader(self) -> None:
        """Nobody reads now. If anybody waits, somebody will: who is signalled and no longer needs to
        appoints the next one when it leaves."""
        if self.calls.futures:
            self._waker.wake()
        elif self.calls.blocking:
            next(iter(self.calls.blocking.values())).signal()
