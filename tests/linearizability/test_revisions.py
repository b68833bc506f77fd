"""The checker of histories with revisions: right about the real database, and about lies, as the search is."""

from __future__ import annotations

import random
from typing import Any

import pytest
from raftkv.kvdb.operations import OPERATIONS
from raftkv.kvdb.store import Store

from tests.linearizability.checker import check as search
from tests.linearizability.history import NEVER, Operation
from tests.linearizability.revisions import READS, Asked, Result, check
from tests.linearizability.search import OK
from tests.linearizability.store_model import Changes

KEYS = [b"a", b"b", b"ab", b"c\xff"]
SIMPLE = ("get", "put", "append", "delete", "cas")


class Database:
    """The product's store, asked by several clients at once. `simple`: only for what the search knows."""

    def __init__(self, rng: random.Random, simple: bool = False) -> None:
        self.rng, self.store, self.simple = rng, Store(), simple
        self.index = self.moment = 0
        self.events: dict[int, Changes] = {}
        self.operations: list[Asked] = []

    def run(self, operations: int, clients: int) -> list[Asked]:
        """Each operation takes effect between its invoke and its answer; some have no answer, and some no effect."""
        under_way: list[list[Any]] = []  # [asked, its result or None]
        while len(self.operations) < operations:
            self.moment += 1
            roll = self.rng.random()
            if len(under_way) < clients and roll < 0.4:
                asked = Asked(len(self.operations), *self._make_up(), "info", None, self.moment, NEVER)
                under_way.append([asked, None])
            elif under_way and roll < 0.7:
                one = self.rng.choice(under_way)
                one[1] = one[1] or self._carry_out(one[0])
            elif under_way:
                self._end(under_way.pop(self.rng.randrange(len(under_way))))
        return [*self.operations, *(asked for asked, _ in under_way)]

    def _end(self, one: list[Any]) -> None:
        asked, outcome = one
        if outcome is None:
            asked = asked._replace(outcome=self.rng.choice(["info", "fail"]))
        elif self.rng.random() < 0.9:
            ok, result = outcome
            asked = asked._replace(outcome="ok" if ok else "fail", result=result if ok else None)
        if asked.outcome != "info":
            asked = asked._replace(returned=self.moment)
        self.operations.append(asked)

    def _carry_out(self, asked: Asked) -> Any:
        operation = OPERATIONS[asked.method].of(asked.args)
        operation.check()
        if asked.method in READS:
            return operation.read(self.store.data)
        self.index += 1
        data = self.store.data
        before = data.revision
        outcome = operation.apply(data, self.index)
        for revision in range(before + 1, data.revision + 1):
            self.events[revision] = {key: item for _, key, item, _ in data.history.at(revision)}
        return outcome

    # -- what is asked ---------------------------------------------------------------------------------------

    def _make_up(self) -> tuple[str, tuple[Any, ...]]:
        rng = self.rng
        if self.simple:
            return self._simple(rng.choice(SIMPLE))
        kind = rng.choice([*SIMPLE, "gets", "range", "range", "delete range", "batch", "txn", "txn", "lease"])
        if kind == "gets":
            return "gets", (rng.sample(KEYS, 2),)
        if kind == "range":
            return "range", self._range()
        if kind == "delete range":
            return "delete", (*self._bounds(), rng.random() < 0.5)
        if kind == "batch":
            return "batch", ([self._write() for _ in range(rng.randint(1, 4))],)
        if kind == "lease":
            if rng.random() < 0.3:
                return "lease_revoke", (rng.randint(1, 2),)
            return rng.choice([("lease_grant", (rng.randint(1, 2), 9)), ("put", (rng.choice(KEYS), b"l", 1))])
        return self._txn()

    def _simple(self, method: str) -> tuple[str, tuple[Any, ...]]:
        key, value = self.rng.choice(KEYS), b"%d;" % len(self.operations)
        now = self.store.data.get(key)
        expected = now[0] if now is not None and self.rng.random() < 0.7 else None
        return method, {"get": (key,), "delete": (key,), "cas": (key, expected, value)}.get(
            method, (key, value)
        )

    def _write(self) -> tuple[Any, ...]:
        method, args = self._simple(self.rng.choice(SIMPLE[1:]))
        return (method, *args)

    def _bounds(self) -> tuple[bytes, bytes]:
        return self.rng.choice(KEYS), self.rng.choice([b"", b"\0", b"b", b"c"])

    def _range(self) -> tuple[Any, ...]:
        rng = self.rng
        past = rng.choice([0, 0, max(1, self.store.data.revision - rng.randint(0, 20))])
        bounds = [rng.choice([0, 0, 0, past]) for _ in range(4)]
        flags = (rng.random() < 0.2, rng.random() < 0.2)
        return (
            *self._bounds(),
            rng.choice([0, 0, 1, 2]),
            past,
            rng.randint(0, 2),
            rng.randint(0, 4),
            *flags,
            *bounds,
        )

    def _txn(self) -> tuple[str, tuple[Any, ...]]:
        rng = self.rng
        target = rng.randint(1, 5)
        wanted = b"l" if target == 4 else rng.choice([0, 1, self.store.data.revision])
        compare = (target, rng.randint(0, 3), *self._bounds(), wanted)
        keys = rng.sample(KEYS, 2)
        writes: list[Any] = [("put", keys[0], b"t%d;" % len(self.operations), 0, rng.choice([0, 1]))]
        writes.append(
            rng.choice([("append", keys[1], b"+"), ("delete", keys[1], b"", True), ("get", keys[0])])
        )
        inner = ("txn", [(2, 1, keys[0], b"", 0)], [("delete", keys[1])], [("get", keys[1])])
        then = rng.choice([[*writes, ("range", *self._range())], [inner], writes])
        return "txn", ([compare], then, [("get", keys[0])])


