"""A TCP proxy on each directed link between two peers.

    proxy = Proxy(seed=1)
    host, port = proxy.add_link((1, 2), address_of_2)     # what node 1 is told to be node 2's address
    proxy.start()
    proxy.set([(1, 2)], hold=True)                         # nothing passes, nobody is told
    proxy.heal()
    proxy.close()

A link is named (dialer, listener). Two peers have two links, since each of them dials the other; Raft messages of node 1 to
node 2 travel on (1, 2) only. Each link has two ways: OUT, from the dialer, and BACK.

What is forwarded are the frames of multiprocessing.connection, each as soon as it is complete: so the proxy knows
where the middle of one is. While a way is held, what was sent stays in the sockets, and arrives late when the way is
released, as with a cable that is plugged in again; not even the end of a connection is passed on before that.

One thread runs everything. The public methods are thread-safe; when they return, what they ask for is in force.
"""

from __future__ import annotations

import random
import selectors
import socket
import struct
import threading
import time
from collections import deque
from typing import Any, Callable, Deque, Dict, Iterable, List, Optional, Sequence, Set, Tuple

Key = Tuple[int, int]
Address = Tuple[str, int]

HOST = "127.0.0.1"
OUT, BACK = "out", "back"
BOTH = (OUT, BACK)
MAX_BUFFERED = 1 << 20  # bytes a connection and way; then the sender is made to wait
OPENING_FRAMES = (
    8  # of each way: the challenges and the hello, which are not lost, since that would only cost time
)
SLICE_S = 0.02  # a throttled way sends that often


class Way:
    """The faults of one way of a link."""

    def __init__(self) -> None:
        self.heal()

    def heal(self) -> None:
        self.hold = False
        self.delay_s = 0.0
        self.jitter_s = 0.0  # up to this is added to the delay of each frame; their order stays
        self.loss = 0.0  # the probability that a frame is lost
        self.cut = (
            0.0  # the probability that a frame is the last of its connection, and only half of it arrives
        )
        self.bytes_per_s: Optional[float] = None


class Link:
    """A directed link: where it listens, where it leads, and what is wrong with it."""

    def __init__(self, target: Address) -> None:
        self.target = target
        self.ways: Dict[str, Way] = {OUT: Way(), BACK: Way()}
        self.refuse = False
        self.connections: Set[_Connection] = set()
        self.listener = socket.create_server((HOST, 0))
        self.listener.setblocking(False)

    @property
    def address(self) -> Address:
        return self.listener.getsockname()


class FrameCutter:
    """Cuts a stream into the frames that multiprocessing.connection writes, header included."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, data: bytes) -> List[bytes]:
        """The frames that are complete now."""
        data, at, frames = self.rest + data, 0, []
        while True:
            size = self._frame_size(data, at)
            if size is None or at + size > len(data):
                break
            frames.append(data[at : at + size])
            at += size
        self.rest = data[at:]
        return frames

    @staticmethod
    def _frame_size(data: bytes, at: int) -> Optional[int]:
        if len(data) - at < 4:
            return None
        (size,) = struct.unpack_from("!i", data, at)
        if size != -1:
            return 4 + size
        return 12 + struct.unpack_from("!Q", data, at + 4)[0] if len(data) - at >= 12 else None


class _Pipe:
    """One way of one connection: what was read from `source` and is not yet written to `target`."""

    def __init__(
        self, proxy: "Proxy", connection: "_Connection", way: Way, source: "_End", target: "_End"
    ) -> None:
        self.way, self.source, self.target = way, source, target
        self._proxy, self._connection = proxy, connection
        self._queue: Deque[Tuple[float, bytes]] = deque()  # (when it is due, bytes)
        self._cutter = FrameCutter()
        self._frames = 0
        self._buffered = 0
        self._next_slice = 0.0
        self.blocked = False  # the target takes nothing at the moment
        self.ended = False  # nothing more comes from the source
        self.cut_next = False  # end the connection in the middle of the next frame
        source.inbound, target.outbound = self, self

    @property
    def wants_data(self) -> bool:
        return not (self.ended or self.way.hold) and self._buffered < MAX_BUFFERED

    def read(self, now: float) -> None:
        try:
            data = self.source.sock.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # a reset is passed on as an end
        if data:
            for frame in self._cutter.feed(data):
                if not self.ended:
                    self._take(frame, now)
        else:
            self._put(self._cutter.rest, now)
            self.ended = True
        self.pump(now)

    def _take(self, frame: bytes, now: float) -> None:
        self._frames += 1
        self._proxy.frames += 1
        way, chance = self.way, self._proxy.rng.random
        if self.cut_next or (way.cut and chance() < way.cut):
            self._put(frame[: max(1, len(frame) // 2)], now)
            self.ended = True
            self._proxy.cut_frames += 1
        elif way.loss and self._frames > OPENING_FRAMES and chance() < way.loss:
            self._proxy.lost_frames += 1
        else:
            self._put(frame, now)

    def _put(self, data: bytes, now: float) -> None:
        due = now + self.way.delay_s + self.way.jitter_s * self._proxy.rng.random()
        if self._queue:
            due = max(due, self._queue[-1][0])
        self._queue.append((due, data))
        self._buffered += len(data)

    def pump(self, now: float) -> None:
        """Write what is due and what the target takes; close the connection after the last byte."""
        self.blocked = False
        while self._queue and not self.way.hold and not self.blocked and now >= self.due_at:
            due, data = self._queue.popleft()
            sent = self._send(data, now)
            self._buffered -= sent
            if sent < len(data):
                self._queue.appendleft((due, data[sent:]))
        if self._queue or not self.ended or self.way.hold:
            self._proxy.note(self)
            self.source.watch()
            self.target.watch()
        else:
            self._connection.close()

    def _send(self, data: bytes, now: float) -> int:
        speed = self.way.bytes_per_s
        if speed is not None:
            data = data[: max(1, int(speed * SLICE_S))]
            self._next_slice = now + len(data) / speed
        try:
            return self.target.sock.send(data)
        except BlockingIOError:
            self.blocked = True
            return 0
        except OSError:
            self._queue.clear()
            self.ended = True
            return len(data)

    @property
    def due_at(self) -> float:
        """When the next bytes may leave."""
        due = self._queue[0][0] if self._queue else float("inf")
        return due if self.way.bytes_per_s is None else max(due, self._next_slice)

    @property
    def waits_for_time(self) -> bool:
        return bool(self._queue) and not self.blocked and not self.way.hold


class _End:
    """One socket of a connection, and what the selector watches of it."""

    inbound: _Pipe  # reads from it
    outbound: _Pipe  # writes to it

    def __init__(self, selector: selectors.BaseSelector, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock, self._selector, self._mask = sock, selector, 0

    def watch(self) -> None:
        mask = selectors.EVENT_READ if self.inbound.wants_data else 0
        mask |= selectors.EVENT_WRITE if self.outbound.blocked and not self.outbound.way.hold else 0
        if mask == self._mask:
            return
        if not self._mask:
            self._selector.register(self.sock, mask, self)
        elif mask:
            self._selector.modify(self.sock, mask, self)
        else:
            self._selector.unregister(self.sock)
        self._mask = mask

    def close(self) -> None:
        if self._mask:
            self._selector.unregister(self.sock)
            self._mask = 0
        self.sock.close()


class _Connection:
    """A dialer's connection and the one that continues it, with a pipe for each way."""

    def __init__(self, proxy: "Proxy", link: Link, dialer: socket.socket) -> None:
        self._proxy, self._link = proxy, link
        onward = socket.socket()
        onward.setblocking(False)
        onward.connect_ex(link.target)  # a failure shows when it is read
        ends = [_End(proxy.selector, sock) for sock in (dialer, onward)]
        self.open = True
        self.pipes = {
            OUT: _Pipe(proxy, self, link.ways[OUT], ends[0], ends[1]),
            BACK: _Pipe(proxy, self, link.ways[BACK], ends[1], ends[0]),
        }
        link.connections.add(self)
        for end in ends:
            end.watch()

    def close(self) -> None:
        if self.open:
            self.open = False
            self._link.connections.discard(self)
            for pipe in self.pipes.values():
                self._proxy.forget(pipe)
                pipe.source.close()


