"""ClientEnd: calls to one server, many at a time, over a connection that mends itself.

Its own thread, the keeper, connects, sends what the socket did not take at once, reads when no caller does,
watches deadlines and the server's pulse. exchange.py has what callers and keeper share, and who does what.
"""

from __future__ import annotations

import itertools
import logging
import random
import selectors
import threading
import time
from concurrent.futures import Future
from multiprocessing.connection import Connection
from typing import Any, Callable

from raftkv.errors import AuthenticationError, ClosedError, RpcError
from raftkv.rpc import handshake
from raftkv.rpc.calls import AsyncCall, BlockingCall, FutureCall, lost, timed_out
from raftkv.rpc.dial import Backoff, Dialer
from raftkv.rpc.exchange import Exchange
from raftkv.rpc.link import Link
from raftkv.rpc.waker import Waker
from raftkv.rpc.wire import dumps, frame

logger = logging.getLogger("raftkv.rpc")

_FOREVER = float("inf")


def try_connect(address: tuple[str, int], authkey: bytes, timeout_s: float) -> Connection:
    """An authenticated `multiprocessing.connection.Connection`, as `Client(address, authkey=authkey)` makes
    it, but within `timeout_s`. Raises ConnectionLostError, CallTimeoutError or AuthenticationError."""
    return Connection(handshake.connect(address, authkey, timeout_s).detach())


