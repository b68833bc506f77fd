"""Calls that wait for their replies, and the table of them."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

from raftkv.errors import CallTimeoutError, ConnectionLostError, RemoteError, RpcError
from raftkv.rpc.future import CallFuture


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


class Call:
    """One request, until its reply, or the last one of a stream of them. Whichever thread has the outcome calls resolve() or
    fail(), once, holding no lock. They must not block."""

    __slots__ = ("deadline", "frame", "sent")
    streams = False  # resolve() is called with each of many replies, of which a refusal is the last

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline  # time.monotonic()
        self.frame = b""  # set by ClientEnd
        self.sent = False  # whether any of it may have left

    def resolve(self, ok: bool, result: Any) -> None:
        """The reply is here: a result, or a refusal (code, message, detail)."""
        raise NotImplementedError

    def fail(self, error: RpcError) -> None:
        """No reply will come."""
        raise NotImplementedError


class BlockingCall(Call):
    """A thread waits for this one."""

    __slots__ = ("outcome",)

    def __init__(self, deadline: float) -> None:
        super().__init__(deadline)
        self.outcome: queue.SimpleQueue[tuple[Any, RpcError | None]] = queue.SimpleQueue()

    def resolve(self, ok: bool, result: Any) -> None:
        self.outcome.put((result, None) if ok else (None, RemoteError(*result)))

    def fail(self, error: RpcError) -> None:
        self.outcome.put((None, error))

    def wait(self, timeout_s: float) -> tuple[Any, RpcError | None]:
        """(result, error). The thread that fails calls in time has until `timeout_s`."""
        try:
            return self.outcome.get(timeout=timeout_s)
        except queue.Empty:
            return None, timed_out("no answer in time", sent=True)


class FutureCall(Call):
    """A Future waits for this one."""

    __slots__ = ("future",)

    def __init__(self, deadline: float) -> None:
        super().__init__(deadline)
        self.future = CallFuture()

    def resolve(self, ok: bool, result: Any) -> None:
        if ok:
            self.future.settle(result)
        else:
            self.future.settle(None, RemoteError(*result))

    def fail(self, error: RpcError) -> None:
        self.future.settle(None, error)


class CallTable:
    """The calls without an outcome, by request id and oldest first. Guarded by the lock of its ClientEnd."""

    def __init__(self) -> None:
        self._calls: dict[int, Call] = {}
        self.waiting_bytes = 0  # of requests that wait for a connection
        self.next_expiry = float("inf")  # no deadline is earlier

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Call]:
        return iter(self._calls.values())

    def add(self, request_id: int, call: Call) -> None:
        self._calls[request_id] = call
        self.next_expiry = min(self.next_expiry, call.deadline)

    def take(self, request_id: int, ok: bool) -> Call | None:
        """The call that a reply is for, which is over then, unless it is a stream that goes on."""
        call = self._calls.pop(request_id, None)
        if call is not None and ok and call.streams:
            self._calls[request_id] = call
        return call

    def take_all(self) -> list[Call]:
        calls = list(self)
        self._calls.clear()
        self.waiting_bytes = 0
        self.next_expiry = float("inf")
        return calls

    def take_expired(self, now: float) -> list[Call]:
        """Those whose time is over."""
        expired = [request_id for request_id, call in self._calls.items() if call.deadline <= now]
        calls = [self._calls.pop(request_id) for request_id in expired]
        self.next_expiry = min((call.deadline for call in self), default=float("inf"))
        return calls
