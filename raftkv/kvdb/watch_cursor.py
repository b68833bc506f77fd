"""Cursor: where one watch is in the history, and the messages that it is told; Group: what several watch alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from raftkv.kvdb.history import Event, History
from raftkv.kvdb.limits import MAX_KEY_BYTES
from raftkv.kvdb.outcomes import ok
from raftkv.kvdb.ranges import end_of
from raftkv.kvdb.watch_requests import NO_DELETES, NO_PUTS, WINDOW, WITH_PREVIOUS, plain_events

PIECE_EVENTS = 500  # of a message,
PIECE_BYTES = 128 << 10  # about
PIECE_LOOKS = 5000  # at events, for one message: about a millisecond
_BEYOND = b"\xff" * (MAX_KEY_BYTES + 2)  # after each key
MESSAGE_BYTES = 64  # what a message counts for beside its events

#: (channel, id, ok, result), as in service.py.
Reply = tuple[Any, Any, bool, Any]


class Group:
    """What all of its members watch; those that are up to date."""

    def __init__(self, key: bytes, end: bytes, options: int) -> None:
        self.key, self.end, self.options = key, end, options
        self.limit = end_of(key, end) or _BEYOND
        self.watches = 0  # with those that lag
        self.members: dict[Cursor, None] = {}

    def wanted(self, event: Event) -> Event | None:
        """What is told of an event, if anything is."""
        options = self.options
        revision, key, item, before = event
        if not self.key <= key < self.limit:
            return None
        if options & (NO_DELETES if item is None else NO_PUTS):
            return None
        if before is not None and not (options & WITH_PREVIOUS and type(before) is tuple):
            return revision, key, item, None
        return event


class Cursor:
    """`next`: the revision that it is to be told next, while it lags (-1: it has ended), and `parts`: so many events of that
    were looked at. `sent` and `taken`: positions; `unfinished`: bytes that were sent of a message that is not whole. `marked`:
    the revision that the last whole message named."""

    __slots__ = (
        "channel", "group", "id", "is_ready", "marked", "next", "number", "parts", "sent", "taken", "unfinished"
    )  # fmt: skip

    def __init__(self, channel: Any, id: Any, number: int, group: Group, start: int, unread: int) -> None:
        self.channel, self.id, self.number, self.group = channel, id, number, group
        self.next, self.marked, self.parts = start, start - 1, 0
        self.sent, self.taken, self.unfinished = unread, 0, 0
        self.is_ready = False  # it lags, and waits in the queue to be served

    @property
    def has_room(self) -> bool:
        return self.sent - self.taken < WINDOW and not self.channel.backlog

    def message(self, revision: int, is_whole: bool, plain: bytes) -> Reply:
        """The next one: its `plain` events, none for a mark."""
        if plain:
            self.unfinished += MESSAGE_BYTES + len(plain)
        if is_whole:
            self.sent += self.unfinished
            self.unfinished, self.marked = 0, revision
        return self.channel, self.id, *ok((self.sent, revision, is_whole, plain))

    def next_message(self, history: History) -> Reply | None:
        """The next events, as many as fit in a message, or what fits of one revision that is too large. None if those that were
        looked at are not wanted. `next` moves on."""
        wanted: list[Event] = []
        looks = size = 0
        first, low, limit = self.next, self.group.key, self.group.limit
        for events in history.since(first):
            if type(events) is list:
                if self.parts or is_too_large(events):
                    if self.next == first:
                        return self._next_part(events)
                    break  # what came before it is a message of its own
                looks += len(events)
                concerned: Sequence[Event] = events
            else:  # mostly
                looks += 1
                concerned = (events,) if low <= events[1] < limit else ()  # type: ignore[assignment, operator]
            for event in concerned:
                mine = self.group.wanted(event)
                if mine is not None:
                    wanted.append(mine)
                    size += _size_of(mine)
            self.next += 1
            if looks >= PIECE_LOOKS or len(wanted) >= PIECE_EVENTS or size >= PIECE_BYTES:
                break
        if wanted:
            return self.message(self.next - 1, True, plain_events(wanted))
        return None

    def _next_part(self, events: Sequence[Event]) -> Reply | None:
        wanted: list[Event] = []
        size, part = 0, events[self.parts : self.parts + PIECE_EVENTS]
        for event in part:
            mine = self.group.wanted(event)
            if mine is not None:
                wanted.append(mine)
                size += _size_of(mine)
            self.parts += 1
            if size >= PIECE_BYTES:
                break
        is_whole = self.parts == len(events)
        if is_whole:
            self.next, self.parts = self.next + 1, 0
        if wanted or (is_whole and self.unfinished):
            return self.message(events[0][0], is_whole, plain_events(wanted))
        return None


def is_too_large(events: Sequence[Event]) -> bool:
    """For one message, together."""
    return len(events) > PIECE_EVENTS or (len(events) > 1 and sum(map(_size_of, events)) > PIECE_BYTES)


def _size_of(event: Event) -> int:
    _, key, item, before = event
    size = len(key) + (len(item[0]) if item is not None else 0)
    return size + len(before[0]) if type(before) is tuple else size
