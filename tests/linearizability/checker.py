"""The verdict on a whole history."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tests.linearizability.history import Operation
from tests.linearizability.problem import Problem
from tests.linearizability.search import MAX_CONFIGURATIONS, OK, UNKNOWN, VIOLATION, Search
from tests.linearizability.shrink import Contradiction, find_contradiction, shrink
from tests.linearizability.timeline import quoted, timeline

TIME_LIMIT_S = 60.0
SHRINK_TIME_S = 10.0  # at most, to make a violation that was found smaller
PATIENCE = 5_000  # configurations without getting further, after which the reason is looked for


class Violation(NamedTuple):
    """Why a history is not linearizable."""

    key: str
    contradiction: Contradiction
    origins: Sequence[Operation]  # other operations that wrote, or tried to write, what was read
    unwritten: Sequence[str]  # what was read and nobody ever asked to write


class Result(NamedTuple):
    """What check() found. `str(result)` is a report for people."""

    verdict: str  # OK, VIOLATION, or UNKNOWN: undecided within the limits, which no test may take for a pass
    operations: int
    keys: int
    configurations: int  # searched from
    seconds: float
    violation: Violation | None = None
    undecided: tuple[str, ...] = ()  # keys

    def __str__(self) -> str:
        size = f"{self.operations} operations on {self.keys} keys"
        work = f"{self.configurations} configurations, {self.seconds:.1f} s"
        if self.violation:
            return f"violation: {size} are not linearizable ({work})\n{_explained(self.violation)}"
        if self.undecided:
            keys = ", ".join(quoted(key) for key in self.undecided)
            return f"unknown: {size}; given up on the key {keys} ({work})"
        return f"ok: {size} are linearizable ({work})"


def check(operations: Iterable[Operation], time_limit_s: float = TIME_LIMIT_S) -> Result:
    """Whether the operations of a history have an order that explains every answer, all keys beginning
    absent.

    Keys are independent of each other (linearizability is a local property: Herlihy and Wing, 1990, theorem
    1), so each is searched on its own, the smaller ones first, until one has no order. A violation is then
    shrunk for at most SHRINK_TIME_S more.
    """
    started = time.monotonic()
    deadline = started + time_limit_s
    by_key: dict[str, list[Operation]] = {}
    for operation in operations:
        by_key.setdefault(operation.key, []).append(operation)
    count = configurations = 0
    undecided = []
    violation = None
    for key, history in sorted(by_key.items(), key=lambda item: len(item[1])):
        count += len(history)
        if violation:
            continue
        history.sort(key=lambda o: o.invoked)
        verdict, found, searched = _check_key(history, deadline)
        configurations += searched
        if found:
            found = shrink(history, found, time.monotonic() + SHRINK_TIME_S)
            violation = _violation(key, history, found)
        elif verdict == UNKNOWN:
            undecided.append(key)
    verdict = VIOLATION if violation else UNKNOWN if undecided else OK
    seconds = time.monotonic() - started
    return Result(verdict, count, len(by_key), configurations, seconds, violation, tuple(undecided))


def _check_key(history: list[Operation], deadline: float) -> tuple[str, Contradiction | None, int]:
    """Searches for an order and, whenever that is stuck for long, for a contradiction at that place."""
    search = Search(Problem(history))
    patience = PATIENCE
    while True:
        verdict = search.run(patience, deadline)
        if verdict == OK:
            return OK, None, search.configurations
        stuck = search.answered[search.furthest]
        found = find_contradiction(history, stuck, deadline)
        if verdict == VIOLATION and not found:
            found = Contradiction([o for o in history if o.outcome == "ok"], stuck, True)
        if found:
            return VIOLATION, found, search.configurations
        if search.configurations >= MAX_CONFIGURATIONS or time.monotonic() >= deadline:
            return UNKNOWN, None, search.configurations
        patience *= 2


def _violation(key: str, history: Sequence[Operation], found: Contradiction) -> Violation:
    kept = set(found.kept)
    read = {o.result for o in kept if o.f == "get"} - {None}
    wrote = [o for o in history if o.f == "put" and o.value in read or o.f == "cas" and o.value[1] in read]
    origins = [o for o in wrote if o not in kept]
    has_appends = any(o.f == "append" for o in history)
    written = {o.value if o.f == "put" else o.value[1] for o in wrote if o.outcome != "fail"}
    return Violation(key, found, origins[-5:], [] if has_appends else sorted(read - written))


def _explained(violation: Violation) -> str:
    found = violation.contradiction
    start = "the key begins absent" if found.from_start else "whatever the key held before"
    lines = [
        f"On the key {quoted(violation.key)}, these {len(found.kept)} operations have no order that explains",
        f"their answers ({start}, and whatever all other operations did):",
        "",
        timeline(found.kept, found.last),
    ]
    if violation.origins:
        lines += ["", "Not needed for the contradiction, but they wrote or tried to write what was read:", ""]
        lines += [timeline(violation.origins)]
    lines += [f"Nobody wrote {quoted(value)}." for value in violation.unwritten]
    return "\n".join(lines)
