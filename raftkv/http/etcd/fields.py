"""What kinds of fields messages have. A message is a dataclass; these annotations say what Python's own types do not."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any


@dataclasses.dataclass(frozen=True)
class Width:
    """Of a number. `name`: Go's, for messages. Numbers of 64 bits are text in JSON, shorter ones are numbers."""

    name: str
    least: int
    most: int

    @property
    def is_text(self) -> bool:
        return self.name.endswith("64")


class Choice:
    """An enumeration: in JSON its names, and numbers on the way in. Unknown numbers are kept. `name`: the protocol's, for
    messages."""

    def __init__(self, name: str, names: Sequence[str]) -> None:
        self.name = name
        self.names = dict(enumerate(names))
        self.numbers = {name: number for number, name in self.names.items()}


INT64 = Width("int64", -(2**63), 2**63 - 1)
ENUM = Width("protoreflect.EnumNumber", -(2**31), 2**31 - 1)

Uint64 = Annotated[int, Width("uint64", 0, 2**64 - 1)]
Uint32 = Annotated[int, Width("uint32", 0, 2**32 - 1)]


class Message:
    """The base of all. A subclass is a dataclass whose fields have the protocol's names and, as defaults, its zeros. A field
    that is a message, or one of several of which only one is there, is None when it is not there."""

    #: Set by dataclasses.dataclass().
    __dataclass_fields__: dict[str, Any]
