"""One client's connection, as a handler sees it, and the sending of replies."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable
from typing import Any, Callable, Optional

from raftkv.rpc.wire import dumps, frame

#: More than this many bytes of replies waiting for one client closes its connection. A client that reads
#: slowly is first held back (see Channel.flush), so that only one with very many large replies under way
#: can get there.
MAX_BACKLOG_BYTES = 64 << 20


class Channel:
    """An authenticated connection to a server. Made by the server, given to its handler.

    `peer` is the other side's "host:port"; `heard_at` is when it last sent something, by time.monotonic();
    `context` belongs to the handler (None at first).

    `lock` guards `backlog`, `closing` and the use of `sock` (its closing, too: a descriptor must not be
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
    )

    def __init__(self, sock: socket.socket, peer: str, attend: Callable[[Any], None]) -> None:
        """`attend(channel)` has the server's loop look after it; thread-safe."""
        self.peer = peer
        self.context: Any = None
        self.sock = sock
        self.lock = threading.Lock()
        self.backlog = bytearray()  # what the socket did not take
        self.flushed_at = 0.0  # when the socket last took some of the backlog, or the backlog began
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
            sent = 0
            if not self.backlog:
                sent = self._try(data)
                if sent == len(data):
                    return
            self._keep(data, sent)
        self._attend(self)

    def flush(self) -> None:
        """Send more of the backlog. Only for the loop, which reads no requests from a channel with a backlog:
        who does not take replies is not given more to wait for."""
        with self.lock:
            if self.backlog and not self.closing:
                sent = self._try(self.backlog)
                if sent:
                    del self.backlog[:sent]
                    self.flushed_at = time.monotonic()

    def close(self, fault: str | None = None) -> None:
        """Close the connection; unsent replies are dropped. on_close() follows, on the loop thread.

        `fault` is what the other side did wrong ("it ..."), and is logged as a warning. Thread-safe.
        """
        with self.lock:
            if not self.closing:
                self.closing = True
                self.fault = fault
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

    def _keep(self, data: bytes, sent: int) -> None:
        """What the socket has not taken becomes part of the backlog. Call with the lock held."""
        if not self.backlog:
            self.flushed_at = time.monotonic()
        self.backlog += memoryview(data)[sent:]
        if len(self.backlog) > MAX_BACKLOG_BYTES:
            self.closing = True
            self.fault = f"it does not take its replies: more than {MAX_BACKLOG_BYTES} bytes are waiting"

    def __repr__(self) -> str:
        return f"<Channel {self.peer}>"


#: (channel, id of the request, ok, result). When `ok` is False, `result` is (code, message, detail).
Reply = tuple[Channel, Optional[int], bool, Any]


def send_replies(replies: Iterable[Reply]) -> None:
    """Send all replies, with one write a channel however many it gets. Results are plain data. A request
    without an id gets no reply.

    Thread-safe; never blocks.
    """
    frames: dict[Channel, list[bytes]] = {}
    for channel, request_id, ok, result in replies:
        if request_id is None:
            continue
        data = frame(dumps((request_id, ok, result)))
        if channel in frames:
            frames[channel].append(data)
        else:
            frames[channel] = [data]
    for channel, parts in frames.items():
        channel.send(parts[0] if len(parts) == 1 else b"".join(parts))
