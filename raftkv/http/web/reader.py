"""RequestReader: requests out of the bytes of a connection. Without I/O; what is kept is bounded."""

from __future__ import annotations

import re
from functools import lru_cache

from raftkv.http.web.head import Head, HttpError, parse_head
from raftkv.http.web.limits import MAX_CHUNK_LINE, MAX_HEAD, MAX_TARGET

_BARE = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)")  # line ends that are none
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?")

_SHORT = 1024  # bytes of a head that is worth keeping
_DATA, _SIZE, _AFTER_DATA, _TRAILERS = range(4)  # what comes next of a chunked body


class RequestReader:
    """feed() it what comes; head() and body() take out what is complete. Not thread-safe."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._looked = 0  # no end of the head begins before
        self._left: int | None = 0  # bytes of the body that are still to come; None: it is chunked
        self._next = _SIZE
        self._chunk_left = self._trailers = 0
        self.is_complete = True  # the request that head() returned last

    def feed(self, data: bytes) -> None:
        """More bytes."""
        self._buffer += data

    def __len__(self) -> int:
        """How many bytes wait."""
        return len(self._buffer)

    def head(self) -> Head | None:
        """The head of the next request, once the one before is complete. None: not all of it is here. Raises HttpError; then
        nothing that comes after means anything."""
        assert self.is_complete, "a head is asked for before the end of the body"
        buffer = self._buffer
        if not buffer:
            return None
        while not self._looked and buffer[:2] == b"\r\n":
            del buffer[:2]  # as the RFC advises: some clients end a body so
        end = buffer.find(b"\r\n\r\n", max(0, self._looked - 3))
        if end < 0:
            self._check_incomplete()
            return None
        self._looked = 0
        if end > MAX_HEAD:
            raise _head_too_large()
        data = bytes(buffer[:end])
        del buffer[: end + 4]
        head = _parsed(data)
        self._left, self._next = head.length, _SIZE
        self.is_complete = not head.has_body
        return head

    def _check_incomplete(self) -> None:
        buffer = self._buffer
        if _BARE.search(buffer, max(0, self._looked - 1)):
            raise HttpError(400, "a line of the request does not end in CR LF")
        if buffer[:1] == b"\n" or b"\0" in buffer[self._looked :]:
            raise HttpError(400, "the request is malformed")
        self._looked = len(buffer)
        if len(buffer) > MAX_TARGET and b"\r\n" not in buffer[: MAX_TARGET + 2]:
            raise HttpError(414, "the target of the request is too long")
        if len(buffer) > MAX_HEAD:
            raise _head_too_large()

    def body(self) -> bytes:
        """What has come of the body since the last call. Raises HttpError, as head()."""
        if self.is_complete:
            return b""
        if self._left is not None:
            data = bytes(self._buffer[: self._left])
            del self._buffer[: self._left]
            self._left -= len(data)
            self.is_complete = not self._left
            return data
        pieces: list[bytes] = []
        while self._step(pieces):
            pass
        return b"".join(pieces)

    def _step(self, pieces: list[bytes]) -> bool:
        """One part of a chunked body. False: no more is here."""
        buffer = self._buffer
        if self._next == _DATA:
            data = bytes(buffer[: self._chunk_left])
            if not data:
                return False
            del buffer[: len(data)]
            pieces.append(data)
            self._chunk_left -= len(data)
            self._next = _DATA if self._chunk_left else _AFTER_DATA
            return True
        line = self._line()
        if line is None:
            return False
        if self._next == _SIZE:
            match = _CHUNK_LINE.fullmatch(line)
            if match is None:
                raise HttpError(400, "the size of a chunk is malformed")
            self._chunk_left = int(match[1], 16)
            self._trailers = 0
            self._next = _DATA if self._chunk_left else _TRAILERS
        elif self._next == _AFTER_DATA:
            if line:
                raise HttpError(400, "a chunk is longer than its size")
            self._next = _SIZE
        elif line:
            self._trailers += len(line)
            if self._trailers > MAX_HEAD:
                raise HttpError(431, "the fields after the body are too large")
        else:
            self.is_complete = True
            return False
        return True

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\n", 0, MAX_CHUNK_LINE)
        if end < 0:
            if len(self._buffer) >= MAX_CHUNK_LINE:
                raise HttpError(400, "a line of the chunked body is too long")
            return None
        line = bytes(self._buffer[: end + 1])
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise HttpError(400, "a line of the chunked body does not end in CR LF")
        del self._buffer[: end + 1]
        return line[:-2]


def _parse(data: bytes) -> Head:
    if data.find(b"\r\n") > MAX_TARGET:
        raise HttpError(414, "the target of the request is too long")
    if _BARE.search(data):
        raise HttpError(400, "a line of the request does not end in CR LF")
    return parse_head(data)


_parse_again = lru_cache(256)(_parse)  # the heads of a client's requests are mostly the same, or nearly


def _parsed(data: bytes) -> Head:
    return _parse_again(data) if len(data) <= _SHORT else _parse(data)


def _head_too_large() -> HttpError:
    return HttpError(431, f"the head of the request is larger than {MAX_HEAD} bytes")
