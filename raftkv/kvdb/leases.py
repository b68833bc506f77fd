"""Leases: which there are, and which keys hang on each. A key goes when its lease ends.

*When* a lease ends is not said here: that is the leader's to say, by its clock (see lease_clock.py), and comes as
an entry of the log.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import islice
from typing import Protocol

RUN_KEYS = 5000  # that are sorted in one go


class Observer(Protocol):
    """Who must know which leases there are: the keeper of a leader's clock."""

    def granted(self, lease: Lease) -> None: ...

    def ended(self, lease: Lease) -> None: ...


class Lease:
    """`ttl`: in seconds. `granted_at`: the index of the entry that granted it, which no other lease has, not even a later one of
    the same id."""

    __slots__ = ("granted_at", "id", "keys", "ttl")

    def __init__(self, id: int, ttl: int, granted_at: int) -> None:
        self.id, self.ttl, self.granted_at = id, ttl, granted_at
        self.keys: set[bytes] = set()

    def sorted_keys(self) -> Iterator[bytes]:
        """Its keys, in order, as they are now. However many they are, no step of it takes long."""
        keys = iter(self.keys)
        runs = []
        while run := sorted(islice(keys, RUN_KEYS)):
            runs.append(run)
        return iter(runs[0]) if len(runs) == 1 else heapq.merge(*runs)


class Leases:
    """Not thread-safe."""

    def __init__(self) -> None:
        self._leases: dict[int, Lease] = {}
        self.observer: Observer | None = None

    def __len__(self) -> int:
        return len(self._leases)

    def __contains__(self, id: int) -> bool:
        return id in self._leases

    def get(self, id: int) -> Lease | None:
        return self._leases.get(id)

    def all(self) -> list[Lease]:
        """In the order of their grants."""
        return list(self._leases.values())

    def grant(self, id: int, ttl: int, index: int) -> None:
        """A new lease, by the log entry `index`; `ttl` in seconds."""
        lease = self._leases[id] = Lease(id, ttl, index)
        if self.observer is not None:
            self.observer.granted(lease)

    def end(self, id: int) -> None:
        """The lease, which has no keys any more, is over."""
        lease = self._leases.pop(id)
        if self.observer is not None:
            self.observer.ended(lease)

    def move(self, key: bytes, before: int, after: int) -> None:
        """`key`, which hung on the lease `before`, hangs on `after` from now on; 0 is none."""
        if before in self._leases:
            self._leases[before].keys.discard(key)
        if after:
            self._leases[after].keys.add(key)