def lie(rng: random.Random, operations: list[Asked]) -> tuple[list[Asked], int]:
    """One answer is made another one. Returns which."""
    places = [at for at, asked in enumerate(operations) if asked.outcome == "ok"]
    at = rng.choice(places)
    told = operations[at]
    return [*operations[:at], told._replace(result=_another(told.result)), *operations[at + 1 :]], at


def _another(result: Any) -> Any:
    """The same with another number in it."""
    if isinstance(result, bool):
        return not result
    if isinstance(result, int):
        return result + 1
    if isinstance(result, bytes):
        return result + b"!"
    if not result:
        return (b"never written", 2, 2, 1, 0)
    return (*result[:-1], _another(result[-1]))


def of_the_search(operations: list[Asked]) -> list[Operation]:
    """The same history without revisions."""
    found = []
    for asked in operations:
        key, *rest = [part and part.decode("latin-1") for part in asked.args]
        value = tuple(rest) if asked.method == "cas" else rest[0] if rest else None
        result: Any = None
        if asked.outcome == "ok" and asked.method in ("delete", "cas"):
            result = bool(asked.result[1])
        elif asked.outcome == "ok" and asked.method == "get":
            result = asked.result[1] and asked.result[1][0].decode("latin-1")
        times = (asked.invoked, asked.returned, 0.0, None)
        found.append(Operation(asked.process, asked.method, key, value, asked.outcome, result, *times))
    return found


def judged(operations: list[Asked], events: dict[int, Changes]) -> Result:
    return check(sorted(operations, key=lambda asked: asked.invoked), events)


# -- what is true --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_answers_of_the_database_are_found_right(seed: int) -> None:
    database = Database(random.Random(seed))
    result = judged(database.run(200, clients=5), database.events)
    assert not result.problems, f"seed {seed}: {result}"


# -- what is not ---------------------------------------------------------------------------------------------


def test_a_lie_is_found() -> None:
    found = 0
    for seed in range(300):
        rng = random.Random(seed)
        database = Database(rng)
        honest = database.run(40, clients=4)
        lying, at = lie(rng, honest)
        if honest[at].method == "lease_grant":
            continue
        found += 1
        assert judged(lying, database.events).problems, f"seed {seed}: {honest[at]} became {lying[at]}"
    assert found > 200


def test_search_and_revisions_agree_on_what_is_wrong_for_values() -> None:
    verdicts = {True: 0, False: 0}
    for seed in range(500):
        rng = random.Random(seed)
        database = Database(rng, simple=True)
        operations = database.run(12, clients=4)
        if seed % 2:
            operations, _ = lie(rng, operations)
        is_right = not judged(operations, database.events).problems
        by_search = search(sorted(of_the_search(operations), key=lambda each: each.invoked)).verdict == OK
        assert by_search or not is_right, f"seed {seed}: the search finds a violation"
        verdicts[by_search] += 1
    assert min(verdicts.values()) > 25, verdicts


def put(process: int, value: bytes, revision: int, invoked: int, returned: int, key: bytes = b"a") -> Asked:
    return Asked(process, "put", (key, value), "ok", revision, invoked, returned)


def got(process: int, item: Any, revision: int, invoked: int, returned: int) -> Asked:
    return Asked(process, "get", (b"a",), "ok", (revision, item), invoked, returned)


ONE, TWO = (b"1", 2, 2, 1, 0), (b"2", 2, 3, 2, 0)
EVENTS: dict[int, Changes] = {2: {b"a": ONE}, 3: {b"a": TWO}}
FIRST, SECOND = put(1, b"1", 2, 1, 2), put(1, b"2", 3, 3, 4)


