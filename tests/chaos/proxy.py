"""A TCP proxy on each directed link between two peers.

    proxy = Proxy(seed=1)
    host, port = proxy.add_link((1, 2), address_of_2)     # what node 1 is told to be node 2's address
    proxy.start()
    proxy.set([(1, 2)], hold=True)                         # nothing passes, nobody is told
    proxy.heal()
    proxy.close()

A link is named (dialer, listener). Two peers have two links, since each of them dials the other; Raft
messages of node 1 to node 2 travel on (1, 2) only. Each link has two ways: OUT, from the dialer, and BACK.

What is forwarded are whole frames (pipe.py). While a way is held, what was sent stays in the sockets, and
arrives late when the way is released, as with a cable that is plugged in again; not even the end of a
connection is passed on before that.

One thread runs everything. The public methods are thread-safe; when they return, what they ask for is in
force.
"""

from __future__ import annotations

import random
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Callable

from tests.chaos.pipe import BACK, OUT, Address, Connection, End, Pipe, Way

Key = tuple[int, int]

HOST = "127.0.0.1"
BOTH = (OUT, BACK)


class Link:
    """A directed link: where it listens, where it leads, and what is wrong with it."""

    def __init__(self, target: Address) -> None:
        self.target = target
        self.ways: dict[str, Way] = {OUT: Way(), BACK: Way()}
        self.refuse = False
        self.connections: set[Connection] = set()
        self.listener = socket.create_server((HOST, 0))
        self.listener.setblocking(False)

    @property
    def address(self) -> Address:
        return self.listener.getsockname()


class Proxy:
    """All links of a cluster. `frames`, `lost_frames` and `cut_frames` count what was read, lost and cut."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = random.Random(seed)
        self.selector: selectors.BaseSelector = selectors.DefaultSelector()
        self.links: dict[Key, Link] = {}
        self.frames = self.lost_frames = self.cut_frames = 0
        self._waiting: set[Pipe] = set()  # those that will have something to do later
        self._orders: deque[Callable[[], None]] = deque()
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

    # -- faults ----------------------------------------------------------------------------------------------

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

    def heal(self, keys: Iterable[Key] | None = None) -> None:
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
        self._orders.append(order)
        self._orders.append(done.set)
        self._bell_out.send(b"!")
        while not done.wait(1.0):
            assert self._thread.is_alive(), "the proxy's thread has died"

    # -- the thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing:
            for selected, events in self.selector.select(self._timeout_s()):
                now = time.monotonic()
                if type(selected.data) is End:
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

    def _timeout_s(self) -> float | None:
        if not self._waiting:
            return None
        return max(0.0, min(pipe.due_at for pipe in self._waiting) - time.monotonic())

    def note(self, pipe: Pipe) -> None:
        """Remember to pump `pipe` when its next bytes are due, if there are any."""
        (self._waiting.add if pipe.waits_for_time else self._waiting.discard)(pipe)

    def forget(self, pipe: Pipe) -> None:
        """`pipe` is closed."""
        self._waiting.discard(pipe)

    @staticmethod
    def _serve(end: End, events: int, now: float) -> None:
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
            Connection(self, link.ways, link.connections, dialer, link.target)

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
