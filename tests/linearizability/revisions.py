"""Is a history linearizable, when each answer carries its revision?

Then an order is given: by revision, first the write that made it, then what was read at it. It is enough to replay the
history in this order against a model (store_model.py), and to compare every answer; and to see that the order is that of
real time: who was asked after another one was answered was not given less, and a write then made a later revision.
So the work is linear in the history, and its operations may touch many keys.

An operation without an answer took effect at most once, at any time after its invoke. Which ones did is told by `events`:
what each revision changed, as the database itself remembers it (from its history, or from a watch). Each revision that
no answer claims must be what such an operation, and another one for each, would have changed at that moment; or the
end of a lease.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Callable, NamedTuple

from tests.linearizability.store_model import Changes, Refusal, StoreModel

MOST_PROBLEMS = 5  # that are told

READS = ("get", "gets", "range", "txn_read", "leases", "lease_keep_alive", "lease_time_to_live")
_TIMES_ONLY = (
    "lease_keep_alive",
    "lease_time_to_live",
    "leases",
)  # of whose answer only the revision is looked at
_OF_NO_KEY = ("compact", "lease_grant")


class Asked(NamedTuple):
    """An operation: its name and plain arguments, and what its client was told. `outcome`: "ok", "fail" (certainly without
    effect) or "info" (nobody knows). `invoked` and `returned` are positions in the history, as in history.py. With
    `may_be_old` it was read from one server's own state."""

    process: Any
    method: str
    args: tuple[Any, ...]
    outcome: str
    result: Any
    invoked: int
    returned: int
    may_be_old: bool = False

    def __str__(self) -> str:
        said = f" -> {self.result}" if self.outcome == "ok" else f" ({self.outcome})"
        return f"{self.process}: {self.method} {self.args} [{self.invoked}, {self.returned}]{said}"[:400]


class Result(NamedTuple):
    """`problems`: sentences; the history is linearizable if there are none. `unanswered`: how many revisions were made
    by operations without an answer, and `expired` by the ends of leases."""

    problems: list[str]
    operations: int
    revisions: int
    unanswered: int
    expired: int

    @property
    def summary(self) -> str:
        return (
            f"{'violation' if self.problems else 'ok'}, {self.operations} operations, {self.revisions} revisions "
            f"({self.unanswered} of operations without an answer, {self.expired} of leases that ended)"
        )

    def __str__(self) -> str:
        return "\n".join([self.summary, *self.problems])


def check(
    operations: Iterable[Asked],
    events: Mapping[int, Changes],
    is_judged: Callable[[bytes], bool] = lambda key: True,
) -> Result:
    """`events`: what each revision from 2 on changed. What was done to keys that are not judged is taken as it is: others
    did that."""
    return _Replay(list(operations), events, is_judged).run()


class _Replay:
    def __init__(
        self, operations: list[Asked], events: Mapping[int, Changes], is_judged: Callable[[bytes], bool]
    ) -> None:
        self._operations, self._events, self._is_judged = operations, events, is_judged
        self._model = StoreModel()
        self._problems: list[str] = []
        self._made: dict[int, int] = {}  # operation -> the first revision that it made
        self._at: dict[int, list[int]] = defaultdict(list)  # revision -> operations whose answers name it
        for place, asked in enumerate(operations):
            if asked.outcome == "ok":
                for revision in {*_revisions(asked)}:
                    self._at[revision].append(place)
        self._least = _least(operations)
        self._gaps = _Gaps(operations)

    def run(self) -> Result:
        last = max([1, *self._events, *self._at])
        self._read()
        while self._model.revision < last and len(self._problems) < MOST_PROBLEMS:
            self._make_next()
            self._read()
        self._check_time()
        del self._problems[MOST_PROBLEMS:]
        made = self._gaps.maker
        return Result(
            self._problems, len(self._operations), last - 1, len(made), len(self._gaps.ends - made.keys())
        )

    # -- the order of revisions ------------------------------------------------------------------------------

    def _make_next(self) -> None:
        """The next revision, or those of the next batch."""
        revision = self._model.revision + 1
        for place in self._at.get(revision, ()):
            asked = self._operations[place]
            if asked.method not in READS and place not in self._made and self._makes(asked):
                self._made[place] = revision
                for between in range(revision, self._model.revision):
                    self._problems += [
                        f"it saw a part of a batch: {self._operations[other]}"
                        for other in self._at.get(between, ())
                        if other != place
                    ]
                return
        self._explain(revision)

    def _makes(self, asked: Asked) -> bool:
        """Does it make the next revision, as its answer and the events say? The model is that far then."""
        first = self._model.revision + 1
        try:
            answer, changes = self._model.do(asked.method, asked.args)
        except Refusal:
            return False
        if changes and self._is_what_happened(first, changes) and _same(answer, asked.result):
            return True
        self._model.undo(changes)
        return False

    def _is_what_happened(self, first: int, changes: list[Changes]) -> bool:
        return all(self._events.get(at, each) == each for at, each in enumerate(changes, first))

    def _explain(self, revision: int) -> None:
        """No answer claims it, or none rightly."""
        found = self._events.get(revision)
        if found is None:
            self._problems.append(f"nothing is known of revision {revision}")
            self._model.revision += 1
            return
        candidates, size = self._candidates(revision, found)
        if not any(map(self._is_judged, found)):
            self._model.force(found)
        elif self._gaps.give(revision, candidates, size <= 1 and self._model.is_end_of_leases(found)):
            for at in range(revision, revision + max(1, size)):
                self._model.force(self._events[at])
        else:
            claims = "; ".join([str(self._operations[at]) for at in self._at.get(revision, ())][:3])
            self._problems.append(
                f"revision {revision} changed {found!r:.200}, and no operation did that{claims and f': {claims}'}"
            )
            self._model.force(found)

    def _candidates(self, revision: int, found: Changes) -> tuple[list[int], int]:
        """Operations without an answer that would make it, and how many revisions they make."""
        candidates, size = [], 0
        for place in self._gaps.candidates(found):
            asked = self._operations[place]
            if self._least[place][0] >= revision:
                continue  # it was asked for too late
            try:
                _, changes = self._model.do(asked.method, asked.args)
            except Refusal:
                continue
            self._model.undo(changes)
            is_it = [self._events.get(at) == each for at, each in enumerate(changes, revision)]
            if changes and all(is_it) and size in (0, len(changes)):
                candidates.append(place)
                size = len(changes)
        return candidates, size

    def _read(self) -> None:
        """Those that were answered at the model's revision and did not make it."""
        revision = self._model.revision
        for place in self._at.get(revision, ()):
            asked = self._operations[place]
            if place in self._made or _revisions(asked)[-1] > revision:
                continue
            try:
                answer, changes = self._model.do(asked.method, asked.args)
            except Refusal:
                answer, changes = "a refusal", []
            self._model.undo(changes)
            if changes or not _same(answer, asked.result, asked.method in _TIMES_ONLY):
                self._problems.append(
                    f"at revision {revision} the answer is {answer!r:.300}, not that of {asked}"
                )

    # -- the order of time -----------------------------------------------------------------------------------

    def _check_time(self) -> None:
        for place, asked in enumerate(self._operations):
            given, by = self._least[place]
            if asked.outcome != "ok":
                continue
            made = self._made.get(place)
            is_late = (
                made <= given if made is not None else _revisions(asked)[0] < given and not asked.may_be_old
            )
            if is_late:
                self._problems.append(f"{asked} came after {self._operations[by]}, and is before it")


