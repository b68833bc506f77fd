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
MAX_GETS_CHARS = 8 << 20  # of values in the answer to one "gets"
MAX_SCAN_ROWS = 1000  # a page of `scan` holds no more keys than this,
MAX_SCAN_BYTES = 1024 * 1024  # nor more bytes of keys and values (but always one key)
# Of memory that a key takes beside its own bytes and its value's; measured, with some to spare.
KEY_BYTES = 256
MAX_NUMBER = 2**63 - 1  # of ids, sequence numbers and limits


def check_key(key: Any) -> int:
    """The size of a valid key in bytes. Raises InvalidRequestError."""
    if type(key) is str and key.isascii() and 0 < len(key) <= MAX_KEY_BYTES:
        return len(key)
    if key == "":
        raise InvalidRequestError(f"the key is empty: a key has 1 to {MAX_KEY_BYTES} bytes")
    return check_text("key", key, MAX_KEY_BYTES)


def check_value(value: Any, name: str = "value") -> int:
    """The size of a valid value in bytes. Raises InvalidRequestError."""
    if type(value) is str and value.isascii() and len(value) <= MAX_VALUE_BYTES:
        return len(value)
    return check_text(name, value, MAX_VALUE_BYTES)


def check_item(key: Any, value: Any) -> int:
    """The size of both, which fit into a request. Raises InvalidRequestError."""
    if (
        type(key) is str and key.isascii() and 0 < len(key) <= MAX_KEY_BYTES
        and type(value) is str and value.isascii() and len(value) <= MAX_VALUE_BYTES
    ):  # fmt: skip  # the common case, in one step
        return len(key) + len(value)
    return check_key(key) + check_value(value)


def check_text(name: str, text: Any, limit: int) -> int:
    """The size of a text of at most `limit` bytes; `name` is what a refusal calls it. Raises
    InvalidRequestError."""
    if type(text) is not str:
        raise InvalidRequestError(f"the {name} must be text (str), not {type(text).__name__}")
    if len(text) > limit:  # before encoding it: each character has at least one byte
        raise too_large(name, limit)
    try:
        size = utf8_size(text)
    except UnicodeEncodeError as error:
        raise InvalidRequestError(
            f"the {name} is not valid Unicode: there is half a surrogate pair at position {error.start}"
        ) from None
    if size > limit:
        raise too_large(name, limit)
    return size


def check_request(size: int) -> int:
    """The size of a request that is not too large. Raises InvalidRequestError."""
    if size > MAX_REQUEST_BYTES:
        raise too_large("request", MAX_REQUEST_BYTES)
    return size


def too_large(name: str, limit: int) -> InvalidRequestError:
    return InvalidRequestError(f"the {name} is too large: the limit is {limit} bytes")


def utf8_size(text: str) -> int:
    """The bytes of `text` as UTF-8; for ASCII without looking at it."""
    return len(text) if text.isascii() else len(text.encode())
