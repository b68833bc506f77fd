"""Calls that wait for their replies: one kind for a thread, one for a Future, and the table of both."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Union

from raftkv.errors import CallTimeoutError, ConnectionLostError, RemoteError, RpcError

if TYPE_CHECKING:
    from raftkv.rpc.link import Link


def lost(message: str, *, sent: bool) -> ConnectionLostError:
    """`sent` becomes an attribute of the error: False means that the request certainly never left."""
    error = ConnectionLostError(message)
    error.sent = sent
    return error


def timed_out(message: str, *, sent: bool) -> CallTimeoutError:
    """The same for a deadline that has passed."""
    error = CallTimeoutError(message)
    error.sent = sent
    return error


class BlockingCall:
    """A thread waits for this one, or reads the connection itself until the reply is there."""

    __slots__ = ("_signals", "deadline", "frame", "outcome", "reads", "sent")

    def __init__(self, deadline: float, frame: bytes) -> None:
        self.deadline = deadline  # time.monotonic()
        self.frame = frame
        self.sent = False  # whether any of it may have left
        self.outcome: None | tuple[Any, ...] | RpcError = None  # (ok, result), or what went wrong
        self.reads: Link | None = None  # the link that the waiting thread has the duty to read
        self._signals: queue.SimpleQueue[None] = queue.SimpleQueue()

    def resolve(self, ok: bool, result: Any) -> None:
        self.outcome = (ok, result)
        self._signals.put(None)

    def fail(self, error: RpcError) -> None:
        self.outcome = error
        self._signals.put(None)

    def signal(self) -> None:
        """Make the waiting thread look round: there is work for it."""
        self._signals.put(None)

    def wait(self, timeout_s: float) -> None:
        """Until there is an outcome or a signal, or the time is over; possibly for less."""
        try:
            self._signals.get(timeout=timeout_s)
        except queue.Empty:
            pass  # the caller looks at the clock anyway

    def result(self) -> Any:
        """What the outcome means to the caller."""
        assert self.outcome is not None, "result() of a call without an outcome"
        if isinstance(self.outcome, RpcError):
            raise self.outcome
        ok, result = self.outcome
        if ok:
            return result
        raise RemoteError(*result)


class AsyncCall:
    """Nobody waits for this one: whichever thread reads the reply calls resolve() or fail(), once, holding no
    lock. They must not block."""

    __slots__ = ("deadline", "frame", "sent")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline  # time.monotonic()
        self.frame = b""  # set by ClientEnd.begin()
        self.sent = False  # whether any of it may have left

    def resolve(self, ok: bool, result: Any) -> None:
        """The reply is here: a result, or a refusal (code, message, detail)."""
        raise NotImplementedError

    def fail(self, error: RpcError) -> None:
        """No reply will come."""
        raise NotImplementedError


class FutureCall(AsyncCall):
    """A Future waits for this one."""

    __slots__ = ("future",)

    def __init__(self, deadline: float) -> None:
        super().__init__(deadline)
        self.future: Future[Any] = Future()
        self.future.set_running_or_notify_cancel()  # a request that has left cannot be called back

    def resolve(self, ok: bool, result: Any) -> None:
        if ok:
            self.future.set_result(result)
        else:
            self.future.set_exception(RemoteError(*result))

    def fail(self, error: RpcError) -> None:
        self.future.set_exception(error)


Call = Union[BlockingCall, AsyncCall]


class CallTable:
    """The calls without an outcome, by request id and oldest first. Guarded by the lock of its ClientEnd."""

    def __init__(self) -> None:
        self.blocking: dict[int, BlockingCall] = {}
        self.futures: dict[int, AsyncCall] = {}
        self.waiting_bytes = 0  # of requests that wait for a connection
        self.next_expiry = float("inf")  # no future's deadline is earlier

    def __bool__(self) -> bool:
        return bool(self.blocking or self.futures)

    def __iter__(self) -> Iterator[Call]:
        yield from self.blocking.values()
        yield from self.futures.values()

    def add_future(self, request_id: int, call: AsyncCall) -> None:
        self.futures[request_id] = call
        self.next_expiry = min(self.next_expiry, call.deadline)

    def take(self, request_id: int) -> Call | None:
        return self.futures.pop(request_id, None) or self.blocking.pop(request_id, None)

    def take_all(self) -> list[Call]:
        calls = list(self)
        self.blocking.clear()
        self.futures.clear()
        self.waiting_bytes = 0
        return calls

    def take_expired(self, now: float) -> list[AsyncCall]:
        """The futures whose time is over. (Callers that block look at the clock themselves.)"""
        expired = [request_id for request_id, call in self.futures.items() if call.deadline <= now]
        calls = [self.futures.pop(request_id) for request_id in expired]
        self.next_expiry = min((call.deadline for call in self.futures.values()), default=float("inf"))
        return calls
