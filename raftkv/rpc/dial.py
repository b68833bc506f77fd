"""Connecting, saying hello, and waiting longer and longer after failures.

A name may have several addresses, and the first may be silent. They are tried as RFC 8305 ("happy eyeballs")
says, in small: one after the other, the next 250 ms after the last one or as soon as that has failed, and the
first that connects is taken. If it then does not finish the handshake in its share of the time, the others
come.
"""

from __future__ import annotations

import contextlib
import os
import queue
import random
import selectors
import socket
import threading
import time
from typing import Any, Callable, cast

from raftkv import forks
from raftkv.errors import CallTimeoutError, ConnectionLostError, ProtocolError, RemoteError, RpcError
from raftkv.ini import Address
from raftkv.rpc import handshake
from raftkv.rpc.resolve import Signals, Target, resolve, without_frames
from raftkv.rpc.wire import FrameReader, dumps, frame, loads

_FIRST_BACKOFF_S = 0.05
_MAX_BACKOFF_S = 1.0
_MAX_HELLO_BYTES = 1 << 20  # the answer to a hello
_HEAD_START_S = 0.25  # of an address before the next one of the same name


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


class Dial:
    """One attempt to get a connection that is ready for use: authenticated, and introduced by `hello`.

    run() is for one thread; cancel() may be called by another, and soon ends it. All is over by `deadline`
    (time.monotonic()).
    """

    def __init__(self, address: tuple[str, int], authkey: bytes, deadline: float) -> None:
        self._host, self._port = address[0], address[1]
        self._where = f"{address[0]}:{address[1]}"
        self._authkey = authkey
        self.deadline = deadline
        self._signals: Signals[None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()  # open ones
        self._cancelled = False
        self.was_connected = False  # somebody took a connection, whatever came of it
        forks.close_in_child(self)

    def run(self) -> socket.socket:
        """Connects and proves the key, both ways. Raises ConnectionLostError (nobody listens, or the connection
        broke), CallTimeoutError, AuthenticationError, ProtocolError (something else than raftkv answered)."""
        targets = resolve(self._host, self._port, self.deadline, self._signals)
        while True:
            target, sock = self._connect_any(targets)
            self.was_connected = True
            now = time.monotonic()
            share_s = (self.deadline - now) / len(targets)
            try:
                handshake.prove_as_client(sock, self._authkey, now + share_s, self._where)
                sock.settimeout(None)
                return sock
            except RpcError:
                self._close(sock)
                targets = [other for other in targets if other is not target]
                if not targets or self._cancelled:
                    raise
            except BaseException:
                self._close(sock)
                raise

    def greet(self, sock: socket.socket, method: str, args: tuple[Any, ...]) -> Any:
        """The answer to a hello: one request and its reply, before there is anything else on the connection.
        Raises RpcError."""
        try:
            sock.settimeout(max(0.001, self.deadline - time.monotonic()))
            sock.sendall(frame(dumps((0, method, args))))
            frames = FrameReader(_MAX_HELLO_BYTES)
            payloads: list[bytes] = []
            while not payloads:
                sock.settimeout(max(0.001, self.deadline - time.monotonic()))
                data = sock.recv(frames.read_bytes)
                if not data:
                    raise ConnectionLostError("the other side closed the connection at our hello")
                payloads = frames.feed(data)
        except socket.timeout:
            raise CallTimeoutError("no answer to our hello in time") from None
        except OSError as error:
            raise ConnectionLostError(f"lost during our hello: {handshake.reason_of(error)}") from None
        request_id, ok, result = check_reply(loads(payloads[0]))
        if request_id != 0 or len(payloads) > 1 or frames.inside_frame:
            raise ProtocolError("something else than the answer to our hello")
        if not ok:
            raise RemoteError(*result)
        return result

    def cancel(self) -> None:
        """Nobody waits for it any more: what run() or greet() does ends, and its socket is of no use."""
        with self._lock:
            self._cancelled = True
            for sock in self._sockets:
                with contextlib.suppress(OSError):  # it has just ended by itself
                    sock.shutdown(socket.SHUT_RDWR)
        self._signals.put(None)

    def close(self) -> None:
        """In a forked child (see forks.py), where the thread of run() does not exist."""
        for sock in list(self._sockets):
            sock.close()

    # -- inside ----------------------------------------------------------------------------------------------

    def _connect_any(self, targets: list[Target]) -> tuple[Target, socket.socket]:
        """The first of `targets` that takes a connection."""
        waiting, next_at, problem = list(targets), 0.0, ""
        with contextlib.closing(_selector()) as selector:
            try:
                while waiting or selector.get_map():
                    now = time.monotonic()
                    if now >= self.deadline:
                        raise CallTimeoutError(f"no connection to {self._where} in time")
                    if waiting and (now >= next_at or not selector.get_map()):
                        problem = self._begin(waiting.pop(0), selector) or problem
                        next_at = now + _HEAD_START_S
                        continue
                    until = min(next_at, self.deadline) if waiting else self.deadline
                    for key, _ in selector.select(until - now):
                        selector.unregister(key.fileobj)
                        failure = _failure_of(key.fileobj)
                        if failure is None:
                            return key.data, cast(socket.socket, key.fileobj)
                        self._close(key.fileobj)
                        problem, next_at = failure, now
                raise ConnectionLostError(f"cannot connect to {self._where}: {problem}{self._advice()}")
            finally:
                for key in list(selector.get_map().values()):
                    self._close(key.fileobj)

    def _advice(self) -> str:
        is_wildcard = Address(self._host, self._port).is_wildcard()
        return (
            "; that is an address to listen on, not to connect to: write the server's own"
            if is_wildcard
            else ""
        )

    def _begin(self, target: Target, selector: selectors.BaseSelector) -> str | None:
        """Begins to connect; says what is wrong if that cannot even be begun."""
        try:
            sock = socket.socket(target.family, socket.SOCK_STREAM)
        except OSError as error:
            return handshake.reason_of(error)
        with self._lock:
            self._sockets.add(sock)
            cancelled = self._cancelled
        try:
            sock.setblocking(False)
            if cancelled:
                raise OSError("it is no longer wanted")
            with contextlib.suppress(BlockingIOError):
                sock.connect(target.sockaddr)
            selector.register(sock, selectors.EVENT_WRITE, target)
        except (OSError, UnicodeError, OverflowError) as error:
            self._close(sock)
            return handshake.reason_of(error) if isinstance(error, OSError) else str(error)
        return None

    def _close(self, sock: Any) -> None:
        with self._lock:
            self._sockets.discard(sock)
            sock.close()


def _selector() -> selectors.BaseSelector:
    try:
        return selectors.DefaultSelector()
    except OSError as error:
        raise ConnectionLostError(f"cannot connect: {handshake.reason_of(error)}") from None


def _failure_of(sock: Any) -> str | None:
    """Why a socket that select() names has no connection. None: it has one."""
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        return handshake.reason_of(OSError(code, os.strerror(code)))
    try:
        # TCP may have connected us to ourselves: while nobody listens on a port of the ephemeral range, it may
        # choose that very port for our end. That would also keep the server from ever coming back to its port.
        return "nobody listens there" if sock.getsockname() == sock.getpeername() else None
    except OSError as error:
        return handshake.reason_of(error)


def connect(address: tuple[str, int], authkey: bytes, timeout_s: float) -> socket.socket:
    """A connected socket whose other side has proved that it holds `authkey`, and to which we have proved it.
    Raises what Dial.run() raises, within `timeout_s`."""
    return Dial(address, authkey, time.monotonic() + timeout_s).run()


class Dialling:
    """A Dial on a daemon thread of its own, so that nobody waits for it who has better to do.

    `outcome` becomes (socket, answer to the hello), or what was raised; `on_end()` is called then.
    """

    def __init__(
        self,
        dial: Dial,
        hello: Callable[[], tuple[str, tuple[Any, ...]]] | None,
        on_end: Callable[[], None],
        name: str,
    ) -> None:
        """Raises ConnectionLostError when no thread can be started."""
        self.deadline = dial.deadline
        self.outcome: tuple[socket.socket, Any] | BaseException | None = None
        self._dial, self._hello, self._on_end = dial, hello, on_end
        self._lock = threading.Lock()
        self._unwanted = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            raise ConnectionLostError(f"cannot connect: {error}") from None

    def _run(self) -> None:
        sock = None
        try:
            sock = self._dial.run()
            answer = None if self._hello is None else self._dial.greet(sock, *self._hello())
            outcome: tuple[socket.socket, Any] | BaseException = (sock, answer)
        except BaseException as error:
            outcome = without_frames(error) if isinstance(error, RpcError) else error
            if sock is not None:
                sock.close()
        with self._lock:
            self.outcome = outcome
            if self._unwanted and isinstance(outcome, tuple):
                outcome[0].close()
        self._on_end()

    @property
    def is_slow(self) -> bool:
        """Did somebody take the connection, who was then not quick enough?"""
        return self._dial.was_connected and (
            self.outcome is None or isinstance(self.outcome, CallTimeoutError)
        )

    def join(self) -> None:
        """There is an outcome: wait for the thread, which has nothing more to do, to be gone."""
        self._thread.join(0.1)

    def give_up(self) -> None:
        """The outcome is of no use any more. Waits a moment for the thread to end."""
        with self._lock:
            self._unwanted = True
            if isinstance(self.outcome, tuple):
                self.outcome[0].close()
        self._dial.cancel()
        if self._thread is not threading.current_thread():
            self._thread.join(0.1)
