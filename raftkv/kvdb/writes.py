"""The operations that change keys: put, append, delete, cas, and several of them in a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Union

from raftkv.errors import BAD_REQUEST, KEY_NOT_FOUND, LEASE_NOT_FOUND, InvalidRequestError
from raftkv.kvdb.keyspace import Keyspace
from raftkv.kvdb.limits import (
    MAX_BATCH_OPS,
    MAX_KEY_BYTES,
    MAX_OUTCOME_BYTES,
    MAX_REQUEST_BYTES,
    MAX_VALUE_BYTES,
    check_flag,
    check_item,
    check_key,
    check_number,
    check_range,
    check_request,
    check_value,
    too_large,
)
from raftkv.kvdb.operation import Write, decode_all, encode_all, new_operation
from raftkv.kvdb.outcomes import Outcome, ok, refused
from raftkv.kvdb.ranges import Row, end_of

PREV_KV, IGNORE_VALUE, IGNORE_LEASE = 1, 2, 4  # the options of Put, to be added up

VALUE_TOO_LARGE = refused(BAD_REQUEST, f"the value would grow beyond the limit of {MAX_VALUE_BYTES} bytes")
NO_SUCH_LEASE = refused(LEASE_NOT_FOUND, "there is no such lease: it has ended, or was never granted")
NO_SUCH_KEY = refused(KEY_NOT_FOUND, "there is no such key, so there is nothing of it to keep")
TOO_MANY_PREVIOUS = refused(
    BAD_REQUEST, f"the previous values are larger than {MAX_OUTCOME_BYTES} bytes: do without them"
)


class _Put(NamedTuple):
    key: bytes
    value: bytes
    lease: int = 0
    options: int = 0


class Put(_Put, Write):
    """The result is the revision; with PREV_KV (revision, what the key held before or None)."""

    __slots__ = ()
    name = "put"

    @classmethod
    def of(cls, plain: tuple[Any, ...]) -> Put:
        if len(plain) == 2:  # nearly always
            return new_operation(cls, (*plain, 0, 0))
        return super().of(plain)  # type: ignore[no-any-return]

    def plain(self) -> tuple[Any, ...]:
        return self[:] if self[3] else self[:3] if self[2] else self[:2]

    @classmethod
    def of_entry(cls, fields: list[Any]) -> Put:
        if len(fields) == 2:  # nearly always
            key, value = fields
            try:
                return new_operation(cls, (key.encode(), value.encode(), 0, 0))
            except UnicodeEncodeError:
                pass  # bytes that are no text
        return super().of_entry(fields)  # type: ignore[no-any-return]

    def for_entry(self, *head: Any) -> list[Any]:
        key, value, lease, options = self
        if not lease and not options:
            try:
                return [*head, "put", key.decode(), value.decode()]
            except UnicodeDecodeError:
                pass  # bytes that are no text
        return super().for_entry(*head)

    def check(self) -> int:
        if self[2] or self[3] or type(self[2]) is not int or type(self[3]) is not int:
            check_number("lease", self.lease)
            check_number("options", self.options, 0, PREV_KV | IGNORE_VALUE | IGNORE_LEASE)
            if self.options & IGNORE_VALUE and self.value:
                raise InvalidRequestError("a put that keeps the value has none of its own")
            if self.options & IGNORE_LEASE and self.lease:
                raise InvalidRequestError("a put that keeps the lease has none of its own")
        return check_item(self.key, self.value)

    def change(self, data: Keyspace) -> Outcome:
        key, value, lease, options = self
        if not lease and not options:
            data.put(key, value)
            return True, data.now
        before = data.get(key)
        if options & (IGNORE_VALUE | IGNORE_LEASE):
            if before is None:
                return NO_SUCH_KEY
            if options & IGNORE_VALUE:
                value = before[0]
            if options & IGNORE_LEASE:
                lease = before[4]
        if lease and lease not in data.leases:
            return NO_SUCH_LEASE
        data.put(key, value, lease)
        if not options & PREV_KV:
            return True, data.now
        return ok((data.now, before and (key, *before)))

    def apply(self, data: Keyspace, index: int) -> Outcome:
        key, value, lease, options = self
        if lease or options:
            return super().apply(data, index)
        return True, data.put_alone(key, value)


class Append(NamedTuple("Append", [("key", bytes), ("value", bytes)]), Write):
    """Adds to the value, or sets it if there is none; the lease stays. The result is the revision."""

    __slots__ = ()
    name = "append"

    def check(self) -> int:
        return check_item(self.key, self.value)

    def change(self, data: Keyspace) -> Outcome:
        item, value, lease = data.get(self.key), self.value, 0
        if item is not None:
            value, lease = item[0] + value, item[4]
            if len(value) > MAX_VALUE_BYTES:
                return VALUE_TOO_LARGE
        data.put(self.key, value, lease)
        return True, data.now


class _Delete(NamedTuple):
    key: bytes
    end: bytes = b""
    prev_kvs: bool = False


class Delete(_Delete, Write):
    """Removes the key, or a range. The result is (revision, how many keys there were, what they held if that was asked
    for)."""

    __slots__ = ()
    name = "delete"
    grows = False

    def work(self, data: Keyspace) -> int:
        return data.items.count(self.key, end_of(self.key, self.end)) if self.end else 1

    def check(self) -> int:
        check_flag("prev_kvs", self.prev_kvs)
        return check_range(self.key, self.end)

    def change(self, data: Keyspace) -> Outcome:
        key, end, prev_kvs = self
        if not end:
            before = data.delete(key)
            if before is None:
                return True, (data.now, 0, ())
            return True, (data.now, 1, ((key, *before),) if prev_kvs else ())
        found = data.range(key, end_of(key, end))
        rows: list[Row] = []
        if prev_kvs:
            room = MAX_OUTCOME_BYTES
            for each, item in found:
                room -= len(each) + len(item[0])
                if room < 0:
                    return TOO_MANY_PREVIOUS
                rows.append((each, *item))
        keys = [row[0] for row in rows] if prev_kvs else [each for each, _ in found]
        data.delete_all(keys)
        return ok((data.now, len(keys), tuple(rows)))


class Cas(NamedTuple("Cas", [("key", bytes), ("expected", Union[bytes, None]), ("value", bytes)]), Write):
    """Sets the value, if the key holds what is expected (None: if there is no such key); the lease stays. The result is
    (revision, whether it did)."""

    __slots__ = ()
    name = "cas"

    def check(self) -> int:
        size = check_key(self.key) + check_value(self.value)
        if self.expected is not None:
            size += check_value(self.expected, "expected value")
        return check_request(size)

    def change(self, data: Keyspace) -> Outcome:
        item = data.get(self.key)
        if (None if item is None else item[0]) != self.expected:
            return ok((data.now, False))
        data.put(self.key, self.value, item[4] if item else 0)
        return ok((data.now, True))


#: What a batch may hold.
SINGLE_WRITES: dict[str, type[Write]] = {kind.name: kind for kind in (Put, Append, Delete, Cas)}


class Batch(NamedTuple("Batch", [("writes", "list[Write]")]), Write):
    """Single writes that take effect together, in their order, each with a revision of its own. The result is the tuple
    of their outcomes."""

    __slots__ = ()
    name = "batch"

    @property
    def grows(self) -> bool:  # type: ignore[override]
        return any(write.grows for write in self.writes)

    @property
    def operations(self) -> int:  # type: ignore[override]
        return len(self.writes)

    @classmethod
    def of(cls, plain: tuple[Any, ...]) -> Batch:
        if len(plain) != 1:
            raise InvalidRequestError(f"batch takes 1 argument, not {len(plain)}")
        return new_operation(cls, (_writes_of(plain[0]),))

    @classmethod
    def of_entry(cls, fields: list[Any]) -> Batch:
        return new_operation(cls, ([_of_entry(plain) for plain in fields[0]],))

    def work(self, data: Keyspace) -> int:
        return sum([write.work(data) for write in self.writes])

    def plain(self) -> tuple[Any, ...]:
        return ([(write.name, *write.plain()) for write in self.writes],)

    def for_entry(self, *head: Any) -> list[Any]:
        return [*head, self.name, [write.for_entry() for write in self.writes]]

    def check(self) -> int:
        size = 0
        for write in self.writes:
            size += write.check()
            if size > MAX_REQUEST_BYTES:
                raise too_large("batch", MAX_REQUEST_BYTES)
        return size

    def apply(self, data: Keyspace, index: int) -> Outcome:
        return ok(tuple([write.apply(data, index) for write in self.writes]))


class Puts(NamedTuple("Puts", [("keys", "Sequence[bytes]"), ("values", "Sequence[bytes]")]), Write):
    """A batch of plain puts, column by column, which takes less time. The result is the revision of the first one; each of the
    others has the next."""

    __slots__ = ()
    name = "puts"

    @property
    def operations(self) -> int:  # type: ignore[override]
        return len(self.keys)

    @classmethod
    def of_entry(cls, fields: list[Any]) -> Puts:
        return cls(*map(encode_all, fields))

    def for_entry(self, *head: Any) -> list[Any]:
        return [*head, self.name, *map(decode_all, self)]

    def work(self, data: Keyspace) -> int:
        return len(self.keys)

    def check(self) -> int:
        keys, values = self
        for name, column in (("keys", keys), ("values", values)):
            if type(column) is not list and type(column) is not tuple:
                raise InvalidRequestError(f"the {name} of puts must be a list, not {type(column).__name__}")
        if len(keys) != len(values):
            raise InvalidRequestError(f"puts takes as many values as keys, not {len(values)} for {len(keys)}")
        if not 1 <= len(keys) <= MAX_BATCH_OPS:
            raise InvalidRequestError(f"puts takes 1 to {MAX_BATCH_OPS} keys, not {len(keys)}")
        if not (
            set(map(type, keys)) == set(map(type, values)) == {bytes}
            and 0 < min(map(len, keys)) and max(map(len, keys)) <= MAX_KEY_BYTES
            and max(map(len, values)) <= MAX_VALUE_BYTES
        ):  # fmt: skip
            for key, value in zip(keys, values):
                check_item(key, value)  # one of them says what is wrong with it
        size = sum(map(len, keys)) + sum(map(len, values))
        if size > MAX_REQUEST_BYTES:
            raise too_large("batch", MAX_REQUEST_BYTES)
        return size

    def apply(self, data: Keyspace, index: int) -> Outcome:
        first = data.revision + 1
        data.put_all(self.keys, self.values)
        return True, first


def batch_of(writes: Sequence[Write]) -> Batch | Puts:
    """One operation that does what all of these do, which may be in a batch."""
    if set(map(type, writes)) == {Put}:
        keys, values, leases, options = zip(*writes)
        if not any(leases) and not any(options):  # nearly always
            return Puts(keys, values)
    return Batch(list(writes))


def _of_entry(plain: list[Any]) -> Write:
    return SINGLE_WRITES[plain[0]].of_entry(plain[1:])  # type: ignore[no-any-return]


def _writes_of(plain: Any) -> list[Write]:
    """Raises InvalidRequestError."""
    if type(plain) is not list and type(plain) is not tuple:
        raise InvalidRequestError(f"a batch must be a list of operations, not {type(plain).__name__}")
    if not 1 <= len(plain) <= MAX_BATCH_OPS:
        raise InvalidRequestError(f"a batch has 1 to {MAX_BATCH_OPS} operations, not {len(plain)}")
    return [_single_write(each) for each in plain]


def _single_write(plain: Any) -> Write:
    if (type(plain) is not list and type(plain) is not tuple) or not plain:
        raise InvalidRequestError("each operation of a batch must be a list: [operation, argument, …]")
    name = plain[0]
    kind = SINGLE_WRITES.get(name) if type(name) is str else None
    if kind is None:
        shown = repr(name[:40]) if type(name) is str else f"of type {type(name).__name__}"
        raise InvalidRequestError(f"there is no operation {shown}: use put, append, delete or cas")
    return kind.of(tuple(plain[1:]))  # type: ignore[no-any-return]
