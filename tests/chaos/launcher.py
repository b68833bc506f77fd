"""A server whose disk, system and network can be made to misbehave: kvserver, with another fsync, start of threads
and connect.

    python -m tests.chaos.launcher SERVER.ini --exit-with-parent

While there is a file SERVER.ini.fsync, it says what an fsync does:

    slow 0.2    takes so many seconds more
    hang        waits until the file says something else, or is gone
    fail        fails (EIO)
    lose        fails, and what was written since the last one is not there any more, as when a kernel drops
                the pages that it could not write

While there is a file SERVER.ini.threads, no thread can be started, as when the system allows no more.

SERVER.ini.routes says, as JSON, through which port of this machine it comes to which: {"port": port}. So each pair of
servers has a proxy of its own, and yet all know a server by one address, which it passes on.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable

from raftkv.cli import server
from raftkv.kvdb import history, history_yield
from raftkv.storage import disk

LOOK_EVERY_S = 0.01


class Fsync:
    """Stands in for `real`. Several threads may call it for different files."""

    def __init__(self, real: Callable[[int], None], orders: str) -> None:
        self._real, self._orders = real, orders
        self._synced: dict[tuple[int, int], int] = {}  # bytes, by device and inode

    def __call__(self, fd: int) -> None:
        while self._order() == "hang":
            time.sleep(LOOK_EVERY_S)
        verb, _, argument = self._order().partition(" ")
        if verb == "slow":
            time.sleep(float(argument))
        file = os.fstat(fd)
        identity = (file.st_dev, file.st_ino)
        if verb == "lose" and self._synced.get(identity, file.st_size) < file.st_size:
            os.ftruncate(fd, self._synced[identity])
        if verb in ("lose", "fail"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._real(fd)
        self._synced[identity] = file.st_size

    def _order(self) -> str:
        try:
            with open(self._orders, encoding="ascii") as file:
                return file.read()
        except FileNotFoundError:
            return ""


def limit_threads(order: str) -> None:
    """While there is a file `order`, there are as many threads as there may be."""
    start = threading.Thread.start

    def start_if_allowed(self: threading.Thread) -> None:
        if os.path.exists(order):
            raise RuntimeError("can't start new thread")
        start(self)

    threading.Thread.start = start_if_allowed  # type: ignore[method-assign]


def route(routes: Mapping[str, int]) -> None:
    """Connections to the ports of `routes` lead to others of this machine."""
    connect = socket.socket.connect

    def connect_by_route(self: socket.socket, address: Any) -> None:
        host, port = address[:2]
        connect(self, (host, routes.get(str(port), port)))

    socket.socket.connect = connect_by_route  # type: ignore[method-assign]


def bound_history() -> None:
    """A watcher may be behind by so much, some half a minute, and full disks take nothing of that away: a run is judged by what
    watchers were told, and must not miss anything. It is full early, so that memory that grows later is a leak. (The
    simulator has databases that forget sooner.)"""
    history.MAX_BYTES = 12 << 20
    history_yield.WORTH_BYTES = 1 << 40


if __name__ == "__main__":
    bound_history()
    if os.path.exists(sys.argv[1] + ".routes"):
        route(json.loads(Path(sys.argv[1] + ".routes").read_text(encoding="ascii")))
    limit_threads(sys.argv[1] + ".threads")
    disk._fsync = Fsync(disk._fsync, sys.argv[1] + ".fsync")
    sys.exit(server.main())
