"""Random histories: clients that use a real register, told the truth, nothing, or now and then a lie."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Iterable, Sequence
from typing import Any, Callable, NamedTuple

from tests.linearizability.history import FUNCTIONS, Operation, operations_of


class Shape(NamedTuple):
    """What a history looks like. Of the operations, so many in a hundred get no answer, or fail."""

    operations: int
    clients: int
    functions: Sequence[str] = FUNCTIONS
    values: Sequence[str] = ("a", "b")  # () for one of its own in each operation
    unanswered_percent: float = 0.0
    failed_percent: float = 0.0
    lie_at: int | None = None  # the first get to be answered as this operation, or later, is told `lie`
    lie: str | None = None


def generate(rng: random.Random, shape: Shape, key: str = "x") -> list[Operation]:
    """A history of one key in which each operation takes effect at one moment between its invoke and its
    answer (or at any time after its invoke, or never, if it gets none). So it is linearizable, unless there
    is a lie."""
    return operations_of(_Register(rng, shape, key).run())


class _Register:
    def __init__(self, rng: random.Random, shape: Shape, key: str) -> None:
        self._rng, self._shape, self._key = rng, shape, key
        self._value: str | None = None
        self._events: list[dict[str, Any]] = []
        self._queue: list[tuple[float, int, Callable[..., None], tuple]] = []
        self._numbers = itertools.count()
        self._begun = self._answered = 0
        self._lied = False
        self._now = 0.0

    def run(self) -> Iterable[dict[str, Any]]:
        for client in range(self._shape.clients):
            self._in(self._rng.random(), self._begin, client)
        while self._queue:
            self._now, _, action, args = heapq.heappop(self._queue)
            action(*args)
        return self._events

    def _in(self, wait_s: float, action: Callable[..., None], *args: Any) -> None:
        heapq.heappush(self._queue, (self._now + wait_s, next(self._numbers), action, args))

    def _begin(self, client: int) -> None:
        if self._begun == self._shape.operations:
            return
        rng, shape = self._rng, self._shape
        f = rng.choice(shape.functions)
        value = self._argument(f)
        self._begun += 1
        self._note(client, "invoke", f, value)
        chance = 100 * rng.random()
        took_s = rng.random()
        results: list[Any] = []
        if chance < shape.failed_percent:
            self._in(took_s, self._end, client, "fail", f, results)
        elif chance < shape.failed_percent + shape.unanswered_percent:
            self._in(took_s, self._end, client, "info", f, results)
            if rng.random() < 0.5:
                self._in(rng.random() * rng.choice([1, 1, 10, 50]), self._take_effect, f, value, results)
        else:
            self._in(took_s * rng.random(), self._take_effect, f, value, results)
            self._in(took_s, self._end, client, "ok", f, results)

    def _argument(self, f: str) -> Any:
        if f in ("get", "delete"):
            return None
        new = self._rng.choice(self._shape.values) if self._shape.values else f"{self._begun};"
        if f != "cas":
            return new
        expected = self._value if self._rng.random() < 0.6 else self._rng.choice([None, new])
        return [expected, new]

    def _take_effect(self, f: str, value: Any, results: list[Any]) -> None:
        old = self._value
        if f == "put":
            self._value = value
        elif f == "append":
            self._value = (old or "") + value
        elif f == "delete":
            self._value = None
        elif f == "cas" and old == value[0]:
            self._value = value[1]
        results.append(
            {"get": old, "delete": old is not None, "cas": value and old == value[0]}.get(f, value)
        )

    def _end(self, client: int, type_: str, f: str, results: list[Any]) -> None:
        result = results[0] if type_ == "ok" else None
        self._answered += type_ == "ok"
        lie_at = self._shape.lie_at
        if (
            type_ == "ok"
            and f == "get"
            and lie_at is not None
            and self._answered >= lie_at
            and not self._lied
        ):
            self._lied = True
            result = self._shape.lie
        self._note(client, type_, f, result)
        self._in(self._rng.random() * 0.2, self._begin, client)

    def _note(self, client: int, type_: str, f: str, value: Any) -> None:
        self._events.append(
            {"process": client, "type": type_, "f": f, "key": self._key, "value": value, "time": self._now}
        )
