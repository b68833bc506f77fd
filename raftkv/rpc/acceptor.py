"""Accepting connections: the standard Listener, and many handshakes at a time that nobody waits for.

A thread accepts and does nothing else; each handshake runs in a short-lived thread of its own, with a
deadline. Those that have not yet proved that they hold the key are bounded in number. When they are too
many, the one that has been silent longest makes room, if it had a fair chance to answer; else the next ones
wait in the kernel's queue for a moment. So a burst of a thousand honest clients gets in, and a thousand
silent ones keep nobody out.
"""

from __future__ import annotations

import errno
import socket
import threading
import time
from multiprocessing.connection import Listener, wait
from typing import Callable, NamedTuple

from raftkv.errors import ConfigError, RpcError
from raftkv.rpc import handshake
from raftkv.rpc.complaints import Complaints

_BACKLOG = 512  # the kernel's queue; Listener's own default of 1 makes a burst of clients wait a second each
_FAIR_CHANCE_S = 0.25  # how long a silent connection may occupy a place that another one is waiting for
_RETRY_S = 0.1  # after a failure to accept (out of descriptors, most likely)
_FULL = "there are as many connections as are allowed (max_connections)"


class Admission(NamedTuple):
    """What a listener asks of those who want to connect."""

    authkey: bytes
    max_connections: int
    max_unauthenticated: int
    handshake_timeout_s: float


class _Stranger:
    """A connection that has not yet finished its handshake."""

    def __init__(self, sock: socket.socket, peer: str) -> None:
        self.sock = sock
        self.peer = peer
        self.since = 0.0  # time.monotonic() when its handshake began
        self.has_proved = False
        self.evicted = False

    @property
    def is_silent(self) -> bool:
        """Whether it owes an answer. (Nothing of it waits to be read: we may be the slow ones.)"""
        return not self.has_proved and not wait([self.sock], 0)


