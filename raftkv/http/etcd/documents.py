"""Documents: JSON objects out of a body that comes in pieces and may never end, as of a watch that is changed while it goes on."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Any

from raftkv.http.etcd.json_codec import JsonError, first_value

MAX_DOCUMENT = 1 << 20  # characters

_MARK = re.compile(r'[{}\[\]"]')
_IN_STRING = re.compile(r'["\\]')


class Documents:
    """Not thread-safe."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._text = ""
        self._at = 0  # what is before has been looked at
        self._depth = 0
        self._is_in_string = False

    def __len__(self) -> int:
        """How many characters wait for the rest of their value."""
        return len(self._text)

    def feed(self, data: bytes, is_last: bool) -> Iterator[Any]:
        """The values that are complete now. Raises JsonError, after those that come before."""
        self._text += self._decode(data, is_last)
        while True:
            end = self._end_of_first()
            if end is None:
                break
            value, _ = first_value(self._text[:end])
            self._text, self._at = self._text[end:], 0
            yield value
        rest = self._text.strip()
        if rest and (is_last or not rest.startswith("{")):
            first_value(rest)  # raises for what is cut off, or no object
            raise JsonError(
                "json: cannot unmarshal the body into Go value of type map[string]json.RawMessage"
            )
        if len(self._text) > MAX_DOCUMENT:
            raise JsonError("a message of the body is too large")

    def _end_of_first(self) -> int | None:
        """Where the first value ends; None: it has not come yet."""
        text = self._text
        while True:
            mark = (_IN_STRING if self._is_in_string else _MARK).search(text, self._at)
            if mark is None:
                self._at = len(text)
                return None
            character, self._at = mark.group(), mark.end()
            if character == "\\":
                if self._at == len(text):
                    self._at -= 1  # what it escapes has not come yet
                    return None
                self._at += 1
            elif character == '"':
                self._is_in_string = not self._is_in_string
            elif character in "{[":
                self._depth += 1
            else:
                self._depth -= 1
                if self._depth <= 0:
                    self._depth = 0
                    return self._at
