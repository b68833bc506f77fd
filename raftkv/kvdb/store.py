"""The database as a deterministic state machine: keys, values, revisions and client sessions.

The same commands in the same order give the same state and the same answers on every server: there is no
clock, no chance and no order that depends on hashes in here. Commands come from the log (see requests.py for
their form), so what they do is final; reads look at the state as it is.

A store has no lock of its own. Its user holds one lock round every call, also round each next_chunk() of a
snapshot; nothing here does I/O or runs long.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from raftkv.errors import ForeignDataError, InvariantError
from raftkv.kvdb.limits import KEY_BYTES, MAX_SCAN_BYTES, MAX_SCAN_ROWS, utf8_size
from raftkv.kvdb.operations import Batch, Put, Write
from raftkv.kvdb.outcomes import Outcome, ok
from raftkv.kvdb.requests import of_entry, why_unknown
from raftkv.kvdb.session_table import Sessions
from raftkv.kvdb.snapshot_view import FORMAT, Item, KeysView, SnapshotView
from raftkv.kvdb.sorted_items import SortedItems
from raftkv.raft.types import COMMAND, Entry, unknown_entry

ROW_BYTES = 24  # of a snapshot, about: a key's beside its text, or a remembered outcome's

_encode_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class Store:
    """The state after the commands applied so far. Not thread-safe: one lock round all calls."""

    def __init__(self) -> None:
        self._items: SortedItems[Item] = SortedItems()
        self._sessions = Sessions()
        self._bytes = 0  # of the items
        self._views: list[KeysView] = []  # to be told of each change
        self._snapshot_is_open = False
        self.written: Outcome = ok(0)  # of the command that is being applied

    # -- writing ---------------------------------------------------------------------------------------------

    def apply(self, index: int, data: Sequence[Any], operation: Write | None = None) -> Outcome:
        """Carry out the command `data` of the log entry `index`, once. `operation` is what of_entry() makes of
        it, if the caller has that. Never raises for data that was checked before it came into the log."""
        if operation is None:
            operation = of_entry(data)
        self.written = ok(index)
        if not operation.numbered:
            return operation.apply(self)
        client, seq, acked = data[:3]
        outcome = self._sessions.recall(client, seq, acked, operation.operations)
        if outcome is None:
            outcome = operation.apply(self)
            self._sessions.remember(client, seq, outcome)
        return outcome

    def apply_entries(self, entries: Sequence[Entry]) -> None:
        """Carry out the commands among them. Raises ForeignDataError at one that this version does not know."""
        commands = [entry for entry in entries if entry.kind == COMMAND]
        try:
            self._apply_commands(commands)
        except Exception:
            for entry in commands:
                why = why_unknown(entry)
                if why:
                    raise unknown_entry(entry, why) from None
            raise  # a bug

    def _apply_commands(self, entries: Sequence[Entry]) -> None:
        """Puts that follow each other, alone or in batches, are put in one go, and no objects are made of them: that
        takes much less time, which is most of what a restart takes."""
        recall, remember = self._sessions.recall, self._sessions.remember
        keys: list[str] = []
        items: list[Item] = []
        for entry in entries:
            data, index = entry.data, entry.index
            if data[3] == Put.name:
                client, seq, acked, _, key, value = data
                if recall(client, seq, acked, 1) is None:
                    keys.append(key)
                    items.append((value, index))
                    remember(client, seq, ok(index))
            elif data[3] == Batch.name and {write[0] for write in data[4]} == {Put.name}:
                client, seq, acked, _, puts = data
                if recall(client, seq, acked, len(puts)) is None:
                    keys += [key for _, key, _ in puts]
                    items += [(value, index) for _, _, value in puts]
                    remember(client, seq, ok([ok(index)] * len(puts)))
            else:
                self._put_items(keys, items)
                keys, items = [], []
                self.apply(index, data)
        self._put_items(keys, items)

    # What operations do; only apply() calls these.

    def put(self, key: str, value: str) -> None:
        """Set it, with the revision of this command."""
        old = self._items.set(key, (value, self.written[1]))
        for view in self._views:
            view.keep(key, old)
        self._bytes += len(value) if value.isascii() else utf8_size(value)
        if old is None:
            self._bytes += KEY_BYTES + utf8_size(key)
        else:
            before = old[0]
            self._bytes -= len(before) if before.isascii() else utf8_size(before)

    def put_all(self, keys: Sequence[str], values: Sequence[str]) -> None:
        """put() for each, in their order."""
        revision = self.written[1]
        self._put_items(keys, [(value, revision) for value in values])

    def _put_items(self, keys: Sequence[str], items: Sequence[Item]) -> None:
        if not keys:
            return
        before = self._items.set_all(keys, items)
        for view in self._views:
            for key, item in zip(keys, before):
                view.keep(key, item)
        self._bytes += _size_of([value for value, _ in items])
        self._bytes -= _size_of([item[0] for item in before if item is not None])
        new = [key for key, item in zip(keys, before) if item is None]
        self._bytes += KEY_BYTES * len(new) + _size_of(new)

    def delete(self, key: str) -> bool:
        """Remove it. Returns whether it was there."""
        item = self._items.pop(key)
        if item is None:
            return False
        for view in self._views:
            view.keep(key, item)
        self._bytes -= KEY_BYTES + utf8_size(key) + utf8_size(item[0])
        return True

    def register(self) -> None:
        """Begin the session of the client that has this command's index as its id."""
        self._sessions.register(self.written[1])

    @property
    def data_bytes(self) -> int:
        """About the memory that the state takes, in bytes; the same on every server."""
        return self._bytes + self._sessions.data_bytes

    @property
    def snapshot_bytes(self) -> int:
        """About the size that a snapshot of it would have, if nothing in it must be escaped."""
        keys = len(self._items)
        return self._bytes + (ROW_BYTES - KEY_BYTES) * keys + self._sessions.results * ROW_BYTES

    # -- reading ---------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """How many keys there are."""
        return len(self._items)

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
        for key, (value, revision) in self._items.iterate(max(prefix, start)):
            if not key.startswith(prefix):
                break
            room -= utf8_size(key) + utf8_size(value)
            if len(rows) == most or (room < 0 and rows):
                return rows, True
            rows.append((key, value, revision))
        return rows, False

    # -- snapshots -------------------------------------------------------------------------------------------

    def begin_snapshot(self) -> SnapshotView:
        """Fix the state as it is now, for dumping it in chunks while the store goes on. Takes about a
        millisecond whatever the store holds. Only one may be open at a time; close() it in the end."""
        if self._snapshot_is_open:
            raise InvariantError("a snapshot view is already open: close it before the next one")
        self._snapshot_is_open = True
        return SnapshotView(self._sessions.begin_snapshot(), self.begin_view(), self._end_snapshot)

    def begin_view(self) -> KeysView:
        """Fix the keys and values as they are now, for reading them in chunks while the store goes on. Any
        number may be open; close() each in the end."""
        view = KeysView(self._items, self._views.remove)
        self._views.append(view)
        return view

    def _end_snapshot(self) -> None:
        self._snapshot_is_open = False
        self._sessions.end_snapshot()

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
                store._restore_rows(rows)
            elif kind == "sessions":
                store._sessions.restore_rows(rows)
            else:
                raise ForeignDataError(f"the snapshot holds records of an unknown kind, {kind!r}")
        return store

    def _restore_rows(self, rows: Sequence[Sequence[Any]]) -> None:
        keys, values = [key for key, _, _ in rows], [value for _, value, _ in rows]
        self._items.set_all(keys, [(value, revision) for _, value, revision in rows])
        self._bytes += KEY_BYTES * len(keys) + _size_of(keys) + _size_of(values)

    def clear(self) -> None:
        """Free what the store holds, step by step: to drop a large one in one go would hold the GIL."""
        self._items.clear()
        self._sessions.clear()
        self._bytes = 0


def _size_of(texts: Sequence[str]) -> int:
    """utf8_size() of them together: joined, for that is quicker than one by one."""
    return utf8_size("".join(texts))


def encode_record(record: list[Any]) -> bytes:
    """A record of a snapshot as a line of JSON. Thread-safe; needs no lock."""
    return _encode_json(record).encode() + b"\n"
