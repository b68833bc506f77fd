"""ClientEnd: calls to one server, many at a time, over a connection that mends itself.

Its own thread, the keeper, reads the connection, sends what the socket did not take at once, watches deadlines
and the server's pulse, and has new connections made (dial.py). A caller who is alone can be lent the connection
(lane.py).

The keeper does not keep its ClientEnd alive: between two turns it holds a weak reference only, unless calls
are under way.
"""

from __future__ import annotations

import functools
import itertools
import logging
import selectors
import socket
import sys
import threading
import time
import warnings
import weakref
from collections import deque
from concurrent.futures import Future
from multiprocessing.connection import Connection
from typing import Any, Callable

from raftkv import forks
from raftkv.errors import AuthenticationError, ClosedError, RpcError
from raftkv.rpc.calls import BlockingCall, Call, CallTable, FutureCall, lost, timed_out
from raftkv.rpc.connector import Connector
from raftkv.rpc.dial import check_reply, connect
from raftkv.rpc.handshake import reason_of
from raftkv.rpc.lane import PATIENCE_S, Lane, Reply
from raftkv.rpc.link import Link
from raftkv.rpc.waker import Waker
from raftkv.rpc.wire import dumps, frame, loads

logger = logging.getLogger("raftkv.rpc")

_FOREVER = float("inf")
_IDLE_S = 0.1  # after so long without a call on a lent connection, the keeper watches it again
_GRACE_S = 0.15  # between a deadline and the moment when its call must have ended
_RETRY_S = 0.5  # after too many open files
_CLOSE_S = 1.0  # close() waits so long for the keeper, which may be in somebody's callback

