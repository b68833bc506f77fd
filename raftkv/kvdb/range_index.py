"""RangeIndex: who is interested in a key, among many who each named a range of keys.

Single keys are looked up. Ranges are in an interval tree, which is a sorted list: the middle of a stretch is the root of
its tree, and beside each place stands the greatest end of the tree there. A question costs about log n, and what it finds.
The tree is built anew when many ranges have come or gone: until then new ones wait in a short list, and those that are gone
keep their places.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from raftkv.kvdb.limits import MAX_KEY_BYTES
from raftkv.kvdb.ranges import end_of

_BEYOND = b"\xff" * (MAX_KEY_BYTES + 2)  # after each key
_FEW = 64  # ranges that may wait; with many, a sixteenth of them

T = TypeVar("T")


class _Range(Generic[T]):
    """`member`: None if it is gone."""

    __slots__ = ("end", "member", "start")

    def __init__(self, start: bytes, end: bytes, member: T) -> None:
        self.start, self.end = start, end
        self.member: T | None = member


class RangeIndex(Generic[T]):
    """Not thread-safe. Members are hashable; of each there is one at a time."""

    def __init__(self) -> None:
        self._keys: dict[bytes, list[T]] = {}  # of single keys
        self._by_member: dict[T, _Range[T]] = {}
        self._new: list[_Range[T]] = []
        self._tree: list[_Range[T]] = []  # by their starts
        self._last_ends: list[bytes] = []

    def add(self, key: bytes, end: bytes, member: T) -> None:
        """`member` is interested in this range; see ranges.py."""
        if not end:
            self._keys.setdefault(key, []).append(member)
            return
        self._by_member[member] = new = _Range(key, end_of(key, end) or _BEYOND, member)
        self._new.append(new)
        if len(self._new) > max(_FEW, len(self._tree) // 16):
            self._build()

    def remove(self, key: bytes, end: bytes, member: T) -> None:
        """It is no more."""
        if end:
            self._by_member.pop(member).member = None
            if len(self._tree) + len(self._new) > 2 * (_FEW + len(self._by_member)):
                self._build()
            return
        self._keys[key].remove(member)
        if not self._keys[key]:
            del self._keys[key]

    def find(self, key: bytes) -> list[T]:
        """All that are interested in `key`."""
        found = [*self._keys.get(key, ())]
        if self._tree:
            self._search(0, len(self._tree), key, found)
        for each in self._new:
            if each.start <= key < each.end and each.member is not None:
                found.append(each.member)
        return found

    def _build(self) -> None:
        self._new = []
        self._tree = sorted(self._by_member.values(), key=lambda each: each.start)
        self._last_ends = [b""] * len(self._tree)
        self._note_ends(0, len(self._tree))

    def _note_ends(self, low: int, high: int) -> bytes:
        """The greatest end from the place `low` on and before `high`."""
        if low == high:
            return b""
        middle = (low + high) // 2
        last = max(self._tree[middle].end, self._note_ends(low, middle), self._note_ends(middle + 1, high))
        self._last_ends[middle] = last
        return last

    def _search(self, low: int, high: int, key: bytes, found: list[T]) -> None:
        if low == high:
            return
        middle = (low + high) // 2
        if self._last_ends[middle] <= key:
            return
        self._search(low, middle, key, found)
        here = self._tree[middle]
        if here.start <= key:
            if key < here.end and here.member is not None:
                found.append(here.member)
            self._search(middle + 1, high, key, found)