class ClientEnd:
    """Calls to the server at `address`. All methods are thread-safe.

    Connects at the first use (or at start()), and again when needed: while calls wait, or always when
    `keep_connected`. `hello()` gives the (method, args) of the first request on each connection;
    `on_hello(result)` may raise an RpcError to refuse the server, which counts as a failure to connect.
    The server is pinged after `ping_interval_s` of silence; after `idle_ping_interval_s` while no call is
    under way, since a thousand clients that only stay connected are not to keep it busy. The connection is
    given up when nothing comes for `ping_timeout_s - ping_interval_s` after a ping.

    `hello()`, `on_hello(result)`, `on_up()`, `on_down(reason)` and `on_failure(error)` (of each attempt to
    connect that failed) are called on the end's own thread, named `name`; they must not block nor wait for
    calls on this end. Should that thread die of a bug, that is logged, or `on_fatal(exception)` is called if
    it is given, and the end is closed.
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
        keep_connected: bool = False,
        connect_timeout_s: float = 2.0,
        ping_interval_s: float = 1.0,
        ping_timeout_s: float = 3.0,
        idle_ping_interval_s: float = 10.0,
    ) -> None:
        assert ping_interval_s < ping_timeout_s, (
            f"a ping every {ping_interval_s} s, given up after {ping_timeout_s}"
        )
        self._where = f"{address[0]}:{address[1]}"
        self._name = name or f"rpc-{self._where}"
        self._max_frame_bytes = max_frame_bytes
        self._ping_times_s = (ping_interval_s, ping_timeout_s, max(ping_interval_s, idle_ping_interval_s))
        self._on_up = on_up
        self._on_down = on_down
        self._on_failure = on_failure
        self._on_fatal = on_fatal
        self._keep_connected = keep_connected
        self._ids = itertools.count(1)
        self._dialer = Dialer(address, authkey, hello, on_hello, connect_timeout_s)
        self._backoff = Backoff(random.Random())
        self._waker = Waker()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._waker.socket, selectors.EVENT_READ)
        self._watched = 0  # the events of the connection that the selector watches
        self._exchange = Exchange(self._where, max_buffered_bytes, self._waker)
        self._keeper: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread and, with `keep_connected`, connect: now, rather than at the first use."""
        with self._exchange.lock:
            if self._exchange.closed:
                raise ClosedError(f"the connection to {self._where} was closed")
            if self._keeper is None:
                self._keeper = threading.Thread(target=self._keep, name=self._name, daemon=True)
                self._keeper.start()

    def connect_now(self) -> None:
        """The server is known to be there: do not wait any longer before the next attempt to connect."""
        self._backoff.forget()
        self._waker.wake()

    def call(self, method: str, args: tuple[Any, ...], timeout_s: float) -> Any:
        """The result of `method(*args)` on the server.

        Raises RemoteError when the server refuses, ConnectionLostError, CallTimeoutError,
        AuthenticationError, and ClosedError after close(). `sent` of the second and third is False when the
        request certainly never left.
        """
        exchange = self._exchange
        request_id = next(self._ids)
        data = frame(dumps((request_id, method, args)))
        call = BlockingCall(time.monotonic() + timeout_s, data)
        if self._keeper is None:
            self.start()
        try:
            exchange.begin_call(request_id, call)
            while call.outcome is None:
                remaining_s = call.deadline - time.monotonic()
                if remaining_s <= 0:
                    break
                if call.reads is not None:
                    exchange.read(call.reads, remaining_s)
                else:
                    exchange.await_turn(call, remaining_s)
        except BaseException as error:
            if call.reads is not None and not isinstance(error, RpcError):
                # Ctrl-C, perhaps between taking bytes off the socket and looking at them.
                exchange.lose(call.reads, "a call was interrupted while it was reading")
            raise
        finally:
            exchange.leave(request_id, call)
        if call.outcome is None:
            # Only now is `sent` final: until it left, the call could still go out on a new connection.
            raise timed_out(f"no answer from {self._where} within {timeout_s:g} s", sent=call.sent)
        return call.result()

    def submit(self, method: str, args: tuple[Any, ...], timeout_s: float) -> Future[Any]:
        """Like call(), but without waiting: the Future gets the result, or what call() would raise.

        ClosedError is raised at once, and so is ConnectionLostError when too much is waiting to be sent.

        It cannot be cancelled. Its callbacks run on a thread that reads replies, and must not block. The
        deadline is kept by the end's own thread, which notices it late while it is connecting
        (`connect_timeout_s`).
        """
        call = FutureCall(time.monotonic() + timeout_s)
        self.begin(call, method, args)
        return call.future

    def begin(self, call: AsyncCall, method: str, args: tuple[Any, ...]) -> None:
        """What submit() does, for a call of another kind than a Future: its resolve() or fail() is called."""
        request_id = next(self._ids)
        call.frame = frame(dumps((request_id, method, args)))
        if self._keeper is None:
            self.start()
        self._exchange.begin_future(request_id, call)

    def notify(self, frames: bytes) -> bool:
        """Send whole frames of one-way requests, (None, method, args), in order. Never waits.

        Returns False, and drops them, when there is no connection or too much is waiting for it already.
        """
        return self._exchange.notify(frames)

    def close(self) -> None:
        """Fail all calls with ConnectionLostError, close the connection, join the thread (which, if it is
        just connecting, takes up to `connect_timeout_s`). May be called twice."""
        with self._exchange.lock:
            self._exchange.closed = True
            link = self._exchange.link
            keeper = self._keeper
        if link is not None:
            self._exchange.lose(link, "this end was closed")
        self._waker.wake()
        if keeper is None:
            self._clean_up()
        elif keeper is not threading.current_thread():
            keeper.join()

    # -- the keeper ------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        """Its body: connect when that is wanted, and look after the connection until it is lost."""
        try:
            while True:
                link = self._connect_when_wanted()
                if link is None:
                    break
                self._look_after(link)
        except BaseException as error:
            if self._on_fatal is not None:
                self._on_fatal(error)
            else:
                logger.critical("%s: this thread died", self._name, exc_info=error)
        finally:
            where = self._where
            self._exchange.fail_all(
                lambda call: lost(f"the connection to {where} was closed", sent=call.sent), close=True
            )
            self._clean_up()

    def _clean_up(self) -> None:
        self._selector.close()
        self._waker.close()

    def _connect_when_wanted(self) -> Link | None:
        """The next connection; None after close()."""
        exchange = self._exchange
        while True:
            now = time.monotonic()
            exchange.expire(now)
            with exchange.lock:
                if exchange.closed:
                    return None
                wanted = self._keep_connected or exchange.calls
                next_try_at = self._backoff.next_at if wanted else _FOREVER
                exchange.wakes_at = min(exchange.calls.next_expiry, next_try_at)
            if now < next_try_at:
                self._sleep()
                continue
            link = self._connect()
            if link is not None:
                return link

    def _connect(self) -> Link | None:
        """One attempt. When it fails, so do all calls that waited for it: they may have better to do than
        wait."""
        try:
            return Link(self._dialer.dial(), self._max_frame_bytes, *self._ping_times_s)
        except RpcError as error:
            failure = error
        message = str(failure)
        if isinstance(failure, AuthenticationError):
            self._exchange.fail_all(lambda call: AuthenticationError(message))
        else:
            self._exchange.fail_all(lambda call: lost(message, sent=False))
        logger.debug("%s: %s", self._name, message)
        if self._on_failure is not None:
            self._on_failure(failure)
        self._backoff.failed()
        return None

    def _look_after(self, link: Link) -> None:
        """From the first moment of a connection to its last."""
        exchange = self._exchange
        exchange.expire(time.monotonic())
        exchange.install(link)
        try:
            if self._on_up is not None:
                self._on_up()
            self._tend(link)
        finally:
            exchange.lose(link, link.broken or "this end was closed")
            self._watch(link, 0)
            exchange.bury(link)
        self._backoff.worked(time.monotonic() - link.since)
        logger.debug("%s: %s", self._name, link.lost)
        if self._on_down is not None:
            self._on_down(str(link.lost))

    def _tend(self, link: Link) -> None:
        """Until the connection is lost: send, read, expire and ping."""
        exchange = self._exchange
        to_caller = False
        while True:
            now = time.monotonic()
            exchange.expire(now)
            if link.needs_ping(now, bool(exchange.calls)):
                exchange.ping(link, frame(dumps((next(self._ids), "ping", ()))))
            if link.is_dead(now):
                exchange.lose(link, "nothing was heard of it any more")
            with exchange.lock:
                link.flush()
                if link.broken is not None or link.lost is not None or exchange.closed:
                    return
                exchange.settle_reading(link, now, to_caller)
                exchange.plan_sleep(link, now)
                events = selectors.EVENT_READ if exchange.keeper_reads else 0
                events |= selectors.EVENT_WRITE if link.backlog else 0
                exchange.awake = False
            self._watch(link, events)
            readable = self._sleep()
            exchange.awake = True
            to_caller = readable and exchange.read(link, 0.0)

    def _watch(self, link: Link, events: int) -> None:
        """Has the selector watch the connection for `events`, 0 for none."""
        if events == self._watched:
            return
        if not self._watched:
            self._selector.register(link.sock, events)
        elif not events:
            self._selector.unregister(link.sock)
        else:
            self._selector.modify(link.sock, events)
        self._watched = events

    def _sleep(self) -> bool:
        """Until `wakes_at`, a wake-up, or events on the connection; says whether that is readable."""
        wakes_at = self._exchange.wakes_at
        timeout_s = None if wakes_at == _FOREVER else max(0.0, wakes_at - time.monotonic())
        readable = False
        for key, events in self._selector.select(timeout_s):
            if key.fileobj is self._waker.socket:
                self._waker.clear()
            elif events & selectors.EVENT_READ:
                readable = True
        return readable
