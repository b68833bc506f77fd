"""SortedItems: items by key, in the order of the keys, with no step that takes long however many they are.

One dict would not do: it has no order, which ranges and snapshots need; and when it is full it copies itself
into a larger one in a single call, which holds the GIL: with 1,400,000 keys for 0.1 s, longer than heartbeats
may wait. To free it takes as long. One flat sorted list would move half of its elements at each new key.

So the items lie in many *leaves*, one after the other in the order of the keys; beside them is a list of each
one's last key. To find a key is a binary search for its leaf, and a look into the leaf's dict. A new key moves
at most the keys of one leaf. (The idea is that of the `sortedcontainers` package, and of a B-tree of two
levels.)
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from operator import lt
from typing import Generic, TypeVar

LEAF_KEYS = 500  # measured with 1,000,000 keys: 125 to 1000 cost the same, more costs more
_FEW = 8  # of a leaf: it costs less to change one by one

Item = TypeVar("Item")


class _Leaf(Generic[Item]):
    """`keys`, sorted, are those of `items`."""

    __slots__ = ("items", "keys")

    def __init__(self, keys: list[bytes], items: dict[bytes, Item]) -> None:
        self.keys, self.items = keys, items


class SortedItems(Generic[Item]):
    """Items by key, sorted as bytes. Not thread-safe.

    - `_last_keys[i]` is the last key of `_leaves[i]`; no leaf is empty.
    - Every leaf has at most 2 * LEAF_KEYS keys; two neighbours that a removal touched have more than
      LEAF_KEYS / 2 together, so that the number of leaves stays in proportion to the number of keys.
    """

    def __init__(self) -> None:
        self._leaves: list[_Leaf[Item]] = []
        self._last_keys: list[bytes] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def get(self, key: bytes) -> Item | None:
        place = bisect_left(self._last_keys, key)
        return self._leaves[place].items.get(key) if place < len(self._leaves) else None

    def holder(self, key: bytes) -> dict[bytes, Item]:
        """The dict that has the item of `key`, if there is one, which may be replaced there."""
        place = bisect_left(self._last_keys, key)
        return self._leaves[place].items if place < len(self._leaves) else {}

    def holders(self, keys: Iterable[bytes]) -> Iterator[dict[bytes, Item]]:
        """holder() of each, at the moment when it is asked for: between two of them, all may change."""
        last_keys, leaves = self._last_keys, self._leaves
        for key in keys:
            place = bisect_left(last_keys, key)
            yield leaves[place].items if place < len(leaves) else {}

    def count(self, start: bytes, end: bytes | None) -> int:
        """How many keys there are from `start` on and before `end` (None: to the last one)."""
        return max(0, (self._count if end is None else self._rank(end)) - self._rank(start))

    def _rank(self, key: bytes) -> int:
        """How many keys come before it."""
        place = bisect_left(self._last_keys, key)
        rank = sum([len(leaf.keys) for leaf in self._leaves[:place]])
        return rank + bisect_left(self._leaves[place].keys, key) if place < len(self._leaves) else rank

    def set(self, key: bytes, item: Item) -> Item | None:
        """Put `item` at `key`. Returns the one that was there."""
        last_keys = self._last_keys
        if not last_keys or key > last_keys[-1]:
            self.append_all([key], [item])
            return None
        place = bisect_left(last_keys, key)
        leaf = self._leaves[place]
        old = leaf.items.get(key)
        leaf.items[key] = item
        if old is None:
            insort(leaf.keys, key)
            self._count += 1
            if len(leaf.keys) > 2 * LEAF_KEYS:
                self._split(place)
        return old

    def follow(self, keys: Sequence[bytes]) -> bool:
        """Whether `keys`, of which there is one at least, rise and come after all that are here."""
        last_keys = self._last_keys
        if last_keys and keys[0] <= last_keys[-1]:
            return False
        return _rise(keys)

    def set_all(self, keys: Sequence[bytes], items: Sequence[Item]) -> None:
        """set() for each, in their order; in less time if they rise: leaf by leaf."""
        if not _rise(keys):
            for key, item in zip(keys, items):
                self.set(key, item)
            return
        at = 0
        while at < len(keys):
            place = bisect_left(self._last_keys, keys[at])
            if place == len(self._leaves):
                self.append_all(keys[at:], items[at:])
                return
            end = min(bisect_right(keys, self._last_keys[place], at), at + LEAF_KEYS)
            self._set_in_leaf(place, keys[at:end], items[at:end])
            at = end

    def _set_in_leaf(self, place: int, keys: Sequence[bytes], items: Sequence[Item]) -> None:
        """They rise, and are at most LEAF_KEYS."""
        if len(keys) < _FEW:
            for key, item in zip(keys, items):
                self.set(key, item)
            return
        leaf = self._leaves[place]
        leaf.items.update(zip(keys, items))
        more = len(leaf.items) - len(leaf.keys)
        if more:
            self._count += more
            leaf.keys = sorted(leaf.items)
            if len(leaf.keys) > 2 * LEAF_KEYS:
                self._split(place)

    def pop(self, key: bytes) -> Item | None:
        """Remove `key`. Returns its item; None if there is none."""
        place = bisect_left(self._last_keys, key)
        leaf = self._leaves[place] if place < len(self._leaves) else None
        if leaf is None or key not in leaf.items:
            return None
        self._count -= 1
        keys = leaf.keys
        del keys[bisect_left(keys, key)]
        item = leaf.items.pop(key)
        self._shrunk(place)
        return item

    def pop_all(self, keys: list[bytes]) -> list[Item]:
        """pop() for each of `keys`, which rise and are all here; in less time: leaf by leaf."""
        popped: list[Item] = []
        at = 0
        while at < len(keys):
            place = bisect_left(self._last_keys, keys[at])
            leaf = self._leaves[place]
            end = bisect_right(keys, self._last_keys[place], at)
            part = keys[at:end]
            popped += map(leaf.items.pop, part)
            start = bisect_left(leaf.keys, part[0])
            if leaf.keys[start : start + len(part)] == part:  # mostly
                del leaf.keys[start : start + len(part)]
            elif len(part) < _FEW:
                for key in part:
                    del leaf.keys[bisect_left(leaf.keys, key)]
            else:
                leaf.keys = [key for key in leaf.keys if key in leaf.items]
            self._shrunk(place)
            at = end
        self._count -= len(keys)
        return popped

    def _shrunk(self, place: int) -> None:
        """That leaf has lost keys."""
        keys = self._leaves[place].keys
        if len(keys) <= LEAF_KEYS // 2 and len(self._leaves) > 1:
            self._merge(place)
        elif keys:
            self._last_keys[place] = keys[-1]
        else:
            del self._leaves[place], self._last_keys[place]

    def iterate(self, start: bytes = b"") -> Iterator[tuple[bytes, Item]]:
        """(key, item) from `start` on, in order. Nothing must change while the iterator is in use."""
        place = bisect_left(self._last_keys, start)
        for leaf in self._leaves[place : place + 1]:
            for key in leaf.keys[bisect_left(leaf.keys, start) :]:
                yield key, leaf.items[key]
        for at in range(place + 1, len(self._leaves)):
            leaf = self._leaves[at]
            for key in leaf.keys:
                yield key, leaf.items[key]

    def clear(self) -> None:
        """Remove all, leaf by leaf."""
        self._last_keys.clear()
        self._count = 0
        while self._leaves:
            self._leaves.pop()

    def append_all(self, keys: Sequence[bytes], items: Sequence[Item]) -> None:
        """Put `items` at `keys`, which follow(), in less time than set_all() takes."""
        start = 0
        while start < len(keys):
            if not self._leaves or len(self._leaves[-1].keys) >= LEAF_KEYS:
                self._leaves.append(_Leaf([], {}))
                self._last_keys.append(b"")
            leaf = self._leaves[-1]
            end = start + LEAF_KEYS - len(leaf.keys)
            leaf.keys += keys[start:end]
            leaf.items.update(zip(keys[start:end], items[start:end]))
            self._last_keys[-1] = leaf.keys[-1]
            start = end
        self._count += len(keys)

    def _split(self, place: int) -> None:
        leaf = self._leaves[place]
        half = len(leaf.keys) // 2
        left, right = (
            _Leaf(keys, {k: leaf.items[k] for k in keys}) for keys in (leaf.keys[:half], leaf.keys[half:])
        )
        self._leaves[place : place + 1] = [left, right]
        self._last_keys.insert(place, left.keys[-1])

    def _merge(self, place: int) -> None:
        """Join a leaf that became short with a neighbour, and halve the two when that is too long."""
        at = max(place - 1, 0)
        left, right = self._leaves[at], self._leaves.pop(at + 1)
        left.keys += right.keys
        left.items.update(right.items)
        self._last_keys[at : at + 2] = [left.keys[-1]]
        if len(left.keys) > 2 * LEAF_KEYS:
            self._split(at)


def _rise(keys: Sequence[bytes]) -> bool:
    return all(map(lt, keys, islice(keys, 1, None)))
