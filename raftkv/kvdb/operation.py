"""What an operation is: its fields, its check, its plain form, and what it does to the data.

Each operation is one small class; operations.py is the table of them. The log, requests, Clerk and Pipeline all
use these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from raftkv.errors import InvalidRequestError
from raftkv.kvdb.keyspace import Keyspace
from raftkv.kvdb.outcomes import Outcome

new_operation = tuple.__new__  # a NamedTuple's own _make() takes four times as long


def encode_all(texts: Sequence[str]) -> list[bytes]:
    """The bytes for which texts stand in the log and in snapshots. Nearly all are valid Unicode, which takes a third of the
    time."""
    try:
        return list(map(str.encode, texts))
    except UnicodeEncodeError:
        return [text.encode("utf-8", "surrogateescape") for text in texts]


def decode_all(datas: Sequence[bytes]) -> list[str]:
    """The texts that stand for bytes in the log: the inverse of encode_all()."""
    try:
        return list(map(bytes.decode, datas))
    except UnicodeDecodeError:
        return [data.decode("utf-8", "surrogateescape") for data in datas]


class Operation(tuple[Any, ...]):
    """`name`: the method of its requests. `fields` and `defaults`: what its plain form holds at most, and what
    stands for the last ones where they are left out. `numbered`: it belongs to a client's session, in which it
    takes effect once. `grows`: it can make the data larger. `operations`: for how many it counts.

    Those of different kinds may be equal, for they are tuples: compare their types, too.
    """

    __slots__ = ()
    name: ClassVar[str]
    fields: ClassVar[int]
    defaults: ClassVar[tuple[Any, ...]]
    numbered = grows = False
    operations = 1

    def __init_subclass__(cls) -> None:
        cls.fields = len(getattr(cls, "_fields", ()))
        cls.defaults = tuple(getattr(cls, "_field_defaults", {}).values())

    @classmethod
    def of(cls, plain: tuple[Any, ...]) -> Any:
        """The operation that has this plain form. Its fields are not checked yet, but for their number. Raises
        InvalidRequestError."""
        missing = cls.fields - len(plain)
        if not missing:
            return new_operation(cls, plain)
        if not 0 < missing <= len(cls.defaults):
            raise InvalidRequestError(_wrong_count(cls, len(plain)))
        return new_operation(cls, (*plain, *cls.defaults[-missing:]))

    def check(self) -> int:
        """The bytes of its keys and values, which count towards MAX_REQUEST_BYTES. The fields are what their
        types say once this has returned. Raises InvalidRequestError with a sentence for the client."""
        return 0

    def plain(self) -> tuple[Any, ...]:
        """The fields as plain data; the last ones are left out where they have their defaults."""
        if not self.defaults:
            return self[:]
        end = len(self)
        for default in reversed(self.defaults):
            if self[end - 1] != default:
                break
            end -= 1
        return self[:end]


class Write(Operation):
    """An operation that becomes an entry of the log."""

    __slots__ = ()
    numbered = grows = True

    @classmethod
    def of_entry(cls, fields: list[Any]) -> Any:
        """The operation that for_entry() made this of: text is what is bytes otherwise."""
        return cls.of(
            tuple([each.encode("utf-8", "surrogateescape") if type(each) is str else each for each in fields])
        )

    def for_entry(self, *head: Any) -> list[Any]:
        """`head`, its name and its plain form for the log, which is JSON: bytes become text, which is readable where it is
        UTF-8, and stands for all else by surrogates."""
        return [
            *head,
            self.name,
            *[
                each.decode("utf-8", "surrogateescape") if type(each) is bytes else each
                for each in self.plain()
            ],
        ]

    def work(self, data: Keyspace) -> int:
        """About how many keys it changes. (Its own size bounds all else that it does.)"""
        return 1

    def change(self, data: Keyspace) -> Outcome:
        """What it does, as a part of a command. Never raises for what passed check(). A refused one may leave half
        of it to be rolled back."""
        raise NotImplementedError

    def apply(self, data: Keyspace, index: int) -> Outcome:
        """Carry it out as the command of the log entry `index`."""
        outcome = self.change(data)
        if outcome[0]:
            data.commit()
        else:
            data.rollback()
        return outcome


class Read(Operation):
    """An operation that is answered from the data as they are."""

    __slots__ = ()

    def read(self, data: Keyspace) -> Outcome:
        """The answer. Never raises for what passed check()."""
        raise NotImplementedError


def _wrong_count(kind: type[Operation], count: int) -> str:
    least, most = kind.fields - len(kind.defaults), kind.fields
    takes = f"{most}" if least == most else f"{least} to {most}"
    return f"{kind.name} takes {takes} argument{'s' * (takes != '1')}, not {count}"
