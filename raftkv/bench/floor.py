"""What no database on this machine can beat: an fsync, a round trip, and frames that are only sent back."""

from __future__ import annotations

import contextlib
import os
import pickle
import selectors
import socket
import statistics
import subprocess
from collections.abc import Iterator
from time import perf_counter
from typing import NamedTuple

from raftkv.bench.echo import CHUNK, frame, whole_frames
from raftkv.cli.interpreter import python_command

CONNECTIONS, IN_FLIGHT = 8, 64  # of the echo: as put64 has them
_FSYNCS = 300
_ROUND_TRIPS = 2000
_ECHO_S = 0.3  # each: some ten thousand frames
_REQUEST = frame(pickle.dumps((1234, "put", (17, 99, 98, "bench/000000", "x" * 16)), 5))


class Floor(NamedTuple):
    """Medians in microseconds, and echoed frames a second."""

    fsync_us: float
    round_trip_us: float
    echo_per_s: float
    durable_echo_per_s: float

    def put_us(self, nodes: int) -> float:
        """One client's put: a round trip to the leader, one from it to a follower, one fsync there."""
        return self.fsync_us + self.get_us(nodes)

    def get_us(self, nodes: int) -> float:
        """One client's get: a round trip to the leader, and one from it to a follower, if there is any."""
        return self.round_trip_us * (2 if nodes > 1 else 1)


def measure(folder: str) -> Floor:
    """Measure this machine, and the disk that holds `folder`. Takes about a second."""
    with _echo_server() as port:
        round_trip_us = _round_trip_us(port)
        echo_per_s = _echo_per_s(port)
    with _echo_server(os.path.join(folder, "echo")) as port:
        durable_echo_per_s = _echo_per_s(port)
    return Floor(_fsync_us(folder), round_trip_us, echo_per_s, durable_echo_per_s)


def _fsync_us(folder: str) -> float:
    samples = []
    with open(os.path.join(folder, "fsync"), "wb", buffering=0) as file:
        for _ in range(_FSYNCS):
            start = perf_counter()
            file.write(b"x" * 100)
            os.fsync(file.fileno())
            samples.append(perf_counter() - start)
    return statistics.median(samples) * 1e6


def _round_trip_us(port: int) -> float:
    samples = []
    with _connected(port) as sock:
        for _ in range(_ROUND_TRIPS):
            start = perf_counter()
            sock.sendall(_REQUEST)
            left = len(_REQUEST)
            while left:
                left -= len(sock.recv(left))
            samples.append(perf_counter() - start)
    return statistics.median(samples) * 1e6


def _echo_per_s(port: int) -> float:
    """IN_FLIGHT frames on CONNECTIONS connections: for each that comes back, another one is sent."""
    count = 0
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for _ in range(CONNECTIONS):
            sock = stack.enter_context(_connected(port))
            selector.register(sock, selectors.EVENT_READ, [b""])
            sock.sendall(_REQUEST * (IN_FLIGHT // CONNECTIONS))
        start = perf_counter()
        while perf_counter() - start < _ECHO_S:
            for key, _ in selector.select():
                sock, rest = key.fileobj, key.data  # type: ignore[assignment]
                data = rest[0] + sock.recv(CHUNK)
                frames, size = whole_frames(data)
                rest[0] = data[size:]
                count += frames
                sock.sendall(_REQUEST * frames)
        return count / (perf_counter() - start)


@contextlib.contextmanager
def _echo_server(file: str | None = None) -> Iterator[int]:
    """Its port."""
    command = python_command("raftkv.bench.echo", *([file] if file else []))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


def _connected(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock
