"""Keeper: the thread of a ClientEnd. It has connections made, reads them, sends what the socket did not take at
once, and watches deadlines and the server's pulse."""

from __future__ import annotations

import dataclasses
import logging
import selectors
import socket
import threading
import time
from typing import Any, Callable

from raftkv import forks
from raftkv.errors import AuthenticationError, RpcError
from raftkv.rpc.calls import lost
from raftkv.rpc.connector import Connector
from raftkv.rpc.dial import check_reply
from raftkv.rpc.exchange import Exchange
from raftkv.rpc.handshake import reason_of
from raftkv.rpc.link import Link
from raftkv.rpc.reading import Reading
from raftkv.rpc.waker import Waker
from raftkv.rpc.wire import loads

logger = logging.getLogger("raftkv.rpc")

_FOREVER = float("inf")
_RETRY_S = 0.5  # after too many open files

Events = list[tuple[selectors.SelectorKey, int]]


@dataclasses.dataclass(frozen=True)
class Hooks:
    """What ClientEnd's user wants to be called with; see there."""

    on_hello: Callable[[Any], None] | None
    on_up: Callable[[], None] | None
    on_down: Callable[[str], None] | None
    on_failure: Callable[[RpcError], None] | None
    on_fatal: Callable[[BaseException], None] | None


