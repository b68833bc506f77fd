"""Connector: one attempt after the other to get a connection, none of which its ClientEnd waits for."""

from __future__ import annotations

import random
import socket
from typing import Any, Callable

from raftkv.errors import ConnectionLostError
from raftkv.rpc.dial import Backoff, Dial, Dialling

_GRACE_S = 0.15  # between an attempt's deadline and the moment when it is given up
_LONGEST_S = 6.0  # of an attempt; a server gives a handshake 5 s by default

Hello = Callable[[], tuple[str, tuple[Any, ...]]]


class Connector:
    """For one thread, but for retry_now(). `on_end()` is called, on another thread, when an attempt has ended.

    `trouble` is why there is no connection, None if there was no attempt since the last one.

    An attempt has `timeout_s` seconds. The next one has twice as long if the other side took the connection and then
    was too slow: on a line with a long round trip, or with a server that has much to do, none would ever succeed.
    """

    def __init__(
        self,
        address: tuple[str, int],
        authkey: bytes,
        hello: Hello | None,
        on_end: Callable[[], None],
        timeout_s: float,
        name: str,
    ) -> None:
        self._address, self._authkey, self._hello = address, authkey, hello
        self._on_end, self._timeout_s, self._name = on_end, timeout_s, name
        self._patience_s = timeout_s  # of the next attempt
        self._backoff = Backoff(random.Random())
        self._dialling: Dialling | None = None
        self.trouble: str | None = None

    @property
    def next_at(self) -> float:
        """When to call attempt() next, if `on_end()` is not called before."""
        return self._backoff.next_at if self._dialling is None else self._dialling.deadline + _GRACE_S

    def is_busy(self) -> bool:
        """Whether an attempt is under way."""
        return self._dialling is not None

    def attempt(self, now: float) -> tuple[socket.socket, Any] | None:
        """Begins an attempt, if it is time for one; or says what became of it: the socket, and the answer to
        the hello. Raises what it failed of: an RpcError, or a bug in hello()."""
        dialling = self._dialling
        if dialling is None:
            if now >= self._backoff.next_at:
                dial = Dial(self._address, self._authkey, now + self._patience_s)
                self._dialling = Dialling(dial, self._hello, self._on_end, self._name)
            return None
        outcome = dialling.outcome
        if outcome is None and now < dialling.deadline + _GRACE_S:
            return None
        self._dialling = None
        if dialling.is_slow:
            self._patience_s = min(2 * self._patience_s, max(_LONGEST_S, self._timeout_s))
        if outcome is None:
            dialling.give_up()
            raise ConnectionLostError(f"cannot connect to {self._address[0]}: no answer in time")
        dialling.join()
        if isinstance(outcome, BaseException):
            try:
                raise outcome
            finally:
                del outcome, dialling  # its traceback has this frame: see without_frames()
        return outcome

    def failed(self, trouble: str) -> None:
        """The attempt came to nothing."""
        self.trouble = trouble
        self._backoff.failed()

    def worked(self) -> None:
        self.trouble = None
        self._patience_s = self._timeout_s

    def lost(self, lasted_s: float, blameless: bool) -> None:
        """The connection that was made is lost after `lasted_s`; `blameless`: not by the other side."""
        if blameless:
            self._backoff.forget()
        else:
            self._backoff.worked(lasted_s)

    def retry_now(self) -> None:
        """Do not wait any longer before the next attempt. Thread-safe."""
        self._backoff.forget()

    def give_up(self) -> None:
        if self._dialling is not None:
            self._dialling.give_up()
            self._dialling = None
