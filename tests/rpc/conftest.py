"""Servers and ends for the tests, and the rule that no test leaves a thread or an open file behind."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from raftkv.rpc.channel import send_replies
from raftkv.rpc.client import ClientEnd
from raftkv.rpc.server import RpcServer

KEY = b"the clients' key"
PATIENCE_S = 10.0


def open_files() -> int:
    try:
        return len(os.listdir("/dev/fd"))
    except OSError:
        return 0  # a system that does not say


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    threads, files = set(threading.enumerate()), open_files()
    yield
    left = [thread for thread in threading.enumerate() if thread not in threads]
    for thread in left:  # close() does not wait for a thread that looks a name up or dials; it ends by itself
        if thread.name.endswith("-dial"):
            thread.join(PATIENCE_S)
    left = [thread.name for thread in left if thread.is_alive()]
    assert not left, f"threads left behind: {left}"
    assert open_files() <= files, f"{open_files() - files} files left open"


class Script:
    """A handler whose answers the test decides by the method's name; what it sees, it keeps."""

    def __init__(self) -> None:
        self.seen: queue.Queue[tuple] = (
            queue.Queue()
        )  # (channel, id, method, args) of "hold" and of one-way ones
        self.batches: list[int] = []
        self.closed: queue.Queue[Any] = queue.Queue()  # channels

    def on_requests(self, batch: list) -> None:
        self.batches.append(len(batch))
        for channel, request_id, method, args in batch:
            if method == "echo":
                send_replies([(channel, request_id, True, args)])
            elif method == "refuse":
                send_replies([(channel, request_id, False, ("bad_request", "because", {"why": 1}))])
            elif method == "hang up":
                channel.close()
            elif method == "blob":
                send_replies([(channel, request_id, True, b"x" * args[0])])
            elif method == "raise":
                raise RuntimeError("a bug in the handler")
            else:
                self.seen.put((channel, request_id, method, args))

    def on_close(self, channel: Any) -> None:
        self.closed.put(channel)


OPTIONS = {
    "max_frame_bytes": 1 << 20,
    "max_connections": 2048,
    "max_unauthenticated": 128,
    "handshake_timeout_s": 5.0,
}


class Served:
    """A running server with one listener."""

    def __init__(self, address: tuple = ("127.0.0.1", 0), **options: Any) -> None:
        self.handler = Script()
        self.fatal: queue.Queue[BaseException] = queue.Queue()
        self.server = RpcServer("test", on_fatal=self.fatal.put)
        try:
            self.address = self.server.listen(address, KEY, self.handler, **{**OPTIONS, **options})
        except BaseException:
            self.server.close()
            raise
        self.server.start()


@pytest.fixture
def serve() -> Iterator[Any]:
    """A function that starts a Served."""
    running: list[Served] = []

    def start(*args: Any, **options: Any) -> Served:
        running.append(Served(*args, **options))
        return running[-1]

    yield start
    for served in running:
        served.server.close()
        assert served.fatal.empty(), f"a thread of the server died: {served.fatal.get()!r}"


@pytest.fixture
def connect() -> Iterator[Any]:
    """A function that makes a ClientEnd."""
    ends: list[ClientEnd] = []

    def make(address: tuple, key: bytes = KEY, **options: Any) -> ClientEnd:
        ends.append(ClientEnd(address, key, **options))
        return ends[-1]

    yield make
    for end in ends:
        end.close()


class Warnings(logging.Handler):
    """The warnings of the RPC layer. Called with a number, it waits until there are that many."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: list[str] = []
        self._changed = threading.Condition()

    def emit(self, record: logging.LogRecord) -> None:
        with self._changed:
            self._lines.append(record.getMessage())
            self._changed.notify_all()

    def __call__(self, at_least: int = 0) -> list[str]:
        with self._changed:
            enough = self._changed.wait_for(lambda: len(self._lines) >= at_least, timeout=5)
            assert enough, f"{len(self._lines)} of {at_least} warnings came: {self._lines}"
            return list(self._lines)


@pytest.fixture
def warnings() -> Iterator[Warnings]:
    handler = Warnings()
    logger = logging.getLogger("raftkv.rpc")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
