"""Transactions for programs: compares and operations, as in python-etcd3.

t = clerk.transactions
succeeded, results = clerk.transaction(
    compare=[t.value("leader") == "a", t.version("x") > 0],
    success=[t.put("leader", "b"), t.get("x")],
    failure=[t.get("leader")],
)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable, NamedTuple

from raftkv import errors
from raftkv.client.answers import deleted, key_value, range_result
from raftkv.client.encoding import Encoding, Text
from raftkv.kvdb.operation import Operation
from raftkv.kvdb.ranges import CREATE, MOD, VALUE, VERSION, prefix_range
from raftkv.kvdb.reads import Range
from raftkv.kvdb.transactions import EQUAL, GREATER, LEASE, LESS, NOT_EQUAL, Compare, Txn, TxnRead
from raftkv.kvdb.transactions import transaction as of_operations
from raftkv.kvdb.writes import PREV_KV, Append, Delete, Put


class Step(NamedTuple):
    """An operation of a transaction, and what a program is given of its result."""

    operation: Operation
    convert: Callable[[Any], Any]


class Target:
    """What is compared. Its comparisons (== != < >) give compares, not truth."""

    def __init__(self, target: int, key: bytes, end: bytes, encode: Callable[[Any], Any]) -> None:
        self._target, self._key, self._end, self._encode = target, key, end, encode

    def _compare(self, relation: int, operand: Any) -> Compare:
        return Compare(self._target, relation, self._key, self._end, self._encode(operand))

    def __eq__(self, other: object) -> Compare:  # type: ignore[override]
        return self._compare(EQUAL, other)

    def __ne__(self, other: object) -> Compare:  # type: ignore[override]
        return self._compare(NOT_EQUAL, other)

    def __lt__(self, other: object) -> Compare:
        return self._compare(LESS, other)

    def __gt__(self, other: object) -> Compare:
        return self._compare(GREATER, other)

    __hash__ = None  # type: ignore[assignment]


class Transactions:
    """Makes the parts of transactions. `prefix=True` compares each key that begins so: all must hold. Immutable."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding

    def value(self, key: Text, *, prefix: bool = False) -> Target:
        """The value of a key. Of one that is not there no comparison holds."""
        encode = self._encoding.encode
        return Target(VALUE, *self._range(key, prefix), lambda operand: encode(operand, "value"))

    def version(self, key: Text, *, prefix: bool = False) -> Target:
        """How often the key was set since it was created; 0 if it is not there."""
        return self._number(VERSION, key, prefix)

    def create(self, key: Text, *, prefix: bool = False) -> Target:
        """The revision that created the key; 0 if it is not there."""
        return self._number(CREATE, key, prefix)

    def mod(self, key: Text, *, prefix: bool = False) -> Target:
        """The revision that last changed the key; 0 if it is not there."""
        return self._number(MOD, key, prefix)

    def lease(self, key: Text, *, prefix: bool = False) -> Target:
        """The id of the lease that the key hangs on; 0 for none."""
        return self._number(LEASE, key, prefix)

    def put(self, key: Text, value: Text, *, lease: int = 0, prev_kv: bool = False) -> Step:
        """Its result is as Clerk.put()."""

        def convert(result: Any) -> Any:
            return (result[0], result[1] and key_value(result[1], self._encoding)) if prev_kv else result

        return Step(
            Put(self._key(key), self._encoding.encode(value, "value"), lease, PREV_KV * prev_kv), convert
        )

    def append(self, key: Text, value: Text) -> Step:
        """Its result is as Clerk.append()."""
        return Step(Append(self._key(key), self._encoding.encode(value, "value")), lambda result: result)

    def delete(self, key: Text, *, prefix: bool = False, prev_kvs: bool = False) -> Step:
        """Its result is as Clerk.delete_range()."""
        return Step(
            Delete(*self._range(key, prefix), prev_kvs), lambda result: deleted(result, self._encoding)
        )

    def get(self, key: Text, *, prefix: bool = False, limit: int = 0, revision: int = 0) -> Step:
        """Its result is a KeyValue or None; with `prefix` as Clerk.range()."""

        def convert(result: Any) -> Any:
            found = range_result(result, self._encoding)
            return found if prefix else found.kvs[0] if found.kvs else None

        return Step(Range(*self._range(key, prefix), limit, revision), convert)

    def txn(
        self, compare: Sequence[Compare] = (), success: Sequence[Step] = (), failure: Sequence[Step] = ()
    ) -> Step:
        """One inside another. Its result is (whether the compares held, the results of its operations)."""
        for each in compare:
            if not isinstance(each, Compare):
                raise errors.InvalidRequestError("a compare is such as transactions.value(key) == 'x'")
        for step in (*success, *failure):
            if not isinstance(step, Step):
                raise errors.InvalidRequestError("an operation is such as transactions.put(key, value)")
        operation: Txn | TxnRead = of_operations(
            list(compare), [step.operation for step in success], [step.operation for step in failure]
        )

        def convert(result: Any) -> tuple[bool, list[Any]]:
            _, held, results = result
            steps = success if held else failure
            return held, [step.convert(each) for step, each in zip(steps, results)]

        return Step(operation, convert)

    def _number(self, target: int, key: Text, prefix: bool) -> Target:
        return Target(target, *self._range(key, prefix), lambda operand: operand)

    def _key(self, key: Text) -> bytes:
        return self._encoding.encode(key, "key")

    def _range(self, key: Text, prefix: bool) -> tuple[bytes, bytes]:
        first = self._encoding.encode(key, "key")
        return prefix_range(first) if prefix else (first, b"")
