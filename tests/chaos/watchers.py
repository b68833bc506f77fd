"""Watchers of the whole database through the storm. What each is told must be without a gap, which can be seen at once: every
revision has an event, and each put of a key is the next version of it. What all are told is kept: a run is judged by it."""

from __future__ import annotations

import threading
import zlib

from raftkv import Clerk
from raftkv.client.watch import PUT, Event
from raftkv.errors import CompactedError

from tests.cluster.waiting import wait_until
from tests.linearizability.store_model import Changes

COUNT = 3
LOOK_S = 0.2


class Told:
    """What any watcher was told. Thread-safe."""

    def __init__(self) -> None:
        self.changes: dict[int, Changes] = {}  # by revision
        self._lock = threading.Lock()

    def agrees(self, event: Event) -> bool:
        """Whether the same was told of its key in its revision, if anything was; from now on this was."""
        item = tuple(event.kv[1:]) if event.type == PUT else None
        with self._lock:
            return self.changes.setdefault(event.revision, {}).setdefault(event.key, item) == item


class Watcher:
    """`revision`: all up to here was told. `digests`: revision -> of all events up to it, unless the watch was
    `compacted` (how often)."""

    def __init__(self, ini: str, told: Told) -> None:
        self.revision = self.events = self.compacted = 0
        self.digests = {0: 0}
        self.problems: list[str] = []
        self._ini, self._told = ini, told
        self._versions: dict[bytes, int] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        start = 1
        with Clerk.from_config(self._ini, encoding=None) as clerk:
            while not self._stopping.is_set():
                try:
                    self._watch(clerk, start)
                except CompactedError as error:
                    self.compacted += 1
                    start, self.revision = error.compact_revision, error.compact_revision - 1
                    self._versions.clear()

    def _watch(self, clerk: Clerk, start: int) -> None:
        with clerk.watch(b"", prefix=True, start_revision=start, prev_kv=True) as watch:
            while not self._stopping.is_set():
                response = watch.get(LOOK_S)
                if response is None:
                    continue
                for event in response.events:
                    self._check(event)
                self.revision = max(self.revision, response.revision)

    def _check(self, event: Event) -> None:
        revision, key = event.revision, event.key
        if revision not in (self.revision, self.revision + 1) and (self.revision or revision != 2):
            self.problems.append(f"a watcher was told of revision {revision} after {self.revision}")
        version = self._versions.get(key)
        if event.type == PUT and version is not None and event.kv.version != version + 1:
            self.problems.append(
                f"a watcher was told of version {event.kv.version} of {key!r} after {version}"
            )
        self._versions[key] = event.kv.version
        before = self.digests.get(revision, self.digests.get(self.revision, 0))
        self.digests[revision] = zlib.crc32(repr(event).encode(), before)
        self.revision, self.events = revision, self.events + 1
        if not self._told.agrees(event):
            self.problems.append(f"two watchers were told different things of revision {revision}")


class Watchers:
    """Some of them, on Clerks of their own."""

    def __init__(self, ini: str) -> None:
        told = Told()
        self.told = told.changes
        self._watchers = [Watcher(ini, told) for _ in range(COUNT)]

    def close(self) -> None:
        for watcher in self._watchers:
            watcher.stop()

    def judge(self, clerk: Clerk) -> tuple[str, list[str]]:
        """Once all is calm: (a line for people, what is wrong)."""
        newest = clerk.range(prefix="", limit=1).revision
        wait_until(
            lambda: all(watcher.revision >= newest for watcher in self._watchers),
            f"all watchers to be told of revision {newest}",
        )
        self.close()
        problems = [problem for watcher in self._watchers for problem in watcher.problems[:3]]
        # Some have heard more: a lease may have ended since.
        if len({watcher.digests.get(newest) for watcher in self._watchers if not watcher.compacted}) > 1:
            problems.append("watchers were told different things")
        events = [watcher.events for watcher in self._watchers]
        compacted = sum(watcher.compacted for watcher in self._watchers)
        return f"events that {COUNT} watchers were told: {events}, compacted {compacted} times", problems
