"""ClientEnd: calls to one server, many at a time, over a connection that mends itself.

What callers do is in exchange.py, what its thread does in keeper.py. The thread does not know its ClientEnd: one
that is dropped is closed.
"""

from __future__ import annotations

import socket
import sys
import time
import warnings
from concurrent.futures import Future
from multiprocessing.connection import Connection
from typing import Any, Callable

from raftkv import forks
from raftkv.errors import RpcError
from raftkv.rpc.calls import BlockingCall, Call, FutureCall
from raftkv.rpc.connector import Connector
from raftkv.rpc.dial import connect
from raftkv.rpc.exchange import Exchange
from raftkv.rpc.keeper import Hooks, Keeper
from raftkv.rpc.lane import Lane
from raftkv.rpc.link import Link

_GRACE_S = 0.15  # between a deadline and the moment when its call must have ended
_CLOSE_S = 1.0  # close() waits so long for the keeper, which may be in somebody's callback


def try_connect(address: tuple[str, int], authkey: bytes, timeout_s: float) -> Connection:
    """An authenticated `multiprocessing.connection.Connection`, as `Client(address, authkey=authkey)` makes
    it, but within `timeout_s`. Raises ConnectionLostError, CallTimeoutError or AuthenticationError."""
    return Connection(connect(address, authkey, timeout_s).detach())


