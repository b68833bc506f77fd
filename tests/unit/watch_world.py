"""Servers that share a log, each as far as the test says, and watchers: both halves of watches, without network or Raft."""

from __future__ import annotations

import random
from typing import Any

from raftkv import errors
from raftkv.client.watch_session import Open, Say, Told, WatchSession
from raftkv.kvdb.history import Event
from raftkv.kvdb.ranges import end_of
from raftkv.kvdb.requests import entry_of
from raftkv.kvdb.snapshot_view import encode_record
from raftkv.kvdb.store import Store
from raftkv.kvdb.watch_requests import NO_DELETES, NO_PUTS, WITH_PREVIOUS, Watch, WatchTaken
from raftkv.kvdb.watches import Watches


class Channel:
    """A connection: `backlog` says whether it takes more, `inbox` is what came."""

    def __init__(self) -> None:
        self.backlog, self.closing = b"", False
        self.inbox: list[tuple[Any, bool, Any]] = []


class World:
    """`log`: all entries; `events`: all that ever happened. `now`: the time, in seconds."""

    def __init__(self, servers: int = 1) -> None:
        self.now = 0.0
        self.log: list[list[Any]] = [[]]  # the entry 1, before which no client is born
        self.events: list[Event] = []
        self.servers = {id: Server(self) for id in range(1, servers + 1)}
        self._first = Store()

    def do(self, *writes: Any) -> None:
        """Entries, which nobody has applied yet."""
        for write in writes:
            before = self._first.data.revision
            self.log.append(entry_of(write, ("client", 1, len(self.log), 0)))
            self._first.apply(len(self.log), self.log[-1])
            if self._first.data.revision > before:
                history = self._first.data.history
                self.events += history.events_since(max(before + 1, history.floor))

    def wanted(self, request: Watch, until: int) -> list[Event]:
        """What a watch must be told up to the revision `until`."""
        end, options = end_of(request.key, request.end) or b"\xff", request.options
        return [
            (revision, key, item, before if options & WITH_PREVIOUS and type(before) is tuple else None)
            for revision, key, item, before in self.events
            if request.start <= revision <= until
            and request.key <= key < end
            and not options & (NO_DELETES if item is None else NO_PUTS)
        ]


class Server:
    def __init__(self, world: World) -> None:
        self.world, self.store = world, Store()
        self.store.applied = 1
        self.watches = Watches(self._send, lambda: world.now, 1.0)
        self.watches.watch(self.store.data)
        self.watches.role_changed(1)

    @staticmethod
    def _send(replies: list[Any]) -> None:
        for channel, id, ok, result in replies:
            channel.inbox.append((id, ok, result))

    def apply(self, until: int | None = None) -> None:
        """The entries up to `until`, the last one by default, at once."""
        log = self.world.log
        for index in range(self.store.applied + 1, (len(log) if until is None else until) + 1):
            self.store.apply(index, log[index - 1])
        self.watches.changed()

    def restore(self, other: Server) -> None:
        """It receives the snapshot of another one."""
        if other.store.applied <= self.store.applied:
            return
        view = other.store.begin_snapshot()
        records: list[Any] = []
        while chunk := view.next_chunk(10):
            records += [decoded(encode_record(record)) for record in chunk]
        view.close()
        self.store = Store.restore(records)
        self.watches.watch(self.store.data)

    def tick(self) -> None:
        while self.watches.tick():
            pass


def decoded(line: bytes) -> Any:
    import json

    return json.loads(line)


class Watcher:
    """A client's watch. `told`: what its program has taken. It takes no more than pump() says."""

    def __init__(self, world: World, request: Watch) -> None:
        self.world, self.request = world, request
        self.numbers = 0
        self.session = WatchSession(
            request, lambda: list(world.servers), random.Random(1), lambda: None, self._number
        )
        self.waiting: list[Told] = []
        self.told: list[Told] = []
        self.error: errors.RaftKVError | None = None
        self.channel, self.server = Channel(), 0
        self._perform(self.session.start(world.now))

    def _number(self) -> int:
        self.numbers += 1
        return self.numbers

    @property
    def events(self) -> list[Event]:
        return [event for told in self.told for event in told.events]

    def pump(self, take: bool = True) -> None:
        """Messages that came are read; with `take` the program takes what it is told."""
        while self.channel.inbox:
            id, ok, result = self.channel.inbox.pop(0)
            if ok:
                self._perform(self.session.received(id, result, self.world.now))
            else:
                self._perform(self.session.refused(id, errors.RemoteError(*result), self.world.now))
        while take and self.waiting:
            self.told.append(self.waiting.pop(0))
            self._perform(self.session.taken(self.told[-1].position))
            self.pump(take=False)

    def lose(self) -> None:
        """Its connection ends."""
        server = self.world.servers[self.server]
        server.watches.closed(self.channel)
        self.channel.inbox.clear()
        error = errors.ConnectionLostError("it ended")
        self._perform(self.session.lost(self.numbers, error, self.world.now))

    def wake(self) -> None:
        if self.session.wake_at is not None:
            self.world.now = max(self.world.now, self.session.wake_at)
            self._perform(self.session.wake(self.world.now))

    def _perform(self, actions: list[Any]) -> None:
        for action in actions:
            if isinstance(action, Open):
                self.channel, self.server = Channel(), action.server
                server = self.world.servers[action.server]
                outcome = server.watches.begin(self.channel, action.attempt, action.request)
                if outcome is not None:
                    self.channel.inbox.append((action.attempt, *outcome))
            elif isinstance(action, Say):
                watches = self.world.servers[action.server].watches
                say = watches.taken if isinstance(action.request, WatchTaken) else watches.cancel
                say(self.channel, action.request)  # type: ignore[arg-type]
            elif action.position < 0:
                self.error = action.error
            else:
                self.waiting.append(action)
