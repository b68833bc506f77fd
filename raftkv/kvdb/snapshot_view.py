"""Views: a store as it was at one moment, read in chunks while the store goes on.

A view walks through the keys in their order. The first write to a key that is still to come leaves its item
of before in the view (its pre-image; None: there was none), which is read in place of the one that is then in
the store. So to begin a view takes a moment whatever the store holds, and a view keeps no more than what
changed since.

Not thread-safe: every call is made under the lock that guards the store.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Callable

from raftkv.kvdb.outcomes import results_in
from raftkv.kvdb.sorted_items import SortedItems

FORMAT = 2  # of a snapshot's records
CHUNK_CHARS = 128 * 1024  # of keys and values in a chunk, so that encoding it holds the GIL for a moment only

Item = tuple[str, int]  # a key's value and revision
Row = tuple[str, str, int]  # key, value, revision


class KeysView:
    """The keys and their items as they were when this was made.

    `items` are the store's, as they are now. `on_end(self)` is called once, when the view no longer needs to
    be told of changes.
    """

    def __init__(self, items: SortedItems[Item], on_end: Callable[[KeysView], None]) -> None:
        self._items, self._on_end = items, on_end
        self._walking = True  # the walk through the store's keys is not at its end
        self._position = ""  # the keys up to this one are read
        self._kept: dict[str, Item | None] = {}  # pre-images of keys beyond _position

    @property
    def kept(self) -> int:
        """How many pre-images it holds."""
        return len(self._kept)

    def keep(self, key: str, item: Item | None) -> None:
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
        key = ""
        for key, now in islice(self._items.iterate(self._position + "\0"), n):
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


class SnapshotView:
    """All of a store as it was at one moment, as the records of a snapshot.

    `session_rows` describe the sessions; `on_end()` is called once, when they no longer need to be kept.
    """

    def __init__(self, session_rows: Iterator[list[Any]], keys: KeysView, on_end: Callable[[], None]) -> None:
        self._session_rows, self._keys, self._on_end = session_rows, keys, on_end
        self._begun = self._ended = False

    @property
    def kept(self) -> int:
        """How many pre-images of keys it holds."""
        return self._keys.kept

    def next_chunk(self, n: int) -> list[list[Any]]:
        """The next records, of about `n` keys or remembered results (fewer when they are large).

        [] when everything is dumped. A record is plain data that never changes: encode it outside the lock,
        with encode_record().
        """
        if not self._begun:
            self._begun = True
            return [["store", FORMAT]]
        session_rows = self._next_sessions(n)
        if session_rows:
            return [["sessions", session_rows]]
        rows = self._keys.next_rows(n)
        if rows is None:
            self._end()
            return []
        return [["kv", rows]]

    def close(self) -> None:
        """End the view, dumped to its end or not, and drop what it kept. Closing it again does nothing."""
        self._begun = True
        self._session_rows = iter(())
        self._keys.close()
        self._end()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._on_end()

    def _next_sessions(self, n: int) -> list[list[Any]]:
        rows: list[list[Any]] = []
        while n > 0:
            row = next(self._session_rows, None)
            if row is None:
                break
            rows.append(row)
            n -= results_in(row[2]) if len(row) == 3 else 1
        return rows
