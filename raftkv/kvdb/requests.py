"""Operations as they come in requests and in entries of the log.

A request is (method, args). Its args are the operation's fields; those of a numbered write have three numbers
in front:

    ("put", (client, seq, acked, key, value))

and its entry in the log holds the same as a JSON list:

    [client, seq, acked, "put", key, value]

`client` is the id that the registration gave, `seq` this command's number among the client's commands, and
`acked` the lowest number that the client still waits for: see session_table.py. A write that is not numbered has
zeros there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from raftkv.errors import InvalidRequestError
from raftkv.kvdb.limits import MAX_BATCH_OPS, MAX_NUMBER
from raftkv.kvdb.operations import OPERATIONS, SINGLE_WRITES, WRITES, Batch, Operation, Write
from raftkv.raft.types import Entry

_new = tuple.__new__  # a NamedTuple's own _make() takes four times as long


def of_request(method: str, args: tuple[Any, ...]) -> Operation:
    """The operation of a request as a client sent it, whoever that is; its fields are not checked yet. Raises
    InvalidRequestError."""
    kind = OPERATIONS.get(method) if type(method) is str else None
    if kind is None:
        raise InvalidRequestError(f"there is no method {_name(method)}")
    if type(args) is not tuple:
        raise InvalidRequestError(f"the arguments of {method} must be a tuple, not {_type(args)}")
    if kind.numbered:
        _check_numbers(method, args)
        args = args[3:]
    return of_fields(kind, args)


def of_fields(kind: type[Operation], fields: tuple[Any, ...]) -> Operation:
    """The operation with these fields, as its plain() gives them; they are not checked yet. Raises
    InvalidRequestError."""
    if len(fields) != kind.takes:
        raise _wrong_count(kind, len(fields))
    return Batch(_writes_of(fields[0])) if kind is Batch else _new(kind, fields)


def entry_of(operation: Write, args: tuple[Any, ...]) -> list[Any]:
    """The data of the log entry for a write that came in a request with these `args`."""
    if not operation.numbered:
        return [0, 0, 0, operation.name, *args]
    return [*args[:3], operation.name, *args[3:]]


def of_entry(data: Sequence[Any]) -> Write:
    """The write of an entry's data, which was checked before it came into the log.

    Raises for an operation that this server does not know: it must stop, for if it went on its state would no
    longer be that of the others.
    """
    kind = WRITES[data[3]]
    if kind is Batch:
        return Batch([_new(SINGLE_WRITES[plain[0]], plain[1:]) for plain in data[4]])
    return _new(kind, data[4:])


def why_unknown(entry: Entry) -> str:
    """Why an entry could not be applied, if it holds no write of this version; "" if it holds one."""
    kind = None
    try:
        data = entry.data
        kind = data[3]
        operation = of_entry(data)
        if operation.numbered:
            _check_numbers(operation.name, tuple(data[:3]))
        of_fields(type(operation), operation.plain()).check()
        return ""
    except Exception as error:
        if type(kind) is str and kind not in WRITES:
            return f"there is no operation {_name(kind)}"
        return str(error) or _type(error)


def _writes_of(plain: Any) -> list[Write]:
    """Raises InvalidRequestError."""
    if type(plain) is not list and type(plain) is not tuple:
        raise InvalidRequestError(f"a batch must be a list of operations, not {_type(plain)}")
    if not 1 <= len(plain) <= MAX_BATCH_OPS:
        raise InvalidRequestError(f"a batch has 1 to {MAX_BATCH_OPS} operations, not {len(plain)}")
    writes = []
    for each in plain:
        if (type(each) is not list and type(each) is not tuple) or not each:
            raise InvalidRequestError("each operation of a batch must be a list: [operation, argument, …]")
        name = each[0]
        kind = SINGLE_WRITES[name] if type(name) is str and name in SINGLE_WRITES else _single_write(name)
        write = _new(kind, each[1:])
        if len(write) != kind.takes:
            raise _wrong_count(kind, len(write))
        writes.append(write)
    return writes


def _single_write(name: Any) -> type[Write]:
    kind = SINGLE_WRITES.get(name) if type(name) is str else None
    if kind is None:
        raise InvalidRequestError(f"there is no operation {_name(name)}: use put, append, delete or cas")
    return kind


def _check_numbers(method: str, args: tuple[Any, ...]) -> None:
    if len(args) < 3:
        raise InvalidRequestError(f"{method} takes client, seq and acked before its own arguments")
    client, seq, acked = args[:3]
    if not (type(client) is int and type(seq) is int and type(acked) is int):
        raise InvalidRequestError("client, seq and acked must be whole numbers")
    if not (0 < client <= MAX_NUMBER and 0 <= acked <= seq <= MAX_NUMBER):
        raise InvalidRequestError("client must be a registered id, and acked from 0 to seq")


def _wrong_count(kind: type[Operation], count: int) -> InvalidRequestError:
    takes = kind.takes
    return InvalidRequestError(f"{kind.name} takes {takes} argument{'s' * (takes != 1)}, not {count}")


def _type(thing: Any) -> str:
    return type(thing).__name__


def _name(thing: Any) -> str:
    """For a message: what a client sent is never shown in full, and its repr is not safe to make."""
    return repr(thing[:40]) if type(thing) is str else f"of type {_type(thing)}"
