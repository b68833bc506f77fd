"""Ranges, however large: what a server does not answer in one piece is read in pages, all of one revision, and then
sorted, filtered and cut here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Callable

from raftkv import errors
from raftkv.kvdb.operation import Operation
from raftkv.kvdb.ranges import (
    ASCEND,
    CREATE,
    DESCEND,
    KEY,
    MOD,
    NONE,
    VALUE,
    VERSION,
    Row,
    arrange,
    is_within,
)
from raftkv.kvdb.reads import Range

Run = Callable[[Operation], Any]

ORDERS = {None: NONE, "ascend": ASCEND, "descend": DESCEND}
TARGETS = {"key": KEY, "version": VERSION, "create": CREATE, "mod": MOD, "value": VALUE}


def read_range(run: Run, request: Range) -> tuple[int, list[Row], bool, int]:
    """The result of `request`: see Range. Raises what `run` raises; CompactedError if compaction overtakes its pages."""
    try:
        return run(request)  # type: ignore[no-any-return]
    except errors.RangeTooLargeError:
        pass  # in pages, then
    keys_only = request.count_only or (request.keys_only and request.target != VALUE)
    first = Range(request.key, request.end, revision=request.revision, keys_only=keys_only, paged=True)
    rows: list[Row] = []
    now, wanted = 0, 0 if request.count_only else request.limit
    for now, page, _ in pages(run, first):
        rows += page
    count = len(rows)
    if request.count_only:
        return now, [], False, count
    rows = arrange([row for row in rows if is_within(row, *request.bounds)], request.order, request.target)
    more = 0 < wanted < len(rows)
    if wanted:
        del rows[wanted:]
    if request.keys_only:
        rows = [(row[0], b"", *row[2:]) for row in rows]
    return now, rows, more, count


def pages(run: Run, request: Range) -> Iterator[tuple[int, list[Row], bool]]:
    """(revision, rows, does it go on?) of one page after the other, all as of the revision of the first."""
    left = request.limit
    while True:
        revision, rows, more, _ = run(request)
        yield request.revision or revision, rows, more
        if left:
            left -= len(rows)
        if not more or (request.limit and not left):
            return
        request = request._replace(key=rows[-1][0] + b"\0", limit=left, revision=request.revision or revision)
