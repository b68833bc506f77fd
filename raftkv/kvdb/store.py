"""The database as a deterministic state machine: keys, values, revisions and client sessions.

The same commands in the same order give the same state and the same answers on every server: there is no
clock, no chance and no order that depends on hashes in here. Commands come from the log (see commands.py for
their form), so what they do is final; reads look at the state as it is.

A store has no lock of its own. Its user holds one lock round every call, also round each next_chunk() of a
snapshot; nothing here does I/O or runs long.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, Callable

from raftkv.errors import ForeignDataError
from raftkv.kvdb.commands import MAX_SCAN_BYTES, MAX_SCAN_ROWS, MAX_VALUE_BYTES, utf8_size
from raftkv.kvdb.index import SortedKeys
from raftkv.kvdb.session_table import VALUE_TOO_LARGE, Answer, Outcome, Sessions, answer_of

FORMAT = 1  # of the snapshot's records
CHUNK_CHARS = 128 * 1024  # of keys and values in a chunk, so that encoding it holds the GIL for a moment only

Item = tuple[str, int]  # a key's value and revision

_encode_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class Store:
    """The state after the commands applied so far. Not thread-safe: one lock round all calls."""

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}
        self._keys = SortedKeys()  # the keys of _items
        self._sessions = Sessions()
        self._view: SnapshotView | None = None

    # -- writing ---------------------------------------------------------------------------------------------

    def apply(self, index: int, data: Sequence[Any]) -> Answer:
        """Carry out the command `data` of the log entry `index`, once.

        Lists in it may as well be tuples: as a client sent them, or as JSON brings them back. Returns
        (True, result), or (False, (code, message, detail)) for one that is refused. Never raises for data
        that passed commands.validate(). Anything else raises: a server that does not know a command must
        stop, for if it went on its state would no longer be that of the others.
        """
        op = data[3]
        if op == "register":
            self._sessions.register(index)
            return True, index
        client, seq, acked = data[:3]
        answer = self._sessions.recall(client, seq, acked, len(data[4]) if op == "batch" else 1)
        if answer is not None:
            return answer
        outcome: Outcome
        if op == "batch":
            outcome = [_OPERATIONS[operation[0]](self, index, *operation[1:]) for operation in data[4]]
        else:
            outcome = _OPERATIONS[op](self, index, *data[4:])
        self._sessions.remember(client, seq, outcome)
        return answer_of(outcome)

    def _put(self, index: int, key: str, value: str) -> Outcome:
        old = self._items.get(key)
        if self._view is not None:
            self._view.keep(key, old)
        if old is None:
            self._keys.add(key)
        self._items[key] = (value, index)
        return index

    def _append(self, index: int, key: str, value: str) -> Outcome:
        item = self._items.get(key)
        if item is not None:
            value = item[0] + value
            if utf8_size(value) > MAX_VALUE_BYTES:
                return VALUE_TOO_LARGE
        return self._put(index, key, value)

    def _delete(self, index: int, key: str) -> Outcome:
        item = self._items.pop(key, None)
        if item is None:
            return False
        if self._view is not None:
            self._view.keep(key, item)
        self._keys.remove(key)
        return True

    def _cas(self, index: int, key: str, expected: str | None, value: str) -> Outcome:
        item = self._items.get(key)
        if (None if item is None else item[0]) != expected:
            return False
        self._put(index, key, value)
        return True

    # -- reading ---------------------------------------------------------------------------------------------

    def get(self, key: str) -> Item | None:
        """The key's (value, revision), or None when there is no such key."""
        return self._items.get(key)

    def scan(self, prefix: str, start: str, limit: int | None) -> tuple[list[tuple[str, str, int]], bool]:
        """A page of the keys that begin with `prefix`, from `start` on, sorted by code point.

        Returns ([(key, value, revision), …], more). A page ends at `limit` keys, at MAX_SCAN_ROWS, or before
        the key that would take it beyond MAX_SCAN_BYTES, but never before its first. `more` says that the
        range goes on: ask again from the last key + "\\0", the next string in the order of code points.
        """
        most = MAX_SCAN_ROWS if limit is None else min(limit, MAX_SCAN_ROWS)
        rows: list[tuple[str, str, int]] = []
        room = MAX_SCAN_BYTES
        for key in self._keys.iterate(max(prefix, start)):
            if not key.startswith(prefix):
                break
            value, revision = self._items[key]
            room -= utf8_size(key) + utf8_size(value)
            if len(rows) == most or (room < 0 and rows):
                return rows, True
            rows.append((key, value, revision))
        return rows, False

    # -- snapshots -------------------------------------------------------------------------------------------

    def begin_snapshot(self) -> SnapshotView:
        """Fix the state as it is now, for dumping it in chunks while the store goes on. Takes about a
        millisecond whatever the store holds. Only one view may be open at a time; close() it in the end."""
        assert self._view is None, "a snapshot view is already open: close it before the next one"
        self._view = SnapshotView(self)
        return self._view

    @classmethod
    def restore(cls, records: Iterable[Sequence[Any]]) -> Store:
        """The store that a snapshot's records describe, all of them in their order.

        Raises ForeignDataError when they are of another format version.
        """
        store = cls()
        records = iter(records)
        first = list(next(records, []))
        if first != ["store", FORMAT]:
            raise ForeignDataError(
                f"the snapshot's content begins with {first!r}, and this version of raftkv reads only "
                f"{['store', FORMAT]!r}: start the version that wrote it"
            )
        for kind, rows in records:
            if kind == "kv":
                for key, value, revision in rows:
                    store._put(revision, key, value)
            elif kind == "sessions":
                store._sessions.restore_rows(rows)
            else:
                raise ForeignDataError(f"the snapshot holds records of an unknown kind, {kind!r}")
        return store


