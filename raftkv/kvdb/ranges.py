"""Ranges of keys, and how the rows of one are filtered, sorted and cut. Servers and clients use the same.

A range is (key, end), as in etcd: the end b"" is for that key alone, b"\\0" for all keys from `key` on, and any other
end is the first key that is not in it any more.
"""

from __future__ import annotations

#: (key, value, create_revision, mod_revision, version, lease)
Row = tuple[bytes, bytes, int, int, int, int]

# Orders and targets, by etcd's numbers.
NONE, ASCEND, DESCEND = range(3)
KEY, VERSION, CREATE, MOD, VALUE = range(5)

_COLUMN = {KEY: 0, VERSION: 4, CREATE: 2, MOD: 3, VALUE: 1}

ALL = (b"\0", b"\0")


def end_of(key: bytes, end: bytes) -> bytes | None:
    """The first key that is not in the range any more; None if it goes on to the last key."""
    if not end:
        return key + b"\0"
    return None if end == b"\0" else end


def prefix_range(prefix: bytes) -> tuple[bytes, bytes]:
    """The range of the keys that begin with `prefix`."""
    if not prefix:
        return ALL
    stem = prefix.rstrip(b"\xff")
    return prefix, stem[:-1] + bytes([stem[-1] + 1]) if stem else b"\0"


def arrange(rows: list[Row], order: int, target: int) -> list[Row]:
    """`rows`, which are in the order of their keys, in the order that is asked for."""
    if order == NONE and target == KEY:
        return rows
    column = _COLUMN[target]
    return sorted(rows, key=lambda row: row[column], reverse=order == DESCEND)


def is_within(row: Row, min_mod: int, max_mod: int, min_create: int, max_create: int) -> bool:
    """Whether its revisions are within these bounds; 0 is none."""
    _, _, create, mod, _, _ = row
    return (
        mod >= min_mod
        and (not max_mod or mod <= max_mod)
        and create >= min_create
        and (not max_create or create <= max_create)
    )
