"""Keyspace: keys, what they hold, and the one counter of revisions; etcd's data model, in memory.

An empty database is at revision 1. Each command that changes a key makes the next revision, however many keys it
changes: it begins with the first change, and ends with commit() or rollback(). A key has the revisions that created
and last changed it, the number of its versions since it was created, and the lease that it hangs on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from operator import itemgetter
from typing import Callable, Protocol

from raftkv.kvdb.history import Event, History, Item
from raftkv.kvdb.leases import Leases
from raftkv.kvdb.limits import KEY_BYTES
from raftkv.kvdb.sorted_items import SortedItems


class Observer(Protocol):
    """Who must know what a key held before it changes: a view."""

    def keep(self, key: bytes, item: Item | None) -> None: ...


FIRST = 2  # the revision of the first change
MANY_KEYS = 5000  # that are changed at once: some 10 ms of work
_RUN_KEYS = 5000  # between pauses
_FEW = 8  # that it costs less to put one by one


class Keyspace:
    """Not thread-safe. `revision`: of the last command that changed anything. `bytes`: about the memory that the keys
    take."""

    def __init__(self) -> None:
        self.revision = 1
        self.compacted = 0  # the revision of the last compact()
        self.history = History(floor=FIRST)
        self.leases = Leases()
        self.bytes = 0
        self.observers: list[Observer] = []
        self.pause: Callable[[], object] = _no_pause  # lets other threads run in the middle of a long command
        self.items: SortedItems[Item] = SortedItems()
        self._events: list[Event] = []  # of the command that is being carried out

    def __len__(self) -> int:
        return len(self.items)

    # -- reading ---------------------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        """The revision that a reader sees: in the middle of a command that changed something it is the next."""
        return self.revision + 1 if self._events else self.revision

    @property
    def compact_revision(self) -> int:
        """What is older cannot be read any more; 0 while all of it can. What is now can be read in any case."""
        floor = self.history.floor
        return self.compacted if floor == FIRST else max(self.compacted, min(floor, self.revision))

    def get(self, key: bytes) -> Item | None:
        return self.items.get(key)

    def get_at(self, key: bytes, revision: int) -> Item | None:
        """What `key` held at a revision that can be read. Not in the middle of a command."""
        return self.history.item_at(key, revision, self.items.get(key))

    def range(self, start: bytes, end: bytes | None) -> Iterator[tuple[bytes, Item]]:
        """(key, item) from `start` on and before `end` (None: to the last one), in order. Nothing may change
        meanwhile."""
        for key, item in self.items.iterate(start):
            if end is not None and key >= end:
                return
            yield key, item

    def range_at(self, start: bytes, end: bytes | None, revision: int) -> Iterator[tuple[bytes, Item]]:
        """The same as of a revision that can be read. Not in the middle of a command."""
        now = ((key, item) for key, item in self.items.iterate(start))
        for key in _merged((key for key, _ in now), self.history.absent_keys(start)):
            if end is not None and key >= end:
                return
            item = self.get_at(key, revision)
            if item is not None:
                yield key, item

    # -- changing --------------------------------------------------------------------------------------------

    def put(self, key: bytes, value: bytes, lease: int = 0) -> Item | None:
        """Set it. `lease` exists, or is 0. Returns what was there before."""
        before = self.items.get(key)
        self._events.append(self._set(key, value, lease))
        return before

    def put_alone(self, key: bytes, value: bytes) -> int:
        """The same as a command that does nothing else, without a lease. Returns its revision."""
        holder = self.items.holder(key)
        before = holder.get(key)
        if before is None or before[4] or self.observers:
            event = self._set(key, value, 0)
            self.revision = revision = event[0]
        else:  # mostly
            self.revision = revision = self.revision + 1
            holder[key] = item = (value, before[1], revision, before[3] + 1, 0)
            self.bytes += len(value) - len(before[0])
            event = (revision, key, item, before)
        self.history.add_one(event)
        return revision

    def put_all(self, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """put_alone() for each, in their order, in less time."""
        if len(keys) < _FEW:
            for key, value in zip(keys, values):
                self.put_alone(key, value)
            return
        events, held = (self._put_next if self.items.follow(keys) else self._put_each)(keys, values)
        self.revision = events[-1][0]
        self.history.add_puts(events, sum(map(len, keys)) + held)

    def _put_next(self, keys: Sequence[bytes], values: Sequence[bytes]) -> tuple[list[Event], int]:
        """Keys that rise, and come after all that are here. Returns also how many bytes they held before."""
        items: list[Item] = [
            (value, revision, revision, 1, 0) for revision, value in enumerate(values, self.revision + 1)
        ]
        self.items.append_all(keys, items)
        for observer in self.observers:
            for key in keys:
                observer.keep(key, None)
        self.bytes += KEY_BYTES * len(keys) + sum(map(len, keys)) + sum(map(len, values))
        revisions = map(itemgetter(2), items)
        return list(zip(revisions, keys, items, self.history.all_deleted_at(keys))), 0

    def _put_each(self, keys: Sequence[bytes], values: Sequence[bytes]) -> tuple[list[Event], int]:
        revision, held, grown = self.revision, 0, 0
        events: list[Event] = []
        for key, value, holder in zip(keys, values, self.items.holders(keys)):
            revision += 1
            before = holder.get(key)
            if before is None or before[4] or self.observers:
                self.revision = revision - 1
                events.append(self._set(key, value, 0))
            else:  # mostly
                holder[key] = item = (value, before[1], revision, before[3] + 1, 0)
                grown += len(value) - len(before[0])
                events.append((revision, key, item, before))
            if before is not None:
                held += len(before[0])
        self.bytes += grown
        return events, held

    def _set(self, key: bytes, value: bytes, lease: int) -> Event:
        revision = self.revision + 1
        holder = self.items.holder(key)
        before = holder.get(key)
        if before is None:
            item: Item = (value, revision, revision, 1, lease)
            self.items.set(key, item)
            event: Event = (revision, key, item, self.history.deleted_at(key))
            self.bytes += KEY_BYTES + len(key) + len(value)
            if lease:
                self.leases.move(key, 0, lease)
        else:
            holder[key] = item = (value, before[1], revision, before[3] + 1, lease)
            event = (revision, key, item, before)
            self.bytes += len(value) - len(before[0])
            if lease != before[4]:
                self.leases.move(key, before[4], lease)
        for observer in self.observers:
            observer.keep(key, before)
        return event

    def delete(self, key: bytes) -> Item | None:
        """Remove it. Returns what was there."""
        before = self.items.pop(key)
        if before is not None:
            self._events.append((self.revision + 1, key, None, before))
            self.bytes -= KEY_BYTES + len(key) + len(before[0])
            if before[4]:
                self.leases.move(key, before[4], 0)
            for observer in self.observers:
                observer.keep(key, before)
        return before

    def delete_all(self, keys: Iterable[bytes]) -> int:
        """delete() for each of `keys`, which rise and are all here, in less time; with pauses, if there are many. Returns
        how many there were."""
        count, keys = 0, iter(keys)
        while run := list(islice(keys, _RUN_KEYS)):
            if count:
                self.pause()
            self._delete_run(run)
            count += len(run)
        return count

    def _delete_run(self, keys: list[bytes]) -> None:
        revision, items = self.revision + 1, self.items.pop_all(keys)
        self._events += [(revision, key, None, item) for key, item in zip(keys, items)]
        self.bytes -= KEY_BYTES * len(keys) + sum(map(len, keys)) + sum([len(item[0]) for item in items])
        for key, item in zip(keys, items):
            if item[4]:
                self.leases.move(key, item[4], 0)
        for observer in self.observers:
            for key, item in zip(keys, items):
                observer.keep(key, item)

    def commit(self) -> int:
        """The command is over: what it changed has one revision. Returns the revision."""
        events = self._events
        if events:
            self._events = []
            self.revision += 1
            if not self.history.add(events):
                self._free(events)
        return self.revision

    def _free(self, events: list[Event]) -> None:
        """Step by step: very many in one go would hold the GIL."""
        while events:
            del events[-_RUN_KEYS:]

    def rollback(self) -> None:
        """Undo what the command changed: it was refused."""
        for count, (_, key, item, before) in enumerate(reversed(self._events), 1):
            if count % _RUN_KEYS == 0:
                self.pause()
            lease = item[4] if item is not None else 0
            if type(before) is tuple:
                self.items.set(key, before)
                self.leases.move(key, lease, before[4])
                self.bytes += len(before[0]) - len(item[0]) if item else KEY_BYTES + len(key) + len(before[0])
            elif item is not None:
                self.items.pop(key)
                self.leases.move(key, lease, 0)
                self.bytes -= KEY_BYTES + len(key) + len(item[0])
        self._events = []

    def compact(self, revision: int) -> None:
        """Forget what is older than `revision`, which is after compact_revision and not after the newest one."""
        self.history.drop_before(revision)
        self.compacted = revision

    def jump(self, revision: int) -> None:
        """From now on the revision is this one, which is higher, and all before it is compacted."""
        before_drop = self.history.before_drop
        self.history.clear()
        self.history = History(floor=revision + 1)
        self.history.before_drop = before_drop
        self.revision = self.compacted = revision

    def restore(self, key: bytes, item: Item) -> None:
        """A key that is not there comes back, as it was: no revision is made. Its lease exists, or is 0."""
        for observer in self.observers:
            observer.keep(key, None)
        self.items.set(key, item)
        self.bytes += KEY_BYTES + len(key) + len(item[0])
        if item[4]:
            self.leases.move(key, 0, item[4])

    def clear(self) -> None:
        """Free it step by step: to drop a large one in one go would hold the GIL."""
        self.items.clear()
        self.history.clear()
        self.bytes = 0


def _no_pause() -> None:
    """Nobody else needs to run."""


def _merged(one: Iterator[bytes], other: Iterator[bytes]) -> Iterator[bytes]:
    """The keys of both, which have none in common, in order."""
    a, b = next(one, None), next(other, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a < b):
            yield a  # type: ignore[misc]
            a = next(one, None)
        else:
            yield b
            b = next(other, None)
