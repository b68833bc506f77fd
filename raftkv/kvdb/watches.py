"""Watches: the streams of one server that tell clients of changes.

A watch is a cursor in the history: the revision that it is to be told next. So one that is slow, or comes back, costs nothing
more, and one that fell out of the history is told so. Watches of the same range and options that are *up to date* are a
group, and need no cursor of their own: a change looks up the groups that it concerns, and their members get the same bytes.
All others *lag*: they are served piece by piece, when they come to it, until they are up to date.

Nobody waits for a client. A watch is told nothing while its client has WINDOW bytes that it has not taken, or its
connection takes no more; it lags then. What is told while the state changes is bounded by what changed and who watches it;
who lags is served a bounded time with each tick.

Any server tells of what it has applied. One that has known no leader for LEADERLESS election timeouts ends the streams: it
may be cut off, and others are not.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import Any, Callable

from raftkv.errors import BAD_REQUEST, CANCELLED, NO_LEADER, OVERLOADED
from raftkv.kvdb.history import Event
from raftkv.kvdb.keyspace import FIRST, Keyspace
from raftkv.kvdb.outcomes import Outcome, refused
from raftkv.kvdb.range_index import RangeIndex
from raftkv.kvdb.reads import compacted
from raftkv.kvdb.watch_cursor import Cursor, Group, Reply, is_too_large
from raftkv.kvdb.watch_requests import WITHOUT_LEADER, Watch, WatchCancel, WatchTaken, plain_events

MAX_WATCHES = 50_000
LEADERLESS = 3  # election timeouts
MARK_S = 5.0  # between marks of progress, if there was any
_FEW = 100  # watches that are over, but kept in the heap of those to come
PIECES = 8  # of those who lag, with a tick or a request

_CANCELLED = refused(CANCELLED, "the watch was cancelled")
_NO_LEADER = refused(
    NO_LEADER,
    "this server has known no leader for long: it may be cut off from the others; watch at another one",
)
_TOO_MANY = refused(OVERLOADED, f"there are {MAX_WATCHES} watches on this server already")
_TAKEN = refused(BAD_REQUEST, "there is a watch of that number on this connection already")


class Watches:
    """Called under the lock of the state machine, but for closed() and role_changed(). `send` takes replies; `clock()` tells
    the time in seconds."""

    def __init__(
        self, send: Callable[[list[Reply]], None], clock: Callable[[], float], election_timeout_s: float
    ) -> None:
        self._send, self._clock = send, clock
        self._patience_s = LEADERLESS * election_timeout_s
        self._leaderless_since: float | None = clock()
        self._data: Keyspace
        self._told = 0  # the revision that those who are up to date were told
        self._count = 0
        self._watches: dict[Any, dict[int, Cursor]] = {}  # by channel and number
        self._groups: dict[tuple[bytes, bytes, int], Group] = {}
        self._index: RangeIndex[Group] = RangeIndex()
        self._ready: deque[Cursor] = deque()
        self._held: list[Cursor] = []  # until their connections take more
        self._future: list[tuple[int, int, Cursor]] = []  # a heap: those that begin later
        self._begun = 0  # for their order
        self._closed: list[Any] = []  # channels
        self._marked_at = clock()
        # All that are up to date were told so at least up to here, but for those without room.
        self._marked = 0
        self._replies: list[Reply] = []

    def __len__(self) -> int:
        return self._count

    # -- what happens ----------------------------------------------------------------------------------------

    def watch(self, data: Keyspace) -> None:
        """From now on, these data. They are those of a snapshot, if there were others."""
        data.history.before_drop = self._before_drop
        before, self._data = self._told, data
        self._told = data.history.newest
        for group in self._groups.values():
            self._all_lag(group, before + 1)
        self._wake_future()

    def role_changed(self, leader: int | None) -> None:
        """The leader that this server knows."""
        if leader is not None:
            self._leaderless_since = None
        elif self._leaderless_since is None:
            self._leaderless_since = self._clock()

    def closed(self, channel: Any) -> None:
        """A client went away. Called by any thread."""
        if self._count:
            self._closed.append(channel)

    def changed(self) -> None:
        """Entries were applied."""
        if self._count:
            self._tell_of_changes()
            self._flush()
        else:
            self._told = self._data.history.newest

    def tick(self) -> bool:
        """Time goes on. Returns whether there is more to do at once."""
        if not self._count:
            return False
        self._tidy_up()
        if self._is_cut_off():
            for watch in self._all():
                if not watch.group.options & WITHOUT_LEADER:
                    self._end(watch, _NO_LEADER)
        held, self._held = self._held, []
        for watch in held:
            self._make_ready(watch)
        self._tell_of_changes()
        self._serve()
        self._mark()
        self._flush()
        return bool(self._ready)

    # -- requests --------------------------------------------------------------------------------------------

    def begin(self, channel: Any, id: Any, request: Watch) -> Outcome | None:
        """A new stream. None: what it is told is sent; else it is refused."""
        self._tidy_up()
        if self._count >= MAX_WATCHES:
            return _TOO_MANY
        if request.number in self._watches.get(channel, ()):
            return _TAKEN
        if not request.options & WITHOUT_LEADER and self._is_cut_off():
            return _NO_LEADER
        if not self._count:
            self._told = self._data.history.newest
        start = max(request.start, FIRST) if request.start else self._told + 1
        if start < self._first_kept:
            return compacted(self._first_kept)
        watch = Cursor(channel, id, request.number, self._group(request), start, request.unread)
        self._watches.setdefault(channel, {})[request.number] = watch
        self._count += 1
        if channel.closing:  # while the request waited; else closed() is yet to come
            self._closed.append(channel)
        self._replies.append(watch.message(start - 1, True, b""))
        self._go_on(watch)
        self._serve()
        self._flush()
        return None

    def taken(self, channel: Any, request: WatchTaken) -> None:
        """Its client has taken more."""
        watch = self._watches.get(channel, {}).get(request.number)
        if watch is not None:
            watch.taken = max(watch.taken, min(request.position, watch.sent))
            self._marked = min(self._marked, watch.marked)
            self._make_ready(watch)
            self._serve()
            self._flush()

    def cancel(self, channel: Any, request: WatchCancel) -> None:
        """Its client wants no more of it."""
        watch = self._watches.get(channel, {}).get(request.number)
        if watch is not None:
            self._end(watch, _CANCELLED)
            self._flush()

    # -- beginning and ending --------------------------------------------------------------------------------

    def _group(self, request: Watch) -> Group:
        key = request.key, request.end, request.options
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(*key)
            self._index.add(request.key, request.end, group)
        group.watches += 1
        return group

    def _end(self, watch: Cursor, why: Outcome | None) -> None:
        """`why`: what its client is told, if it is there."""
        del self._watches[watch.channel][watch.number]
        if not self._watches[watch.channel]:
            del self._watches[watch.channel]
        self._count -= 1
        group = watch.group
        group.members.pop(watch, None)
        group.watches -= 1
        if not group.watches:
            del self._groups[group.key, group.end, group.options]
            self._index.remove(group.key, group.end, group)
        watch.next = -1
        if len(self._future) > 2 * self._count + _FEW:
            self._future = [each for each in self._future if each[2].next > 0]
            heapq.heapify(self._future)
        if why is not None:
            self._replies.append((watch.channel, watch.id, *why))

    def _all(self) -> list[Cursor]:
        return [watch for watches in self._watches.values() for watch in watches.values()]

    def _tidy_up(self) -> None:
        closed, self._closed = self._closed, []
        for channel in closed:
            for watch in [*self._watches.get(channel, {}).values()]:
                self._end(watch, None)

    @property
    def _first_kept(self) -> int:
        """The first revision that can be watched."""
        return max(self._data.compacted, self._data.history.floor)

    def _is_cut_off(self) -> bool:
        since = self._leaderless_since
        return since is not None and self._clock() - since >= self._patience_s

    # -- those that are up to date ---------------------------------------------------------------------------

    def _flush(self) -> None:
        if self._replies:
            replies, self._replies = self._replies, []
            self._send(replies)

    def _tell_of_changes(self) -> None:
        data, first = self._data, self._told + 1
        if first > data.history.newest:  # in the middle of a batch it is behind the revision
            return
        self._told = data.history.newest
        if first < data.history.floor:
            for group in self._groups.values():
                self._all_lag(group, first)
        else:
            found: dict[Group, list[Event]] = {}
            for event in data.history.events_since(first):
                for group in self._index.find(event[1]):
                    if group.members:
                        found.setdefault(group, []).append(event)
            for group, concerned in found.items():
                self._tell(group, concerned, first)
        self._wake_future()

    def _wake_future(self) -> None:
        """Those whose beginning has come lag now."""
        while self._future and self._future[0][0] <= self._told + 1:
            self._go_on(heapq.heappop(self._future)[2])

    def _tell(self, group: Group, events: list[Event], first: int) -> None:
        """Of the events from the revision `first` on, to those that have room."""
        wanted = [each for each in map(group.wanted, events) if each is not None]
        if not wanted:
            return
        if is_too_large(wanted):
            self._all_lag(group, first)
            return
        plain = plain_events(wanted)
        lagging = []
        for watch in group.members:
            if watch.has_room:
                self._replies.append(watch.message(self._told, True, plain))
            else:
                lagging.append(watch)
        for watch in lagging:
            self._lag(watch, first)

    def _all_lag(self, group: Group, first: int) -> None:
        for watch in [*group.members]:
            self._lag(watch, first)

    def _lag(self, watch: Cursor, first: int) -> None:
        """It is to be told from the revision `first` on, when its turn comes."""
        del watch.group.members[watch]
        watch.next, watch.parts = first, 0
        self._go_on(watch)

    def _before_drop(self) -> None:
        """Events leave the history, perhaps such as nobody was told of: many came at once."""
        if self._count:
            self._tell_of_changes()

    def _mark(self) -> None:
        """Tells all that are up to date how far that is, from time to time: they can go on from there after a compaction. Sooner,
        when half of the history has gone since."""
        now, data = self._clock(), self._data
        limit = max((data.history.floor + self._told) // 2, data.compacted)
        if now - self._marked_at >= MARK_S:
            self._marked_at, limit = now, self._told
        if self._marked >= limit:
            return
        self._marked = limit
        for group in self._groups.values():
            for watch in group.members:
                if watch.marked < limit and watch.has_room:
                    self._replies.append(watch.message(self._told, True, b""))

    # -- those that lag --------------------------------------------------------------------------------------

    def _go_on(self, watch: Cursor) -> None:
        """It comes to its place: up to date, later, or in the queue."""
        if watch.next == self._told + 1:
            watch.group.members[watch] = None
            self._marked = min(self._marked, watch.marked)
        elif watch.next > self._told:
            self._begun += 1
            heapq.heappush(self._future, (watch.next, self._begun, watch))
        else:
            self._make_ready(watch)

    def _make_ready(self, watch: Cursor) -> None:
        """If it lags it is in the queue."""
        if not watch.is_ready and 0 < watch.next <= self._told and watch not in watch.group.members:
            watch.is_ready = True
            self._ready.append(watch)

    def _serve(self) -> None:
        """Some of those in the queue, a piece each."""
        for _ in range(PIECES):
            if not self._ready:
                return
            watch = self._ready.popleft()
            watch.is_ready = False
            if watch.next < 0:
                continue  # it has ended
            if watch.next < self._first_kept:
                self._end(watch, compacted(self._first_kept))
            elif watch.has_room:
                message = watch.next_message(self._data.history)
                if message is not None:
                    self._replies.append(message)
                self._go_on(watch)
            elif watch.channel.backlog:
                self._held.append(watch)
