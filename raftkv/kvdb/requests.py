"""Operations as they come in requests and in entries of the log.

A request is (method, args). Its args are the operation's plain form; those of a numbered write have four more in front:

    ("put", (name, birth, seq, acked, key, value))

and its entry in the log holds the same as a JSON list, with text for bytes:

    [name, birth, seq, acked, "put", key, value]

`name` and `birth` are the client's, `seq` is this command's number among the client's commands, and `acked` the lowest
number that the client still waits for: see session_table.py. A write that is not numbered has "" and zeros there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from raftkv.errors import InvalidRequestError
from raftkv.kvdb.limits import MAX_NUMBER
from raftkv.kvdb.operation import Operation, Write
from raftkv.kvdb.operations import IN_LOG, OPERATIONS
from raftkv.raft.types import Entry

MAX_NAME = 64  # characters of a client's name


def of_request(method: str, args: tuple[Any, ...]) -> Operation:
    """The operation of a request as a client sent it, whoever that is; its fields are not checked yet. Raises
    InvalidRequestError."""
    kind = OPERATIONS.get(method) if type(method) is str else None
    if kind is None:
        raise InvalidRequestError(f"there is no method {_name(method)}")
    if type(args) is not tuple:
        raise InvalidRequestError(f"the arguments of {method} must be a tuple, not {type(args).__name__}")
    if kind.numbered:
        _check_numbers(method, args)
        args = args[4:]
    return kind.of(args)  # type: ignore[no-any-return]


def entry_of(operation: Write, args: tuple[Any, ...]) -> list[Any]:
    """The data of the log entry for a write that came in a request with these `args`."""
    if not operation.numbered:
        return operation.for_entry("", 0, 0, 0)
    return operation.for_entry(*args[:4])


def of_entry(data: Sequence[Any]) -> Write:
    """The write of an entry's data, which was checked before it came into the log.

    Raises for an operation that this server does not know: it must stop, for if it went on its state would no
    longer be that of the others.
    """
    return IN_LOG[data[4]].of_entry(data[5:])  # type: ignore[no-any-return, arg-type]


def why_unknown(entry: Entry) -> str:
    """Why an entry could not be applied, if it holds no write of this version; "" if it holds one."""
    kind = None
    try:
        data = entry.data
        kind = data[4]
        operation = of_entry(data)
        if operation.numbered:
            _check_numbers(operation.name, tuple(data[:4]))
        operation.check()
        return ""
    except Exception as error:
        if type(kind) is str and kind not in IN_LOG:
            return f"there is no operation {_name(kind)}"
        return str(error) or type(error).__name__


def _check_numbers(method: str, args: tuple[Any, ...]) -> None:
    if len(args) < 4:
        raise InvalidRequestError(f"{method} takes name, birth, seq and acked before its own arguments")
    name, birth, seq, acked = args[:4]
    if type(name) is not str or not 0 < len(name) <= MAX_NAME or not name.isascii():
        raise InvalidRequestError(f"the name of a client must be a text of 1 to {MAX_NAME} ASCII characters")
    if not (type(birth) is int and type(seq) is int and type(acked) is int):
        raise InvalidRequestError("birth, seq and acked must be whole numbers")
    if not (0 <= birth <= MAX_NUMBER and 0 <= acked <= seq <= MAX_NUMBER):
        raise InvalidRequestError("birth must be an index of the log, and acked from 0 to seq")


def _name(thing: Any) -> str:
    """For a message: what a client sent is never shown in full, and its repr is not safe to make."""
    return repr(thing[:40]) if type(thing) is str else f"of type {type(thing).__name__}"
