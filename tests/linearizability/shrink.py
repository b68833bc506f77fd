"""From a history that has no order to a few operations that have none: the offending sub-history.

A sub-history keeps the answers of some operations, and is contradictory whatever the others did:

* Operations that were answered before the first kept one was invoked are left out. The key may have any value
  that they can have left.
* Of the other operations that are not kept only the answer is taken away: each may take effect at any time
  after its invoke, or never.

Both only allow more orders. So where a sub-history has none, the whole has none: the kept operations are a
proof. They are also found faster than the whole is searched, because few values matter in them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tests.linearizability.history import Operation
from tests.linearizability.problem import Problem
from tests.linearizability.search import VIOLATION, Search

PATIENCE = 5_000  # configurations without getting further; then a sub-history counts as not contradictory


class Contradiction(NamedTuple):
    """A sub-history without an order."""

    kept: list[Operation]  # in the order of their invokes
    last: Operation  # the one of them whose answer no order gets past
    from_start: bool  # nothing on this key was answered before, so it began absent


def find_contradiction(
    operations: Sequence[Operation], stuck: Operation, deadline: float
) -> Contradiction | None:
    """Look in ever longer stretches of history that end with the answer of `stuck`, which no order got past.

    `operations`: all of one key, by invoke. None if nothing was found by `deadline` (time.monotonic()).
    """
    others = [o for o in operations if o.outcome == "ok" and o.invoked < stuck.returned and o != stuck]
    length = 0
    while time.monotonic() < deadline:
        kept = sorted([*others[len(others) - length :], stuck], key=lambda o: o.invoked)
        found = contradiction(operations, kept, deadline)
        if found or length == len(others):
            return found
        length = min(2 * length + 1, len(others))
    return None


def shrink(operations: Sequence[Operation], found: Contradiction, deadline: float) -> Contradiction:
    """A contradiction of fewest operations: it takes all of them (unless `deadline` came before that was
    shown)."""
    chunk = len(found.kept)
    while chunk:
        start, before = 0, len(found.kept)
        while start < len(found.kept) and time.monotonic() < deadline:
            less = found.kept[:start] + found.kept[start + chunk :]
            smaller = contradiction(operations, less, deadline) if less else None
            if smaller:
                found = smaller
            else:
                start += chunk
        if chunk > 1 or len(found.kept) == before:
            chunk //= 2
    return found


def contradiction(
    operations: Sequence[Operation], kept: Sequence[Operation], deadline: float
) -> Contradiction | None:
    """The sub-history that keeps the answers of `kept`, if it has no order."""
    begin = kept[0].invoked
    end = max(o.returned for o in kept)
    answers = {o.invoked for o in kept}
    earlier = [o for o in operations if o.returned < begin and o.outcome == "ok"]
    others = [o for o in operations if o.invoked < end and o.returned > begin]
    history = [o if o.invoked in answers else o.weakened() for o in others if o.outcome != "fail"]
    starts = possible_values(operations, history, begin) if earlier else [None]
    search = Search(Problem(history, starts))
    if search.run(PATIENCE, deadline) != VIOLATION:
        return None
    last = sorted(kept, key=lambda o: o.returned)[search.furthest]
    return Contradiction(list(kept), last, not earlier)


def possible_values(
    operations: Iterable[Operation], history: Sequence[Operation], begin: int
) -> list[str | None]:
    """The values that the key may have had at position `begin`, as far as `history` (what comes then) can
    tell.

    Each is absent; or something that no answer knows; or what an answer knows, less what was appended since,
    if an operation invoked before `begin` can have written it (or, of a value that was appended to, its last
    part).
    """
    wrote = [o for o in operations if o.invoked < begin and o.outcome != "fail"]
    whole = {o.value for o in wrote if o.f in ("put", "append")} | {o.value[1] for o in wrote if o.f == "cas"}
    ends = tuple({o.value for o in wrote if o.f == "append"})
    known = {o.result for o in history if o.f == "get" and o.result is not None}
    known |= {o.value[0] for o in history if o.f == "cas" and o.value[0] is not None}
    unknown = max(known, key=len, default="") + "."  # begins none of them
    values = _less_appended(known, tuple({o.value for o in history if o.f == "append" and o.value}))
    return [None, unknown, *sorted(value for value in values if value in whole or value.endswith(ends))]


def _less_appended(known: Iterable[str], appended: tuple[str, ...]) -> set[str]:
    values: set[str] = set()
    todo = list(known)
    while todo:
        value = todo.pop()
        if value not in values:
            values.add(value)
            if value.endswith(appended):
                todo += [value[: len(value) - len(text)] for text in appended if value.endswith(text)]
    return values