class Proxy:
    """All links of a cluster. `frames`, `lost_frames` and `cut_frames` count what passed, and what did not."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = random.Random(seed)
        self.selector = selectors.DefaultSelector()
        self.links: Dict[Key, Link] = {}
        self.frames = self.lost_frames = self.cut_frames = 0
        self._waiting: Set[_Pipe] = set()  # those that will have something to do later
        self._orders: Deque[Callable[[], None]] = deque()
        self._bell, self._bell_out = socket.socketpair()
        self._bell.setblocking(False)
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self.selector.register(self._bell, selectors.EVENT_READ, None)

    def add_link(self, key: Key, target: Address) -> Address:
        """Before start(). Returns the address at which `key`'s dialer finds its listener."""
        link = self.links[key] = Link(target)
        self.selector.register(link.listener, selectors.EVENT_READ, link)
        return link.address

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End all connections and the thread."""
        self._closing = True
        if self._thread.is_alive():
            self._bell_out.send(b"!")
            self._thread.join()
        for link in self.links.values():
            self._drop(link)
            link.listener.close()
        self.selector.close()
        self._bell.close()
        self._bell_out.close()

    # -- faults ------------------------------------------------------------------------------------------------

    def set(self, keys: Iterable[Key], ways: Sequence[str] = BOTH, **faults: Any) -> None:
        """Give the attributes of Way the values `faults`, on these ways of these links."""
        links = [self.links[key] for key in keys]

        def order() -> None:
            for link in links:
                for way in ways:
                    for name, value in faults.items():
                        assert hasattr(link.ways[way], name), f"a way of a link has no {name}"
                        setattr(link.ways[way], name, value)
                self._stir(link)

        self._do(order)

    def refuse(self, keys: Iterable[Key]) -> None:
        """End all connections of these links, and all new ones."""
        links = [self.links[key] for key in keys]

        def order() -> None:
            for link in links:
                link.refuse = True
                self._drop(link)

        self._do(order)

    def cut_mid_frame(self, keys: Iterable[Key], way: str = OUT) -> None:
        """End each connection of these links when it has forwarded half of the next frame of that way."""
        links = [self.links[key] for key in keys]

        def order() -> None:
            for link in links:
                for connection in link.connections:
                    connection.pipes[way].cut_next = True

        self._do(order)

    def heal(self, keys: Optional[Iterable[Key]] = None) -> None:
        """Nothing is wrong any more with these links (default: with all)."""
        links = [self.links[key] for key in (self.links if keys is None else keys)]

        def order() -> None:
            for link in links:
                link.refuse = False
                for way in link.ways.values():
                    way.heal()
                self._stir(link)

        self._do(order)

    def _do(self, order: Callable[[], None]) -> None:
        """Have the proxy's thread carry out `order`, and wait until it has."""
        assert self._thread.is_alive(), "the proxy does not run"
        done = threading.Event()
        self._orders.append(lambda: (order(), done.set()))  # type: ignore[func-returns-value]
        self._bell_out.send(b"!")
        while not done.wait(1.0):
            assert self._thread.is_alive(), "the proxy's thread has died"

    # -- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing:
            for selected, events in self.selector.select(self._timeout_s()):
                now = time.monotonic()
                if type(selected.data) is _End:
                    self._serve(selected.data, events, now)
                elif type(selected.data) is Link:
                    self._accept(selected.data)
                else:
                    self._bell.recv(4096)
            while self._orders:
                self._orders.popleft()()
            now = time.monotonic()
            for pipe in [pipe for pipe in self._waiting if pipe.due_at <= now]:
                if pipe in self._waiting:  # else its connection was closed just now
                    pipe.pump(now)

    def _timeout_s(self) -> Optional[float]:
        if not self._waiting:
            return None
        return max(0.0, min(pipe.due_at for pipe in self._waiting) - time.monotonic())

    def note(self, pipe: _Pipe) -> None:
        """Remember to pump `pipe` when its next bytes are due, if there are any."""
        (self._waiting.add if pipe.waits_for_time else self._waiting.discard)(pipe)

    def forget(self, pipe: _Pipe) -> None:
        """`pipe` is closed."""
        self._waiting.discard(pipe)

    @staticmethod
    def _serve(end: _End, events: int, now: float) -> None:
        if events & selectors.EVENT_WRITE and end.sock.fileno() >= 0:
            end.outbound.pump(now)
        if events & selectors.EVENT_READ and end.sock.fileno() >= 0 and end.inbound.wants_data:
            end.inbound.read(now)

    def _accept(self, link: Link) -> None:
        try:
            dialer, _ = link.listener.accept()
        except OSError:
            return  # it has given up already
        if link.refuse:
            dialer.close()
        else:
            _Connection(self, link, dialer)

    @staticmethod
    def _stir(link: Link) -> None:
        """The faults of `link` have changed."""
        now = time.monotonic()
        for connection in list(link.connections):
            for pipe in connection.pipes.values():
                if connection.open:
                    pipe.pump(now)

    @staticmethod
    def _drop(link: Link) -> None:
        for connection in list(link.connections):
            connection.close()
