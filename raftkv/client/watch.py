"""Watches for programs: what happens to a key, or a range of keys, as it happens.

    with clerk.watch("config/", prefix=True) as watch:
        for event in watch:
            print(event.type, event.key, event.value, event.revision)

An event is told once, in the order of revisions, whatever servers and connections do meanwhile: a watch that loses its
server goes on at another one, after the last revision that it was told whole. Events of one revision are never split:
`get()` gives all that belong together.

It does not need to be read in time. What waits to be read is bounded, here and on the server, and the server keeps no more
for a watch than the revision it has come to. But history is bounded, too: a watch that falls behind what is kept of it
raises CompactedError, and its program reads the keys anew, and watches from there on:

    found = clerk.range(prefix="config/")
    watch = clerk.watch("config/", prefix=True, start_revision=found.revision + 1)
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Collection, Iterator
from typing import Any, Callable, NamedTuple

from raftkv import errors, forks
from raftkv.client.answers import KeyValue, key_value
from raftkv.client.encoding import Encoding, Text
from raftkv.client.watch_session import Told
from raftkv.client.watching import Watching
from raftkv.kvdb.history import Event as PlainEvent
from raftkv.kvdb.ranges import prefix_range
from raftkv.kvdb.watch_requests import NO_DELETES, NO_PUTS, WITH_PREVIOUS, WITHOUT_LEADER
from raftkv.threads import start_thread

logger = logging.getLogger("raftkv.client")

PUT, DELETE = "PUT", "DELETE"


class Event(NamedTuple):
    """`type`: "PUT" or "DELETE". `kv`: the key as it is since; of a deleted one only key and mod_revision say something.
    `prev_kv`: what it was before, if that was asked for and there was something."""

    type: str
    kv: KeyValue
    prev_kv: KeyValue | None

    @property
    def key(self) -> Any:
        return self.kv.key

    @property
    def value(self) -> Any:
        """Empty for a deletion."""
        return self.kv.value

    @property
    def revision(self) -> int:
        """That of the command that did it."""
        return self.kv.mod_revision


class WatchResponse(NamedTuple):
    """All `events` up to `revision` that were not told before. None of them: a mark of progress."""

    revision: int
    events: list[Event]


class Watch:
    """What Clerk.watch() returns: an iterator of Events, and a context manager. For one thread, but for cancel().

    `start_revision`: the first one that it tells of; for a serializable watch "from now" 0, until its member has said it.
    `revision`: all up to here was taken out of it, and for an iterator, its loop has come beyond. To go on later, in this
    program or another one, watch from the next one.

    Iteration, and get(), raise CompactedError; AuthenticationError if no server has our key; ClusterChangedError if the
    servers are another cluster now; ClosedError when the Clerk was closed, and in a forked child. When no server can be reached they wait, and `problem` says why.
    """

    def __init__(
        self,
        watching: Watching,
        waiting: queue.SimpleQueue[Told],
        number: int,
        start_revision: int,
        encoding: Encoding,
        keeps: object,
    ) -> None:
        self._watching, self._waiting, self._number = watching, waiting, number
        self._encoding = encoding
        self._keeps = keeps  # the Clerk
        self._generation = forks.generation
        self._events: Iterator[Event] = iter(())
        self._end: Told | None = None
        self.start_revision = start_revision
        self.revision = self._reached = max(0, start_revision - 1)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()

    def __iter__(self) -> Watch:
        return self

    def __next__(self) -> Event:
        while True:
            for event in self._events:
                self.revision = max(self.revision, event.revision - 1)
                return event
            self.revision = self._reached
            response = self._take(None)
            if response is None:
                raise StopIteration
            self._events, self._reached = iter(response.events), response.revision

    def get(self, timeout: float | None = None) -> WatchResponse | None:
        """The next response, waiting at most `timeout` seconds for one (None: as long as it takes). None if there is none in
        time, or after cancel()."""
        response = self._take(timeout)
        if response is not None:
            self.revision = self._reached = response.revision
        return response

    def _take(self, timeout: float | None) -> WatchResponse | None:
        if self._generation != forks.generation:
            raise errors.ClosedError(
                "this watch belongs to the process that forked this one: make another one"
            )
        told = self._end
        if told is None:
            try:
                told = self._waiting.get(timeout=timeout if timeout is None else max(0.0, timeout))
            except queue.Empty:
                return None
        if told.position < 0:
            self._end = told
            if told.error is None:
                return None
            raise told.error.with_traceback(None)  # it may be raised again and again
        self._watching.taken(self._number, told.position)
        mark, revision = self._watching.mark(self._number), told.revision
        if (
            mark > revision and self._waiting.empty()
        ):  # in this order: what comes after the mark is in the queue then
            revision = mark
        return WatchResponse(revision, [self._event(event) for event in told.events])

    @property
    def problem(self) -> str:
        """Why nobody serves it at the moment; "" if somebody does."""
        return self._watching.problem(self._number)

    def cancel(self) -> None:
        """No more of it is wanted: whoever waits for its next event is told that there is none. From any thread; may be called
        more than once."""
        if self._generation == forks.generation:
            self._waiting.put(Told(-1, 0, [], None))
            self._watching.cancel(self._number)

    close = cancel

    def __del__(self) -> None:
        if getattr(self, "_generation", None) == forks.generation:
            self._watching.cancel(self._number)

    def _event(self, event: PlainEvent) -> Event:
        revision, key, item, before = event
        kv = key_value((key, *(item or (b"", 0, revision, 0, 0))), self._encoding)
        prev = key_value((key, *before), self._encoding) if type(before) is tuple else None
        return Event(DELETE if item is None else PUT, kv, prev)


_FILTERS = {"noput": NO_PUTS, "nodelete": NO_DELETES}


def watched_range(encoding: Encoding, key: Text, end: Text | None, prefix: bool) -> tuple[bytes, bytes]:
    """The range that Clerk.watch() is asked for. Raises InvalidRequestError."""
    first = encoding.encode(key, "key")
    if not prefix:
        return first, b"" if end is None else encoding.encode(end, "end")
    if end is not None:
        raise errors.InvalidRequestError("a range is given by its prefix, or by its start and end")
    return prefix_range(first)


def watch_options(prev_kv: bool, filters: Collection[str], serializable: bool) -> int:
    """Those of a request. Raises InvalidRequestError."""
    if isinstance(filters, str) or not {*filters} <= {*_FILTERS}:
        raise errors.InvalidRequestError(f"filters are a list of {' and '.join(_FILTERS)}")
    options = sum(_FILTERS[name] for name in {*filters})
    return options + WITH_PREVIOUS * bool(prev_kv) + WITHOUT_LEADER * serializable


def call_back(
    watch: Watch, callback: Callable[[WatchResponse], object], on_end: Callable[[Exception], object] | None
) -> None:
    """Call `callback` with each response, on a thread of its own."""

    def run() -> None:
        try:
            response = watch.get()
            while response is not None:
                try:
                    callback(response)
                except Exception:
                    logger.exception("the callback of a watch raised")
                response = watch.get()
        except errors.RaftKVError as error:
            if on_end is not None:
                on_end(error)
            elif not isinstance(error, errors.ClosedError):
                logger.error("a watch ended: %s", error)

    start_thread(run, "watch")