@pytest.mark.parametrize(
    "operations, says",
    [
        ([FIRST, SECOND, got(2, ONE, 2, 5, 6)], "came after"),
        ([FIRST, put(1, b"2", 3, 3, 6), got(2, TWO, 3, 4, 5), got(3, ONE, 2, 7, 8)], "came after"),
        ([put(1, b"1", 2, 3, 4), put(1, b"2", 3, 1, 2)], "came after"),
        ([FIRST], "no operation did that"),
        ([FIRST, Asked(1, "put", (b"a", b"2"), "fail", None, 3, 4)], "no operation did that"),
        ([FIRST, SECOND], "nothing is known of revision 4"),
        ([FIRST, SECOND, put(2, b"2", 3, 3, 6)], "at revision 3"),
        ([Asked(1, "batch", ([("put", b"a", b"1"), ("put", b"a", b"2")],), "ok", ((True, 2), (True, 3)), 1, 3),
          got(2, ONE, 2, 2, 4)], "a part of a batch"),
    ],
)  # fmt: skip
def test_each_kind_of_lie_is_told_as_what_it_is(operations: list[Asked], says: str) -> None:
    events = EVENTS if "nothing" not in says else {**EVENTS, 5: {b"a": None}}
    assert says in str(judged(operations, events))


def test_a_read_of_one_servers_own_state_may_be_old() -> None:
    old = got(2, ONE, 2, 5, 6)
    assert judged([FIRST, SECOND, old], EVENTS).problems
    assert not judged([FIRST, SECOND, old._replace(may_be_old=True)], EVENTS).problems
    early = got(2, TWO, 3, 1, 2)._replace(may_be_old=True)
    assert judged([FIRST, SECOND, early], EVENTS).problems, "but never of the future"


def test_an_operation_without_an_answer_took_effect_once_at_most_and_not_before_it_was_asked_for() -> None:
    unknown = Asked(2, "delete", (b"a",), "info", None, 3, NEVER)
    events: dict[int, Changes] = {
        2: {b"a": ONE},
        3: {b"a": None},
        4: {b"a": (b"3", 4, 4, 1, 0)},
        5: {b"a": None},
    }
    puts = [FIRST, put(1, b"3", 4, 5, 6)]
    assert judged([*puts, unknown], events).problems
    assert not judged([*puts, unknown, unknown._replace(process=3, invoked=7)], events).problems
    assert judged([*puts, unknown._replace(invoked=7), unknown._replace(invoked=8)], events).problems


def test_the_end_of_a_lease_deletes_all_of_its_keys() -> None:
    puts = [Asked(1, "put", (key, b"v", 7), "ok", revision, at, at + 1)
            for key, revision, at in ((b"a", 2, 1), (b"b", 3, 3))]  # fmt: skip
    events: dict[int, Changes] = {2: {b"a": (b"v", 2, 2, 1, 7)}, 3: {b"b": (b"v", 3, 3, 1, 7)}}
    assert judged(puts, {**events, 4: {b"a": None, b"b": None}}).expired == 1
    assert judged(puts, {**events, 4: {b"a": None}}).problems
    other = Asked(1, "put", (b"b", b"v", 8), "ok", 3, 3, 4)
    of_two = {**events, 3: {b"b": (b"v", 3, 3, 1, 8)}, 4: {b"a": None, b"b": None}}
    assert judged([puts[0], other], of_two).expired == 1, "several leases may end at once"


def test_the_end_of_a_lease_takes_no_operation_that_another_revision_needs() -> None:
    unknown = Asked(2, "delete", (b"a",), "info", None, 3, NEVER)
    puts = [
        Asked(1, "put", (b"a", b"v", 7), "ok", 2, 1, 2),
        Asked(1, "put", (b"a", b"w", 0), "ok", 4, 5, 6),
    ]
    events: dict[int, Changes] = {
        2: {b"a": (b"v", 2, 2, 1, 7)},
        3: {b"a": None},
        4: {b"a": (b"w", 4, 4, 1, 0)},
        5: {b"a": None},
    }
    result = judged([*puts, unknown], events)
    assert not result.problems and (result.unanswered, result.expired) == (1, 1)
    assert judged(puts, events).problems


def test_the_time_grows_with_the_history() -> None:
    """Eight thousand operations take two seconds, of ten clients on four keys."""
    database = Database(random.Random(1))
    result = judged(database.run(8_000, clients=10), database.events)
    assert not result.problems and result.revisions > 1_500 and result.unanswered > 40, str(result)
