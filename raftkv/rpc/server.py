"""RpcServer: one thread reads and answers all connections of any number of listeners.

A turn of its loop reads what every ready connection has sent, and then gives each listener's handler all of
its requests as one batch: the handler can make one log entry batch, one fsync, one write a client of what a
thread a connection would make a thousand of. A batch is bounded in bytes, so that a turn never takes long;
connections that were left out of it come first in the next one.

Threads, by name: `<name>` and `<name>-spare`, one of which runs the loop, and `<name>-accept` (all listeners
and all handshakes). When a handler is held up by the disk, relieve() has the spare one run the loop; the other
one is the spare from then on, as soon as it can.
"""

from __future__ import annotations

import collections
import logging
import os
import selectors
import socket
import threading
import time
from typing import Callable

from raftkv import forks
from raftkv.errors import TOO_MANY_CONNECTIONS, ProtocolError
from raftkv.rpc.acceptor import Acceptor
from raftkv.rpc.channel import AT_ONCE_BYTES, Reply, send_replies
from raftkv.rpc.door import Admission, Door
from raftkv.rpc.handler import Handler, Occupancy, Request
from raftkv.rpc.port import Connection, Port
from raftkv.rpc.relay import Relay
from raftkv.rpc.waker import Waker
from raftkv.rpc.wire import loads
from raftkv.threads import start_thread

logger = logging.getLogger("raftkv.rpc")

_STALLED_S = 30.0  # a frame that takes longer to come in, or a reply not taken so long, closes the connection
UNASKED = 0  # the id of a reply to no request: a sign of life
# Beyond, no more is read for a listener in a turn; it is some 10 ms of the smallest operations.
_BATCH_BYTES = 1 << 17
_SWEEP_INTERVAL_S = 1.0
_CLOSE_S = 0.2  # close() waits so long for a handler before it leaves it alone
_REFUSED_S = 2.0  # how long a connection that is one too many is answered
MOST_REFUSED = 4  # such connections at a time, a listener


def die(error: BaseException) -> None:
    """The default `on_fatal`: a server without one of its threads must not look alive."""
    logger.critical("the process ends: one of its threads died", exc_info=error)
    logging.shutdown()
    os._exit(70)


