"""The bytes of answers."""

from __future__ import annotations

import time
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"

Fields = Iterable[tuple[str, str]]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

PHRASES = {each.value: each.phrase for each in HTTPStatus}
_date = (0, "")


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
    lines = [
        f"HTTP/1.1 {status} {PHRASES.get(status, 'Unknown')}",
        f"Content-Type: {kind}",
        "X-Content-Type-Options: nosniff",
        f"Date: {_now()}",
        *[f"{name}: {value}" for name, value in fields],
    ]
    if closes:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1")


def _now() -> str:
    global _date
    second = int(time.time())
    if _date[0] != second:
        _date = (second, formatdate(second, usegmt=True))
    return _date[1]
