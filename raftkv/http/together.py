"""What the requests of one turn ask for, as few operations: plain puts become one Puts, reads of single keys one Gets.

Puts gives each put a revision of its own, as if it came alone, and what was asked in one turn was asked at the same time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from raftkv.http.etcd.calls import Resume
from raftkv.kvdb.operation import Operation
from raftkv.kvdb.reads import Gets, Range
from raftkv.kvdb.writes import Put, Puts, batch_of

Part = tuple[Operation, Resume]

_PLAIN_RANGE, _PLAIN_PUT = Range(b"")[1:], Put(b"", b"")[2:]


def gather(parts: Sequence[Part]) -> list[tuple[Operation, list[Part]]]:
    """The operations that carry out `parts`, each with those of which it is made."""
    gets: list[Part] = []
    puts: list[Part] = []
    found: list[tuple[Operation, list[Part]]] = []
    for part in parts:
        operation = part[0]
        if type(operation) is Range and operation[1:] == _PLAIN_RANGE:
            gets.append(part)
        elif type(operation) is Put and operation[2:] == _PLAIN_PUT:
            puts.append(part)
        else:
            found.append((operation, [part]))
    if puts:
        found.append((puts[0][0] if len(puts) == 1 else batch_of([put for put, _ in puts]), puts))  # type: ignore[misc]
    if gets:
        found.append((gets[0][0] if len(gets) == 1 else Gets([get[0] for get, _ in gets]), gets))
    return found


def results_of(operation: Operation, parts: Sequence[Part], result: Any) -> list[Any]:
    """The result of each part, from that of their operation."""
    if type(operation) is Puts:
        return list(range(result, result + len(parts)))
    if type(operation) is Gets:
        revision, items = result
        return [_as_range(revision, get[0], item) for (get, _), item in zip(parts, items)]
    return [result]


def _as_range(revision: int, key: bytes, item: Any) -> tuple[int, list[Any], bool, int]:
    """The result of a Range of one key."""
    return (revision, [], False, 0) if item is None else (revision, [(key, *item)], False, 1)
