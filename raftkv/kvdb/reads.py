"""The operations that read keys: get, gets and range. Each answer has the revision that it was given at."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from raftkv.errors import BAD_REQUEST, COMPACTED, FUTURE_REVISION, RANGE_TOO_LARGE, InvalidRequestError
from raftkv.kvdb.history import Item
from raftkv.kvdb.keyspace import Keyspace
from raftkv.kvdb.limits import (
    MAX_ANSWER_BYTES,
    MAX_BATCH_OPS,
    MAX_PAGE_BYTES,
    MAX_PAGE_ROWS,
    MAX_RANGE_KEYS,
    check_flag,
    check_key,
    check_number,
    check_range,
    check_request,
)
from raftkv.kvdb.operation import Read
from raftkv.kvdb.outcomes import Outcome, ok, refused
from raftkv.kvdb.ranges import DESCEND, KEY, NONE, VALUE, Row, arrange, end_of, is_within

_TOO_LARGE = refused(
    RANGE_TOO_LARGE,
    f"the range has more than {MAX_RANGE_KEYS} keys or {MAX_ANSWER_BYTES} bytes to look at: read it in pages",
)


class Get(NamedTuple("Get", [("key", bytes)]), Read):
    """The result is (revision, the key's item or None)."""

    __slots__ = ()
    name = "get"

    def check(self) -> int:
        return check_key(self.key)

    def read(self, data: Keyspace) -> Outcome:
        return True, (data.now, data.items.get(self.key))


class Gets(NamedTuple("Gets", [("keys", "list[bytes]")]), Read):
    """The result is (revision, the item or None of each key)."""

    __slots__ = ()
    name = "gets"

    def check(self) -> int:
        keys: Any = self.keys
        if type(keys) is not list and type(keys) is not tuple:
            raise InvalidRequestError(f"gets takes a list of keys, not {type(keys).__name__}")
        if len(keys) > MAX_BATCH_OPS:
            raise InvalidRequestError(f"gets takes up to {MAX_BATCH_OPS} keys, not {len(keys)}")
        return check_request(sum(map(check_key, keys)))

    def read(self, data: Keyspace) -> Outcome:
        items, size = [], 0
        for key in self.keys:
            item = data.get(key)
            items.append(item)
            size += len(item[0]) if item is not None else 0
            if size > MAX_ANSWER_BYTES:
                many = f"the values of {len(self.keys)} keys together"
                return refused(BAD_REQUEST, f"{many} are too large for one answer: ask for fewer")
        return ok((data.now, items))


class _Range(NamedTuple):
    key: bytes
    end: bytes = b""
    limit: int = 0
    revision: int = 0
    order: int = NONE
    target: int = KEY
    keys_only: bool = False
    count_only: bool = False
    min_mod: int = 0
    max_mod: int = 0
    min_create: int = 0
    max_create: int = 0
    paged: bool = False


class Range(_Range, Read):
    """See ranges.py for `key` and `end`. `limit` and `revision` may be 0: none, and now.

    The result is (revision, rows, does it go on?, how many keys the range has): the count knows neither limit nor
    bounds of revisions. With `paged` the answer is a page: it may end where it gets large, and has no count (-1) of the
    past; go on from the last key + "\\0" at the same revision. Without, what is too large is refused.
    """

    __slots__ = ()
    name = "range"

    def check(self) -> int:
        for name in ("limit", "revision", "min_mod", "max_mod", "min_create", "max_create"):
            check_number(name, getattr(self, name))
        check_number("order", self.order, 0, DESCEND)
        check_number("target", self.target, 0, VALUE)
        for name in ("keys_only", "count_only", "paged"):
            check_flag(name, getattr(self, name))
        if self.paged and (self.order != NONE or self.target != KEY or any(self.bounds)):
            raise InvalidRequestError("pages are neither sorted nor filtered: read them all, and do it then")
        return check_range(self.key, self.end)

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        return self.min_mod, self.max_mod, self.min_create, self.max_create

    def read(self, data: Keyspace) -> Outcome:
        now, end = data.now, end_of(self.key, self.end)
        if self.revision == 0 or self.revision == now:
            found, count = data.range(self.key, end), data.items.count(self.key, end)
        elif self.revision > now:
            return refused(
                FUTURE_REVISION, f"revision {self.revision} is not there yet: the newest is {now}", now
            )
        elif self.revision < data.compact_revision:
            return compacted(data.compact_revision)
        else:
            found, count = data.range_at(self.key, end, self.revision), -1
        return self._page(found, count, now) if self.paged else self._whole(found, count, now)

    def _page(self, found: Iterator[tuple[bytes, Item]], count: int, now: int) -> Outcome:
        most = min(self.limit or MAX_PAGE_ROWS, MAX_PAGE_ROWS)
        rows: list[Row] = []
        room = MAX_PAGE_BYTES
        for key, item in found:
            room -= len(key) + len(item[0])
            if len(rows) == most or (room < 0 and rows):
                return ok((now, rows, True, count))
            rows.append(self._row(key, item))
        return ok((now, rows, False, count))

    def _whole(self, found: Iterator[tuple[bytes, Item]], count: int, now: int) -> Outcome:
        if self.count_only and count >= 0:
            return ok((now, [], False, count))
        is_simple = self.order == NONE and self.target == KEY and not any(self.bounds) and count >= 0
        most = self.limit if is_simple and self.limit else MAX_RANGE_KEYS
        rows: list[Row] = [(key, *item) for key, item in islice(found, min(most, MAX_RANGE_KEYS))]
        is_cut = is_simple and len(rows) == self.limit
        if not is_cut and next(found, None) is not None:
            return _TOO_LARGE
        if count < 0:
            count = len(rows)
        if self.count_only:
            return ok((now, [], False, count))
        if not is_simple:
            rows = [row for row in rows if is_within(row, *self.bounds)]
            rows = arrange(rows, self.order, self.target)
        more = 0 < self.limit < (count if is_simple else len(rows))
        if self.limit:
            del rows[self.limit :]
        if self.keys_only:
            rows = [(row[0], b"", *row[2:]) for row in rows]
        if sum([len(row[0]) + len(row[1]) for row in rows]) > MAX_ANSWER_BYTES:
            return _TOO_LARGE
        return ok((now, rows, more, count))

    def _row(self, key: bytes, item: Item) -> Row:
        return (key, b"", *item[1:]) if self.keys_only else (key, *item)


def compacted(revision: int) -> Outcome:
    """What is older than `revision` is gone."""
    return refused(COMPACTED, f"the history before revision {revision} was compacted", revision)
