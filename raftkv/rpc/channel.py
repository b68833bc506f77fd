"""One client's connection, as a handler sees it, and the sending of replies."""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, Callable, Optional

from raftkv.rpc.wire import dumps, frame

# Bytes of replies that one call makes: to pickle more, if clients asked for many large values, would hold up all others.
# The other replies wait as they are, which takes hardly any memory: their values are the database's own.
AT_ONCE_BYTES = 4 << 20
_FLUSH_BYTES = 1 << 20  # and that are made for one connection, when it has taken what it got


class Channel:
    """An authenticated connection to a server. Made by the server, given to its handler.

    `peer` is the other side's "host:port"; `heard_at` is when it last sent something, by time.monotonic();
    `context` belongs to the handler (None at first).

    `lock` guards `backlog`, `waiting`, `closing` and the use of `sock` (its closing, too: a descriptor must not be
    given to somebody else while a thread is about to send on it).
    """

    __slots__ = (
        "_attend",
        "backlog",
        "closing",
        "context",
        "fault",
        "flushed_at",
        "heard_at",
        "lock",
        "peer",
        "sock",
        "waiting",
    )

    def __init__(self, sock: socket.socket, peer: str, attend: Callable[[Any], None]) -> None:
        """`attend(channel)` has the server's loop look after it; thread-safe."""
        self.peer = peer
        self.context: Any = None
        self.sock = sock
        self.lock = threading.Lock()
        self.backlog = bytearray()  # what the socket did not take, and
        self.waiting: deque[bytes | Waiting] = deque()  # what comes after it
        self.flushed_at = 0.0  # when the socket last took some of these, or they began
        self.heard_at = time.monotonic()  # when something last came from it
        self.closing = False
        self.fault: str | None = None  # what the other side did wrong, if that is why it is being closed
        self._attend = attend

    def send(self, data: bytes) -> None:
        """Send whole frames: tries the socket at once, and leaves to the server's loop what it does not take.

        Thread-safe; never blocks. On a closed channel it does nothing.
        """
        with self.lock:
            if self.closing:
                return
            if self.backlog or self.waiting:
                self.waiting.append(data)
                return
            sent = self._try(data)
            if sent == len(data):
                return
            self.flushed_at = time.monotonic()
            self.backlog += memoryview(data)[sent:]
        self._attend(self)

    def send_later(self, replies: list[Waiting]) -> None:
        """Send (id, ok, result) when what is before it has left. Thread-safe; never blocks."""
        with self.lock:
            if self.closing:
                return
            if not self.backlog and not self.waiting:
                self.flushed_at = time.monotonic()
            self.waiting += replies
        self._attend(self)

    def flush(self) -> int:
        """Send more of what waits. Returns how many bytes of replies were made for it. Only for the loop, which reads no
        requests from a channel of which something waits: who does not take replies is not given more to wait for."""
        made = 0
        with self.lock:
            while not self.closing:
                if not self.backlog and made < _FLUSH_BYTES:
                    made += self._make()
                sent = self._try(self.backlog) if self.backlog else 0
                if not sent:
                    break
                del self.backlog[:sent]
                self.flushed_at = time.monotonic()
        return made

    def _make(self) -> int:
        """Make bytes of some of what waits. Call with the lock held."""
        while self.waiting and len(self.backlog) < _FLUSH_BYTES:
            reply = self.waiting.popleft()
            self.backlog += reply if type(reply) is bytes else frame(dumps(reply))
        return len(self.backlog)

    def close(self, fault: str | None = None) -> None:
        """Close the connection; unsent replies are dropped. on_close() follows, on the loop thread.

        `fault` is what the other side did wrong ("it ..."), and is logged as a warning. Thread-safe.
        """
        with self.lock:
            if not self.closing:
                self.closing = True
                self.fault = fault
                self.waiting.clear()
        self._attend(self)

    def _try(self, data: bytes | bytearray) -> int:
        """How many bytes of `data` the socket took. Call with the lock held."""
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0
        except OSError:  # reset by the other side
            self.closing = True
            return 0

    def __repr__(self) -> str:
        return f"<Channel {self.peer}>"


#: (id of the request, ok, result), not pickled yet.
Waiting = tuple[int, bool, Any]
#: (channel, id of the request, ok, result). When `ok` is False, `result` is (code, message, detail).
Reply = tuple[Channel, Optional[int], bool, Any]


def send_replies(replies: Iterable[Reply]) -> None:
    """Send all replies, with one write a channel however many it gets, as far as they are AT_ONCE_BYTES together;
    the others later. Results are plain data, which nobody changes any more. A request without an id gets no reply.

    Thread-safe; never blocks.
    """
    frames: dict[Channel, list[bytes]] = {}
    later: dict[Channel, list[Waiting]] = {}
    room = AT_ONCE_BYTES
    for channel, request_id, ok, result in replies:
        if request_id is None:
            continue
        if room <= 0 or channel.waiting or channel in later:  # the loop may empty `waiting` at any moment
            later.setdefault(channel, []).append((request_id, ok, result))
            continue
        data = frame(dumps((request_id, ok, result)))
        room -= len(data)
        if channel in frames:
            frames[channel].append(data)
        else:
            frames[channel] = [data]
    for channel, parts in frames.items():
        channel.send(parts[0] if len(parts) == 1 else b"".join(parts))
    for channel, waiting in later.items():
        channel.send_later(waiting)
