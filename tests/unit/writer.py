"""A client of a Store without servers: for tests of what commands do."""

from __future__ import annotations

import json
from typing import Any

from raftkv.kvdb.requests import entry_of, of_entry, of_request
from raftkv.kvdb.snapshot_view import encode_record
from raftkv.kvdb.store import Store
from raftkv.raft.types import COMMAND, Entry


def rest_of(view: Any, n: int = 1000) -> list[bytes]:
    """The lines of a snapshot, from where its view is."""
    lines: list[bytes] = []
    while records := view.next_chunk(n):
        lines += map(encode_record, records)
    view.close()
    return lines


def dump(store: Store, n: int = 1000) -> list[bytes]:
    return rest_of(store.begin_snapshot(), n)


def restore(lines: list[bytes]) -> Store:
    return Store.restore(map(json.loads, lines))


class Writer:
    """One client of a store. Calling it carries out a write by way of the log, and gives the outcome."""

    def __init__(self, store: Store | None = None, name: str = "one") -> None:
        self.store = store or Store()
        self.name, self.index, self.seq = name, max(1, self.store.applied), 0

    def __call__(self, op: str, *args: Any) -> Any:
        self.index += 1
        self.seq += 1
        request = (self.name, 1, self.seq, self.seq, *args)
        operation = of_request(op, request)
        operation.check()
        entry = json.loads(json.dumps(entry_of(operation, request)))  # type: ignore[arg-type]
        assert of_entry(entry).plain() == operation.plain(), "the log has another operation"
        return self.store.apply(self.index, entry)

    def apply_together(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        """Writes that a follower is given at once. Returns their outcomes."""
        entries, first = [], self.seq + 1
        for op, *args in commands:
            self.index += 1
            self.seq += 1
            request = (self.name, 1, self.seq, first, *args)
            data = entry_of(of_request(op, request), request)  # type: ignore[arg-type]
            entries.append(Entry.create(self.index, 1, COMMAND, data))
        self.store.apply_entries(entries)
        return [
            self.store.sessions.recall(self.index, self.name, 1, seq, first)
            for seq in range(first, self.seq + 1)
        ]

    def read(self, op: str, *args: Any) -> Any:
        operation = of_request(op, args)
        operation.check()
        return self.store.read(operation)  # type: ignore[arg-type]

    def value(self, key: bytes) -> bytes | None:
        item = self.store.data.get(key)
        return item and item[0]

    def restart(self) -> None:
        """Go on with the store that a snapshot of this one makes."""
        self.store = restore(dump(self.store))
