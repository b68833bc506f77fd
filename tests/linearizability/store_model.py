"""A model of the database: etcd's data model, said as plainly as it can be.

It shares no code with the product. Operations come and answers go as they do over the wire, by name and plain arguments.
Every version of every key is kept, so the past is there, and the last command can be undone.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from typing import Any, Callable, NamedTuple, Optional

#: (value, create_revision, mod_revision, version, lease)
Item = tuple[bytes, int, int, int, int]
#: What the keys hold that a revision changed; None for a deleted one.
Changes = dict[bytes, Optional[Item]]

_NOTHING: Item = (b"", 0, 0, 0, 0)
_RELATIONS: dict[int, Callable[[Any, Any], bool]] = {
    0: lambda found, wanted: found == wanted,
    1: lambda found, wanted: found > wanted,
    2: lambda found, wanted: found < wanted,
    3: lambda found, wanted: found != wanted,
}
_COLUMNS = {1: 3, 2: 1, 3: 2, 4: 0, 5: 4}  # of an item, by the target of a compare
_SORTED_BY = {0: 0, 1: 4, 2: 2, 3: 3, 4: 1}  # column of a row, by the target of a range
_VALUE = 4
KEEPS_VALUE, KEEPS_LEASE, WITH_PREVIOUS = 2, 4, 1


class Refusal(Exception):
    """The database refuses this."""


class _Versions(NamedTuple):
    revisions: list[int]
    items: list[Item | None]


class StoreModel:
    """`revision`: of the last command that changed anything."""

    def __init__(self) -> None:
        self.revision = 1
        self._keys: list[bytes] = []  # all that ever were, sorted
        self._versions: dict[bytes, _Versions] = {}
        self._leases: dict[int, set[bytes]] = {}  # the keys that hang on each
        self._changes: Changes = {}  # of the command under way

    # -- commands --------------------------------------------------------------------------------------------

    def do(self, method: str, args: tuple[Any, ...]) -> tuple[Any, list[Changes]]:
        """The answer, and what changed, revision by revision. Raises Refusal; then nothing has."""
        if method == "batch":
            return self._batch(args[0])
        if method == "puts":
            outcomes, changes = self._batch([("put", key, value) for key, value in zip(*args)])
            return outcomes[0][1], changes
        try:
            answer = self._one(method, args)
        except Refusal:
            self._take_back(self._changes)
            self._changes = {}
            raise
        return answer, self._end()

    def undo(self, changes: list[Changes]) -> None:
        """The last command, which made these, was another one."""
        for each in reversed(changes):
            self._take_back(each)
            self.revision -= 1

    def is_end_of_leases(self, changes: Changes) -> bool:
        """Are these what the end of some leases would change, all of whose keys are deleted?"""
        items = [self.get(key) for key in changes]
        leases = {item[4] if item is not None else 0 for item in items}
        keys = {key for lease in leases for key in self._leases.get(lease, ())}
        return 0 not in leases and {*changes} == keys and not any(changes.values())

    def force(self, changes: Changes) -> None:
        """These were made, whoever did it."""
        for key, item in changes.items():
            self._set(key, item)
        self._end()

    def _end(self) -> list[Changes]:
        changes, self._changes = self._changes, {}
        if not changes:
            return []
        self.revision += 1
        return [changes]

    def _batch(self, writes: list[tuple[Any, ...]]) -> tuple[Any, list[Changes]]:
        outcomes, changes = [], []
        for name, *args in writes:
            answer, changed = self.do(name, tuple(args))
            outcomes.append((True, answer))
            changes += changed
        return tuple(outcomes), changes

    def _one(self, method: str, args: tuple[Any, ...]) -> Any:
        return getattr(self, f"_do_{method}")(*args)

    # -- writes ----------------------------------------------------------------------------------------------

    def _do_put(self, key: bytes, value: bytes, lease: int = 0, options: int = 0) -> Any:
        before = self.get(key)
        if options & (KEEPS_VALUE | KEEPS_LEASE) and before is None:
            raise Refusal
        value = before[0] if before and options & KEEPS_VALUE else value
        lease = before[4] if before and options & KEEPS_LEASE else lease
        self._write(key, value, lease)
        return (self._now, before and (key, *before)) if options & WITH_PREVIOUS else self._now

    def _do_append(self, key: bytes, value: bytes) -> int:
        before = self.get(key) or _NOTHING
        self._write(key, before[0] + value, before[4])
        return self._now

    def _do_delete(self, key: bytes, end: bytes = b"", prev_kvs: bool = False) -> Any:
        rows = list(self._rows(key, end, self._now))
        for row in rows:
            self._set(row[0], None)
        return self._now, len(rows), tuple(rows) if prev_kvs else ()

    def _do_cas(self, key: bytes, expected: bytes | None, value: bytes) -> Any:
        before = self.get(key)
        if (before[0] if before is not None else None) != expected:
            return self._now, False
        self._write(key, value, before[4] if before is not None else 0)
        return self._now, True

    def _do_compact(self, revision: int) -> int:
        return self._now

    def _do_lease_grant(self, lease: int, ttl: int) -> int:
        return self._now

    def _do_lease_revoke(self, lease: int) -> Any:
        keys = sorted(self._leases.get(lease, ()))
        for key in keys:
            self._set(key, None)
        return self._now, len(keys)

    # -- reads -----------------------------------------------------------------------------------------------

    def _do_get(self, key: bytes) -> Any:
        return self._now, self.get(key)

    def _do_gets(self, keys: list[bytes]) -> Any:
        return self._now, tuple([self.get(key) for key in keys])

    def _do_range(
        self, key: bytes, end: bytes = b"", limit: int = 0, revision: int = 0, order: int = 0, target: int = 0,
        keys_only: bool = False, count_only: bool = False,
        min_mod: int = 0, max_mod: int = 0, min_create: int = 0, max_create: int = 0,
    ) -> Any:  # fmt: skip
        if revision > self._now:
            raise Refusal
        found = list(self._rows(key, end, revision or self._now))
        count = len(found)
        if count_only:
            return self._now, (), False, count
        rows = [
            row
            for row in found
            if row[3] >= min_mod and row[2] >= min_create
            if row[3] <= (max_mod or row[3]) and row[2] <= (max_create or row[2])
        ]
        rows.sort(key=lambda row: row[_SORTED_BY[target]], reverse=order == 2)
        is_cut = 0 < limit < len(rows)
        rows = rows[: limit or None]
        return self._now, tuple([(r[0], b"", *r[2:]) if keys_only else r for r in rows]), is_cut, count

    def _do_leases(self) -> Any:
        return (self._now,)

    def _do_lease_keep_alive(self, lease: int) -> Any:
        return (self._now,)

    def _do_lease_time_to_live(self, lease: int, keys: bool = False) -> Any:
        return (self._now,)

    # -- transactions ----------------------------------------------------------------------------------------

    def _do_txn(self, compares: Any, success: Any, failure: Any) -> Any:
        return self._carry_out(self._plan(compares, success, failure))

    _do_txn_read = _do_txn

    def _plan(self, compares: Any, success: Any, failure: Any) -> Any:
        """All compares, and reads of the past, come before the first change."""
        held = all(self._holds(*each) for each in compares)
        steps: list[Any] = []
        for name, *args in success if held else failure:
            if name in ("txn", "txn_read"):
                steps.append(self._plan(*args))
            elif name == "range" and len(args) > 3 and args[3]:
                steps.append((None, self._do_range(*args)))
            else:
                steps.append((name, tuple(args)))
        return held, steps

    def _carry_out(self, plan: Any) -> Any:
        held, steps = plan
        results = []
        for step in steps:
            if type(step[0]) is bool:
                results.append(self._carry_out(step))
            else:
                results.append(step[1] if step[0] is None else self._one(*step))
        return self._now, held, tuple(results)

    def _holds(self, target: int, relation: int, key: bytes, end: bytes, wanted: Any) -> bool:
        items = [row[1:] for row in self._rows(key, end, self._now)] if end else [self.get(key)]
        return all(self._item_holds(item, target, relation, wanted) for item in items or [None])

    @staticmethod
    def _item_holds(item: Any, target: int, relation: int, wanted: Any) -> bool:
        if item is None and target == _VALUE:
            return False
        return _RELATIONS[relation]((item or _NOTHING)[_COLUMNS[target]], wanted)

    # -- versions --------------------------------------------------------------------------------------------

    @property
    def _now(self) -> int:
        return self.revision + bool(self._changes)

    def get(self, key: bytes) -> Item | None:
        """What it holds now."""
        versions = self._versions.get(key)
        return versions.items[-1] if versions is not None and versions.items else None

    def _at(self, key: bytes, revision: int) -> Item | None:
        versions = self._versions[key]
        place = bisect_right(versions.revisions, revision)
        return versions.items[place - 1] if place else None

    def _rows(self, key: bytes, end: bytes, revision: int) -> Iterator[tuple[Any, ...]]:
        """The rows of a range, as of a revision."""
        for place in range(bisect_left(self._keys, key), len(self._keys)):
            each = self._keys[place]
            if (end == b"" and each != key) or (end not in (b"", b"\0") and each >= end):
                return
            item = self._at(each, revision)
            if item is not None:
                yield (each, *item)

    def _write(self, key: bytes, value: bytes, lease: int) -> None:
        before = self.get(key)
        revision = self.revision + 1
        create, version = (before[1], before[3]) if before is not None else (revision, 0)
        self._set(key, (value, create, revision, version + 1, lease))

    def _set(self, key: bytes, item: Item | None) -> None:
        if key not in self._versions:
            self._versions[key] = _Versions([], [])
            insort(self._keys, key)
        self._hang(key, self.get(key), item)
        versions = self._versions[key]
        versions.revisions.append(self.revision + 1)
        versions.items.append(item)
        self._changes[key] = item

    def _take_back(self, changes: Changes) -> None:
        for key in changes:
            versions = self._versions[key]
            versions.revisions.pop()
            after = versions.items.pop()
            self._hang(key, after, self.get(key))
            if not versions.items:
                del self._versions[key], self._keys[bisect_left(self._keys, key)]

    def _hang(self, key: bytes, before: Item | None, after: Item | None) -> None:
        if before is not None and before[4]:
            self._leases[before[4]].discard(key)
        if after is not None and after[4]:
            self._leases.setdefault(after[4], set()).add(key)
