"""History: the last events of the database, with what was there before each of them.

It answers two questions: what did a key hold at an earlier revision (undo the events since), and what has
happened since a revision (a watch is a cursor in here). It is a part of the replicated state: every server
keeps the same events, and snapshots hold them.

It is bounded in number and in bytes. What falls out at its end is *compacted*, as is what somebody drops with
`compact`: nobody can read before it, or watch from before it.

Its index by key is the items themselves, so that a put costs next to nothing here: an item names the revision
that wrote it, where the event has the item before that, and so on. A read of the past goes from version to
version. Only of keys that do not exist now it must be known when they were deleted.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, repeat
from typing import Callable, Optional, Union

from raftkv.kvdb.sorted_items import SortedItems

# Constants of the state machine: servers that disagreed would keep different histories.
MAX_EVENTS = 100_000
MAX_BYTES = 64 << 20  # of keys and previous values: what the values are now, the store has anyway
EVENT_BYTES = 100  # that an event takes beside them
# Events are dropped in blocks, which costs less than one by one. A block is full when it has so many, or so much.
BLOCK_EVENTS = MAX_EVENTS // 100
BLOCK_BYTES = MAX_BYTES // 100

# Plain tuples, which the garbage collector leaves alone. A million objects of a class of ours it would not.
#: (value, create_revision, mod_revision, version, lease); the lease is 0 if there is none.
Item = tuple[bytes, int, int, int, int]
#: (revision, key, item, before): what the key holds since, None for a deletion; and what it held before. For a
#: key that did not exist, `before` is the revision of its deletion, or None if that is not kept.
Event = tuple[int, bytes, Optional[Item], Union[Item, int, None]]


class _Block:
    """Events of revisions that follow each other: of each its event, or the list of its events."""

    __slots__ = ("bytes", "count", "deleted", "first", "revisions")

    def __init__(self, first: int) -> None:
        self.first = first  # revision
        self.revisions: list[Event | list[Event]] = []
        self.deleted: list[tuple[bytes, int]] = []  # keys, and when
        self.count = self.bytes = 0


class History:
    """Not thread-safe. `floor`: the events of all revisions from this one on are kept; a block begins with it. So blocks
    are the same on every server, and whoever restores a snapshot has them, too."""

    def __init__(self, floor: int) -> None:
        self._block = _Block(floor)  # the newest
        self._blocks: deque[_Block] = deque([self._block])
        self._absent: SortedItems[int] = SortedItems()  # when keys were deleted that do not exist now
        self._stale: deque[tuple[bytes, int]] = deque()  # of these, what is no more kept, until there is time
        self._events = self._bytes = 0  # of all blocks but the newest
        self.before_drop: Callable[[], None] = _nothing  # called before events are dropped, between revisions

    @property
    def floor(self) -> int:
        return self._blocks[0].first

    @property
    def newest(self) -> int:
        """The revision of the last events; floor - 1 without any."""
        return self._block.first + len(self._block.revisions) - 1

    @property
    def size(self) -> int:
        """About the memory that it takes, in bytes."""
        return self._bytes + self._block.bytes

    def __len__(self) -> int:
        """How many events there are."""
        return self._events + self._block.count

    # -- asking ----------------------------------------------------------------------------------------------

    def item_at(self, key: bytes, revision: int, now: Item | None) -> Item | None:
        """What `key`, which holds `now` now, held at `revision`, which is floor - 1 or later."""
        version: Item | int | None = self._absent.get(key) if now is None else now
        while version is not None:
            written = version if type(version) is int else version[2]  # type: ignore[index]
            if written <= revision:
                return None if type(version) is int else version  # type: ignore[return-value]
            version = self._event(written, key)[3]
        return None

    def absent_keys(self, start: bytes) -> Iterator[bytes]:
        """Keys from `start` on, in order, that do not exist now and may have existed before."""
        return (key for key, _ in self._absent.iterate(start))

    def at(self, revision: int) -> Sequence[Event]:
        """The events of a revision, which is `floor` or later."""
        blocks = self._blocks
        if revision >= self._block.first:
            block = self._block
        else:
            block = blocks[bisect_right([each.first for each in blocks], revision) - 1]
        return _events_of(block.revisions[revision - block.first])

    def since(self, revision: int) -> Iterator[Event | list[Event]]:
        """Of each revision from this one on, which is `floor` or later, in order, its event, or the list of its events if there
        are several. Nothing may change meanwhile."""
        if revision >= self._block.first:  # mostly
            blocks: Iterable[_Block] = (self._block,)
        else:
            at = bisect_right([each.first for each in self._blocks], revision) - 1
            blocks = islice(self._blocks, at, None)
        for block in blocks:
            yield from islice(block.revisions, max(0, revision - block.first), None)

    def events_since(self, revision: int) -> Iterator[Event]:
        """The events of the same, one by one."""
        for events in self.since(revision):
            if type(events) is list:
                yield from events
            else:
                yield events  # type: ignore[misc]

    def newest_first(self) -> Iterator[Event]:
        """All events as they are now, whatever is added meanwhile: see HistoryRestorer. Of deletions before the floor
        nothing is said: in the middle of a run of puts some may still be known, and all servers must say the same."""
        kept = [block.revisions for block in self._blocks]
        kept[-1] = kept[-1][:]
        return _newest_first(kept, self.floor)

    def _event(self, revision: int, key: bytes) -> Event:
        return next(event for event in self.at(revision) if event[1] == key)

    # -- changing --------------------------------------------------------------------------------------------

    def deleted_at(self, key: bytes) -> int | None:
        """When `key`, which does not exist, was deleted, if that is kept."""
        return self._absent.get(key) if self._absent else None

    def all_deleted_at(self, keys: Iterable[bytes]) -> Iterator[int | None]:
        """deleted_at() of each, in less time."""
        return map(self._absent.get, keys) if self._absent else repeat(None)

    def add(self, events: list[Event]) -> bool:
        """The events of the next revision, at most one a key. What is too old or too much is dropped. Returns whether these
        were kept."""
        block = self._block
        block.revisions.append(events[0] if len(events) == 1 else events)
        if len(events) > MAX_EVENTS - BLOCK_EVENTS:
            self._count_too_many(events)
        elif len(events) > BLOCK_EVENTS:
            self._count_many(events)
        else:
            for event in events:
                self._count(event)
        if block.count >= BLOCK_EVENTS or block.bytes >= BLOCK_BYTES:
            self._begin_block()
        return block.first >= self.floor

    def add_one(self, event: Event) -> None:
        """The same for one that put a key."""
        block = self._block
        block.revisions.append(event)
        before = event[3]
        if type(before) is tuple:  # mostly
            block.count += 1
            block.bytes += EVENT_BYTES + len(event[1]) + len(before[0])
        else:
            self._count(event)
        if block.count >= BLOCK_EVENTS or block.bytes >= BLOCK_BYTES:
            self._begin_block()

    def add_puts(self, events: list[Event], size: int) -> None:
        """add_one() for each, in less time. `size`: the bytes of their keys and of what these held before."""
        at = 0
        while at < len(events):
            block = self._block
            some = events[at : at + BLOCK_EVENTS - block.count]
            if len(some) < len(events):
                size = sum([len(event[1]) for event in some])
                size += sum([len(event[3][0]) for event in some if type(event[3]) is tuple])
            if block.bytes + size + EVENT_BYTES * len(some) >= BLOCK_BYTES:  # the block ends among them
                for event in some:
                    self.add_one(event)
            else:
                self._add_to_block(some, size)
            at += len(some)

    def _add_to_block(self, puts: list[Event], size: int) -> None:
        block = self._block
        block.revisions += puts
        block.count += len(puts)
        block.bytes += size + EVENT_BYTES * len(puts)
        if self._absent:
            for event in puts:
                if type(event[3]) is not tuple:
                    self._absent.pop(event[1])
        if block.count >= BLOCK_EVENTS:
            self._begin_block()

    def _count(self, event: Event) -> None:
        block = self._block
        revision, key, item, before = event
        block.count += 1
        block.bytes += EVENT_BYTES + len(key)
        if type(before) is tuple:
            block.bytes += len(before[0])
        elif self._absent:
            self._absent.pop(key)
        if item is None:
            self._absent.set(key, revision)
            block.deleted.append((key, revision))

    def _count_many(self, events: list[Event]) -> None:
        """_count() for each, in less time if most are deletions."""
        block, revision, deleted = self._block, events[0][0], []
        for event in events:
            if event[2] is None and type(event[3]) is tuple:
                deleted.append(event[1])
                block.bytes += EVENT_BYTES + len(event[1]) + len(event[3][0])
            else:
                self._count(event)
        block.count += len(deleted)
        block.deleted += [(key, revision) for key in deleted]
        self._absent.set_all(sorted(deleted), [revision] * len(deleted))

    def _count_too_many(self, events: list[Event]) -> None:
        """They will leave at once, as all that is older: when they were deleted is nothing to remember."""
        self._block.count += len(events)
        for _, key, item, before in events:
            if item is not None and type(before) is int:
                self._absent.pop(key)

    def fill(self, events: Iterable[Event]) -> None:
        """Take over all the events of a history, in their order; `self` is empty."""
        block, last = self._block, 0
        for event in events:
            revision, key, item, before = event
            if revision != last:
                if block.count >= BLOCK_EVENTS or block.bytes >= BLOCK_BYTES:
                    self._begin_block()
                    block = self._block
                block.revisions.append(event)
                last = revision
            elif type(block.revisions[-1]) is list:
                block.revisions[-1].append(event)
            else:
                block.revisions[-1] = [block.revisions[-1], event]  # type: ignore[list-item]
            block.count += 1
            block.bytes += EVENT_BYTES + len(key) + (len(before[0]) if type(before) is tuple else 0)
            if item is None:
                block.deleted.append((key, revision))
        if block.count >= BLOCK_EVENTS or block.bytes >= BLOCK_BYTES:
            self._begin_block()

    def set_absent(self, deleted: Iterable[tuple[bytes, int]]) -> None:
        """Which keys do not exist now, and when they were deleted; a part of fill()."""
        for key, revision in deleted:
            self._absent.set(key, revision)

    def drop_before(self, revision: int) -> None:
        """Forget the events of the revisions before this one, as far as whole blocks of them go."""
        if len(self._blocks) > 1 and self._blocks[1].first <= revision:
            self.before_drop()
        while len(self._blocks) > 1 and self._blocks[1].first <= revision:
            self._drop_block()

    def drop_all(self) -> None:
        """Forget all events; the next one is the first."""
        if self:
            self.before_drop()
            self._block = _Block(self.newest + 1)
            self._blocks = deque([self._block])
            self._absent = SortedItems()
            self._stale.clear()
            self._events = self._bytes = 0

    def _begin_block(self) -> None:
        block = self._block
        self._events += block.count
        self._bytes += block.bytes
        self._block = _Block(block.first + len(block.revisions))
        self._blocks.append(self._block)
        if self._is_full:
            self.before_drop()
        while self._is_full:
            self._drop_block()
        self._forget_stale()

    @property
    def _is_full(self) -> bool:
        return self._events > MAX_EVENTS - BLOCK_EVENTS or self._bytes > MAX_BYTES - BLOCK_BYTES

    def _drop_block(self) -> None:
        block = self._blocks.popleft()
        self._events -= block.count
        self._bytes -= block.bytes
        self._stale += block.deleted

    def _forget_stale(self) -> None:
        """With each block some, for one may have very many: more than come with it."""
        for _ in range(min(2 * BLOCK_EVENTS, len(self._stale))):
            key, revision = self._stale.popleft()
            if self._absent.get(key) == revision:
                self._absent.pop(key)

    def clear(self) -> None:
        """Free it step by step."""
        while len(self._blocks) > 1:
            self._drop_block()
        self._absent.clear()
        self._stale.clear()


class HistoryRestorer:
    """Makes the history anew from its events, the newest first. They need not say what the key holds since: that is what
    the next event of the key has as `before`, or what it holds now (`item_now(key)`)."""

    def __init__(self, item_now: Callable[[bytes], Item | None]) -> None:
        self._item_now = item_now
        self._after: dict[bytes, Item | None] = {}  # what a key holds since the oldest event so far
        self._absent: list[tuple[bytes, int]] = []
        self._events: list[Event] = []  # the newest first

    def add(self, events: Iterable[tuple[int, bytes, Item | int | None]]) -> None:
        """(revision, key, before) of the next older events."""
        after, item_now, append = self._after, self._item_now, self._events.append
        for revision, key, before in events:
            if key in after:
                item = after[key]
            else:
                item = item_now(key)
                if item is None:
                    self._absent.append((key, revision))
            after[key] = before if type(before) is tuple else None
            append((revision, key, item, before))

    def finish(self, floor: int) -> History:
        """All events are added. `floor`: see History."""
        history = History(floor)
        history.set_absent(self._absent)
        history.fill(reversed(self._events))
        return history


def _events_of(events: Event | list[Event]) -> Sequence[Event]:
    return events if type(events) is list else (events,)  # type: ignore[return-value]


def _newest_first(blocks: list[list[Event | list[Event]]], floor: int) -> Iterator[Event]:
    for revisions in reversed(blocks):
        for events in reversed(revisions):
            if type(events) is tuple and type(events[3]) is tuple:  # mostly
                yield events
                continue
            for event in reversed(_events_of(events)):
                deleted = event[3]
                yield (*event[:3], None) if type(deleted) is int and deleted < floor else event


def _nothing() -> None:
    """Nobody needs to know."""
