"""Proving that both sides of a connection hold the same key: the client's half.

The proof is the one of multiprocessing.connection (two HMAC challenges, first the server's, then the
client's), so that a plain `multiprocessing.connection.Client` can talk to a server. What is added is a
deadline over all of it: the standard `Listener.accept` and `Client` wait for ever for a peer that says
nothing.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import socket
import struct
import time
from collections.abc import Iterator
from multiprocessing.connection import answer_challenge, deliver_challenge

from raftkv.errors import AuthenticationError, CallTimeoutError, ConnectionLostError, ProtocolError
from raftkv.rpc.wire import frame

_SIZE = struct.Struct("!i")

# A peer that is gone without a word (power cut, cable) is given up by the kernel after 30 + 3 * 10 seconds,
# or after 60 seconds when it owes acknowledgements.
_VIGILANCE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 60_000))


def prove_as_client(sock: socket.socket, authkey: bytes, deadline: float, peer: str) -> None:
    """Both challenges, over by `deadline` (time.monotonic()). Raises ConnectionLostError, CallTimeoutError,
    AuthenticationError, ProtocolError (something else than raftkv answered)."""
    frames = _TimedFrames(sock, deadline)
    with _clear_errors(peer):
        set_options(sock)
        answer_challenge(frames, authkey)  # type: ignore[arg-type]
        deliver_challenge(frames, authkey)  # type: ignore[arg-type]


@contextlib.contextmanager
def _clear_errors(peer: str) -> Iterator[None]:
    """Turns what a failed handshake raises into the errors of raftkv."""
    try:
        yield
    except multiprocessing.AuthenticationError:
        raise AuthenticationError(f"{peer} does not hold the same key") from None
    except socket.timeout:
        raise CallTimeoutError(f"{peer} did not finish the handshake in time") from None
    except EOFError:
        raise ConnectionLostError(
            f"{peer} closed the connection during the handshake: it may be full, or stopping; its log says it"
        ) from None
    except OSError as error:
        raise ConnectionLostError(f"{peer} was lost during the handshake: {reason_of(error)}") from None
    except (
        AssertionError,
        ValueError,
    ):  # what deliver_challenge and answer_challenge raise at other nonsense
        raise ProtocolError(f"{peer} does not speak this protocol") from None


class _TimedFrames:
    """The two methods of a `multiprocessing.connection.Connection` that a handshake uses, with one deadline
    over all of it, and without believing a peer about sizes."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline

    def send_bytes(self, data: bytes) -> None:
        self._arm()
        self._sock.sendall(frame(data))

    def recv_bytes(self, max_bytes: int) -> bytes:
        (size,) = _SIZE.unpack(self._read(_SIZE.size))
        if not 0 <= size <= max_bytes:
            raise ValueError(f"a frame of {size} bytes in a handshake")
        return self._read(size)

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            self._arm()
            chunk = self._sock.recv(size - len(data))
            if not chunk:
                raise EOFError
            data += chunk
        return data

    def _arm(self) -> None:
        remaining_s = self._deadline - time.monotonic()
        if remaining_s <= 0:
            raise socket.timeout
        self._sock.settimeout(remaining_s)


def set_options(sock: socket.socket) -> None:
    """Answers leave at once (TCP_NODELAY), and the kernel notices a peer that is gone (keepalive)."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _VIGILANCE:
        if hasattr(socket, name):  # macOS and Windows lack some of them
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def reason_of(error: OSError) -> str:
    """What the operating system says, without its number."""
    return error.strerror or str(error) or type(error).__name__
