"""What a Clerk returns: keys with all that the database knows of them, ranges, and what was deleted."""

from __future__ import annotations

from typing import Any, NamedTuple

from raftkv.client.encoding import Encoding
from raftkv.kvdb.ranges import Row


class KeyValue(NamedTuple):
    """A key. `create_revision` and `mod_revision`: of the commands that created and last changed it; `version`: how often
    it was set since it was created; `lease`: the id of the lease that it hangs on, or 0. Keys and values are str, or
    bytes for a Clerk without an encoding."""

    key: Any
    value: Any
    create_revision: int
    mod_revision: int
    version: int
    lease: int


class RangeResult(NamedTuple):
    """`kvs`: the keys; `count`: how many the range has, whatever limit and bounds of revisions say; `more`: there are some
    beyond the limit; `revision`: of the moment of the answer, which the next page can be asked for with."""

    kvs: list[KeyValue]
    count: int  # type: ignore[assignment]  # shadows tuple.count, which nobody asks of it
    more: bool
    revision: int


class Deleted(NamedTuple):
    """`deleted`: how many keys there were; `prev_kvs`: what they held, if that was asked for."""

    deleted: int
    prev_kvs: list[KeyValue]
    revision: int


def key_value(row: Row, encoding: Encoding) -> KeyValue:
    """A row of the database for a program."""
    return KeyValue(encoding.decode(row[0]), encoding.decode(row[1]), *row[2:])


def range_result(result: Any, encoding: Encoding) -> RangeResult:
    """What an operation Range returned."""
    revision, rows, more, count = result
    return RangeResult([key_value(row, encoding) for row in rows], count, more, revision)


def deleted(result: Any, encoding: Encoding) -> Deleted:
    """What an operation Delete returned."""
    revision, count, rows = result
    return Deleted(count, [key_value(row, encoding) for row in rows], revision)