def _least(operations: list[Asked]) -> list[tuple[int, int]]:
    """The newest revision that anybody had been given before each was asked for, and by which operation."""
    moments = []
    for place, asked in enumerate(operations):
        moments.append((asked.invoked, False, place))
        if asked.outcome == "ok":
            moments.append((asked.returned, True, place))
    newest, by = 1, -1
    least = [(1, -1)] * len(operations)
    for _, is_answer, place in sorted(moments):
        if not is_answer:
            least[place] = newest, by
        elif _revisions(operations[place])[-1] > newest:
            newest, by = _revisions(operations[place])[-1], place
    return least


class _Gaps:
    """Which operations without an answer made the revisions that nobody claims: at most one each. `ends`: revisions that
    the ends of leases may have made as well, which need no operation."""

    def __init__(self, operations: Sequence[Asked]) -> None:
        self.maker: dict[int, int] = {}  # revision -> operation
        self.ends: set[int] = set()
        self._candidates: dict[int, list[int]] = {}
        self._revision_of: dict[int, int] = {}  # the other way round
        self._by_key: dict[bytes, list[int]] = defaultdict(list)
        self._of_ranges: list[int] = []
        for place, asked in enumerate(operations):
            if asked.outcome == "info" and asked.method not in READS:
                keys = set(_keys_of(asked.method, asked.args))
                for key in keys - {None}:
                    self._by_key[key].append(place)
                if None in keys:
                    self._of_ranges.append(place)

    def candidates(self, changes: Changes) -> list[int]:
        """Those that may change these keys."""
        key = next(iter(changes), b"")
        return self._by_key.get(key, []) + self._of_ranges

    def give(self, revision: int, candidates: list[int], may_be_end: bool) -> bool:
        """One of them made it, and each other one still made what was given to it, or something else that it can have
        made. False if there are not enough of them, and it is not the end of leases."""
        self._candidates[revision] = candidates
        if may_be_end:
            self.ends.add(revision)
        return self._find(revision, set()) or may_be_end

    def _find(self, revision: int, tried: set[int]) -> bool:
        for place in self._candidates[revision]:
            if place not in tried:
                tried.add(place)
                other = self._revision_of.get(place)
                if other is None or self._find(other, tried) or other in self.ends:
                    if other is not None and self.maker[other] == place:
                        del self.maker[other]  # it was the end of leases
                    self._revision_of[place], self.maker[revision] = revision, place
                    return True
        return False


def _keys_of(method: str, args: tuple[Any, ...]) -> Iterable[bytes | None]:
    """The keys that an operation may change; None for a range of them."""
    if method == "batch":
        return [key for name, *rest in args[0] for key in _keys_of(name, tuple(rest))]
    if method == "puts":
        return args[0]  # type: ignore[no-any-return]
    if method == "txn":
        return [key for name, *rest in (*args[1], *args[2]) for key in _keys_of(name, tuple(rest))]
    if method == "lease_revoke":
        return [None]
    if method in READS or method in _OF_NO_KEY:
        return []
    return [None if method == "delete" and len(args) > 1 and args[1] else args[0]]


def _revisions(asked: Asked) -> list[int]:
    """Those that an answer names: one; but each write of a batch has its own."""
    result = asked.result
    if asked.method == "puts":
        return list(range(result, result + len(asked.args[0])))
    if asked.method != "batch":
        return [result if type(result) is int else result[0]]
    return [part[0] if isinstance(part, (tuple, list)) else part for ok, part in result if ok]


def _same(answer: Any, told: Any, revision_only: bool = False) -> bool:
    if revision_only:
        return bool(answer[0] == told[0])
    return bool(_plain(answer) == _plain(told))


def _plain(answer: Any) -> Any:
    """Lists and tuples are the same over the wire."""
    return [_plain(part) for part in answer] if isinstance(answer, (list, tuple)) else answer