_OPERATIONS: dict[str, Callable[..., Outcome]] = {
    "put": Store._put,
    "append": Store._append,
    "delete": Store._delete,
    "cas": Store._cas,
}


class SnapshotView:
    """A store as it was when its begin_snapshot() was called, dumped in chunks while the store changes.

    The keys are dumped in their order. The first write to a key that is still to come leaves its item of
    before here (its pre-image; None: there was none), which is dumped in place of the one that is then in the
    store.

    Not thread-safe: every call is made under the lock that guards the store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._begun = False
        self._session_rows = store._sessions.begin_snapshot()
        self._position = ""  # the keys up to this one are dumped
        self._kept: dict[str, Item | None] = {}  # pre-images of keys beyond _position

    def keep(self, key: str, item: Item | None) -> None:
        """The store is about to change `key`, which has `item`."""
        if key > self._position and key not in self._kept:
            self._kept[key] = item

    def next_chunk(self, n: int) -> list[list[Any]]:
        """The next records, of about `n` keys or remembered results (fewer when they are large).

        [] when everything is dumped. A record is plain data that never changes: encode it outside the lock,
        with encode_record().
        """
        if not self._begun:
            self._begun = True
            return [["store", FORMAT]]
        record = self._next_sessions(n) or self._next_keys(n) or self._next_deleted(n)
        return [record] if record else []

    def close(self) -> None:
        """End the view, dumped to its end or not, and drop what it kept. Closing it again does nothing."""
        self._detach()
        self._session_rows = iter(())
        self._kept.clear()

    def _detach(self) -> None:
        if self._store._view is self:
            self._store._view = None
            self._store._sessions.end_snapshot()

    def _next_sessions(self, n: int) -> list[Any]:
        rows: list[list[Any]] = []
        while n > 0:
            row = next(self._session_rows, None)
            if row is None:
                break
            rows.append(row)
            n -= len(row[2]) if isinstance(row[-1], list) else 1  # a batch's results are a list
        return ["sessions", rows] if rows else []

    def _next_keys(self, n: int) -> list[Any]:
        if self._store._view is not self:
            return []
        rows: list[tuple[Any, ...]] = []
        room = CHUNK_CHARS
        key = ""
        for key in islice(self._store._keys.iterate(self._position + "\0"), n):
            item = self._kept.pop(key) if key in self._kept else self._store._items[key]
            if item is not None:
                rows.append((key, *item))
                room -= len(key) + len(item[0])
                if room <= 0:
                    break
        if not key:
            self._detach()  # all keys are dumped; what the store does from here on is not seen here
            return []
        self._position = key
        return ["kv", rows]

    def _next_deleted(self, n: int) -> list[Any]:
        """Keys deleted since the snapshot began, so that the walk through the store's keys missed them."""
        if not self._kept:
            return []
        rows: list[tuple[Any, ...]] = []
        room = CHUNK_CHARS
        while self._kept and n > 0 and room > 0:
            key, item = self._kept.popitem()
            n -= 1
            if item is not None:
                rows.append((key, *item))
                room -= len(key) + len(item[0])
        return ["kv", rows]


def encode_record(record: list[Any]) -> bytes:
    """A record of a snapshot as a line of JSON. Thread-safe; needs no lock."""
    return _encode_json(record).encode() + b"\n"
