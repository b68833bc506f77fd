"""Encoding: between the text of a program and the bytes of the database."""

from __future__ import annotations

import codecs
from typing import Any, Union

from raftkv import errors

Text = Union[str, bytes]  # bytes are taken as they are


class Encoding:
    """`name`: such as "utf-8"; None: bytes come out as they are. Bytes that are no such text become surrogates
    (surrogateescape), from which the same bytes are made again. That is not possible in each encoding: not in utf-16.
    Immutable. Raises ConfigError."""

    def __init__(self, name: str | None) -> None:
        self._name = name
        self._in = name or "utf-8"
        try:
            codecs.lookup(self._in)
        except (LookupError, TypeError):
            raise errors.ConfigError(
                f"encoding: there is none of the name {name!r}; use utf-8, or None"
            ) from None
        if not _takes_all_bytes(self._in):
            raise errors.ConfigError(
                f"encoding: not every byte can be read in {name}, and keys and values can hold any; use utf-8, or None"
            )

    def encode(self, text: Any, what: str) -> bytes:
        """The bytes of a text; bytes are taken as they are. Raises InvalidRequestError, which calls it `what`."""
        if type(text) is bytes:
            return text
        if not isinstance(text, str):
            raise errors.InvalidRequestError(
                f"the {what} must be text (str) or bytes, not {type(text).__name__}"
            )
        try:
            return text.encode(self._in, "surrogateescape")
        except UnicodeEncodeError as error:
            half = 0xD800 <= ord(text[error.start]) < 0xE000
            why = f"valid Unicode: there is half a surrogate pair at position {error.start}"
            if not half:
                why = f"text in {self._in}: it has no character at position {error.start}"
            raise errors.InvalidRequestError(f"the {what} is not {why}") from None

    def encode_if_given(self, text: Any, what: str) -> bytes | None:
        """The same; None stays None."""
        return None if text is None else self.encode(text, what)

    def decode(self, data: bytes) -> Any:
        """What the program is given for these bytes."""
        return data if self._name is None else data.decode(self._name, "surrogateescape")


def _takes_all_bytes(name: str) -> bool:
    try:
        return all(
            byte.decode(name, "surrogateescape").encode(name, "surrogateescape") == byte for byte in _BYTES
        )
    except (UnicodeError, LookupError):
        return False


_BYTES = [bytes([number]) for number in range(256)]