class ClientEnd:
    """Calls to the server at `address`. All methods are thread-safe.

    Connects at the first use (or at start()), and again when needed: while calls wait, or always when
    `keep_connected`. `hello()` gives the (method, args) of the first request on each connection;
    `on_hello(result)` may raise an RpcError to refuse the server, which counts as a failure to connect.
    The server is pinged after `ping_interval_s` of silence; after `idle_ping_interval_s` while no call is
    under way, since a thousand clients that only stay connected are not to keep it busy. The connection is
    given up when nothing comes for `ping_timeout_s - ping_interval_s` after a ping.

    `on_pong(seconds)` is called with how long the answer to a ping took.
    `on_hello(result)`, `on_up()`, `on_down(reason)` and `on_failure(error)` (of each attempt to connect that
    failed) are called on the end's own thread, named `name`, `hello()` on the one that connects; they must not
    block nor wait for calls on this end. Should one of these threads die of a bug, that is logged, or
    `on_fatal(exception)` is called if it is given, and the end is closed.

    One that is dropped without close() is closed when its calls are over, with a ResourceWarning. In a forked
    child it has no connection, and makes one of its own; the parent's calls do not exist there.
    """

    def __init__(
        self,
        address: tuple[str, int],
        authkey: bytes,
        *,
        name: str | None = None,
        max_frame_bytes: int = 64 << 20,
        max_buffered_bytes: int = 64 << 20,
        hello: Callable[[], tuple[str, tuple[Any, ...]]] | None = None,
        on_hello: Callable[[Any], None] | None = None,
        on_up: Callable[[], None] | None = None,
        on_down: Callable[[str], None] | None = None,
        on_failure: Callable[[RpcError], None] | None = None,
        on_fatal: Callable[[BaseException], None] | None = None,
        on_pong: Callable[[float], None] | None = None,
        keep_connected: bool = False,
        connect_timeout_s: float = 2.0,
        ping_interval_s: float = 1.0,
        ping_timeout_s: float = 3.0,
        idle_ping_interval_s: float = 10.0,
    ) -> None:
        assert ping_interval_s < ping_timeout_s, (
            f"a ping every {ping_interval_s} s, given up after {ping_timeout_s}"
        )
        where = f"{address[0]}:{address[1]}"
        name = name or f"rpc-{where}"
        idle_ping_interval_s = max(ping_interval_s, idle_ping_interval_s)
        hooks = Hooks(on_hello if hello is not None else None, on_up, on_down, on_failure, on_fatal)

        def adopt(sock: socket.socket) -> Link:
            link = Link(sock, max_frame_bytes, ping_interval_s, ping_timeout_s, idle_ping_interval_s)
            link.on_pong = on_pong
            return link

        def begin_anew() -> tuple[Exchange, Connector, Keeper]:
            exchange = Exchange(where, max_buffered_bytes)
            connector = Connector(address, authkey, hello, exchange.wake, connect_timeout_s, f"{name}-dial")
            return exchange, connector, Keeper(name, exchange, connector, adopt, keep_connected, hooks)

        self._begin_anew = begin_anew
        self._exchange, self._connector, self._keeper = begin_anew()
        forks.register(self)

    def after_fork_in_child(self) -> None:
        """See forks.py: what was inherited is closed. What was under way does not exist here."""
        self._exchange, self._connector, self._keeper = self._begin_anew()

    def start(self) -> None:
        """Start the thread and, with `keep_connected`, connect: now, rather than at the first use.

        Raises ClosedError, or ConnectionLostError when no thread can be started.
        """
        self._exchange.check_open()
        if self._exchange.keeper is None:
            self._keeper.start()

    @property
    def is_connected(self) -> bool:
        """It may be over in the next moment."""
        return self._exchange.is_connected

    @property
    def waiting_bytes(self) -> int:
        """Of requests that the socket has not taken yet."""
        return self._exchange.waiting_bytes

    def connect_now(self) -> None:
        """The server is known to be there: do not wait any longer before the next attempt to connect."""
        self._connector.retry_now()
        self._exchange.wake()

    def call(self, method: str, args: tuple[Any, ...], timeout_s: float) -> Any:
        """The result of `method(*args)` on the server.

        Raises RemoteError when the server refuses, ConnectionLostError, CallTimeoutError,
        AuthenticationError, and ClosedError after close(). `sent` of the second and third is False when the
        request certainly never left.
        """
        call = BlockingCall(time.monotonic() + timeout_s)
        self.post(call, method, args)
        result, error = call.wait(timeout_s + _GRACE_S)
        if error is not None:
            raise error
        return result

    def submit(self, method: str, args: tuple[Any, ...], timeout_s: float) -> Future[Any]:
        """Like call(), but without waiting: the Future gets the result, or what call() would raise.

        ClosedError is raised at once, and so is ConnectionLostError when no thread can be started.

        It cannot be cancelled. Its callbacks run on a thread that reads replies, and must not block.
        """
        call = FutureCall(time.monotonic() + timeout_s)
        self.post(call, method, args)
        return call.future

    def post(self, call: Call, method: str, args: tuple[Any, ...]) -> None:
        """What submit() does, for any kind of call. It takes no lock: an exception out of a signal handler may
        end it anywhere, and a destructor or a signal handler may call it."""
        if self._exchange.keeper is None:
            self._begin_first(lambda: self._exchange.post(call, method, args))
        else:
            self._exchange.post(call, method, args)

    def begin(self, call: Call, method: str, args: tuple[Any, ...]) -> None:
        """As post(), and the request leaves in the calling thread, if it can. For threads that no signal
        handler interrupts. Raises ConnectionLostError, too, when too much waits to be sent."""
        if self._exchange.keeper is None:
            self._begin_first(lambda: self._exchange.begin(call, method, args))
        else:
            self._exchange.begin(call, method, args)

    def _begin_first(self, begin: Callable[[], None]) -> None:
        """Begins a call while there may be no thread."""
        gave_up = self._keeper.gave_up
        self.start()
        begin()
        if self._exchange.keeper is None and self._keeper.gave_up != gave_up:
            self.start()  # it had not seen the call when it ended

    def notify(self, frames: bytes) -> bool:
        """Send whole frames of one-way requests, (None, method, args), in order. Never waits. For threads that
        no signal handler interrupts.

        Returns False, and drops them, when there is no connection or too much is waiting for it already.
        """
        return self._exchange.notify(frames)

    def lend(self, slot: list[Lane], context: Any) -> Lane | None:
        """Puts a Lane into `slot` if nothing is under way. Only on this end's own thread, from resolve()."""
        return self._exchange.lend(slot, context)

    def close(self) -> None:
        """Fail all calls with ConnectionLostError, close the connection, end the thread. May be called
        twice."""
        self._exchange.close()
        self._keeper.join(_CLOSE_S)

    def __del__(self) -> None:
        exchange = getattr(self, "_exchange", None)
        if exchange is not None and exchange.keeper is not None and not exchange.closed:
            self._keeper.abandon()
            if not sys.is_finalizing():
                warnings.warn(f"unclosed connection to {exchange.where}", ResourceWarning)
