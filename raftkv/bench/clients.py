"""The two kinds of clients: a thread that waits for its answers, and a callback that is called with them."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from time import perf_counter
from typing import Any, Callable

from raftkv import Clerk
from raftkv.bench.operations import Source, check
from raftkv.bench.recorder import Recorder
from raftkv.errors import RaftKVError


class Running:
    """Counts the clients that are not done yet. Thread-safe."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._changed = threading.Condition()

    def one_less(self) -> None:
        """A client is done."""
        with self._changed:
            self._count -= 1
            self._changed.notify()

    def wait(self) -> None:
        """Until all are."""
        with self._changed:
            self._changed.wait_for(lambda: not self._count)


def start_thread(call: Callable[[], None], recorder: Recorder, end: float, running: Running) -> None:
    """A client that carries out `call` again and again until `end`, in a thread of its own."""

    def body() -> None:
        succeeded, failed = recorder.succeeded, recorder.failed
        while True:
            asked = perf_counter()
            if asked >= end:
                break
            try:
                call()
            except RaftKVError as error:
                failed(error)
            else:
                succeeded((asked, perf_counter()))
        running.one_less()

    threading.Thread(target=body, daemon=True).start()


def start_callback(
    clerk: Clerk, next_request: Source, recorder: Recorder, end: float, running: Running
) -> None:
    """A client whose next request is sent, until `end`, by the thread that reads the answer to the last."""
    asked = 0.0
    succeeded, failed, submit = recorder.succeeded, recorder.failed, clerk.submit

    def answered(future: Future[Any]) -> None:
        now = perf_counter()
        try:
            check(future.result())
        except RaftKVError as error:
            failed(error)
        else:
            succeeded((asked, now))
        ask(now)

    def ask(now: float) -> None:
        nonlocal asked
        if now >= end:
            running.one_less()
            return
        asked = now
        try:
            future = submit(*next_request())
        except RaftKVError as error:  # it cannot even be begun: there is no point in going on
            failed(error)
            running.one_less()
        else:
            future.add_done_callback(answered)

    ask(perf_counter())
