"""Transactions: if all compares hold then these operations, else those, at one moment and with one revision.

As in etcd, all compares are looked at before the first change, also those of the transactions in it. A transaction that
cannot change anything is another operation (TxnRead): it needs no entry of the log.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from raftkv.errors import (
    BAD_REQUEST,
    DUPLICATE_KEY,
    RANGE_TOO_LARGE,
    TOO_MANY_OPERATIONS,
    InvalidRequestError,
)
from raftkv.kvdb.history import Item
from raftkv.kvdb.keyspace import Keyspace
from raftkv.kvdb.limits import (
    MAX_ANSWER_BYTES,
    MAX_OUTCOME_BYTES,
    MAX_RANGE_KEYS,
    MAX_TXN_DEPTH,
    MAX_TXN_OPS,
    check_number,
    check_range,
    check_request,
    check_value,
)
from raftkv.kvdb.operation import Operation, Read, Write, new_operation
from raftkv.kvdb.outcomes import Outcome, memory_of, ok, refused
from raftkv.kvdb.ranges import CREATE, MOD, VALUE, VERSION, end_of
from raftkv.kvdb.reads import Get, Range
from raftkv.kvdb.writes import Append, Delete, Put

EQUAL, GREATER, LESS, NOT_EQUAL = range(4)  # the relations of a compare, by etcd's numbers
ROW_BYTES = 64  # that a row takes in an answer beside its key and value
LEASE = 5  # the target of a compare beside those of ranges.py

_COLUMN = {VERSION: 3, CREATE: 1, MOD: 2, VALUE: 0, LEASE: 4}  # of an item
_NO_ITEM: Item = (b"", 0, 0, 0, 0)
_ANSWER_TOO_LARGE = refused(
    BAD_REQUEST, f"the answers of the transaction are larger than {MAX_OUTCOME_BYTES} bytes: read less in it"
)
_READS_TOO_MUCH = refused(
    RANGE_TOO_LARGE,
    f"the answers of the transaction have more than {MAX_ANSWER_BYTES} bytes together: read less in it",
)
_TOO_MANY_COMPARED = refused(
    RANGE_TOO_LARGE,
    f"the compares of the transaction have more than {MAX_RANGE_KEYS} keys to look at: compare fewer",
)


class Compare(NamedTuple):
    """What `target` of the key is, in relation to `operand`. With an `end` it must be so for each key of the range. A
    key that is not there, or a range without keys, has zeros, and no value: a compare of that is false, whatever the
    relation."""

    target: int
    relation: int
    key: bytes
    end: bytes
    operand: Any

    def check(self) -> int:
        """As that of an operation."""
        check_number("target of a compare", self.target, VERSION, LEASE)
        check_number("relation of a compare", self.relation, EQUAL, NOT_EQUAL)
        size = check_range(self.key, self.end)
        if self.target == VALUE:
            return size + check_value(self.operand)
        check_number("number to compare with", self.operand)
        return size

    def holds(self, data: Keyspace) -> bool:
        if not self.end:
            return self._holds_for(data.get(self.key))
        found = data.range(self.key, end_of(self.key, self.end))
        first = next(found, None)
        if first is None:
            return self._holds_for(None)
        return self._holds_for(first[1]) and all(self._holds_for(item) for _, item in found)

    def _holds_for(self, item: Item | None) -> bool:
        if item is None:
            if self.target == VALUE:
                return False
            item = _NO_ITEM
        found = item[_COLUMN[self.target]]
        if self.relation == EQUAL:
            return bool(found == self.operand)
        if self.relation == NOT_EQUAL:
            return bool(found != self.operand)
        return bool(found > self.operand if self.relation == GREATER else found < self.operand)


class _Fields(NamedTuple):
    compares: list[Compare]
    success: list[Operation]
    failure: list[Operation]


class _Transaction(_Fields, Operation):
    """The result is (revision, whether the compares held, the tuple of the operations' results)."""

    __slots__ = ()

    @classmethod
    def of(cls, plain: tuple[Any, ...]) -> Any:
        return _parsed(cls, plain, 1)

    def plain(self) -> tuple[Any, ...]:
        return (
            [tuple(compare) for compare in self.compares],
            [(each.name, *each.plain()) for each in self.success],
            [(each.name, *each.plain()) for each in self.failure],
        )

    def check(self) -> int:
        size = check_request(self._size(MAX_TXN_OPS))
        _check_duplicates([self])
        return size

    def _size(self, most: int) -> int:
        widest = max(len(self.compares), len(self.success), len(self.failure))
        if widest > most:
            raise InvalidRequestError(
                f"the transaction has too many operations: the limit is {MAX_TXN_OPS}", TOO_MANY_OPERATIONS
            )
        size = sum([compare.check() for compare in self.compares])
        for each in (*self.success, *self.failure):
            size += each._size(most - widest) if isinstance(each, _Transaction) else each.check()
            check_request(size)
        return size

    def _looks(self, data: Keyspace) -> int:
        """How many keys its compares of ranges have, with the work of the transactions in it."""
        ranges = [compare for compare in self.compares if compare.end]
        inner = [each for each in (*self.success, *self.failure) if isinstance(each, _Transaction)]
        own = sum([data.items.count(each.key, end_of(each.key, each.end)) for each in ranges])
        return own + sum([each.work(data) if isinstance(each, Txn) else each._looks(data) for each in inner])

    def _branch(self, data: Keyspace) -> tuple[bool, list[Any]]:
        """Whether the compares hold, and what is to be done: operations, and of transactions what this returns."""
        held = all(compare.holds(data) for compare in self.compares)
        branch = self.success if held else self.failure
        return held, [each._branch(data) if isinstance(each, _Transaction) else each for each in branch]


class Txn(_Transaction, Write):
    """One that may change something."""

    __slots__ = ()
    name = "txn"

    @property
    def grows(self) -> bool:  # type: ignore[override]
        return any(each.grows for each in (*self.success, *self.failure))

    @property
    def operations(self) -> int:  # type: ignore[override]
        return sum([each.operations for each in (*self.success, *self.failure)])

    @classmethod
    def of_entry(cls, fields: list[Any]) -> Txn:
        compares, success, failure = fields
        return new_operation(
            cls,
            (
                [Compare(*map(_bytes, each)) for each in compares],
                [_of_entry(*each) for each in success],
                [_of_entry(*each) for each in failure],
            ),
        )

    def for_entry(self, *head: Any) -> list[Any]:
        return [
            *head,
            self.name,
            [list(map(_text, compare)) for compare in self.compares],
            [_for_entry(each) for each in self.success],
            [_for_entry(each) for each in self.failure],
        ]

    def work(self, data: Keyspace) -> int:
        writes = [each for each in (*self.success, *self.failure) if isinstance(each, Write)]
        return self._looks(data) + sum([each.work(data) for each in writes if not isinstance(each, Txn)])

    def change(self, data: Keyspace) -> Outcome:
        held, branch = self._branch(data)
        past = {id(each): each.read(data) for each in _flat(branch) if type(each) is Range and each.revision}
        outcome = _carry_out(data, held, branch, past)
        if outcome[0] and memory_of(outcome) > 2 * MAX_OUTCOME_BYTES:
            return _ANSWER_TOO_LARGE
        return outcome


class TxnRead(_Transaction, Read):
    """One that only reads."""

    __slots__ = ()
    name = "txn_read"

    def read(self, data: Keyspace) -> Outcome:
        if self._looks(data) > MAX_RANGE_KEYS:
            return _TOO_MANY_COMPARED
        held, branch = self._branch(data)
        reads = [each for each in _flat(branch) if type(each) is Range]
        past: dict[int, Outcome] = {}
        size = 0
        for each in reads if len(reads) > 1 else ():  # one alone has this bound itself
            outcome = past[id(each)] = each.read(data)
            size += sum([ROW_BYTES + len(row[0]) + len(row[1]) for row in outcome[1][1]]) if outcome[0] else 0
            if size > MAX_ANSWER_BYTES:
                return _READS_TOO_MUCH
        return _carry_out(data, held, branch, past)


READS_INSIDE: dict[str, type[Operation]] = {kind.name: kind for kind in (Get, Range, TxnRead)}
WRITES_INSIDE: dict[str, type[Write]] = {kind.name: kind for kind in (Put, Append, Delete, Txn)}


def transaction(compares: list[Compare], success: list[Operation], failure: list[Operation]) -> Txn | TxnRead:
    """The one that is needed for these operations."""
    changes = any(isinstance(each, Write) for each in (*success, *failure))
    return Txn(compares, success, failure) if changes else TxnRead(compares, success, failure)


# -- carrying out --------------------------------------------------------------------------------------------


def _flat(branch: list[Any]) -> Iterator[Operation]:
    for each in branch:
        if type(each) is tuple:  # what _branch() made of a transaction
            yield from _flat(each[1])
        else:
            yield each


def _carry_out(data: Keyspace, held: bool, branch: list[Any], past: dict[int, Outcome]) -> Outcome:
    """`past`: the answers that are there already, for history does not know yet what this command changes."""
    results = []
    for each in branch:
        if type(each) is tuple:
            outcome = _carry_out(data, each[0], each[1], past)
        elif isinstance(each, Write):
            outcome = each.change(data)
        else:
            outcome = past[id(each)] if id(each) in past else each.read(data)
        if not outcome[0]:
            return outcome
        results.append(_as_tuple(outcome[1]))
    return ok((data.now, held, tuple(results)))


def _as_tuple(result: Any) -> Any:
    """A range's rows are a list, and a write's outcome has tuples only."""
    if type(result) is tuple:
        return tuple([tuple(part) if type(part) is list else part for part in result])
    return result


# -- parsing -------------------------------------------------------------------------------------------------


def _parsed(cls: type[Any], plain: tuple[Any, ...], depth: int) -> Any:
    if len(plain) != 3:
        raise InvalidRequestError(f"{cls.name} takes 3 arguments, not {len(plain)}")
    if depth > MAX_TXN_DEPTH:
        raise InvalidRequestError(f"transactions are nested too deeply: the limit is {MAX_TXN_DEPTH}")
    compares, success, failure = [_checked_list(each) for each in plain]
    kinds = {**READS_INSIDE, **WRITES_INSIDE} if cls is Txn else READS_INSIDE
    parsed: list[list[Any]] = [
        [_inside(kinds, _checked_list(each), depth) for each in branch] for branch in (success, failure)
    ]
    return new_operation(cls, ([_compare(_checked_list(each)) for each in compares], *parsed))


def _checked_list(plain: Any) -> Any:
    if type(plain) is not list and type(plain) is not tuple:
        raise InvalidRequestError(f"a transaction is made of lists, not of {type(plain).__name__}")
    if len(plain) > 4 * MAX_TXN_OPS:
        raise InvalidRequestError(
            f"the transaction has too many operations: the limit is {MAX_TXN_OPS}", TOO_MANY_OPERATIONS
        )
    return plain


def _compare(plain: Any) -> Compare:
    if len(plain) != 5:
        raise InvalidRequestError(
            "a compare has a target, a relation, a key, an end, and what to compare with"
        )
    return Compare(*plain)


def _inside(kinds: dict[str, Any], plain: Any, depth: int) -> Operation:
    name = plain[0] if plain else None
    kind = kinds.get(name) if type(name) is str else None
    if kind is None:
        raise InvalidRequestError(f"an operation of a transaction is one of {', '.join(kinds)}")
    fields = tuple(plain[1:])
    operation: Operation = (
        _parsed(kind, fields, depth + 1) if issubclass(kind, _Transaction) else kind.of(fields)
    )
    return operation


# -- in the log ----------------------------------------------------------------------------------------------


def _text(field: Any) -> Any:
    return field.decode("utf-8", "surrogateescape") if type(field) is bytes else field


def _bytes(field: Any) -> Any:
    return field.encode("utf-8", "surrogateescape") if type(field) is str else field


def _for_entry(operation: Operation) -> list[Any]:
    if isinstance(operation, Write):
        return operation.for_entry()
    if isinstance(operation, TxnRead):
        return [operation.name, *Txn(*operation).for_entry()[1:]]
    return [operation.name, *map(_text, operation.plain())]


def _of_entry(name: str, *fields: Any) -> Operation:
    if name == TxnRead.name:
        return TxnRead(*Txn.of_entry(list(fields)))
    if name in WRITES_INSIDE:
        return WRITES_INSIDE[name].of_entry(list(fields))  # type: ignore[no-any-return]
    return READS_INSIDE[name].of(tuple(map(_bytes, fields)))  # type: ignore[no-any-return]


# -- no key is written twice ---------------------------------------------------------------------------------


class _Changes(NamedTuple):
    puts: set[bytes]
    deletes: list[tuple[bytes, bytes | None]]


def _check_duplicates(branch: list[Any]) -> _Changes:
    """What the operations may change. Raises InvalidRequestError if two of them may put a key, or one put and the other
    delete it: a revision has one change of a key. (A branch and the other one of its transaction exclude each
    other.)"""
    changes = [_changes_of(each) for each in branch]
    puts: set[bytes] = set()
    for change in changes:
        deletes = [each for other in changes if other is not change for each in other.deletes]
        for key in change.puts:
            if key in puts or any(start <= key and (end is None or key < end) for start, end in deletes):
                raise InvalidRequestError("a key is written twice in one transaction", DUPLICATE_KEY)
        puts |= change.puts
    return _Changes(puts, [each for change in changes for each in change.deletes])


def _changes_of(operation: Operation) -> _Changes:
    if isinstance(operation, _Transaction):
        then, other = _check_duplicates(operation.success), _check_duplicates(operation.failure)
        return _Changes(then.puts | other.puts, then.deletes + other.deletes)
    if isinstance(operation, Delete):
        return _Changes(set(), [(operation.key, end_of(operation.key, operation.end))])
    return _Changes({operation.key} if isinstance(operation, (Put, Append)) else set(), [])
