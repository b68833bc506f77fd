"""Histories: what clients asked and what they were told, and the JSON-lines format they are kept in.

One line an event, in the order in which the events happened; README-like definition of the fields::

    {"process": 3, "type": "invoke", "f": "cas", "key": "x", "value": ["a", "b"], "time": 1.25}
    {"process": 3, "type": "ok", "f": "cas", "key": "x", "value": true, "time": 1.31}

process
    An integer or a string: one sequential client. It has at most one operation open at a time; a client with
    many requests in flight writes each under a process of its own.
type
    ``invoke``: about to be asked. ``ok``: answered. ``fail``: certainly did not take effect and never will.
    ``info``: outcome unknown; it may take effect at any time after its invoke, or never. An operation that is
    still open at the end of the file counts as ``info``. After each of the three the process may go on.
f, key
    ``get``, ``put``, ``append``, ``delete`` or ``cas``, on a string key. The same in both lines of an
    operation.
value
    ========  ===================================  ==========================================================
    f         invoke                               ok
    ========  ===================================  ==========================================================
    get       null                                 the string read, or null: no such key
    put       the string                           the string again, or null
    append    the string                           the string again, or null
    delete    null                                 true: the key existed; false: it did not; null: not known
    cas       [expected or null (absent), new]     true: swapped; false: the comparison failed
    ========  ===================================  ==========================================================

    In ``fail`` and ``info`` lines it is not looked at. A cas whose comparison failed is ``ok`` with false.
time
    Seconds, an integer or a float of any origin, never decreasing from line to line. It is only shown to
    people: the order is that of the lines. (To merge files of several recorders on one clock, sort their
    lines by time, invokes first where times are equal: that can only widen operations, so it never invents a
    violation.)

Further fields (``error``, ``node``, …) are allowed and ignored. Empty lines are skipped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Union

Process = Union[int, str]

FUNCTIONS = ("get", "put", "append", "delete", "cas")
TYPES = ("invoke", "ok", "fail", "info")
FIELDS = ("process", "type", "f", "key", "value", "time")
NEVER = 1 << 62  # `returned` of an operation without an answer: after every position


class HistoryError(ValueError):
    """A history is not in the format that this module defines. The message names the line."""


class Operation(NamedTuple):
    """One operation of one client: its invoke and what became of it.

    `invoked` and `returned` are positions in the history, counted in events; only their order means anything.
    """

    process: Process
    f: str
    key: str
    value: Any  # as in the invoke event; a tuple for cas
    outcome: str  # "ok", "fail" or "info"
    result: Any  # as in the ok event, otherwise None
    invoked: int
    returned: int  # NEVER unless outcome is "ok" or "fail"
    invoke_time: float  # seconds
    return_time: float | None  # seconds; None where returned is NEVER

    def weakened(self) -> Operation:
        """The same operation as if its answer had not been seen: it may have taken effect, at any time, or
        not."""
        return self._replace(outcome="info", result=None, returned=NEVER, return_time=None)


def write_history(path: str, events: Iterable[dict[str, Any]]) -> None:
    """Write `events` to the file `path`, one JSON object a line."""
    with open(path, "w", encoding="ascii") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)


def read_history(path: str) -> list[Operation]:
    """The operations of the JSON-lines file `path`, in the order of their invokes.

    Raises HistoryError, and OSError if the file cannot be read.
    """
    with open(path, encoding="utf-8") as file:
        try:
            return operations_of(_parse(file))
        except UnicodeDecodeError as error:
            raise HistoryError(f"the file is not UTF-8 text ({error})") from None


def _parse(lines: Iterable[str]) -> Iterator[Any]:
    for number, line in enumerate(lines, 1):
        try:
            yield json.loads(line) if line.strip() else None
        except ValueError as error:
            raise HistoryError(f"line {number}: not a JSON object ({error})") from None


def operations_of(events: Iterable[Any]) -> list[Operation]:
    """The operations of `events` (dicts with the fields of the module's docstring), in the order of their
    invokes.

    Nones stand for empty lines. Raises HistoryError.
    """
    operations: list[Operation] = []
    open_at: dict[Process, int] = {}  # process -> index in operations
    last_time = float("-inf")
    for number, event in enumerate(events, 1):
        if event is None:
            continue
        try:
            process, type_, f, key, value, time = _checked(event)
            if time < last_time:
                raise HistoryError(f"time goes back from {last_time} to {time}; sort the events by time")
            last_time = time
            if type_ == "invoke":
                _check_invoke(f, value)
                if process in open_at:
                    raise HistoryError(f"process {process!r} invokes while its last operation is still open")
                open_at[process] = len(operations)
                value = tuple(value) if f == "cas" else value
                operations.append(Operation(process, f, key, value, "info", None, number, NEVER, time, None))
            else:
                if process not in open_at:
                    raise HistoryError(f"process {process!r} ends an operation that it did not invoke")
                index = open_at.pop(process)
                operations[index] = _ended(operations[index], type_, f, key, value, number, time)
        except HistoryError as error:
            raise HistoryError(f"line {number}: {error}") from None
    return operations


def _checked(event: Any) -> tuple[Process, str, str, str, Any, float]:
    if not isinstance(event, dict):
        raise HistoryError("not a JSON object")
    missing = [field for field in FIELDS if field not in event]
    if missing:
        raise HistoryError(f"the field {missing[0]!r} is missing")
    process, type_, f, key, value, time = (event[field] for field in FIELDS)
    if type(process) not in (int, str):
        raise HistoryError(f"process must be an integer or a string, not {process!r}")
    if type_ not in TYPES:
        raise HistoryError(f"type must be one of {', '.join(TYPES)}, not {type_!r}")
    if f not in FUNCTIONS:
        raise HistoryError(f"f must be one of {', '.join(FUNCTIONS)}, not {f!r}")
    if type(key) is not str:
        raise HistoryError(f"key must be a string, not {key!r}")
    if type(time) not in (int, float) or time != time:
        raise HistoryError(f"time must be a number of seconds, not {time!r}")
    return process, type_, f, key, value, time


def _check_invoke(f: str, value: Any) -> None:
    if f in ("get", "delete"):
        good, wanted = value is None, "null"
    elif f in ("put", "append"):
        good, wanted = type(value) is str, "a string"
    else:
        good = type(value) in (list, tuple) and len(value) == 2
        good = good and (value[0] is None or type(value[0]) is str) and type(value[1]) is str
        wanted = "[expected string or null, new string]"
    if not good:
        raise HistoryError(f"the value of an invoked {f} must be {wanted}, not {value!r}")


def _ended(
    operation: Operation, type_: str, f: str, key: str, value: Any, number: int, time: float
) -> Operation:
    if (f, key) != (operation.f, operation.key):
        raise HistoryError(
            f"process {operation.process!r} ends {f} {key!r}, but it invoked {operation.f} {operation.key!r}"
        )
    if type_ == "info":
        return operation
    if type_ == "fail":
        return operation._replace(outcome="fail", returned=number, return_time=time)
    if f == "get":
        good, wanted = value is None or type(value) is str, "a string or null"
    elif f == "delete":
        good, wanted = value is None or type(value) is bool, "true, false or null"
    elif f == "cas":
        good, wanted = type(value) is bool, "true or false"
    else:
        good, wanted = value is None or value == operation.value, "the invoked string or null"
        value = None
    if not good:
        raise HistoryError(f"the value of an answered {f} must be {wanted}, not {value!r}")
    return operation._replace(outcome="ok", result=value, returned=number, return_time=time)
