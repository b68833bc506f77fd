"""The bytes of answers."""

from __future__ import annotations

import time
from collections.abc import Iterable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"

Fields = Iterable[tuple[str, str]]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

PHRASES = {each.value: each.phrase for each in HTTPStatus}


def whole(
    status: int, kind: str, body: bytes, closes: bool, fields: Fields = (), *, no_body: bool = False
) -> bytes:
    """An answer. `no_body`: to HEAD."""
    head = _head(status, kind, closes, [("Content-Length", str(len(body))), *fields])
    return head if no_body else head + body


def stream_head(status: int, kind: str, closes: bool, is_chunked: bool, fields: Fields = ()) -> bytes:
    """The beginning of one that goes on; without chunks it ends with the connection."""
    return _head(status, kind, closes, [*([("Transfer-Encoding", "chunked")] if is_chunked else []), *fields])


def chunk(data: bytes) -> bytes:
    """`data`, which is not empty, as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _head(status: int, kind: str, closes: bool, fields: Fields) -> bytes:
    lines = [_start(status, kind, int(time.time())), *[f"{name}: {value}" for name, value in fields]]
    if closes:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1")


@lru_cache(16)
def _start(status: int, kind: str, second: int) -> str:
    """What all answers of a second begin with."""
    return (
        f"HTTP/1.1 {status} {PHRASES.get(status, 'Unknown')}\r\nContent-Type: {kind}\r\n"
        f"X-Content-Type-Options: nosniff\r\nDate: {formatdate(second, usegmt=True)}"
    )
