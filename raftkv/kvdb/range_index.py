"""RangeIndex: who is interested in a key, among many who each named a range of keys.

Single keys are looked up. Ranges are in an interval tree, which is a sorted list: the middle of a stretch is the root of
its tree, and beside each place stands the greatest end of the tree there. A question costs about log n, and what it finds.
New ranges wait in a short list, so that many that come one by one do not each build the tree anew.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from raftkv.kvdb.limits import MAX_KEY_BYTES
from raftkv.kvdb.ranges import end_of

_BEYOND = b"\xff" * (MAX_KEY_BYTES + 2)  # after each key
_FEW = 64  # ranges that may wait; with many, a sixteenth of them

T = TypeVar("T")


class RangeIndex(Generic[T]):
    """Not thread-safe. Of each member there is one at a time."""

    def __init__(self) -> None:
        self._keys: dict[bytes, list[T]] = {}  # of single keys
        self._new: list[tuple[bytes, bytes, T]] = []  # start, end, member
        self._ranges: list[tuple[bytes, bytes, T]] = []  # by their starts
        self._last_ends: list[bytes] = []

    def add(self, key: bytes, end: bytes, member: T) -> None:
        """`member` is interested in this range; see ranges.py."""
        if not end:
            self._keys.setdefault(key, []).append(member)
            return
        self._new.append((key, end_of(key, end) or _BEYOND, member))
        if len(self._new) > max(_FEW, len(self._ranges) // 16):
            self._build([*self._ranges, *self._new])

    def remove(self, key: bytes, end: bytes, member: T) -> None:
        """It is no more."""
        if not end:
            self._keys[key].remove(member)
            if not self._keys[key]:
                del self._keys[key]
            return
        for at, (_, _, each) in enumerate(self._new):
            if each is member:
                del self._new[at]
                return
        self._build([each for each in (*self._ranges, *self._new) if each[2] is not member])

    def find(self, key: bytes) -> list[T]:
        """All that are interested in `key`."""
        found = [*self._keys.get(key, ())]
        if self._ranges:
            self._search(0, len(self._ranges), key, found)
        found += [member for start, end, member in self._new if start <= key < end]
        return found

    def _build(self, ranges: list[tuple[bytes, bytes, T]]) -> None:
        self._new = []
        self._ranges = sorted(ranges, key=lambda each: each[0])
        self._last_ends = [b""] * len(ranges)
        self._note_ends(0, len(ranges))

    def _note_ends(self, low: int, high: int) -> bytes:
        """The greatest end from the place `low` on and before `high`."""
        if low == high:
            return b""
        middle = (low + high) // 2
        last = max(self._ranges[middle][1], self._note_ends(low, middle), self._note_ends(middle + 1, high))
        self._last_ends[middle] = last
        return last

    def _search(self, low: int, high: int, key: bytes, found: list[T]) -> None:
        if low == high:
            return
        middle = (low + high) // 2
        if self._last_ends[middle] <= key:
            return
        self._search(low, middle, key, found)
        start, end, member = self._ranges[middle]
        if start <= key:
            if key < end:
                found.append(member)
            self._search(middle + 1, high, key, found)
