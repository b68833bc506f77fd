"""Limits of keys, values and requests, and the checks of what must be within them.

They are constants, not options, because they are part of the state machine: two servers that disagreed on
whether a value may still grow would end up with different data.
"""

from __future__ import annotations

from typing import Any

from raftkv.errors import InvalidRequestError

MAX_KEY_BYTES = 64 * 1024
MAX_VALUE_BYTES = 3 * 512 * 1024  # 1.5 MiB, as in etcd; of a stored value too, which `append` lets grow
MAX_REQUEST_BYTES = MAX_KEY_BYTES + MAX_VALUE_BYTES  # its keys and values, so that what is stored can be put
MAX_BATCH_OPS = 10_000
MAX_TXN_OPS = 128  # compares, or operations of one branch, with those of the transactions in it; as in etcd
MAX_TXN_DEPTH = 8
MAX_ANSWER_BYTES = 8 << 20  # of keys and values in what one read returns,
MAX_OUTCOME_BYTES = 2 << 20  # and one write: a session remembers it
MAX_RANGE_KEYS = 10_000  # that one range looks at, or one answer holds: some 10 ms of work
MAX_PAGE_ROWS = 1000  # a page of a range holds no more keys than this,
MAX_PAGE_BYTES = 1024 * 1024  # nor more bytes of keys and values (but always one key)
MAX_TTL_S = 9_000_000_000  # of a lease, as in etcd
# Of memory that a key takes beside its own bytes and its value's; measured, with some to spare.
KEY_BYTES = 256
MAX_NUMBER = 2**63 - 1  # of ids, sequence numbers, revisions and limits


def check_key(key: Any) -> int:
    """The size of a valid key. Raises InvalidRequestError."""
    if type(key) is bytes and 0 < len(key) <= MAX_KEY_BYTES:
        return len(key)
    if key == b"":
        raise InvalidRequestError(f"the key is empty: a key has 1 to {MAX_KEY_BYTES} bytes")
    return check_bytes("key", key, MAX_KEY_BYTES)


def check_value(value: Any, name: str = "value") -> int:
    """The size of a valid value. Raises InvalidRequestError."""
    return check_bytes(name, value, MAX_VALUE_BYTES)


def check_item(key: Any, value: Any) -> int:
    """The size of both, which fit into a request. Raises InvalidRequestError."""
    if (
        type(key) is bytes and 0 < len(key) <= MAX_KEY_BYTES
        and type(value) is bytes and len(value) <= MAX_VALUE_BYTES
    ):  # fmt: skip  # the common case, in one step
        return len(key) + len(value)
    return check_key(key) + check_value(value)


def check_range(key: Any, end: Any) -> int:
    """The size of the bounds of a range, or of a key with the end b"". Raises InvalidRequestError."""
    if end == b"":
        return check_key(key)
    if key == b"":
        raise InvalidRequestError("the range begins with an empty key: write b'\\0' for the first key")
    # A page goes on at the last key + "\0".
    return check_bytes("key", key, MAX_KEY_BYTES + 1) + check_bytes("end", end, MAX_KEY_BYTES + 1)


def check_bytes(name: str, data: Any, limit: int) -> int:
    """The size of at most `limit` bytes; `name` is what a refusal calls them. Raises InvalidRequestError."""
    if type(data) is not bytes:
        raise InvalidRequestError(f"the {name} must be text (str) or bytes, not {type(data).__name__}")
    if len(data) > limit:
        raise too_large(name, limit)
    return len(data)


def check_number(name: str, number: Any, least: int = 0, most: int = MAX_NUMBER) -> None:
    """Raises InvalidRequestError for what is no whole number within these bounds."""
    if type(number) is not int or not least <= number <= most:
        bounds = f"from {least} on" if most == MAX_NUMBER else f"from {least} to {most}"
        raise InvalidRequestError(f"the {name} must be a whole number {bounds}")


def check_flag(name: str, flag: Any) -> None:
    """Raises InvalidRequestError for what is neither True nor False."""
    if type(flag) is not bool:
        raise InvalidRequestError(f"{name} is either true or false")


def check_request(size: int) -> int:
    """The size of a request that is not too large. Raises InvalidRequestError."""
    if size > MAX_REQUEST_BYTES:
        raise too_large("request", MAX_REQUEST_BYTES)
    return size


def too_large(name: str, limit: int) -> InvalidRequestError:
    return InvalidRequestError(f"the {name} is too large: the limit is {limit} bytes")
