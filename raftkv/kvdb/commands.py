"""The commands that go through the log: their form, their limits, and the check each passes on its way in.

The data of a COMMAND entry is a plain JSON list:

    [0, 0, 0, "register"]                              -> the new client's id
    [client, seq, acked, "put", key, value]            -> revision
    [client, seq, acked, "append", key, value]         -> revision
    [client, seq, acked, "delete", key]                -> did the key exist?
    [client, seq, acked, "cas", key, expected, value]  -> was it swapped?  (expected null: no such key)
    [client, seq, acked, "batch", [[op, *args], …]]    -> [[ok, result], …], one for each operation, in order

`client` is the id that the registration gave, `seq` this command's number among the client's commands, and
`acked` the lowest number that the client still waits for: see sessions.py.

The limits are constants, not options, because they are part of the state machine: two servers that disagreed
on whether a value may still grow would end up with different data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable

from raftkv.errors import InvalidRequestError

MAX_KEY_BYTES = 64 * 1024
MAX_VALUE_BYTES = 3 * 512 * 1024  # 1.5 MiB, as in etcd; of a stored value too, which `append` lets grow
MAX_REQUEST_BYTES = MAX_KEY_BYTES + MAX_VALUE_BYTES  # its keys and values, so that what is stored can be put
MAX_BATCH_OPS = 10_000
MAX_SCAN_ROWS = 1000  # a page of `scan` holds no more keys than this,
MAX_SCAN_BYTES = 1024 * 1024  # nor more bytes of keys and values (but always one key)
KEY_BYTES = (
    256  # of memory that a key takes beside its own bytes and its value's; measured, with some to spare
)
MAX_NUMBER = 2**63 - 1  # of ids, sequence numbers and limits

#: The methods that become an entry of the log; all others only read.
WRITES = frozenset(["register", "put", "append", "delete", "cas", "batch"])


def validate(method: str, args: tuple[Any, ...]) -> int:
    """Check a request as a client sent it: types exact, sizes within the limits, text valid Unicode. Returns
    the bytes by which it can make the data grow; 0 if it cannot.

    `args` is (client, seq, acked, *operation's arguments) for a write, (key,) for "get", (keys,) for "gets",
    (prefix, start, limit) for "scan", (dump, piece) for "dump_piece", (dump,) for "dump_end",
    () for "register", "dump" and "status".
    What passes here never makes the store raise. Raises InvalidRequestError with a sentence for the client.
    """
    check = _CHECKS.get(method) if type(method) is str else None
    if check is None:
        raise InvalidRequestError(f"there is no method {_name(method)}")
    if type(args) is not tuple:
        raise InvalidRequestError(f"the arguments of {method} must be a tuple, not {_type(args)}")
    return check(method, args)


def command(method: str, args: tuple[Any, ...]) -> list[Any]:
    """The data of the log entry for a write that passed validate()."""
    if method == "register":
        return [0, 0, 0, method]
    client, seq, acked, *operation_args = args
    return [client, seq, acked, method, *operation_args]


def validate_operation(op: str, args: Sequence[Any]) -> int:
    """Check one operation of a client's (put, append, delete, cas) without its session's numbers.

    Returns the bytes that count towards MAX_REQUEST_BYTES. Raises InvalidRequestError.
    """
    if op == "put" or op == "append":
        _count(op, args, 2)
        size = check_key(args[0]) + check_value(args[1])
    elif op == "delete":
        _count(op, args, 1)
        size = check_key(args[0])
    elif op == "cas":
        _count(op, args, 3)
        size = check_key(args[0]) + check_value(args[2])
        if args[1] is not None:
            size += check_value(args[1], "expected value")
    else:
        raise InvalidRequestError(f"there is no operation {_name(op)}: use put, append, delete or cas")
    if size > MAX_REQUEST_BYTES:
        raise _too_large("request", MAX_REQUEST_BYTES)
    return size


def validate_batch(operations: Sequence[Sequence[Any]]) -> int:
    """Check the operations of a batch, each [op, *args]. Returns what validate() does. Raises
    InvalidRequestError."""
    if type(operations) is not list and type(operations) is not tuple:
        raise InvalidRequestError(f"a batch must be a list of operations, not {_type(operations)}")
    if not 1 <= len(operations) <= MAX_BATCH_OPS:
        raise InvalidRequestError(f"a batch has 1 to {MAX_BATCH_OPS} operations, not {len(operations)}")
    size = growth = 0
    for operation in operations:
        if (type(operation) is not list and type(operation) is not tuple) or not operation:
            raise InvalidRequestError("each operation of a batch must be a list: [operation, argument, …]")
        added = validate_operation(operation[0], operation[1:])
        size += added
        if size > MAX_REQUEST_BYTES:
            raise _too_large("batch", MAX_REQUEST_BYTES)
        if operation[0] != "delete":
            growth += KEY_BYTES + added
    return growth


def check_key(key: Any) -> int:
    """The size of a valid key in bytes. Raises InvalidRequestError."""
    if type(key) is str and key.isascii() and 0 < len(key) <= MAX_KEY_BYTES:
        return len(key)
    if key == "":
        raise InvalidRequestError(f"the key is empty: a key has 1 to {MAX_KEY_BYTES} bytes")
    return _text_size("key", key, MAX_KEY_BYTES)


def check_value(value: Any, name: str = "value") -> int:
    """The size of a valid value in bytes. Raises InvalidRequestError."""
    if type(value) is str and value.isascii() and len(value) <= MAX_VALUE_BYTES:
        return len(value)
    return _text_size(name, value, MAX_VALUE_BYTES)


def check_scan(prefix: Any, start: Any, limit: Any) -> None:
    """Check the arguments of a scan; limit None means as many as fit. Raises InvalidRequestError."""
    _text_size("prefix", prefix, MAX_KEY_BYTES)
    _text_size("start", start, MAX_KEY_BYTES + 1)  # a page goes on at the last key + "\0"
    if limit is not None and (type(limit) is not int or not 1 <= limit <= MAX_NUMBER):
        raise InvalidRequestError("the limit must be a number from 1 on")


def utf8_size(text: str) -> int:
    """The bytes of `text` as UTF-8; for ASCII without looking at it."""
    return len(text) if text.isascii() else len(text.encode())


def _validate_write(method: str, args: tuple[Any, ...]) -> int:
    if len(args) < 3:
        raise InvalidRequestError(f"{method} takes client, seq and acked before its own arguments")
    client, seq, acked = args[:3]
    if not (type(client) is int and type(seq) is int and type(acked) is int):
        raise InvalidRequestError("client, seq and acked must be whole numbers")
    if not (0 < client <= MAX_NUMBER and 0 <= acked <= seq <= MAX_NUMBER):
        raise InvalidRequestError("client must be a registered id, and acked from 0 to seq")
    if method == "batch":
        _count(method, args[3:], 1)
        return validate_batch(args[3])
    size = validate_operation(method, args[3:])
    return 0 if method == "delete" else KEY_BYTES + size


def _validate_nothing(method: str, args: tuple[Any, ...]) -> int:
    _count(method, args, 0)
    return 0


def _validate_get(method: str, args: tuple[Any, ...]) -> int:
    _count(method, args, 1)
    check_key(args[0])
    return 0


def _validate_gets(method: str, args: tuple[Any, ...]) -> int:
    _count(method, args, 1)
    keys = args[0]
    if type(keys) is not list and type(keys) is not tuple:
        raise InvalidRequestError(f"gets takes a list of keys, not {_type(keys)}")
    if len(keys) > MAX_BATCH_OPS:
        raise InvalidRequestError(f"gets takes up to {MAX_BATCH_OPS} keys, not {len(keys)}")
    size = sum(map(check_key, keys))
    if size > MAX_REQUEST_BYTES:
        raise _too_large("request", MAX_REQUEST_BYTES)
    return 0


def _validate_scan(method: str, args: tuple[Any, ...]) -> int:
    _count(method, args, 3)
    check_scan(*args)
    return 0


def _validate_piece(method: str, args: tuple[Any, ...]) -> int:
    _count(method, args, 2)
    if not all(type(number) is int and 0 <= number <= MAX_NUMBER for number in args):
        raise InvalidRequestError("a piece of a dump is asked for by two whole numbers")
    return 0


def _validate_end(method: str, args: tuple[Any, ...]) -> int:
    _count(method, args, 1)
    if not (type(args[0]) is int and 0 <= args[0] <= MAX_NUMBER):
        raise InvalidRequestError("a dump is ended by its whole number")
    return 0


_CHECKS: dict[str, Callable[[str, tuple[Any, ...]], int]] = {
    "register": _validate_nothing,
    "put": _validate_write,
    "append": _validate_write,
    "delete": _validate_write,
    "cas": _validate_write,
    "batch": _validate_write,
    "get": _validate_get,
    "gets": _validate_gets,
    "scan": _validate_scan,
    "dump": _validate_nothing,
    "dump_piece": _validate_piece,
    "dump_end": _validate_end,
    "status": _validate_nothing,
}


def _count(name: str, args: Sequence[Any], count: int) -> None:
    if len(args) != count:
        raise InvalidRequestError(f"{name} takes {count} argument{'s' * (count != 1)}, not {len(args)}")


def _text_size(name: str, text: Any, limit: int) -> int:
    if type(text) is not str:
        raise InvalidRequestError(f"the {name} must be text (str), not {_type(text)}")
    if len(text) > limit:  # before encoding it: each character has at least one byte
        raise _too_large(name, limit)
    try:
        size = utf8_size(text)
    except UnicodeEncodeError as error:
        raise InvalidRequestError(
            f"the {name} is not valid Unicode: there is half a surrogate pair at position {error.start}"
        ) from None
    if size > limit:
        raise _too_large(name, limit)
    return size


def _too_large(name: str, limit: int) -> InvalidRequestError:
    return InvalidRequestError(f"the {name} is too large: the limit is {limit} bytes")


def _type(thing: Any) -> str:
    return type(thing).__name__


def _name(thing: Any) -> str:
    """For a message: what a client sent is never shown in full, and its repr is not safe to make."""
    return repr(thing[:40]) if type(thing) is str else f"of type {_type(thing)}"
