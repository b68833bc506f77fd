"""Views: a store as it was at one moment, read in chunks while the store goes on.

A view walks through the keys in their order. The first write to a key that is still to come leaves its item
of before in the view (its pre-image; None: there was none), which is read in place of the one that is then in
the store. So to begin a view takes a moment whatever the store holds, and a view keeps no more than what
changed since.

Not thread-safe: every call is made under the lock that guards the store.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, repeat
from typing import Any, Callable

from raftkv.kvdb.history import Event, Item
from raftkv.kvdb.keyspace import Keyspace
from raftkv.kvdb.operation import decode_all, encode_all
from raftkv.kvdb.outcomes import to_plain
from raftkv.kvdb.ranges import Row
from raftkv.kvdb.sorted_items import SortedItems

FORMAT = 4  # of a snapshot's records
CHUNK_CHARS = 128 * 1024  # of keys and values in a chunk, so that encoding it holds the GIL for a moment only

_encode_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class KeysView:
    """The keys and their items as they were when this was made.

    `items` are the store's, as they are now. `on_end(self)` is called once, when the view no longer needs to
    be told of changes.
    """

    def __init__(self, items: SortedItems[Item], on_end: Callable[[KeysView], None]) -> None:
        self._items, self._on_end = items, on_end
        self._walking = True  # the walk through the store's keys is not at its end
        self._position = b""  # the keys up to this one are read
        self._kept: dict[bytes, Item | None] = {}  # pre-images of keys beyond _position

    @property
    def kept(self) -> int:
        """How many pre-images it holds."""
        return len(self._kept)

    def keep(self, key: bytes, item: Item | None) -> None:
        """The store is about to change `key`, which has `item`."""
        if key > self._position and key not in self._kept:
            self._kept[key] = item

    def next_rows(self, n: int) -> list[Row] | None:
        """The next rows: of about `n` keys, fewer when they are large, none by chance. None: that was all.

        Those of keys that were deleted meanwhile come last.
        """
        rows = self._next_keys(n) if self._walking else None
        return rows if rows is not None else self._next_deleted(n)

    def close(self) -> None:
        """End the view, read to its end or not, and drop what it kept. Closing it again does nothing."""
        self._end_walk()
        while self._kept:  # one by one: to free a million in one go would hold the GIL
            self._kept.popitem()

    def _end_walk(self) -> None:
        if self._walking:
            self._walking = False
            self._on_end(self)

    def _next_keys(self, n: int) -> list[Row] | None:
        rows: list[Row] = []
        room = CHUNK_CHARS
        key = b""
        for key, now in islice(self._items.iterate(self._position + b"\0"), n):
            item = self._kept.pop(key) if key in self._kept else now
            if item is not None:
                rows.append((key, *item))
                room -= len(key) + len(item[0])
                if room <= 0:
                    break
        if not key:
            self._end_walk()  # all keys are read; what the store does from here on is not seen here
            return None
        self._position = key
        return rows

    def _next_deleted(self, n: int) -> list[Row] | None:
        """Keys deleted since the view began, so that the walk through the store's keys missed them."""
        if not self._kept:
            return None
        rows: list[Row] = []
        room = CHUNK_CHARS
        while self._kept and n > 0 and room > 0:
            key, item = self._kept.popitem()
            n -= 1
            if item is not None:
                rows.append((key, *item))
                room -= len(key) + len(item[0])
        return rows


_Part = tuple[str, Iterator[Any], Callable[[Any], int]]  # kind of its records, rows, about how large one is


class SnapshotView:
    """All of a store as it was at one moment, as the records of a snapshot.

    `session_rows` describe the sessions, `numbers` are what else the store has; `on_end()` is called once, when the
    sessions no longer need to be kept.
    """

    def __init__(
        self,
        numbers: list[int],
        session_rows: Iterator[list[Any]],
        data: Keyspace,
        keys: KeysView,
        on_end: Callable[[], None],
    ) -> None:
        self._keys, self._on_end = keys, on_end
        history = data.history
        self._first: list[Any] | None = [
            "store", FORMAT, *numbers, data.revision, data.compact_revision, history.floor
        ]  # fmt: skip
        leases = [(lease.id, lease.ttl, lease.granted_at) for lease in data.leases.all()]
        self._parts: list[_Part] = [("sessions", session_rows, _size), ("leases", iter(leases), len)]
        self._last: _Part = ("history", data.history.newest_first(), _event_size)
        self._ended = False

    @property
    def kept(self) -> int:
        """How many pre-images of keys it holds."""
        return self._keys.kept

    def next_chunk(self, n: int) -> list[list[Any]]:
        """The next records, of about `n` rows (fewer when they are large).

        [] when everything is dumped. A record is plain data that never changes: encode it outside the lock,
        with encode_record().
        """
        if self._first is not None:
            first, self._first = self._first, None
            return [first]
        while self._parts:
            kind, rows, size = self._parts[0]
            chunk = _chunk(rows, n, size)
            if chunk:
                return [[kind, chunk]]
            self._parts.pop(0)
        if self._ended:
            return []
        items = self._keys.next_rows(n)
        if items is not None:
            return [["kv", items]]
        self._end()
        self._parts = [self._last]
        return self.next_chunk(n)

    def close(self) -> None:
        """End the view, dumped to its end or not, and drop what it kept. Closing it again does nothing."""
        self._first, self._parts, self._last = None, [], ("history", iter(()), len)
        self._keys.close()
        self._end()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._on_end()


