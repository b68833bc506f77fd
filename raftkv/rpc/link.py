"""One connection of a ClientEnd, from the handshake until it is lost."""

from __future__ import annotations

import socket
import time
from typing import Callable

from raftkv import forks
from raftkv.errors import ConnectionLostError
from raftkv.rpc.handshake import reason_of
from raftkv.rpc.wire import FrameReader


class Link:
    """An authenticated socket, what it has not taken yet, and the signs of life of the other side.

    All is guarded by the lock of the ClientEnd, except receive() and `frames`: they belong to the one thread
    that reads, the ClientEnd's own or the one that has its Lane. `lost` is set once, with the reason. The
    socket is closed when nobody reads any more: a descriptor that somebody still waits on must not be given to
    somebody else.
    """

    def __init__(
        self,
        sock: socket.socket,
        max_frame_bytes: int,
        ping_interval_s: float,
        ping_timeout_s: float,
        idle_ping_interval_s: float,
    ) -> None:
        """Raises ConnectionLostError when there are too many open files."""
        self.sock = sock
        # A second Python object for the same connection: each has a timeout of its own, and writing never
        # waits.
        try:
            self._read_sock = sock.dup()
        except OSError as error:
            sock.close()
            raise ConnectionLostError(f"cannot use a new connection: {reason_of(error)}") from None
        self._read_timeout_s = -1.0
        sock.setblocking(False)
        forks.close_in_child(self)
        self.frames = FrameReader(max_frame_bytes)
        self.backlog = bytearray()
        self.broken: str | None = None  # why nothing can be sent any more
        self.lost: str | None = None
        self.interrupted = False  # that is why: the other side is well
        self.since = self.heard_at = time.monotonic()
        self._pinged_at: float | None = None  # when a ping left that nothing has come after
        #: Called by who reads, with how many seconds the answer to a ping took.
        self.on_pong: Callable[[float], None] | None = None
        self._ping_interval_s, self._idle_ping_interval_s = ping_interval_s, idle_ping_interval_s
        self._patience_s = ping_timeout_s - ping_interval_s  # with a ping

    def transmit(self, data: bytes) -> None:
        """Sends what the socket takes at once; the rest becomes backlog. Never blocks."""
        if self.backlog:
            self.backlog += data
            self.flush()
            return
        sent = self._try(data)
        if sent < len(data):
            self.backlog += memoryview(data)[sent:]

    def flush(self) -> None:
        """Sends of the backlog what the socket takes now."""
        if self.backlog:
            sent = self._try(self.backlog)
            if sent:
                del self.backlog[:sent]
                self.heard_at = time.monotonic()  # its TCP acknowledges what we sent before

    def receive(self, timeout_s: float) -> bytes | None:
        """Some bytes, or None when none come within `timeout_s`. Raises ConnectionLostError at the end."""
        if timeout_s != self._read_timeout_s:
            self._read_timeout_s = timeout_s
            self._read_sock.settimeout(timeout_s)
        try:
            data = self._read_sock.recv(self.frames.read_bytes)
        except (socket.timeout, BlockingIOError):
            return None
        except OSError as error:
            raise ConnectionLostError(f"the connection was lost: {reason_of(error)}") from None
        if not data:
            raise ConnectionLostError("the other side closed the connection")
        now, pinged_at = time.monotonic(), self._pinged_at
        if self.on_pong is not None and pinged_at is not None and self.heard_at <= pinged_at:
            self.on_pong(now - pinged_at)
        self.heard_at = now
        return data

    def needs_ping(self, now: float, waiting: bool) -> bool:
        """Whether it has been silent for so long that a ping should leave now; the caller sends one then.
        `waiting`: for an answer."""
        if self._pinged_at is not None and self.heard_at > self._pinged_at:
            self._pinged_at = None
        interval_s = self._ping_interval_s if waiting else self._idle_ping_interval_s
        if self._pinged_at is None and now - self.heard_at >= interval_s:
            self._pinged_at = now
            return True
        return False

    @property
    def next_pulse_at(self) -> float:
        """When to ping, or to give up, if nothing is heard until then and somebody waits for an answer."""
        if self._pinged_at is None:
            return self.heard_at + self._ping_interval_s
        return self._pinged_at + self._patience_s

    def pulse_at(self, now: float, waiting: bool) -> float:
        """The same, if nobody may be `waiting`."""
        at = self.next_pulse_at
        return self.heard_at + self._idle_ping_interval_s if at <= now and not waiting else at

    def is_dead(self, now: float) -> bool:
        """Whether nothing has been heard for too long, in spite of a ping. (Not "since the last byte": a
        process that was stopped for a minute must look at what came meanwhile before it blames the other
        side.)"""
        return self._pinged_at is not None and now - self._pinged_at >= self._patience_s

    def break_off(self, reason: str) -> None:
        """Nothing more is to be sent or read. Thread-safe, without a lock."""
        self.broken = self.broken or reason
        self.shut_down()

    def shut_down(self) -> None:
        """Ends the connection, and any receive() on it."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it had already ended

    def close(self) -> None:
        """Only when nobody reads any more."""
        self.sock.close()
        self._read_sock.close()

    def __del__(self) -> None:
        if hasattr(self, "_read_sock"):
            self.close()

    def _try(self, data: bytes | bytearray) -> int:
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            self.break_off(f"the connection was lost: {reason_of(error)}")
            return 0