class Acceptor:
    """Owns a Listener and its threads, and hands every authenticated socket to `on_accepted(sock, peer)`.

    `start_thread(body, name)` starts a thread that reports its death. Whoever takes a socket calls
    forget_one() when it closes it, for the count of connections.
    """

    def __init__(
        self,
        name: str,
        address: tuple[str, int],
        admission: Admission,
        start_thread: Callable[[Callable[[], None], str], threading.Thread],
        on_accepted: Callable[[socket.socket, str], None],
    ) -> None:
        """Binds and listens; raises ConfigError when that cannot be done."""
        self._name = name
        self._admission = admission
        self._start_thread = start_thread
        self._on_accepted = on_accepted
        try:
            self._listener = Listener((address[0], address[1]), backlog=_BACKLOG)
        except OSError as error:
            raise _cannot_listen(address, error) from None
        self.address: tuple[str, int] = self._listener.address
        self.complaints = Complaints(f"{name} {self.address[0]}:{self.address[1]}")
        self._thread: threading.Thread | None = None
        self._handshakes: list[threading.Thread] = []  # those that are alive, and perhaps some that are not
        self._lock = threading.Lock()
        # Wakes the accept thread: a stranger is done, or closing.
        self._changed = threading.Condition(self._lock)
        self._strangers: dict[_Stranger, None] = {}  # oldest first
        self._connections = 0  # authenticated ones
        self._closing = False

    def start(self) -> None:
        self._thread = self._start_thread(self._accept, f"{self._name}-accept")

    def forget_one(self) -> None:
        """An authenticated connection was closed. Thread-safe."""
        with self._lock:
            self._connections -= 1

    def close(self) -> None:
        """Stops accepting, ends all handshakes, joins all threads."""
        with self._lock:
            self._closing = True
            self._changed.notify_all()
            for stranger in self._strangers:
                _shut_down(stranger.sock)
        while self._thread is not None and self._thread.is_alive():
            self._interrupt_accept()
            self._thread.join(_RETRY_S)
        self._listener.close()
        for thread in self._handshakes:
            thread.join()

    # -- inside ----------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        """The body of the accept thread."""
        while True:
            try:
                with self._listener.accept() as connection:
                    sock = socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM)
            except OSError as error:
                if self._closing:
                    return
                self.complaints.say("a new connection", f"cannot accept it: {handshake.reason_of(error)}")
                with self._lock:
                    self._changed.wait(_RETRY_S)
                continue
            self._admit(sock)
            if self._closing:
                return

    def _admit(self, sock: socket.socket) -> None:
        """Starts the handshake of a new connection, as soon as there is a place for it."""
        try:
            host, port = sock.getpeername()[:2]
        except OSError:
            sock.close()  # it was reset before we came to look at it
            return
        stranger = _Stranger(sock, f"{host}:{port}")
        with self._lock:
            full = self._is_full()
            if not full:
                self._wait_for_place()
            if full or self._closing:
                sock.close()
            else:
                stranger.since = time.monotonic()
                thread = self._start_thread(lambda: self._shake_hands(stranger), f"{self._name}-handshake")
                self._handshakes = [*filter(threading.Thread.is_alive, self._handshakes), thread]
                self._strangers[stranger] = None
        if full:
            self.complaints.say(stranger.peer, _FULL)

    def _is_full(self) -> bool:
        return self._connections >= self._admission.max_connections

    def _shake_hands(self, stranger: _Stranger) -> None:
        """The body of a handshake's thread."""

        def on_proved() -> None:
            stranger.has_proved = True

        deadline = stranger.since + self._admission.handshake_timeout_s
        reason: str | None = None
        try:
            handshake.prove_as_server(stranger.sock, self._admission.authkey, deadline, "it", on_proved)
        except RpcError as error:
            reason = "it was silent while others waited" if stranger.evicted else str(error)
        with self._lock:
            del self._strangers[stranger]
            closing = self._closing
            if reason is None and self._is_full():
                reason = _FULL
            accepted = reason is None and not closing
            if accepted:
                self._connections += 1
            else:
                stranger.sock.close()
            self._changed.notify_all()
        if accepted:
            self._on_accepted(stranger.sock, stranger.peer)
        elif reason is not None and not closing:
            self.complaints.say(stranger.peer, reason)

    def _wait_for_place(self) -> None:
        """Waits, with the lock held, until fewer than max_unauthenticated handshakes are going on."""
        while len(self._strangers) >= self._admission.max_unauthenticated and not self._closing:
            now = time.monotonic()
            wait_s = _FAIR_CHANCE_S
            for stranger in self._strangers:
                if stranger.evicted:
                    break  # it is on its way out
                wait_s = stranger.since + _FAIR_CHANCE_S - now
                if wait_s > 0:
                    break  # and all after it are younger
                if stranger.is_silent:
                    stranger.evicted = True
                    _shut_down(stranger.sock)
                    break
                wait_s = _FAIR_CHANCE_S
            self._changed.wait(max(wait_s, 0.01))

    def _interrupt_accept(self) -> None:
        """Makes accept() return: closing the listener under it would not, on Linux; a connection does."""
        host = "127.0.0.1" if self.address[0] == "0.0.0.0" else self.address[0]
        try:
            socket.create_connection((host, self.address[1]), timeout=_RETRY_S).close()
        except OSError:
            pass  # the queue is full, then accept() returns anyway; or the thread has just ended


def _shut_down(sock: socket.socket) -> None:
    """Wakes the thread that waits on `sock`, which then closes it."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # the other side was faster


def _cannot_listen(address: tuple[str, int], error: OSError) -> ConfigError:
    where = f"{address[0]}:{address[1]}"
    if error.errno == errno.EADDRINUSE:
        return ConfigError(
            f"cannot listen on {where}: the port is in use; stop what uses it, or choose another"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return ConfigError(f"cannot listen on {where}: that is not an address of this machine")
    return ConfigError(f"cannot listen on {where}: {handshake.reason_of(error)}")