def _chunk(rows: Iterator[Any], n: int, size: Callable[[Any], int]) -> list[Any]:
    """The next rows, about `n`, fewer when they are large."""
    chunk: list[Any] = []
    room = CHUNK_CHARS
    for row in rows:
        chunk.append(row)
        room -= size(row)
        if len(chunk) >= n or room <= 0:
            break
    return chunk


def _size(row: Any) -> int:
    if type(row) is bytes:
        return len(row)
    return 16 + sum(map(_size, row)) if type(row) is tuple or type(row) is list else 0


def _event_size(event: Event) -> int:
    _, key, _, before = event
    return len(key) + (len(before[0]) if type(before) is tuple else 0)


# -- records as JSON -----------------------------------------------------------------------------------------


def encode_record(record: list[Any]) -> bytes:
    """A record of a snapshot as a line of JSON; keys and events column by column, which takes less time. Thread-safe; needs no
    lock."""
    kind, rows, *_ = record
    if kind == "kv":
        record = [kind, decode_all([row[0] for row in rows]), *_columns([row[1:] for row in rows])]
    elif kind == "history":
        record = [kind, *_event_columns(rows)]
    elif kind == "sessions":
        record = [kind, [_plain_session(row) for row in rows]]
    return _encode_json(record).encode() + b"\n"


def _plain_session(row: list[Any]) -> list[Any]:
    return [*row[:2], to_plain(row[2])] if len(row) == 3 else row


def _columns(items: Sequence[Any]) -> list[Any]:
    """[values, mod_revisions, create_revisions, versions, leases]. A column of equal numbers is that number; the
    create_revisions are null if they are the mod_revisions."""
    values, creates, mods, versions, leases = zip(*items) if items else ((),) * 5
    created = None if creates == mods else _short(creates)
    return [_texts(values), _short(mods), created, _short(versions), _short(leases)]


def items_of(values: Sequence[Any], mods: Any, creates: Any, versions: Any, leases: Any) -> list[Any]:
    """What _columns() made columns of."""
    mods = _long(mods)
    creates = mods if creates is None else _long(creates)
    return list(zip(_bytes(values), creates, mods, _long(versions), _long(leases)))


def _event_columns(events: Sequence[Event]) -> list[Any]:
    """[revisions, keys, and of what they held before the columns of _columns()]. Where the key did not exist the value is null, and
    the mod_revision that of its deletion, or null if that is not kept."""
    revisions, keys, _, befores = zip(*events)
    items = [each if type(each) is tuple else (None, each, each, 0, 0) for each in befores]
    return [revisions, decode_all(keys), *_columns(items)]


def events_of(revisions: Sequence[int], keys: Sequence[str], *columns: Any) -> Iterator[Any]:
    """What _event_columns() has of events: (revision, key, before)."""
    befores = items_of(*columns)
    if None in columns[0]:
        befores = [each if each[0] is not None else each[2] for each in befores]
    return zip(revisions, encode_all(keys), befores)


def _short(column: Sequence[Any]) -> Any:
    return column[0] if column and column.count(column[0]) == len(column) else column


def _long(column: Any) -> Iterable[Any]:
    return column if type(column) is list else repeat(column)


def _texts(values: Sequence[Any]) -> list[Any]:
    if None in values:
        return [None if value is None else value.decode("utf-8", "surrogateescape") for value in values]
    return decode_all(values)


def _bytes(texts: Sequence[Any]) -> list[Any]:
    if None in texts:
        return [None if text is None else text.encode("utf-8", "surrogateescape") for text in texts]
    return encode_all(texts)
