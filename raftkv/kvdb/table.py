"""Table: a dict in many parts, so that no single step on it takes long however many keys it has.

A dict that is full copies itself into a larger one in one call, which holds the GIL all the time: with
1,400,000 keys for 0.1 s, and so for longer than the heartbeats of the node may wait. To free it takes as long.
A part is 64 times smaller.
"""

from __future__ import annotations

from typing import Generic, TypeVar

PARTS = 64

Item = TypeVar("Item")


class Table(Generic[Item]):
    """Items by key, in no order. Not thread-safe."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[dict[str, Item]] = [{} for _ in range(PARTS)]

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def part(self, key: str) -> dict[str, Item]:
        """The dict that holds `key`, if any does."""
        return self._parts[hash(key) % PARTS]

    def get(self, key: str) -> Item | None:
        return self._parts[hash(key) % PARTS].get(key)

    def clear(self) -> None:
        """Drop all items, part by part."""
        for part in self._parts:
            part.clear()
