"""Reads that any server answers from its own state, whoever leads, and whether or not there is a majority.

Such a read is *serializable*: it sees the state as it was at some moment, which its revision names, not necessarily all
that was acknowledged before.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from raftkv.errors import InvalidRequestError
from raftkv.kvdb.maintenance import Leases
from raftkv.kvdb.operation import Operation, Read
from raftkv.kvdb.reads import Get, Gets, Range
from raftkv.kvdb.transactions import TxnRead

_KINDS: dict[str, type[Read]] = {kind.name: kind for kind in (Get, Gets, Range, TxnRead, Leases)}


class Serializable(NamedTuple("Serializable", [("method", str), ("args", "tuple[Any, ...]")]), Operation):
    """The result is that of the read `method(*args)`."""

    __slots__ = ()
    name = "serializable"

    @classmethod
    def of_read(cls, read: Read) -> Serializable:
        return cls(read.name, read.plain())

    def read(self) -> Read:
        """Raises InvalidRequestError."""
        kind = _KINDS.get(self.method) if type(self.method) is str else None
        if kind is None or type(self.args) is not tuple:
            raise InvalidRequestError(f"serializable takes one of {', '.join(_KINDS)} and its arguments")
        return kind.of(self.args)  # type: ignore[no-any-return]

    def check(self) -> int:
        return self.read().check()
