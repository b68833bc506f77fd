"""Keys in order: what a dict cannot give, and `scan` and snapshots need.

One flat sorted list would move half of its elements at each new key. So the keys are kept in many short
sorted lists, one after the other, and beside them a list of each one's last key. Finding a place is two
binary searches; a new key moves at most one short list. (The idea is that of the `sortedcontainers` package.)
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator

SUBLIST_KEYS = 500  # measured with 1,000,000 keys: 125 to 1000 cost the same, more costs more


class SortedKeys:
    """A set of strings, sorted by code point. Not thread-safe.

    The caller knows which keys are in it: add() is for new keys and remove() for present ones only.

    - `_last_keys[i]` is `_sublists[i][-1]`; no sublist is empty.
    - Every sublist has at most 2 * SUBLIST_KEYS keys; two neighbours that a removal touched have more than
      SUBLIST_KEYS / 2 together, so that the number of sublists stays in proportion to the number of keys.
    """

    def __init__(self) -> None:
        self._sublists: list[list[str]] = []
        self._last_keys: list[str] = []

    def add(self, key: str) -> None:
        """Add `key`, which must not be in the set."""
        last_keys = self._last_keys
        if not last_keys:
            self._sublists.append([key])
            last_keys.append(key)
            return
        if key > last_keys[-1]:  # the common case of rising keys
            place = -1
            sublist = self._sublists[-1]
            sublist.append(key)
            last_keys[-1] = key
        else:
            place = bisect_left(last_keys, key)
            sublist = self._sublists[place]
            insort(sublist, key)
        if len(sublist) > 2 * SUBLIST_KEYS:
            self._split(place % len(last_keys))

    def add_all(self, keys: Iterable[str]) -> None:
        """Add `keys`, none of which may be in the set. Quick for those that come after all that are in it."""
        rising = sorted(keys)
        if not rising or (self._last_keys and rising[0] <= self._last_keys[-1]):
            for key in rising:
                self.add(key)
            return
        for start in range(0, len(rising), SUBLIST_KEYS):
            sublist = rising[start : start + SUBLIST_KEYS]
            self._sublists.append(sublist)
            self._last_keys.append(sublist[-1])

    def clear(self) -> None:
        """Remove all keys, sublist by sublist: to free a million at once would hold the GIL."""
        while self._sublists:
            self._sublists.pop().clear()
        self._last_keys.clear()

    def remove(self, key: str) -> None:
        """Remove `key`, which must be in the set."""
        place = bisect_left(self._last_keys, key)
        sublist = self._sublists[place]
        del sublist[bisect_left(sublist, key)]
        if len(sublist) <= SUBLIST_KEYS // 2 and len(self._sublists) > 1:
            self._merge(place)
        elif sublist:
            self._last_keys[place] = sublist[-1]
        else:
            del self._sublists[place], self._last_keys[place]

    def iterate(self, start: str = "") -> Iterator[str]:
        """The keys from `start` on, in order. The set must not change while the iterator is in use."""
        place = bisect_left(self._last_keys, start)
        if place == len(self._last_keys):
            return
        sublist = self._sublists[place]
        yield from sublist[bisect_left(sublist, start) :]
        for sublist in self._sublists[place + 1 :]:
            yield from sublist

    def _split(self, place: int) -> None:
        sublist = self._sublists[place]
        half = len(sublist) // 2
        self._sublists[place : place + 1] = [sublist[:half], sublist[half:]]
        self._last_keys.insert(place, sublist[half - 1])

    def _merge(self, place: int) -> None:
        """Join a sublist that became short with a neighbour, and halve the two when that is too long."""
        left = max(place - 1, 0)
        merged = self._sublists[left] + self._sublists[left + 1]
        self._sublists[left : left + 2] = [merged]
        self._last_keys[left : left + 2] = [merged[-1]]
        if len(merged) > 2 * SUBLIST_KEYS:
            self._split(left)
