"""The history of one key, prepared for the search.

The answered operations are numbered by the order of their answers. A *frontier* is a number of answers: at
frontier f the first f answers are behind us, and each of those operations has taken effect. Which others
have, of those that were invoked before answer f, is a small bit mask: at any moment an operation owns a bit
that no other open operation has. So (frontier, mask) stands for the set of all operations that have taken
effect, and stays small however long the history is.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple

from tests.linearizability.history import Operation
from tests.linearizability.model import ILLEGAL, OTHER, Effect, Values
from tests.linearizability.unanswered import Unanswered


class Window(NamedTuple):
    """What can take effect next at one frontier: the answered operations that were invoked before its answer,
    and not answered before.

    A put is *lost* where its value has expired and no answer is left that tells OTHER from anything: from
    there on every other state can do whatever OTHER can. So a lost put takes effect only where it costs
    nothing (in OTHER, or just before an operation that overwrites it), or when its answer is due. That
    changes no verdict.
    """

    bit: int  # of the operation whose answer comes next: once it has taken effect, the frontier moves on
    readers: list[tuple[int, Effect]]  # (bit, effect) of those that never change the state
    writers: list[tuple[int, int, int, Effect]]  # (bit, bit of the one before it, bits that it sets, effect)
    lost: int  # bits of the lost puts


class Problem:
    """What the search needs to know about one key."""

    def __init__(self, operations: Sequence[Operation], starts: Sequence[str | None] = (None,)) -> None:
        """`operations`: those of one key; failed ones are left out here. `starts`: the values that the key
        may have before the first of them (None: absent)."""
        self.answered = sorted((o for o in operations if o.outcome == "ok"), key=lambda o: o.returned)
        last = self.answered[-1].returned if self.answered else 0
        pending = [o for o in operations if o.outcome == "info" and o.invoked < last and _can_change(o)]
        self.values = _values(self.answered, pending)
        #: From this frontier on no answer tells OTHER from an absent key, or from the value that a cas
        #: expected.
        self.other_until = max((i for i, o in enumerate(self.answered, 1) if _tells_other(o)), default=0)
        effects: dict[tuple[object, ...], Effect] = {}
        for o in self.answered + pending:
            kind = _kind(o)
            if kind not in effects:
                effects[kind] = Effect(self.values, *kind)
        self._expiries = [self.values.expiry_of(o) for o in self.answered]
        self.windows, self.bits = self._windows([effects[_kind(o)] for o in self.answered])
        returned = [o.returned for o in self.answered]
        self.unanswered = Unanswered([(o, effects[_kind(o)]) for o in pending], self.values, returned)
        self.starts = sorted({self.values.state(value) for value in starts})

    def _windows(self, effects: Sequence[Effect]) -> tuple[list[Window], int]:
        """The window of each frontier (at the last one there is nothing left), and how many bits the masks
        have."""
        events = [(o.invoked, number) for number, o in enumerate(self.answered)]
        events += [(o.returned, number) for number, o in enumerate(self.answered)]
        windows: list[Window] = []
        bit_of: dict[int, int] = {}  # of the open operations, by number
        free: list[int] = []
        bits = 0
        for _, number in sorted(events):
            if number not in bit_of:
                if not free:
                    free, bits = [1 << bits], bits + 1
                bit_of[number] = heapq.heappop(free)
            else:
                windows.append(self._window(len(windows), bit_of, effects))
                heapq.heappush(free, bit_of.pop(number))
        return [*windows, Window(0, [], [], 0)], bits

    def _window(self, frontier: int, bit_of: dict[int, int], effects: Sequence[Effect]) -> Window:
        readers, writers, lost = [], [], 0
        latest: dict[object, int] = {}
        for number in sorted(bit_of):
            operation, effect, bit = self.answered[number], effects[number], bit_of[number]
            if _never_changes(operation):
                readers.append((bit, effect))
                continue
            expired = self._expiries[number] <= frontier
            if operation.f == "put" and expired and frontier >= self.other_until:
                lost |= bit
                readers.append((bit, _ONLY_IN_OTHER))
                if number != frontier:
                    continue
            same = OTHER if expired else id(effect)
            writers.append((bit, latest.get(same, 0), _overwrites(operation), effect))
            latest[same] = bit
        # The earliest answer last: it is tried first, being likely.
        writers = [
            (bit, after, bit | lost if overwrites else bit, effect)
            for bit, after, overwrites, effect in writers[::-1]
        ]
        return Window(bit_of[frontier], readers, writers, lost)


class _OnlyInOther(Effect):
    def __init__(self) -> None:
        dict.__init__(self, {OTHER: OTHER})

    def __missing__(self, state: int) -> int:
        return ILLEGAL


_ONLY_IN_OTHER = _OnlyInOther()


def _kind(operation: Operation) -> tuple[str, object, bool, object]:
    return operation.f, operation.value, operation.outcome == "ok", operation.result


def _never_changes(operation: Operation) -> bool:
    """The operation, as it was answered, leaves every state as it is: it can take effect as soon as it
    may."""
    same = operation.f == "cas" and operation.value[0] == operation.value[1]
    return operation.f == "get" or operation.result is False or same


def _overwrites(operation: Operation) -> bool:
    """It is possible in every state and leads to the same one from all of them."""
    return operation.f == "put" or (operation.f, operation.result) == ("delete", None)


def _can_change(operation: Operation) -> bool:
    """The unanswered operation can make a difference."""
    return operation.f != "get" and not (operation.f == "cas" and operation.value[0] == operation.value[1])


def _tells_other(operation: Operation) -> bool:
    return (operation.f, operation.result) in (("delete", True), ("cas", False))


def _values(answered: Sequence[Operation], pending: Sequence[Operation]) -> Values:
    last_seen: dict[str, int] = {}
    swaps = [o.value for o in pending if o.f == "cas"]
    for expected, _ in swaps:
        if expected is not None:
            last_seen[expected] = 0
    for number, operation in enumerate(answered, 1):
        seen = (
            operation.result if operation.f == "get" else operation.value[0] if operation.f == "cas" else None
        )
        if seen is not None:
            last_seen[seen] = number
    return Values(last_seen, swaps, any(o.f == "append" for o in [*answered, *pending]))
