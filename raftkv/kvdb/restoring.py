"""Restore: a dump is put back as it was, into an empty database.

Keys get back their revisions, versions and leases, and the database goes on REVISION_GAP after the dump's revision: what was
written after the dump, and is lost, had revisions too, and none is ever given twice (a fencing token least of all). All
before is compacted.

A dump comes in pieces. The first one finds the database empty, and its answer is the revision that the database has from then on.
The others name it, so a piece is refused when anything else was written meanwhile.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from raftkv.errors import BAD_REQUEST, InvalidRequestError
from raftkv.kvdb.keyspace import Keyspace
from raftkv.kvdb.limits import (
    MAX_BATCH_OPS,
    MAX_TTL_S,
    check_item,
    check_number,
    check_request,
)
from raftkv.kvdb.operation import Write, encode_all
from raftkv.kvdb.outcomes import Outcome, ok, refused
from raftkv.kvdb.ranges import Row

REVISION_GAP = 10**9

_NOT_EMPTY = refused(BAD_REQUEST, "the database is not empty: a dump can only be put back into an empty one")
_CHANGED = refused(
    BAD_REQUEST, "something else was written while the dump was put back: begin anew, with an empty database"
)
_TWICE = refused(
    BAD_REQUEST, "the dump has a key or a lease twice, or a key of a lease that it does not have"
)


class _Restore(NamedTuple):
    revision: int
    at: int
    leases: list[tuple[int, int]]
    rows: list[Row]


class Restore(_Restore, Write):
    """A piece of a dump of `revision`: leases as (id, time to live in seconds), and keys. `at`: 0 for the first piece, then its
    result, which is the revision of the database."""

    __slots__ = ()
    name = "restore"

    @property
    def operations(self) -> int:  # type: ignore[override]
        return len(self.rows)

    def check(self) -> int:
        check_number("revision of the dump", self.revision, 1, (1 << 62))
        check_number("revision of the database", self.at)
        if len(_checked_list(self.leases)) + len(_checked_list(self.rows)) > MAX_BATCH_OPS:
            raise InvalidRequestError(f"a piece of a dump has at most {MAX_BATCH_OPS} keys and leases")
        for id, ttl in [_checked_row(lease, 2) for lease in self.leases]:
            check_number("id of a lease", id, 1)
            check_number("time to live", ttl, 1, MAX_TTL_S)
        return check_request(sum([self._check_row(*_checked_row(row, 6)) for row in self.rows]))

    def _check_row(self, key: bytes, value: bytes, create: int, mod: int, version: int, lease: int) -> int:
        check_number("mod_revision", mod, 2, self.revision)
        check_number("create_revision", create, 2, mod)
        check_number("version", version, 1)
        check_number("lease", lease)
        return check_item(key, value)

    def for_entry(self, *head: Any) -> list[Any]:
        rows = [[_text(row[0]), _text(row[1]), *row[2:]] for row in self.rows]
        return [*head, self.name, self.revision, self.at, [list(lease) for lease in self.leases], rows]

    @classmethod
    def of_entry(cls, fields: list[Any]) -> Restore:
        revision, at, leases, rows = fields
        keys, values = encode_all([row[0] for row in rows]), encode_all([row[1] for row in rows])
        rows = [(key, value, *row[2:]) for key, value, row in zip(keys, values, rows)]
        return cls(revision, at, [(id, ttl) for id, ttl in leases], rows)

    def apply(self, data: Keyspace, index: int) -> Outcome:
        if self.at == 0 and (len(data) or len(data.leases)):
            return _NOT_EMPTY
        if self.at not in (0, data.revision):
            return _CHANGED
        if not self._is_new_to(data):
            return _TWICE
        if self.at == 0:
            data.jump(max(self.revision, data.revision) + REVISION_GAP)
        for id, ttl in self.leases:
            data.leases.grant(id, ttl, index)
        for key, value, create, mod, version, lease in self.rows:
            data.restore(key, (value, create, mod, version, lease))
        return ok(data.revision)

    def _is_new_to(self, data: Keyspace) -> bool:
        ids, keys = {id for id, _ in self.leases}, {row[0] for row in self.rows}
        return (
            len(ids) == len(self.leases)
            and len(keys) == len(self.rows)
            and not any(id in data.leases for id in ids)
            and all(data.get(key) is None for key in keys)
            and all(not row[5] or row[5] in ids or row[5] in data.leases for row in self.rows)
        )


def _text(field: bytes) -> str:
    return field.decode("utf-8", "surrogateescape")


def _checked_list(plain: Any) -> Any:
    if not isinstance(plain, (list, tuple)):
        raise InvalidRequestError(f"a piece of a dump is made of lists, not of {type(plain).__name__}")
    return plain


def _checked_row(row: Any, length: int) -> Any:
    if len(_checked_list(row)) != length:
        raise InvalidRequestError(f"a line of a dump has {length} fields, not {len(row)}")
    return row
