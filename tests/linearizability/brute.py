"""A second checker, as plain as can be, to check the checker: every order of every subset, on plain
strings."""

from __future__ import annotations

from collections.abc import Sequence

from tests.linearizability.history import Operation

_IMPOSSIBLE = object()


def linearizable(operations: Sequence[Operation], starts: Sequence[str | None] = (None,)) -> bool:
    """Whether the operations of one key, a handful, have an order that explains all answers. Exponential."""
    pending = frozenset(o for o in operations if o.outcome != "fail")
    return any(_explained(pending, start, set()) for start in starts)


def _explained(pending: frozenset, value: str | None, hopeless: set[tuple[frozenset, str | None]]) -> bool:
    if all(o.outcome == "info" for o in pending):
        return True
    if (pending, value) in hopeless:
        return False
    for operation in pending:
        if any(other.returned < operation.invoked for other in pending):
            continue
        after = _apply(operation, value)
        if after is not _IMPOSSIBLE and _explained(pending - {operation}, after, hopeless):
            return True
    hopeless.add((pending, value))
    return False


def _apply(operation: Operation, value: str | None) -> object:
    """The value after it, or _IMPOSSIBLE if it cannot have been answered so."""
    if operation.f == "get":
        after, result = value, value
    elif operation.f == "put":
        after, result = operation.value, None
    elif operation.f == "append":
        after, result = (value or "") + operation.value, None
    elif operation.f == "delete":
        after, result = None, value is not None
        if operation.result is None:
            result = None
    else:
        expected, new = operation.value
        result = value == expected
        after = new if result else value
    if operation.outcome == "ok" and operation.result != result:
        return _IMPOSSIBLE
    return after
