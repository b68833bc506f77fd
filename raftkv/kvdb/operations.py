"""The table of operations: what clients can ask of the data.

Each operation is one small class: its fields, its check, its plain form, and what it does to the data. The
log, requests, Clerk and Pipeline all use these. To add one, write a class here and name it in the table at the
end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Protocol, Union

from raftkv.errors import BAD_REQUEST, InvalidRequestError
from raftkv.kvdb.limits import (
    MAX_BATCH_OPS,
    MAX_GETS_CHARS,
    MAX_KEY_BYTES,
    MAX_NUMBER,
    MAX_REQUEST_BYTES,
    MAX_VALUE_BYTES,
    check_item,
    check_key,
    check_request,
    check_text,
    check_value,
    too_large,
    utf8_size,
)
from raftkv.kvdb.member_requests import check_action
from raftkv.kvdb.outcomes import NO, YES, Outcome, ok, refused

VALUE_TOO_LARGE = refused(BAD_REQUEST, f"the value would grow beyond the limit of {MAX_VALUE_BYTES} bytes")


class Data(Protocol):
    """What operations need of the store. `written`: the outcome of a write that gives the revision."""

    written: Outcome

    def get(self, key: str) -> tuple[str, int] | None: ...

    def put(self, key: str, value: str) -> None: ...

    def put_all(self, keys: Sequence[str], values: Sequence[str]) -> None: ...

    def delete(self, key: str) -> bool: ...

    def scan(self, prefix: str, start: str, limit: int | None) -> tuple[list[tuple[str, str, int]], bool]: ...

    def register(self) -> None: ...


class Operation(tuple[Any, ...]):
    """`name`: the method of its requests. `takes`: the number of its fields. `numbered`: it belongs to a
    client's session, in which it takes effect once. `grows`: it can make the data larger. `operations`: for
    how many it counts. Those of different kinds may be equal, for they are tuples: compare their types, too.
    """

    __slots__ = ()
    name: ClassVar[str]
    takes: ClassVar[int]
    numbered = grows = False
    operations = 1

    def __init_subclass__(cls) -> None:
        cls.takes = len(getattr(cls, "_fields", ()))

    def check(self) -> int:
        """The bytes of its keys and values, which count towards MAX_REQUEST_BYTES. The fields are what their
        types say once this has returned. Raises InvalidRequestError with a sentence for the client."""
        return 0

    def plain(self) -> tuple[Any, ...]:
        """The fields as plain data."""
        return self[:]


class Write(Operation):
    """An operation that becomes an entry of the log."""

    __slots__ = ()
    numbered = grows = True

    def apply(self, data: Data) -> Outcome:
        """Carry it out. Never raises for what passed check()."""
        raise NotImplementedError


class Read(Operation):
    """An operation that is answered from the data as they are."""

    __slots__ = ()

    def read(self, data: Data) -> Outcome:
        """The answer. Never raises for what passed check()."""
        raise NotImplementedError


class Put(NamedTuple("Put", [("key", str), ("value", str)]), Write):
    """The outcome is the revision."""

    __slots__ = ()
    name = "put"

    def check(self) -> int:
        return check_item(self.key, self.value)

    def apply(self, data: Data) -> Outcome:
        data.put(self.key, self.value)
        return data.written


class Append(NamedTuple("Append", [("key", str), ("value", str)]), Write):
    """The outcome is the revision."""

    __slots__ = ()
    name = "append"

    def check(self) -> int:
        return check_item(self.key, self.value)

    def apply(self, data: Data) -> Outcome:
        item, value = data.get(self.key), self.value
        if item is not None:
            value = item[0] + value
            if utf8_size(value) > MAX_VALUE_BYTES:
                return VALUE_TOO_LARGE
        data.put(self.key, value)
        return data.written


class Delete(NamedTuple("Delete", [("key", str)]), Write):
    """The outcome is whether the key existed."""

    __slots__ = ()
    name = "delete"
    grows = False

    def check(self) -> int:
        return check_key(self.key)

    def apply(self, data: Data) -> Outcome:
        return YES if data.delete(self.key) else NO


class Cas(NamedTuple("Cas", [("key", str), ("expected", Union[str, None]), ("value", str)]), Write):
    """The outcome is whether the key held what was expected; None: whether there was no such key."""

    __slots__ = ()
    name = "cas"

    def check(self) -> int:
        size = check_key(self.key) + check_value(self.value)
        if self.expected is not None:
            size += check_value(self.expected, "expected value")
        return check_request(size)

    def apply(self, data: Data) -> Outcome:
        item = data.get(self.key)
        if (None if item is None else item[0]) != self.expected:
            return NO
        data.put(self.key, self.value)
        return YES


class Batch(NamedTuple("Batch", [("writes", "list[Write]")]), Write):
    """Single writes that take effect together, in their order. The outcome is the list of theirs."""

    __slots__ = ()
    name = "batch"

    @property
    def grows(self) -> bool:  # type: ignore[override]
        return any(write.grows for write in self.writes)

    @property
    def operations(self) -> int:  # type: ignore[override]
        return len(self.writes)

    def plain(self) -> tuple[Any, ...]:
        return ([(write.name, *write) for write in self.writes],)

    def check(self) -> int:
        size = 0
        for write in self.writes:
            size += write.check()
            if size > MAX_REQUEST_BYTES:
                raise too_large("batch", MAX_REQUEST_BYTES)
        return size

    def apply(self, data: Data) -> Outcome:
        writes = self.writes
        if set(map(type, writes)) == {Put}:  # as mostly
            data.put_all([key for key, _ in writes], [value for _, value in writes])
            return ok([data.written] * len(writes))
        return ok([write.apply(data) for write in writes])


class Register(NamedTuple("Register", []), Write):
    """A new client. The outcome is its id: the index of the entry."""

    __slots__ = ()
    name = "register"
    numbered = grows = False

    def apply(self, data: Data) -> Outcome:
        data.register()
        return data.written


class Get(NamedTuple("Get", [("key", str)]), Read):
    """The outcome is (value, revision), or None."""

    __slots__ = ()
    name = "get"

    def check(self) -> int:
        return check_key(self.key)

    def read(self, data: Data) -> Outcome:
        return True, data.get(self.key)


class Gets(NamedTuple("Gets", [("keys", "list[str]")]), Read):
    """The outcome is a list of what Get has for each key."""

    __slots__ = ()
    name = "gets"

    def check(self) -> int:
        keys: Any = self.keys
        if type(keys) is not list and type(keys) is not tuple:
            raise InvalidRequestError(f"gets takes a list of keys, not {type(keys).__name__}")
        if len(keys) > MAX_BATCH_OPS:
            raise InvalidRequestError(f"gets takes up to {MAX_BATCH_OPS} keys, not {len(keys)}")
        return check_request(sum(map(check_key, keys)))

    def read(self, data: Data) -> Outcome:
        items, size = [], 0
        for key in self.keys:
            item = data.get(key)
            items.append(item)
            size += len(item[0]) if item is not None else 0
            if size > MAX_GETS_CHARS:
                many = f"the values of {len(self.keys)} keys together"
                return refused(BAD_REQUEST, f"{many} are too large for one answer: ask for fewer")
        return ok(items)


class Scan(NamedTuple("Scan", [("prefix", str), ("start", str), ("limit", Union[int, None])]), Read):
    """The outcome is a page: ([(key, value, revision), …], does it go on?)."""

    __slots__ = ()
    name = "scan"

    def check(self) -> int:
        size = check_text("prefix", self.prefix, MAX_KEY_BYTES)
        size += check_text("start", self.start, MAX_KEY_BYTES + 1)  # a page goes on at the last key + "\0"
        limit = self.limit
        if limit is not None and (type(limit) is not int or not 1 <= limit <= MAX_NUMBER):
            raise InvalidRequestError("the limit must be a number from 1 on")
        return size

    def read(self, data: Data) -> Outcome:
        return ok(data.scan(*self))


class Status(NamedTuple("Status", []), Operation):
    __slots__ = ()
    name = "status"


class Hello(NamedTuple("Hello", []), Operation):
    """The first request on a connection: what a client must know of the cluster; see members.py."""

    __slots__ = ()
    name = "hello"


class Member(NamedTuple("Member", [("action", str), ("options", "dict[str, Any]")]), Operation):
    """What an operator asks of the members; see members.py. The leader answers."""

    __slots__ = ()
    name = "member"

    def check(self) -> int:
        check_action(self.action, self.options)
        return 0


class Dump(NamedTuple("Dump", []), Operation):
    """See dumps.py."""

    __slots__ = ()
    name = "dump"


class DumpPiece(NamedTuple("DumpPiece", [("dump", int), ("piece", int)]), Operation):
    __slots__ = ()
    name = "dump_piece"

    def check(self) -> int:
        if not all(type(number) is int and 0 <= number <= MAX_NUMBER for number in self):
            raise InvalidRequestError("a piece of a dump is asked for by two whole numbers")
        return 0


class DumpEnd(NamedTuple("DumpEnd", [("dump", int)]), Operation):
    __slots__ = ()
    name = "dump_end"

    def check(self) -> int:
        if type(self.dump) is not int or not 0 <= self.dump <= MAX_NUMBER:
            raise InvalidRequestError("a dump is ended by its whole number")
        return 0


#: What a batch may hold.
SINGLE_WRITES: dict[str, type[Write]] = {kind.name: kind for kind in (Put, Append, Delete, Cas)}
WRITES: dict[str, type[Write]] = {**SINGLE_WRITES, "batch": Batch, "register": Register}
OPERATIONS: dict[str, type[Operation]] = {
    **WRITES,
    **{kind.name: kind for kind in (Get, Gets, Scan, Status, Hello, Member, Dump, DumpPiece, DumpEnd)},
}
