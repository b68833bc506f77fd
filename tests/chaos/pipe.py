"""One proxied connection: two pipes, each from one socket to the other, with the faults of its way.

What is forwarded are the frames of multiprocessing.connection, each as soon as it is complete: so it is
known where the middle of one is. Everything here belongs to the proxy's thread.
"""

from __future__ import annotations

import random
import selectors
import socket
import struct
from collections import deque
from typing import Protocol

Address = tuple[str, int]

OUT, BACK = "out", "back"
MAX_BUFFERED = 1 << 20  # bytes a connection and way; then the sender is made to wait
OPENING_FRAMES = 8  # of each way: the challenges and the hello, which are not lost: that would only cost time
SLICE_S = 0.02  # a throttled way sends that often


class Conductor(Protocol):
    """What a pipe needs of the proxy."""

    rng: random.Random
    selector: selectors.BaseSelector
    frames: int
    lost_frames: int
    cut_frames: int

    def note(self, pipe: Pipe) -> None:
        """Remember to pump `pipe` when its next bytes are due, if there are any."""

    def forget(self, pipe: Pipe) -> None:
        """`pipe` is closed."""


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
        self.bytes_per_s: float | None = None


class FrameCutter:
    """Cuts a stream into the frames that multiprocessing.connection writes, header included."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, data: bytes) -> list[bytes]:
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
    def _frame_size(data: bytes, at: int) -> int | None:
        if len(data) - at < 4:
            return None
        (size,) = struct.unpack_from("!i", data, at)
        if size != -1:
            return 4 + size
        return 12 + struct.unpack_from("!Q", data, at + 4)[0] if len(data) - at >= 12 else None


class Pipe:
    """One way of one connection: what was read from `source` and is not yet written to `target`."""

    def __init__(self, proxy: Conductor, connection: Connection, way: Way, source: End, target: End) -> None:
        self.way, self.source, self.target = way, source, target
        self._proxy, self._connection = proxy, connection
        self._queue: deque[tuple[float, bytes]] = deque()  # (when it is due, bytes)
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


class End:
    """One socket of a connection, and what the selector watches of it."""

    inbound: Pipe  # reads from it
    outbound: Pipe  # writes to it

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


class Connection:
    """A dialer's connection and the one that continues it, with a pipe for each way."""

    def __init__(
        self,
        proxy: Conductor,
        ways: dict[str, Way],
        siblings: set[Connection],
        dialer: socket.socket,
        target: Address,
    ) -> None:
        """`siblings`: the link's connections, one of which it is while it is open. `ways`: the link's."""
        self._proxy, self._siblings = proxy, siblings
        onward = socket.socket()
        onward.setblocking(False)
        onward.connect_ex(target)  # a failure shows when it is read
        ends = [End(proxy.selector, sock) for sock in (dialer, onward)]
        self.open = True
        self.pipes = {
            OUT: Pipe(proxy, self, ways[OUT], ends[0], ends[1]),
            BACK: Pipe(proxy, self, ways[BACK], ends[1], ends[0]),
        }
        siblings.add(self)
        for end in ends:
            end.watch()

    def close(self) -> None:
        if self.open:
            self.open = False
            self._siblings.discard(self)
            for pipe in self.pipes.values():
                self._proxy.forget(pipe)
                pipe.source.close()
