"""Fanout: one writer, and clients that watch what it writes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from functools import partial
from time import perf_counter

from raftkv import Clerk
from raftkv.bench.clients import Running
from raftkv.bench.recorder import Recorder
from raftkv.errors import RaftKVError, UnavailableError

_KEY = "bench/watched"
_TOO_LONG_S = 10.0


class Fanout:
    """A write is under way until all `watchers` have been told of it; then comes the next one. What is recorded is how long each took
    to be told, from the call that writes. The watchers share the connections of `clerks`, the first of which writes."""

    def __init__(self, clerks: Sequence[Clerk], watchers: int, recorder: Recorder) -> None:
        self._clerk, self._watchers, self._recorder = clerks[0], watchers, recorder
        self._told: deque[None] = deque()
        self._all_told = threading.Event()
        self._watches = [
            clerks[number % len(clerks)].watch(_KEY, notify=partial(self._take, number))
            for number in range(watchers)
        ]

    def start(self, end: float, running: Running) -> None:
        """Write until `end`, on a thread of its own."""
        threading.Thread(target=self._write, args=(end, running), daemon=True).start()

    def _write(self, end: float, running: Running) -> None:
        while perf_counter() < end:
            self._told.clear()
            self._all_told.clear()
            try:
                self._clerk.put(_KEY, repr(perf_counter()))
                if not self._all_told.wait(_TOO_LONG_S):
                    raise UnavailableError(f"only {len(self._told)} were told within {_TOO_LONG_S:g} s")
            except RaftKVError as error:
                self._recorder.failed(error)
        for watch in self._watches:
            watch.cancel()
        running.one_less()

    def _take(self, number: int) -> None:
        """Called on the thread that reads the connection."""
        try:
            response = self._watches[number].get(0.0)
        except RaftKVError:
            return  # it is over
        now = perf_counter()
        for event in () if response is None else response.events:
            self._recorder.succeeded((float(event.value), now))
            self._told.append(None)
        if len(self._told) == self._watchers:
            self._all_told.set()
