"""The head of a request: its first line and its fields, checked.

What two programs could understand differently is refused (RFC 9112, section 11.2): two lengths, a length and chunks, line
ends that are none, spaces before colons, folded lines, characters that nobody can see.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote

from raftkv.http.web.limits import MAX_FIELDS

_FIRST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_ABSOLUTE = re.compile(r"https?://([^/?#@]+)(.*)", re.IGNORECASE)
_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{0,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{0,5})?")
_LENGTH = re.compile(r"[0-9]{1,18}")
#: What there may be one of.
_SINGLE = frozenset({"host", "content-length", "transfer-encoding", "authorization", "origin", "expect"})


class HttpError(Exception):
    """A request that is answered with `status`, and for whose client there is a sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Head(NamedTuple):
    """`path` is decoded, and has no query. `fields` have names in lower case. `length`: of the body; None: it comes in
    chunks."""

    method: str
    path: str
    query: str
    fields: dict[str, str]
    host: str
    length: int | None
    keeps_alive: bool
    is_http_10: bool

    @property
    def has_body(self) -> bool:
        return self.length != 0

    @property
    def expects_continue(self) -> bool:
        return self.has_body and not self.is_http_10 and "expect" in self.fields


def parse_head(data: bytes) -> Head:
    """`data`: the lines, without the empty one at the end. Raises HttpError."""
    lines = data.split(b"\r\n")
    first = _FIRST_LINE.fullmatch(lines[0])
    if first is None:
        raise HttpError(400, "the first line of the request is malformed")
    method, target, major, minor = [each.decode("ascii") for each in first.groups()]
    if major != "1":
        raise HttpError(505, "this server speaks HTTP/1.1")
    is_http_10 = minor == "0"
    fields = _fields(lines[1:])
    path, query, host = _target(method, target, fields.get("host"), is_http_10)
    expect = fields.get("expect")
    if expect is not None and expect.lower() != "100-continue":
        raise HttpError(417, "the only expectation that can be met is 100-continue")
    options = {each.strip().lower() for each in fields.get("connection", "").split(",")}
    keeps_alive = "keep-alive" in options if is_http_10 else "close" not in options
    return Head(method, path, query, fields, host, _length(fields, is_http_10), keeps_alive, is_http_10)


def _fields(lines: list[bytes]) -> dict[str, str]:
    if len(lines) > MAX_FIELDS:
        raise HttpError(431, f"the request has more than {MAX_FIELDS} header fields")
    fields: dict[str, str] = {}
    for line in lines:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise HttpError(400, "a header field is malformed")
        name = match[1].decode("ascii").lower()
        value = match[2].decode("latin-1").rstrip(" \t")
        if name in fields:
            if name in _SINGLE:
                raise HttpError(400, f"the request has more than one {name}")
            value = f"{fields[name]}, {value}"
        fields[name] = value
    return fields


def _target(method: str, target: str, host: str | None, is_http_10: bool) -> tuple[str, str, str]:
    """(path, query, host)."""
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is not None:
        host, target = absolute[1], absolute[2] or "/"
    if host is None:
        if not is_http_10:
            raise HttpError(400, "the request has no Host")
        host = ""
    elif not _HOST.fullmatch(host):
        raise HttpError(400, "the Host is malformed")
    if not target.startswith("/") and not (target == "*" and method == "OPTIONS"):
        raise HttpError(400, "the target of the request is no path")
    path, _, query = target.partition("?")
    return unquote(path, errors="replace"), query, host


def _length(fields: dict[str, str], is_http_10: bool) -> int | None:
    coding, length = fields.get("transfer-encoding"), fields.get("content-length")
    if coding is not None:
        if length is not None:
            raise HttpError(400, "the request has a Content-Length and a Transfer-Encoding")
        if is_http_10:
            raise HttpError(400, "HTTP/1.0 has no Transfer-Encoding")
        if coding.lower() != "chunked":
            raise HttpError(501, "the only Transfer-Encoding that is understood is chunked")
        return None
    if length is None:
        return 0
    if not _LENGTH.fullmatch(length):
        raise HttpError(400, "the Content-Length is no number")
    return int(length)
