"""What the clients saw, as the history that the linearizability checker reads."""

from __future__ import annotations

from typing import Any, Callable

from tests.linearizability.history import NEVER, Operation
from tests.linearizability.revisions import Asked


class Record:
    """`clock` gives the virtual time in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._events = 0
        self.operations: list[Operation] = []
        self.asked: list[Asked] = []  # the same, and all others, with their revisions

    def invoke(self, process: str, f: str, key: str, value: Any) -> int:
        """`process` is about to ask for `f` on `key`. Returns the operation's place."""
        self._events += 1
        now = self._clock()
        self.operations.append(
            Operation(process, f, key, value, "info", None, self._events, NEVER, now, None)
        )
        return len(self.operations) - 1

    def ask(self, process: str, method: str, args: tuple[Any, ...]) -> int:
        """`process` is about to ask for this. Returns its place."""
        self._events += 1
        self.asked.append(Asked(process, method, args, "info", None, self._events, NEVER))
        return len(self.asked) - 1

    def answer(self, at: int, outcome: str, result: Any) -> None:
        """See end()."""
        if outcome != "info":
            self._events += 1
            self.asked[at] = self.asked[at]._replace(outcome=outcome, result=result, returned=self._events)

    def end(self, at: int, outcome: str, result: Any) -> None:
        """The operation at this place was answered ("ok"), was certainly without effect ("fail"), or nobody
        knows."""
        if outcome != "info":
            self._events += 1
            self.operations[at] = self.operations[at]._replace(
                outcome=outcome, result=result, returned=self._events, return_time=self._clock()
            )
