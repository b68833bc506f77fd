"""Leases: which there are, and which keys hang on each. A key goes when its lease ends.

*When* a lease ends is not said here: that is the leader's to say, by its clock (see lease_clock.py), and comes as
an entry of the log.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Protocol

RUN_KEYS = 5000  # that are sorted in one go
_SAMPLE = 100  # one of so many says where to cut


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
        self.keys: dict[bytes, None] = {}  # mostly put in their order, in which they are sorted in no time

    def sorted_keys(self) -> Iterator[bytes]:
        """Its keys, in order, as they are now. However many they are, no step of it takes long."""
        keys = iter(self.keys)
        runs = []
        while run := sorted(islice(keys, RUN_KEYS)):
            runs.append(run)
        return _merged(runs)


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
        """The lease is over; its keys are deleted with it."""
        lease = self._leases.pop(id)
        if self.observer is not None:
            self.observer.ended(lease)

    def move(self, key: bytes, before: int, after: int) -> None:
        """`key`, which hung on the lease `before`, hangs on `after` from now on; 0 is none."""
        if before in self._leases:
            self._leases[before].keys.pop(key, None)
        if after:
            self._leases[after].keys[key] = None


def _merged(runs: Sequence[Sequence[bytes]]) -> Iterator[bytes]:
    """The keys of sorted runs, in order: cut at the same keys into pieces of about RUN_KEYS together, each of which is sorted.
    (To merge them one by one takes three times as long.)"""
    sample = sorted(key for run in runs for key in run[::_SAMPLE])
    starts = [0] * len(runs)
    for cut in sample[RUN_KEYS // _SAMPLE :: RUN_KEYS // _SAMPLE]:
        ends = [bisect_left(run, cut) for run in runs]
        yield from sorted(chain.from_iterable(run[a:b] for run, a, b in zip(runs, starts, ends)))
        starts = ends
    yield from sorted(chain.from_iterable(run[a:] for run, a in zip(runs, starts)))
