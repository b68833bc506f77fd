"""HttpServer: one thread that reads and writes all connections.

A connection costs a few kilobytes and no thread, so that thousands may be idle, or slow, beside the others. Handlers must not
wait: who has something to wait for does it elsewhere, and comes back by call_soon().
"""

from __future__ import annotations

import errno
import logging
import selectors
import socket
import time
from collections import Counter, deque
from typing import Callable

from raftkv.errors import ConfigError
from raftkv.http.web.connection import Connection
from raftkv.http.web.exchange import App
from raftkv.http.web.limits import SWEEP_S
from raftkv.ini import Address
from raftkv.rpc.waker import Waker

log = logging.getLogger("raftkv.http")

_BACKLOG = 1024
_ACCEPTS = 100  # in a turn, so that those who are connected are served


class HttpServer:
    """Serves `app`. `answers`: how many had which status. call_soon() and stop() may be called by any thread, all else by the one that calls run().

    Raises ConfigError if it cannot listen at `address`.
    """

    def __init__(self, address: Address, app: App, max_connections: int) -> None:
        self.app = app
        self.bodies = self.unsent = 0
        self.answers: Counter[int] = Counter()
        self._max_connections = max_connections
        self._calls: deque[Callable[[], None]] = deque()
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._is_woken = False
        self._is_stopping = False
        self._connections: dict[Connection, int] = {}  # and which events each waits for
        self._sweep_at = 0.0
        self._selector = selectors.DefaultSelector()
        self._waker = Waker()
        self._listener = _listen(address)
        self.address = Address(*self._listener.getsockname()[:2])
        self._selector.register(self._waker.socket, selectors.EVENT_READ, self._waker)
        self._selector.register(self._listener, selectors.EVENT_READ, self._listener)
        self._is_accepting = True

    def __len__(self) -> int:
        """How many connections there are."""
        return len(self._connections)

    def call_soon(self, call: Callable[[], None]) -> None:
        """Have it called on the thread of the server."""
        self._calls.append(call)
        if not self._is_woken:
            self._is_woken = True
            self._waker.wake()

    def defer(self, call: Callable[[], None]) -> None:
        """Have it called at the end of this turn, when all has been read that has come. Only on the thread of the server."""
        self._calls.append(call)

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        """Have it called after so long, or up to SWEEP_S later. Only on the thread of the server."""
        self._later.append((time.monotonic() + seconds, call))

    def stop(self) -> None:
        """run() returns soon, and closes everything. May be called twice, and in a signal handler."""
        self._is_stopping = True
        self._waker.wake()

    def run(self) -> None:
        """Serve until stop()."""
        try:
            while not self._is_stopping:
                self._turn()
        finally:
            for connection in list(self._connections):
                connection.close()
            self._selector.close()
            self._listener.close()
            self._waker.close()

    def _turn(self) -> None:
        for key, mask in self._selector.select(0 if self._calls else SWEEP_S):
            target = key.data
            if type(target) is Connection:
                if mask & selectors.EVENT_WRITE and not target.is_closed:
                    target.writable()
                if mask & selectors.EVENT_READ and not target.is_closed:
                    target.readable()
            elif target is self._listener:
                self._accept()
            else:
                self._waker.clear()
        self._is_woken = False
        for _ in range(len(self._calls)):
            self._call(self._calls.popleft())
        now = time.monotonic()
        if now >= self._sweep_at:
            self._sweep(now)

    @staticmethod
    def _call(call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:
            log.exception("a bug in the front")

    # -- connections -----------------------------------------------------------------------------------------

    def watch(self, connection: Connection, reads: bool, writes: bool) -> None:
        """See Owner."""
        events = selectors.EVENT_READ * reads | selectors.EVENT_WRITE * writes
        before = self._connections.get(connection)
        if before is None or before == events:
            return
        self._connections[connection] = events
        if not before:
            self._selector.register(connection.sock, events, connection)
        elif not events:
            self._selector.unregister(connection.sock)
        else:
            self._selector.modify(connection.sock, events, connection)

    def forget(self, connection: Connection) -> None:
        """See Owner."""
        if self._connections.pop(connection, 0):
            self._selector.unregister(connection.sock)

    def _accept(self) -> None:
        for _ in range(_ACCEPTS):
            if len(self._connections) >= self._max_connections and not self._make_room():
                self._pause_accepting(f"{len(self._connections)} connections are all busy")
                return
            try:
                sock, _address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._pause_accepting(str(error.strerror))
                return
            self._add(sock)

    def _add(self, sock: socket.socket) -> None:
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            connection = Connection(self, sock)
        except OSError:
            sock.close()
            return
        self._connections[connection] = 0
        self.watch(connection, True, False)

    def _make_room(self) -> bool:
        """Close the connections that have been idle for longest: one in a hundred of all."""
        idle = [connection for connection in self._connections if connection.is_idle]
        idle.sort(key=lambda connection: connection.since)
        for connection in idle[: max(1, self._max_connections // 100)]:
            connection.close()
        return bool(idle)

    def _pause_accepting(self, why: str) -> None:
        log.warning("no more HTTP connections for a moment: %s", why)
        self._selector.unregister(self._listener)
        self._is_accepting = False

    def _sweep(self, now: float) -> None:
        self._sweep_at = now + SWEEP_S
        if not self._is_accepting:
            self._selector.register(self._listener, selectors.EVENT_READ, self._listener)
            self._is_accepting = True
        due = [call for at, call in self._later if at <= now]
        self._later = [each for each in self._later if each[0] > now]
        self._calls.extend(due)
        for connection in [each for each in self._connections if each.is_overdue(now)]:
            connection.expire()


def _listen(address: Address) -> socket.socket:
    try:
        listener = socket.create_server(tuple(address), backlog=_BACKLOG)
        listener.setblocking(False)
        return listener
    except OverflowError:
        raise ConfigError(f"[http] listen: there is no port {address.port}") from None
    except OSError as error:
        raise ConfigError(f"[http] listen: cannot listen on {address}: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    """In words of our own where there is something to do: those of create_server() name the address again."""
    if error.errno == errno.EADDRINUSE:
        return "the port is in use; stop what uses it, or choose another"
    if error.errno == errno.EADDRNOTAVAIL:
        return "that is not an address of this machine; 0.0.0.0 is all of them"
    return error.strerror or str(error)
