"""What became of an operation: ok with a result, or refused with the reason.

An outcome is plain data: a session remembers it, a snapshot holds it and a reply carries it as it is. So it is
small, shared where many have the same one, and never changed once made. Results are numbers, keys and values, and
tuples of those; the only text is in refusals.
"""

from __future__ import annotations

from typing import Any

#: (True, result), or (False, (code, message, detail)) as RemoteError takes it.
Outcome = tuple[bool, Any]

RESULT_BYTES = 128  # of memory that an outcome takes, or another tuple in one; measured, with some to spare


def ok(result: Any) -> Outcome:
    """It was carried out. `result`: plain data."""
    return True, result


def refused(code: str, message: str, detail: Any = None) -> Outcome:
    """It was not carried out. `code`: one of errors.py."""
    return False, (code, message, detail)


def memory_of(outcome: tuple[Any, ...]) -> int:
    """About the bytes of memory that it takes."""
    size = RESULT_BYTES
    for part in outcome:
        if type(part) is tuple:
            is_simple = len(part) == 2 and type(part[1]) is int  # mostly: ok, and a revision
            size += RESULT_BYTES if is_simple else memory_of(part)
        elif type(part) is bytes:
            size += len(part)
    return size


def to_plain(outcome: Any) -> Any:
    """The same for JSON. A refusal's reason becomes an object, so that its text is not taken for keys and
    values."""
    if outcome and type(outcome[0]) is str:
        return {"refused": outcome}
    return [_to_plain(part) for part in outcome]


def _to_plain(part: Any) -> Any:
    if type(part) is tuple:
        return to_plain(part)
    return part.decode("utf-8", "surrogateescape") if type(part) is bytes else part


def from_plain(plain: Any) -> Any:
    """The outcome of which to_plain() and JSON made this."""
    if type(plain) is list:
        return tuple(map(from_plain, plain))
    if type(plain) is dict:
        return tuple(plain["refused"])
    return plain.encode("utf-8", "surrogateescape") if type(plain) is str else plain