Events = list[tuple[selectors.SelectorKey, int]]


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

    `on_hello(result)`, `on_up()`, `on_down(reason)` and `on_failure(error)` (of each attempt to connect that
    failed) are called on the end's own thread, named `name`, `hello()` on the one that connects; they must not
    block nor wait for calls on this end. Should one of these threads die of a bug, that is logged, or
    `on_fatal(exception)` is called if it is given, and the end is closed.

    One that is dropped without close() is closed, with a ResourceWarning, when its calls are over. In a forked
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
        self._max_frame_bytes, self._max_buffered_bytes = max_frame_bytes, max_buffered_bytes
        self._ping_times_s = (ping_interval_s, ping_timeout_s, max(ping_interval_s, idle_ping_interval_s))
        self._on_hello = on_hello if hello is not None else None
        self._on_up, self._on_down = on_up, on_down
        self._on_failure, self._on_fatal = on_failure, on_fatal
        self._keep_connected = keep_connected
        self._closed = False
        ref, dial_name = weakref.ref(self), f"{self._name}-dial"
        self._new_connector = functools.partial(
            Connector, address, authkey, hello, functools.partial(_wake, ref), connect_timeout_s, dial_name
        )
        self._begin_anew()
        forks.register(self)

    def _begin_anew(self) -> None:
        self._generation = forks.generation
        self._ids = itertools.count(1)
        self._connector = self._new_connector()
        # Left by those who must not wait for a lock (see post()), for the keeper: new calls, and replies that a
        # Lane's holder has read.
        self._posted: deque[tuple[Call, int]] = deque()
        self._passed_on: deque[Reply] = deque()
        self._lock = threading.Lock()  # guards what follows, but for what is the keeper's
        self._keeper: threading.Thread | None = None
        self._waker: Waker | None = None  # while there is a keeper
        self._calls = CallTable()
        self._link: Link | None = None  # None: not connected
        self._lane: Lane | None = None  # on `_link`, while that is lent
        self._awake = False  # the keeper is; it will send the backlog before it sleeps again
        self._wakes_at = 0.0  # when the keeper will wake by itself
        # The keeper's own:
        self._selector: selectors.BaseSelector | None = None
        self._watched = 0  # the events of the connection that the selector watches
        self._tended: Link | None = None  # what it looks after: `_link`, or that one when it was just lost

    # -- for callers -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread and, with `keep_connected`, connect: now, rather than at the first use.

        Raises ClosedError, or ConnectionLostError when no thread can be started.
        """
        self._check_open()
        if self._keeper is None:
            thread = threading.Thread(target=_keep, args=(weakref.ref(self),), name=self._name, daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                raise lost(f"cannot connect to {self._where}: {error}", sent=False) from None

    def connect_now(self) -> None:
        """The server is known to be there: do not wait any longer before the next attempt to connect."""
        self._connector.retry_now()
        self._wake()

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
        request_id = next(self._ids)
        call.frame = frame(dumps((request_id, method, args)))
        self._check_open()
        self.start()
        self._posted.append((call, request_id))
        if self._keeper is None:
            self.start()
        self._wake()
        while self._closed and self._posted:  # the keeper may have looked for the last time
            self._posted.popleft()[0].fail(lost(f"the connection to {self._where} was closed", sent=False))

    def begin(self, call: Call, method: str, args: tuple[Any, ...]) -> None:
        """As post(), and the request leaves in the calling thread, if it can. For threads that no signal
        handler interrupts. Raises ConnectionLostError, too, when too much waits to be sent."""
        request_id = next(self._ids)
        call.frame = frame(dumps((request_id, method, args)))
        link = self._link
        if link is not None and link.broken is not None:  # the keeper is about to notice it
            self._lose(link, link.broken)
        with self._lock:
            self._begin(call, request_id)

    def notify(self, frames: bytes) -> bool:
        """Send whole frames of one-way requests, (None, method, args), in order. Never waits. For threads that
        no signal handler interrupts.

        Returns False, and drops them, when there is no connection or too much is waiting for it already.
        """
        with self._lock:
            link = self._link
            if link is None or len(link.backlog) + len(frames) > self._max_buffered_bytes:
                return False
            self._transmit(link, frames)
            return True

    def lend(self, slot: list[Lane], context: Any) -> Lane | None:
        """Puts a Lane into `slot` if nothing is under way. Only on this end's own thread, from resolve()."""
        with self._lock:
            link = self._link
            if (
                link is None or self._lane is not None or self._closed or threading.current_thread() is not self._keeper
                or self._calls or self._posted or link.backlog or link.frames.inside_frame
            ):  # fmt: skip
                return None
            lane = self._lane = Lane(link, self._ids, slot, self._pass_on, context)
        slot.append(lane)
        return lane

    def close(self) -> None:
        """Fail all calls with ConnectionLostError, close the connection, end the thread. May be called
        twice."""
        self._closed = True
        self._wake()
        keeper = self._keeper
        if keeper is not None and keeper is not threading.current_thread():
            keeper.join(_CLOSE_S)

    def __del__(self) -> None:
        if getattr(self, "_keeper", None) is None or self._closed or self._generation != forks.generation:
            return
        self._closed = True
        self._connector.give_up()
        self._wake()  # the thread finds that we are gone
        if not sys.is_finalizing():
            warnings.warn(f"unclosed connection to {self._where}", ResourceWarning)

    def after_fork_in_child(self) -> None:
        """See forks.py. What was under way does not exist here."""
        for each in (self._selector, self._waker, self._tended or self._link):
            if each is not None:
                each.close()
        self._connector.close_in_child()
        self._begin_anew()

    # -- inside ----------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"the connection to {self._where} was closed")

    def _wake(self) -> None:
        waker = self._waker
        if waker is not None:
            waker.wake()

    def _pass_on(self, replies: list[Reply]) -> None:
        """A Lane's holder has read `replies` to others, or gives the Lane back."""
        self._passed_on.extend(replies)
        self._wake()

    def _begin(self, call: Call, request_id: int) -> None:
        """Sends a request, or else the keeper will, when there is a connection. With the lock held."""
        self._check_open()
        link = self._link
        waiting = self._calls.waiting_bytes if link is None else len(link.backlog)
        if waiting + len(call.frame) > self._max_buffered_bytes:
            raise lost(f"{waiting} bytes of requests to {self._where} are waiting already", sent=False)
        self.start()
        self._calls.add(request_id, call)
        if link is None:
            self._calls.waiting_bytes += len(call.frame)
            self._wake()
            return
        call.sent = True
        if self._awake and self._lane is None:
            link.backlog += call.frame
        else:
            self._transmit(link, call.frame)
            if call.deadline < self._wakes_at or link.next_pulse_at < self._wakes_at:
                self._wake()
        call.frame = b""  # thousands may be under way, and large

    def _transmit(self, link: Link, data: bytes) -> None:
        """With the lock held."""
        if self._lane is not None and not self._lane.closed:
            self._lane.close()
            self._wake()
        link.transmit(data)
        if link.backlog or link.broken is not None:
            self._wake()

    def _lose(self, link: Link, reason: str) -> None:
        """Gives a connection up, and fails all calls: all were sent on it."""
        with self._lock:
            if link.lost is not None:
                return
            link.lost = reason
            link.shut_down()
            self._link = None
            calls = self._calls.take_all()
        for call in calls:
            call.fail(lost(f"lost {self._where} before it answered: {reason}", sent=True))

    def _fail_all(self, error: Callable[[Call], RpcError]) -> None:
        with self._lock:
            calls = self._calls.take_all()
        while self._posted:
            calls.append(self._posted.popleft()[0])
        for call in calls:
            call.fail(error(call))

    # -- the keeper ------------------------------------------------------------------------------------------

    def _claim(self, selector: selectors.BaseSelector, waker: Waker) -> bool:
        """The calling thread becomes the keeper, if there is none."""
        with self._lock:
            if self._keeper is not None:
                return False
            self._keeper = threading.current_thread()
            self._selector, self._waker = selector, waker
            return True

    def _turn(self, events: Events) -> float | None:
        """What there is to do, and how long to sleep then, in seconds. None: the end was closed."""
        self._awake = True
        readable = False
        for key, mask in events:
            if key.data is self._waker and self._waker is not None:
                self._waker.clear()
            else:
                readable = readable or bool(mask & selectors.EVENT_READ)
        if self._closed:
            self._end()
            return None
        self._begin_posted()
        now = time.monotonic()
        self._expire(now)
        if self._tended is None:
            self._seek_connection(now)
        if self._tended is not None:
            self._tend(self._tended, readable, now)
        return self._prepare_sleep(time.monotonic())

    def _prepare_sleep(self, now: float) -> float:
        """Plans what wakes the keeper; says how long it may sleep, in seconds."""
        watched, link = 0, self._tended
        with self._lock:
            if link is not None:
                link.flush()
                if link.broken is not None or link.lost is not None:
                    return 0.0
                watched |= selectors.EVENT_WRITE if link.backlog else 0
                watched |= selectors.EVENT_READ if self._is_to_read(link, now) else 0
                self._watch(link, watched)
            if self._posted or self._passed_on or self._closed:
                return 0.0
            self._wakes_at = self._next_duty_at(now)
            self._awake = False
            return max(0.0, self._wakes_at - now)

    def _begin_posted(self) -> None:
        while self._posted:
            call, request_id = self._posted.popleft()
            try:
                with self._lock:
                    self._begin(call, request_id)
            except RpcError as error:
                call.fail(error)
            except ClosedError as error:
                call.fail(lost(str(error), sent=False))

    def _expire(self, now: float) -> None:
        if now >= self._calls.next_expiry:
            with self._lock:
                calls = self._calls.take_expired(now)
            trouble = self._connector.trouble
            for call in calls:
                if trouble is not None and not call.sent:
                    call.fail(lost(trouble, sent=False))
                else:
                    call.fail(timed_out(f"no answer from {self._where} in time", sent=call.sent))

    def _next_duty_at(self, now: float) -> float:
        """When the keeper must wake by itself. With the lock held."""
        duty_at = self._calls.next_expiry
        link, lane = self._tended, self._lane
        if link is None:
            return min(duty_at, self._connector.next_at) if self._wants_connection() else duty_at
        pulse_at = link.next_pulse_at
        if pulse_at <= now and not self._calls:  # silence, and nobody waits for a word
            pulse_at = link.next_idle_pulse_at
        if lane is not None and not self._watched & selectors.EVENT_READ:
            pulse_at = min(pulse_at, lane.closed_at + PATIENCE_S if lane.closed else now + _IDLE_S)
        return min(duty_at, pulse_at)

    def is_busy(self) -> bool:
        """Whether calls are under way."""
        return bool(self._calls or self._posted)

    def _cannot_run(self, reason: str) -> bool:
        """There are too many open files for a keeper. Returns whether to do without."""
        message = f"cannot connect to {self._where}: {reason}"
        self._fail_all(lambda call: lost(message, sent=False))
        return self._closed or not self._keep_connected

    def _end(self) -> None:
        """After close()."""
        if self._tended is not None:
            self._lose(self._tended, "this end was closed")
            self._bury(self._tended)
        self._connector.give_up()
        where = self._where
        self._fail_all(lambda call: lost(f"the connection to {where} was closed", sent=call.sent))

    def _died(self, error: BaseException) -> None:
        self._closed = True
        if self._on_fatal is not None:
            self._on_fatal(error)
        else:
            logger.critical("%s: this thread died", self._name, exc_info=error)
        self._end()

    # -- the keeper, without a connection --------------------------------------------------------------------

    def _wants_connection(self) -> bool:
        return self._keep_connected or bool(self._calls) or self._connector.is_busy()

    def _seek_connection(self, now: float) -> None:
        if not self._wants_connection():
            return
        try:
            made = self._connector.attempt(now)
            link = None if made is None else self._adopt(*made)
        except RpcError as error:
            self._failed_to_connect(error)
            return
        if link is not None:
            self._expire(time.monotonic())
            self._install(link)

    def _adopt(self, sock: socket.socket, answer: Any) -> Link:
        """The connection that was made. Raises RpcError if it is refused."""
        link = Link(sock, self._max_frame_bytes, *self._ping_times_s)
        try:
            if self._on_hello is not None:
                self._on_hello(answer)
        except BaseException:
            link.close()
            raise
        return link

    def _failed_to_connect(self, error: RpcError) -> None:
        """All calls that waited for it fail, too: they may have better to do than wait."""
        message = str(error)
        if isinstance(error, AuthenticationError):
            self._fail_all(lambda call: AuthenticationError(message))
        else:
            self._fail_all(lambda call: lost(message, sent=False))
        logger.debug("%s: %s", self._name, message)
        if self._on_failure is not None:
            self._on_failure(error)
        self._connector.failed(message)

    def _install(self, link: Link) -> None:
        """A new connection: sends the requests that have been waiting for it."""
        self._connector.worked()
        with self._lock:
            self._link = self._tended = link
            self._calls.waiting_bytes = 0
            for call in self._calls:
                call.sent = True
                link.transmit(call.frame)
                call.frame = b""
        if self._on_up is not None:
            self._on_up()

    # -- the keeper, with a connection -----------------------------------------------------------------------

    def _tend(self, link: Link, readable: bool, now: float) -> None:
        """Reads and pings; and lets go of a connection that is lost."""
        while self._passed_on:
            self._deliver([self._passed_on.popleft()])
        if readable and self._may_read(link, now):
            self._read(link)
        if link.needs_ping(now, bool(self._calls)):
            with self._lock:
                self._transmit(link, frame(dumps((next(self._ids), "ping", ()))))
        if link.is_dead(now):
            self._lose(link, "nothing was heard of it any more")
        if link.broken is not None:
            self._lose(link, link.broken)
        if link.lost is not None:
            self._bury(link)
        elif self._lane is not None and self._lane.returned:
            self._lane = None

    def _is_to_read(self, link: Link, now: float) -> bool:
        """Whether the keeper is to look what comes: not while somebody uses the connection's Lane."""
        lane = self._lane
        if lane is None:
            return True
        if lane.closed:
            return lane.returned or now >= lane.closed_at + PATIENCE_S
        return lane.is_idle() and now - link.heard_at >= _IDLE_S

    def _may_read(self, link: Link, now: float) -> bool:
        """Something has come: whether it is for the keeper."""
        lane = self._lane
        if lane is None or lane.returned or (not lane.closed and lane.take_home()):
            self._lane = None
            return True
        if lane.closed and now >= lane.closed_at + PATIENCE_S:
            self._lose(link, "the thread that was to read it went away")
        return False

    def _read(self, link: Link) -> None:
        try:
            data = link.receive(0.0)
            if data is not None:
                self._deliver([check_reply(loads(payload)) for payload in link.frames.feed(data)])
        except RpcError as error:
            self._lose(link, str(error))

    def _deliver(self, replies: list[Reply]) -> None:
        with self._lock:
            calls = [self._calls.take(request_id) for request_id, _, _ in replies]
        for call, (_, ok, result) in zip(calls, replies):
            if call is not None:  # else its caller waits no longer, or it is the answer to a ping
                call.resolve(ok, result)

    def _bury(self, link: Link) -> None:
        """The connection is lost, and the keeper lets go of it."""
        self._watch(link, 0)
        lane = self._lane
        if lane is None or lane.take_home() or lane.returned:
            link.close()  # else its last reader does, by letting go
        self._tended = None
        self._lane = None
        self._connector.lost(time.monotonic() - link.since, blameless=link.interrupted)
        logger.debug("%s: %s", self._name, link.lost)
        if self._on_down is not None and not self._closed:
            self._on_down(str(link.lost))

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


def _wake(ref: weakref.ref[ClientEnd]) -> None:
    end = ref()
    if end is not None:
        end._wake()


def _keep(ref: weakref.ref[ClientEnd]) -> None:
    """The body of a keeper."""
    while True:
        end = ref()
        if end is None:
            return
        try:
            waker, selector = Waker(), selectors.DefaultSelector()
            break
        except OSError as error:
            if end._cannot_run(reason_of(error)):
                return
        del end
        time.sleep(_RETRY_S)
    selector.register(waker.socket, selectors.EVENT_READ, waker)
    if end._claim(selector, waker):
        del end
        _turn_until_closed(ref, selector)
    selector.close()
    waker.close()


def _turn_until_closed(ref: weakref.ref[ClientEnd], selector: selectors.BaseSelector) -> None:
    timeout_s = 0.0
    end: ClientEnd | None = None  # held over the sleep while it is busy
    while True:
        events = selector.select(None if timeout_s == _FOREVER else timeout_s)
        end = ref()
        if end is None:
            return
        try:
            sleep_s = end._turn(events)
        except BaseException as error:
            end._died(error)
            return
        if sleep_s is None:
            return
        timeout_s = sleep_s
        if not end.is_busy():
            end = None