class Keeper:
    """start(), join() and abandon() are for any thread, at any moment; all else runs on its own thread. `adopt` makes a
    Link of a socket. It does not know its ClientEnd, which can so be dropped."""

    def __init__(
        self,
        name: str,
        exchange: Exchange,
        connector: Connector,
        adopt: Callable[[socket.socket], Link],
        keep_connected: bool,
        hooks: Hooks,
    ) -> None:
        self._name = name
        self._exchange = exchange
        self._connector = connector
        self._adopt = adopt
        self._keep_connected = keep_connected
        self._hooks = hooks
        self._generation = forks.generation
        self._threads: list[threading.Thread] = []  # that were started; one of them becomes the keeper
        self._abandoned = False
        self.gave_up = 0  # how many threads have ended for want of open files
        self._waker: Waker | None = None
        self._selector: selectors.BaseSelector | None = None
        self._watched = 0  # the events of the connection that the selector watches
        self._reading: Reading | None = (
            None  # the connection, until it has been looked after for the last time
        )

    def start(self) -> None:
        """Raises ConnectionLostError when no thread can be started."""
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise lost(f"cannot connect to {self._exchange.where}: {error}", sent=False) from None
        self._threads = [*(each for each in self._threads if each.is_alive()), thread]

    def join(self, timeout_s: float) -> None:
        """After close() of the exchange: waits for the thread to end, but not in that thread."""
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout_s)

    def abandon(self) -> None:
        """Nobody makes calls any more: close when those that are under way are over."""
        self._abandoned = True
        self._exchange.wake()

    # -- its life --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        made = self._make_selector()
        if made is None:
            return
        waker, selector = made
        forks.close_in_child(waker, selector)
        selector.register(waker.socket, selectors.EVENT_READ, waker)
        if self._exchange.claim(waker):
            self._waker, self._selector = waker, selector
            try:
                self._turn_until_closed(selector)
            except BaseException as error:
                if self._generation == forks.generation:
                    self._died(error)
        selector.close()
        waker.close()

    def _make_selector(self) -> tuple[Waker, selectors.BaseSelector] | None:
        while True:
            try:
                return Waker(), selectors.DefaultSelector()
            except OSError as error:
                self.gave_up += 1
                self._fail_all(f"cannot connect to {self._exchange.where}: {reason_of(error)}")
            if self._exchange.closed or self._abandoned or not self._keep_connected:
                return None  # the next call starts another thread
            time.sleep(_RETRY_S)

    def _fail_all(self, message: str) -> None:
        self._exchange.fail_all(lambda call: lost(message, sent=call.sent))

    def _turn_until_closed(self, selector: selectors.BaseSelector) -> None:
        events: Events = []
        exchange = self._exchange
        while self._generation == forks.generation:
            readable = self._look_at(events)
            if exchange.closed or (self._abandoned and not exchange.is_busy()):
                self._end()
                return
            sleep_s = self._turn(readable)
            events = selector.select(sleep_s)

    def _look_at(self, events: Events) -> bool:
        """Whether the connection is readable."""
        readable = False
        for key, mask in events:
            if key.data is not None:
                key.data.clear()
            elif mask & selectors.EVENT_READ:
                readable = True
        return readable

    def _turn(self, readable: bool) -> float | None:
        """What there is to do, and how long to sleep then, in seconds; None: until something comes."""
        exchange, now = self._exchange, time.monotonic()
        exchange.begin_turn()
        exchange.expire(now, self._connector.trouble)
        if self._reading is None:
            self._seek_connection(now)
        if self._reading is not None:
            self._tend(self._reading, readable, now)
        reading, connect_at = self._reading, _FOREVER
        if reading is None and self._wants_connection():
            connect_at = self._connector.next_at
        now = time.monotonic()
        watched, wakes_at = exchange.plan_sleep(reading, now, connect_at)
        if reading is not None and watched != self._watched:
            self._watch(reading.link, watched)
        return None if wakes_at == _FOREVER else max(0.0, wakes_at - now)

    def _end(self) -> None:
        """After close(), or when there will be no more calls."""
        exchange = self._exchange
        exchange.closed = True
        if self._reading is not None:
            exchange.lose(self._reading.link, "this end was closed")
            self._bury(self._reading)
        self._connector.give_up()
        self._fail_all(f"the connection to {exchange.where} was closed")

    def _died(self, error: BaseException) -> None:
        self._exchange.closed = True
        if self._hooks.on_fatal is not None:
            self._hooks.on_fatal(error)
        else:
            logger.critical("%s: this thread died", self._name, exc_info=error)
        self._end()

    # -- without a connection --------------------------------------------------------------------------------

    def _wants_connection(self) -> bool:
        return self._keep_connected or self._exchange.is_busy() or self._connector.is_busy()

    def _seek_connection(self, now: float) -> None:
        if not self._wants_connection():
            return
        try:
            made = self._connector.attempt(now)
            link = None if made is None else self._greet(*made)
        except RpcError as error:
            self._failed_to_connect(error)
            return
        if link is not None:
            self._exchange.expire(time.monotonic(), self._connector.trouble)
            self._connector.worked()
            self._reading = Reading(link)
            self._exchange.install(self._reading)
            if self._hooks.on_up is not None:
                self._hooks.on_up()

    def _greet(self, sock: socket.socket, answer: Any) -> Link:
        """The connection that was made. Raises RpcError if it is refused."""
        link = self._adopt(sock)
        try:
            if self._hooks.on_hello is not None:
                self._hooks.on_hello(answer)
        except BaseException:
            link.close()
            raise
        return link

    def _failed_to_connect(self, error: RpcError) -> None:
        """All calls that waited for it fail, too: they may have better to do than wait."""
        message = str(error)
        if isinstance(error, AuthenticationError):
            self._exchange.fail_all(lambda call: AuthenticationError(message))
        else:
            self._fail_all(message)
        logger.debug("%s: %s", self._name, message)
        if self._hooks.on_failure is not None:
            self._hooks.on_failure(error)
        self._connector.failed(message)

    # -- with a connection -----------------------------------------------------------------------------------

    def _tend(self, reading: Reading, readable: bool, now: float) -> None:
        """Reads and pings; and lets go of a connection that is lost."""
        link = reading.link
        try:
            if readable and reading.is_keepers(now):
                self._read(link)
        except RpcError as error:
            self._exchange.lose(link, str(error))
        self._exchange.ping_if_silent(reading, now)
        if link.broken is not None:
            self._exchange.lose(link, link.broken)
        if link.lost is not None:
            self._bury(reading)
        else:
            reading.settle()

    def _read(self, link: Link) -> None:
        data = link.receive(0.0)
        if data is not None:
            self._exchange.deliver([check_reply(loads(payload)) for payload in link.frames.feed(data)])

    def _bury(self, reading: Reading) -> None:
        """The connection is lost, and the keeper lets go of it."""
        link = reading.link
        self._watch(link, 0)
        reading.end()
        self._reading = None
        self._connector.lost(time.monotonic() - link.since, blameless=link.interrupted)
        logger.debug("%s: %s", self._name, link.lost)
        if self._hooks.on_down is not None and not self._exchange.closed:
            self._hooks.on_down(str(link.lost))

    def _watch(self, link: Link, events: int) -> None:
        """Has the selector watch the connection for `events`, 0 for none."""
        selector = self._selector
        if events == self._watched or selector is None:
            return
        if not self._watched:
            selector.register(link.sock, events)
        elif not events:
            selector.unregister(link.sock)
        else:
            selector.modify(link.sock, events)
        self._watched = events