class RpcServer:
    """Serves any number of listeners. listen(), start() and close() are for one thread; see Channel for the
    rest.

    `on_fatal(exception)` is called on the thread that cannot go on.
    """

    def __init__(self, name: str = "rpc", on_fatal: Callable[[BaseException], None] = die) -> None:
        self._name = name
        self._on_fatal = on_fatal
        self._ports: list[Port] = []
        self._channels: set[Connection] = set()
        self._selector = selectors.DefaultSelector()
        self._waker = Waker()
        forks.close_in_child(self._selector, self._waker)
        self._selector.register(self._waker.socket, selectors.EVENT_READ, None)
        # New, closing, or with a new backlog.
        self._attention: collections.deque[Connection] = collections.deque()
        self._acceptor = Acceptor(name, self._start_thread)
        self._relay = Relay(self._run)
        self._left_out: list[Connection] = []  # of the last turn: they have sent something that was not read
        self._closed = False

    def listen(
        self,
        address: tuple[str, int],
        authkey: bytes,
        handler: Handler,
        *,
        max_frame_bytes: int,
        max_connections: int,
        max_unauthenticated: int,
        handshake_timeout_s: float,
        always: frozenset[str] = frozenset(),
        full: str | None = None,
    ) -> tuple[str, int]:
        """Listen on `address` (port 0: any free one) for clients that hold `authkey`; their requests go to
        `handler`, see Handler. Returns the bound address. Connections are accepted from start() on.

        Who comes when there are `max_connections` is answered TOO_MANY_CONNECTIONS with the sentence `full`,
        and closed a little later; but the methods in `always` are served.

        Raises ConfigError when it cannot listen there.
        """

        def on_admitted(sock: socket.socket, peer: str, refusal: str | None) -> None:
            self._attend(Connection(port, sock, peer, refusal, self._attend))

        full = full or f"there are as many connections as are allowed (max_connections = {max_connections})"
        admission = Admission(authkey, max_connections, max_unauthenticated, handshake_timeout_s, full)
        port = Port(handler, max_frame_bytes, always)
        port.door = Door(self._name, address, admission, on_admitted)
        self._ports.append(port)
        self._acceptor.add(port.door)
        return port.door.address

    def occupancy(self, address: tuple[str, int]) -> Occupancy:
        """Of the listener that is bound to `address`. Thread-safe."""
        (door,) = [port.door for port in self._ports if port.door.address == tuple(address)]
        return Occupancy(
            door.connections, door.admission.max_connections, door.refused, door.complaints.current()
        )

    def start(self) -> None:
        """Raises ResourceError when the system allows no more threads."""
        self._relay.start(self._start_thread, self._name)
        self._acceptor.start()

    def relieve(self, thread: int) -> None:
        """If the thread with this identity (threading.get_ident()) runs the loop, and is in a handler, another
        one runs the loop from now on. Thread-safe. For who knows that the handler is done with its batch and
        only waits."""
        self._relay.relieve(thread)

    def close(self) -> None:
        """Close all listeners and connections and join all threads, but for those that a handler holds up for
        longer than _CLOSE_S. May be called twice; not on the loop thread."""
        if self._closed:
            return
        self._closed = True
        self._acceptor.close()
        self._relay.close(self._waker.wake, _CLOSE_S)
        self._tear_down()

    def _attend(self, channel: Connection) -> None:
        """Have the loop look after `channel`. Thread-safe."""
        self._attention.append(channel)
        self._waker.wake()

    # -- threads ---------------------------------------------------------------------------------------------

    def _start_thread(self, body: Callable[[], None], name: str) -> threading.Thread:
        return start_thread(body, name, self._on_fatal)

    # -- the loop --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        """Until the server is closed, or this thread is relieved."""
        next_sweep = time.monotonic() + _SWEEP_INTERVAL_S
        while not self._relay.closing and self._turn(time.monotonic()):
            now = time.monotonic()
            if now >= next_sweep:
                self._sweep(now)
                next_sweep = now + _SWEEP_INTERVAL_S

    def _turn(self, now: float) -> bool:
        """False: this thread was relieved."""
        pings: list[Reply] = []
        writable: list[Connection] = []
        ready = self._selector.select(_SWEEP_INTERVAL_S)
        if self._left_out:
            self._left_out = []
            ready.sort(key=_heard_at)
        for key, events in ready:
            channel = key.data
            if channel is None:
                self._waker.clear()
            elif events & selectors.EVENT_READ:
                if channel.port.batch_bytes < _BATCH_BYTES:
                    self._receive(channel, pings, now)
                else:
                    self._left_out.append(channel)
            else:
                writable.append(channel)
        if writable:
            self._flush(writable)
        if pings:
            send_replies(pings)
        relay = self._relay
        for port in self._ports:
            port.batch_bytes = 0
            if port.batch:
                batch, port.batch = port.batch, []
                inside = relay.enter()
                port.handler.on_requests(batch)
                if not relay.leave(inside):
                    return False  # and touches nothing more
        while self._attention:
            self._look_after(self._attention.popleft())
        return True

    def _flush(self, channels: list[Connection]) -> None:
        """Send what waits for `channels`, which take more; what is too much for a turn waits for the next."""
        room = AT_ONCE_BYTES
        for channel in sorted(channels, key=lambda each: each.flushed_at):
            if room > 0:
                room -= channel.flush()
                self._attention.append(channel)

    def _receive(self, channel: Connection, pings: list[Reply], now: float) -> None:
        """Reads some of what has come (so much that no other has to wait long), and adds the requests in it
        to the turn's batch."""
        try:
            data = channel.sock.recv(channel.frames.read_bytes)
        except BlockingIOError:
            return
        except OSError:  # reset by the other side
            data = b""
        if not data:
            channel.close()
            return
        channel.heard_at = now
        requests = channel.port.batch if channel.refusal is None else []
        append = requests.append
        try:
            payloads = channel.frames.feed(data)
            for payload in payloads:
                channel.port.batch_bytes += len(payload)
                request = loads(payload)
                if type(request) is not tuple or len(request) != 3:
                    raise ProtocolError("a request that is not (id, method, args)")
                request_id, method, args = request
                if type(method) is not str or type(args) is not tuple:
                    raise ProtocolError("a request whose method is no string, or whose args are no tuple")
                if type(request_id) is not int and request_id is not None:
                    raise ProtocolError("a request whose id is neither an integer nor None")
                if method == "ping" and request_id is not None:
                    pings.append((channel, request_id, True, "pong"))
                else:
                    append((channel, request_id, method, args))
        except ProtocolError as error:
            channel.close(f"it sent {error}")
            return
        if channel.refusal is not None:
            self._refuse(channel, channel.refusal, requests)
        if not channel.frames.inside_frame:
            channel.frame_since = None
        elif payloads or channel.frame_since is None:
            channel.frame_since = now

    def _refuse(self, channel: Connection, refusal: str, requests: list[Request]) -> None:
        """Answers the requests of a connection that is one too many."""
        port = channel.port
        port.batch += [request for request in requests if request[2] in port.always]
        answer = (TOO_MANY_CONNECTIONS, refusal, None)
        send_replies(
            [(channel, id, False, answer) for _, id, method, _ in requests if method not in port.always]
        )

    def _look_after(self, channel: Connection) -> None:
        """Makes the selector watch what the channel's state asks for: its backlog to leave, else requests
        to come."""
        if channel.closing:
            self._drop(channel)
            return
        events = selectors.EVENT_WRITE if channel.backlog or channel.waiting else selectors.EVENT_READ
        if channel.watched == events:
            return
        if channel.watched:
            self._selector.modify(channel.sock, events, channel)
        else:
            try:
                self._selector.register(channel.sock, events, channel)
            except OSError:  # the system has no memory for one more
                channel.close()
                self._drop(channel)
                return
            self._begin(channel)
        channel.watched = events

    def _begin(self, channel: Connection) -> None:
        """A new one. Of those that are one too many only some are kept at a time."""
        self._channels.add(channel)
        if channel.refusal is not None:
            refused = channel.port.refused
            refused.append(channel)
            if len(refused) > MOST_REFUSED:
                refused[0].close()

    def _drop(self, channel: Connection) -> None:
        if channel.sock.fileno() < 0:
            return  # it had asked for attention twice
        if channel.fault is not None:
            channel.port.door.complaints.say(channel.peer, channel.fault)
        if channel.watched:
            self._selector.unregister(channel.sock)
            self._channels.remove(channel)
        with channel.lock:
            channel.sock.close()
        if channel.refusal is None:
            channel.port.door.forget_one()
        elif channel in channel.port.refused:
            channel.port.refused.remove(channel)
        channel.port.handler.on_close(channel)

    def _sweep(self, now: float) -> None:
        """Ends the channels on which nothing moves, and those that were told that they are too many."""
        for port in self._ports:
            port.door.complaints.tend()
        # They may wait for seconds, and their pings are not read either.
        send_replies([(channel, UNASKED, True, "pong") for channel in self._left_out])
        for channel in self._channels:
            if channel.frame_since is not None and now - channel.frame_since > _STALLED_S:
                channel.close(f"it has been sending one frame for more than {_STALLED_S:g} s")
            elif (channel.backlog or channel.waiting) and now - channel.flushed_at > _STALLED_S:
                channel.close(f"it has taken nothing of its replies for {_STALLED_S:g} s")
            elif channel.refusal is not None and now - channel.since > _REFUSED_S:
                channel.close()

    def _tear_down(self) -> None:
        """Ends what is left, when the loop no longer runs."""
        for channel in [*self._channels, *self._attention]:
            channel.close()
            self._drop(channel)
        self._selector.close()
        self._waker.close()


def _heard_at(ready: tuple[selectors.SelectorKey, int]) -> float:
    """When a connection that is ready was read last."""
    channel: Connection | None = ready[0].data
    return 0.0 if channel is None else channel.heard_at
