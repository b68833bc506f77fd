"""The database as a deterministic state machine: the keyspace and the client sessions.

The same commands in the same order give the same state and the same answers on every server: there is no
clock, no chance and no order that depends on hashes in here. Commands come from the log (see requests.py for
their form), so what they do is final; reads look at the state as it is.

A store has no lock of its own. Its user holds one lock round every call, also round each next_chunk() of a
snapshot; nothing here does I/O or runs long.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from raftkv.errors import ForeignDataError, InvariantError
from raftkv.kvdb.history import HistoryRestorer, Item
from raftkv.kvdb.keyspace import MANY_KEYS, Keyspace
from raftkv.kvdb.limits import KEY_BYTES
from raftkv.kvdb.operation import Read, Write, encode_all
from raftkv.kvdb.outcomes import Outcome
from raftkv.kvdb.requests import of_entry, why_unknown
from raftkv.kvdb.session_table import Sessions
from raftkv.kvdb.snapshot_view import FORMAT, KeysView, SnapshotView, events_of, items_of
from raftkv.kvdb.writes import Put
from raftkv.raft.types import COMMAND, Entry, unknown_entry

_MAY_TAKE_LONG = (b'"delete"', b'"txn"', b'"lease_')  # in an entry's line: a quick look
ROW_BYTES = 24  # of a snapshot, about: a key's beside its text, or a remembered outcome's


class Store:
    """The state after the commands applied so far. `applied`: the index of the last one. Not thread-safe: one lock round
    all calls."""

    def __init__(self) -> None:
        self.applied = 0
        self.data = Keyspace()
        self.sessions = Sessions()
        self._snapshot_is_open = False

    def __len__(self) -> int:
        """How many keys there are."""
        return len(self.data)

    def apply(self, index: int, data: Sequence[Any], operation: Write | None = None) -> Outcome:
        """Carry out the command `data` of the log entry `index`, once. `operation` is what of_entry() makes of
        it, if the caller has that. Never raises for data that was checked before it came into the log."""
        if operation is None:
            operation = of_entry(data)
        self.applied = index
        if not operation.numbered:
            return operation.apply(self.data, index)
        name, birth, seq, acked = data[:4]
        outcome = self.sessions.recall(index, name, birth, seq, acked)
        if outcome is None:
            outcome = operation.apply(self.data, index)
            self.sessions.remember(name, seq, outcome)
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
        """Puts that follow each other are put in one go, for that takes less time."""
        sessions, data = self.sessions, self.data
        keys: list[str] = []
        values: list[str] = []
        for entry in entries:
            command, index = entry.data, entry.index
            if len(command) == 7 and command[4] == Put.name:
                name, birth, seq, acked, _, key, value = command
                if sessions.recall(index, name, birth, seq, acked) is None:
                    keys.append(key)
                    values.append(value)
                    sessions.remember(name, seq, (True, data.revision + len(keys)))
                self.applied = index
            else:
                data.put_all(encode_all(keys), encode_all(values))
                keys, values = [], []
                self.apply(index, command)
        data.put_all(encode_all(keys), encode_all(values))

    def takes_long(self, entries: Sequence[Entry]) -> bool:
        """Whether to carry out the commands among them changes many keys at once, however short they are."""
        if len(self.data) <= MANY_KEYS:
            return False
        lines = b"".join([entry.line for entry in entries])
        if not any(word in lines for word in _MAY_TAKE_LONG):  # mostly
            return False
        few = [entry for entry in entries if any(word in entry.line for word in _MAY_TAKE_LONG)]
        try:
            operations = [of_entry(entry.data) for entry in few if entry.kind == COMMAND]
        except Exception:
            return False  # apply_entries() says what is wrong with it
        return sum([operation.work(self.data) for operation in operations]) > MANY_KEYS

    def read(self, operation: Read) -> Outcome:
        """The answer of the state as it is."""
        return operation.read(self.data)

    @property
    def data_bytes(self) -> int:
        """About the memory that the state takes, in bytes, without its history, which is bounded; the same on
        every server."""
        return self.data.bytes + self.sessions.data_bytes

    @property
    def snapshot_bytes(self) -> int:
        """About the size that a snapshot of it would have, if nothing in it must be escaped."""
        keys = len(self.data)
        return (
            self.data.bytes
            + (ROW_BYTES - KEY_BYTES) * keys
            + self.sessions.data_bytes
            + self.data.history.size
        )

    # -- snapshots -------------------------------------------------------------------------------------------

    def begin_snapshot(self) -> SnapshotView:
        """Fix the state as it is now, for dumping it in chunks while the store goes on. Takes about a
        millisecond whatever the store holds. Only one may be open at a time; close() it in the end."""
        if self._snapshot_is_open:
            raise InvariantError("a snapshot view is already open: close it before the next one")
        self._snapshot_is_open = True
        return SnapshotView(
            [self.applied, self.sessions.horizon],
            self.sessions.begin_snapshot(),
            self.data,
            self.begin_view(),
            self._end_snapshot,
        )

    def begin_view(self) -> KeysView:
        """Fix the keys and values as they are now, for reading them in chunks while the store goes on. Any
        number may be open; close() each in the end."""
        view = KeysView(self.data.items, self.data.observers.remove)
        self.data.observers.append(view)
        return view

    def _end_snapshot(self) -> None:
        self._snapshot_is_open = False
        self.sessions.end_snapshot()

    @classmethod
    def restore(cls, records: Iterable[Sequence[Any]]) -> Store:
        """The store that a snapshot's records describe, all of them in their order.

        Raises ForeignDataError when they are of another format version.
        """
        store = cls()
        records = iter(records)
        first = list(next(records, []))
        if first[:2] != ["store", FORMAT]:
            raise ForeignDataError(
                f"the snapshot's content begins with {first[:2]!r}, and this version of raftkv reads only "
                f"{['store', FORMAT]!r}: start the version that wrote it"
            )
        data = store.data
        store.applied, store.sessions.horizon, data.revision, data.compacted, floor = first[2:]
        history = HistoryRestorer(data.items.get)
        for kind, rows, *columns in records:
            if kind == "kv":
                store._restore_items(encode_all(rows), items_of(*columns))
            elif kind == "sessions":
                store.sessions.restore_rows(rows)
            elif kind == "leases":
                for row in rows:
                    data.leases.grant(*row)
            elif kind == "history":
                history.add(events_of(rows, *columns))
            else:
                raise ForeignDataError(f"the snapshot holds records of an unknown kind, {kind!r}")
        data.history = history.finish(floor)
        return store

    def _restore_items(self, keys: list[bytes], items: list[Item]) -> None:
        data = self.data
        data.items.set_all(keys, items)
        # Bytes are counted, and leases looked for, in one go: that is quicker than one by one.
        size = sum(map(len, keys)) + sum([len(item[0]) for item in items])
        data.bytes += KEY_BYTES * len(keys) + size
        for key, lease in [(key, item[4]) for key, item in zip(keys, items) if item[4]]:
            data.leases.move(key, 0, lease)

    def clear(self) -> None:
        """Free what the store holds, step by step: to drop a large one in one go would hold the GIL."""
        self.data.clear()
        self.sessions.clear()
