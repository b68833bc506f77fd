"""Connecting, saying hello, and waiting longer and longer after failures."""

from __future__ import annotations

import random
import socket
import time
from typing import Any, Callable

from raftkv.errors import CallTimeoutError, ConnectionLostError, ProtocolError, RemoteError
from raftkv.rpc import handshake
from raftkv.rpc.wire import FrameReader, dumps, frame, loads

_FIRST_BACKOFF_S = 0.05
_MAX_BACKOFF_S = 1.0
_MAX_HELLO_BYTES = 1 << 20  # the answer to a hello


def check_reply(reply: Any) -> tuple[int, bool, Any]:
    """`reply` if it is (id, ok, result), and its result (code, message, detail) when not ok.

    Raises ProtocolError.
    """
    if type(reply) is tuple and len(reply) == 3 and type(reply[0]) is int and type(reply[1]) is bool:
        if reply[1]:
            return reply
        refusal = reply[2]
        if (
            type(refusal) is tuple
            and len(refusal) == 3
            and type(refusal[0]) is str
            and type(refusal[1]) is str
        ):
            return reply
    raise ProtocolError("a reply that is not (id, ok, result)")


class Backoff:
    """When to try next: at once after a connection that worked, then after 50 ms and twice that each time,
    up to 1 s; shortened by up to half at random, so that those who lost the same server do not come back in
    step."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._failures = 0
        self.next_at = 0.0  # time.monotonic()

    def failed(self) -> None:
        delay_s = min(_MAX_BACKOFF_S, _FIRST_BACKOFF_S * 2 ** min(self._failures, 10))
        self._failures += 1
        self.next_at = time.monotonic() + delay_s * self._rng.uniform(0.5, 1.0)

    def forget(self) -> None:
        """Of the failures up to now: try at once."""
        self._failures, self.next_at = 0, 0.0

    def worked(self, lasted_s: float) -> None:
        """A connection was made, and is lost after `lasted_s`. One that ends at once is as bad as none."""
        if lasted_s < _MAX_BACKOFF_S:
            self.failed()
        else:
            self.forget()


class Dialer:
    """Makes connections that are ready for use: authenticated, and introduced by `hello`."""

    def __init__(
        self,
        address: tuple[str, int],
        authkey: bytes,
        hello: Callable[[], tuple[str, tuple[Any, ...]]] | None,
        on_hello: Callable[[Any], None] | None,
        timeout_s: float,
    ) -> None:
        self._address = address
        self._authkey = authkey
        self._hello = hello
        self._on_hello = on_hello
        self._timeout_s = timeout_s

    def dial(self) -> socket.socket:
        """Raises RpcError; which one, handshake.connect() says, or on_hello()."""
        deadline = time.monotonic() + self._timeout_s
        sock = handshake.connect(self._address, self._authkey, self._timeout_s)
        try:
            if self._hello is not None:
                result = self._exchange(sock, deadline, *self._hello())
                if self._on_hello is not None:
                    self._on_hello(result)
        except BaseException:
            sock.close()
            raise
        return sock

    def _exchange(self, sock: socket.socket, deadline: float, method: str, args: tuple[Any, ...]) -> Any:
        """One request and its reply, before there is anything else on the connection."""
        try:
            sock.settimeout(max(0.001, deadline - time.monotonic()))
            sock.sendall(frame(dumps((0, method, args))))
            frames = FrameReader(_MAX_HELLO_BYTES)
            payloads: list[bytes] = []
            while not payloads:
                sock.settimeout(max(0.001, deadline - time.monotonic()))
                data = sock.recv(frames.read_bytes)
                if not data:
                    raise ConnectionLostError("the other side closed the connection at our hello")
                payloads = frames.feed(data)
        except socket.timeout:
            raise CallTimeoutError(f"no answer to our hello within {self._timeout_s:g} s") from None
        except OSError as error:
            raise ConnectionLostError(f"lost during our hello: {handshake.reason_of(error)}") from None
        request_id, ok, result = check_reply(loads(payloads[0]))
        if request_id != 0 or len(payloads) > 1 or frames.inside_frame:
            raise ProtocolError("something else than the answer to our hello")
        if not ok:
            raise RemoteError(*result)
        return result
