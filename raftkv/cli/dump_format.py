"""The file that `dump` writes and `load` reads: JSON lines in UTF-8.

    {"raftkv_dump": 2, "keys": 2, "revision": 17, "leases": 1}   format, keys, the revision that it is of, leases
    {"lease": 7, "ttl": 60}                                      a lease, and its time to live in seconds
    {"key": "city", "value": "Lhasa", "create_revision": 5, "mod_revision": 9, "version": 2, "lease": 7}
    {"key": "poem", "value": "two\\nlines", "create_revision": 17, "mod_revision": 17, "version": 1}
    {"end": true, "keys": 2}                                     without it, the file is not complete

A file that somebody else writes may do without the first line: then it has keys and values only, and load writes them as
new ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Union

from raftkv.cli.outcome import UsageError
from raftkv.client.answers import KeyValue
from raftkv.client.encoding import Encoding
from raftkv.errors import InvalidRequestError
from raftkv.kvdb.limits import MAX_REQUEST_BYTES
from raftkv.kvdb.restoring import Restore
from raftkv.kvdb.writes import Put

FORMAT = 2
MAX_LINE = 8 * MAX_REQUEST_BYTES  # bytes: each character may be escaped

_FIELDS = frozenset(KeyValue._fields)
_TEXT = Encoding("utf-8")
_BOM = b"\xef\xbb\xbf"


class Header(NamedTuple):
    """`revision`: that of the dump; 0 for a file without a first line."""

    revision: int
    leases: int


class LeaseRow(NamedTuple):
    """`ttl`: in seconds."""

    id: int
    ttl: int


Line = Union[Header, LeaseRow, KeyValue]


def header_lines(keys: int, revision: int, leases: Sequence[tuple[int, int]]) -> str:
    header = {"raftkv_dump": FORMAT, "keys": keys, "revision": revision, "leases": len(leases)}
    return "".join(
        [json.dumps(header) + "\n", *[json.dumps({"lease": id, "ttl": ttl}) + "\n" for id, ttl in leases]]
    )


def row_lines(rows: Iterable[KeyValue]) -> str:
    return "".join([_line(_plain(row)) for row in rows])


def _plain(row: KeyValue) -> dict[str, Any]:
    plain = row._asdict()
    if not row.lease:
        del plain["lease"]
    return plain


def _line(plain: dict[str, Any]) -> str:
    line = json.dumps(plain, ensure_ascii=False) + "\n"
    if line.isascii():
        return line
    try:
        line.encode()
    except UnicodeEncodeError:  # bytes that are no UTF-8
        return json.dumps(plain) + "\n"
    return line


def end_line(keys: int) -> str:
    return json.dumps({"end": True, "keys": keys}) + "\n"


def read_rows(file: Any) -> Iterator[Line]:
    """The lines of a binary file, each checked: a Header first, then LeaseRows and KeyValues, of bytes. Raises UsageError,
    which names the line."""
    header: Header | None = None
    rows, leases, number, ended = 0, 0, 0, False
    while True:
        line = file.readline(MAX_LINE + 1)
        if not line:
            break
        number += 1
        line = line.removeprefix(_BOM) if number == 1 else line
        if len(line) > MAX_LINE:
            raise _wrong(number, f"it has more than {MAX_LINE} bytes")
        if not line.strip():
            continue
        if ended:
            raise _wrong(number, "something follows the end line: is this more than one dump?")
        plain = _parsed(line, number)
        if "end" in plain:
            ended = True
            _check_end(plain, rows, leases, header, number)
        elif "raftkv_dump" in plain:
            if header is not None:
                raise _wrong(number, "a dump has one first line: is this more than one dump?")
            header = _header(plain, number)
            yield header
        else:
            if header is None:
                header = Header(0, 0)
                yield header
            found = (
                _lease(plain, number)
                if "lease" in plain and "key" not in plain
                else _row(plain, header, number)
            )
            rows, leases = (rows, leases + 1) if isinstance(found, LeaseRow) else (rows + 1, leases)
            yield found
    if not ended:
        raise _wrong(
            number + 1,
            f'the file ends without its end line {{"end": true, "keys": {rows}}}: part of it is missing',
        )


def _check_end(plain: dict[str, Any], rows: int, leases: int, header: Header | None, number: int) -> None:
    if plain != {"end": True, "keys": rows}:
        raise _wrong(
            number, f"the end line says that there are {plain.get('keys')} keys, but there are {rows}"
        )
    said = header.leases if header is not None else 0
    if said != leases:
        raise _wrong(number, f"the first line says that there are {said} leases, but there are {leases}")


def _header(plain: dict[str, Any], number: int) -> Header:
    if plain["raftkv_dump"] != FORMAT:
        raise _wrong(number, f"this version of raftkv reads dumps of format {FORMAT}")
    header = Header(plain.get("revision", 0), plain.get("leases", 0))
    if not all(type(field) is int and field >= 0 for field in header) or not header.revision:
        raise _wrong(number, "the revision and the number of leases of the dump must be whole numbers")
    return header


def _parsed(line: bytes, number: int) -> dict[str, Any]:
    try:
        plain = json.loads(line.decode())
    except UnicodeDecodeError:
        raise _wrong(number, "it is not UTF-8") from None
    except (ValueError, RecursionError):
        what = "an incomplete JSON object" if line[:1] == b"{" and line[-1:] != b"\n" else "no JSON object"
        raise _wrong(number, f"it is {what}: only lines as `dump` writes them can be loaded") from None
    if not isinstance(plain, dict):
        raise _wrong(number, "it is no JSON object: only lines as `dump` writes them can be loaded")
    return plain


def _lease(plain: dict[str, Any], number: int) -> LeaseRow:
    lease = LeaseRow(plain.get("lease"), plain.get("ttl"))  # type: ignore[arg-type]
    if set(plain) != {"lease", "ttl"}:
        raise _wrong(number, "a lease has an id and a ttl, and nothing else")
    try:
        Restore(1, 0, [lease], []).check()
    except InvalidRequestError as error:
        raise _wrong(number, str(error)) from None
    return lease


def _row(plain: dict[str, Any], header: Header, number: int) -> KeyValue:
    known = _FIELDS if header.revision else {"key", "value"}
    unknown = set(plain) - known
    if unknown:
        raise _wrong(number, f"{min(unknown)!r} is nothing that a key of this database has")
    try:
        key, value = _TEXT.encode(plain.get("key"), "key"), _TEXT.encode(plain.get("value"), "value")
        if not header.revision:
            Put(key, value).check()
            return KeyValue(key, value, 0, 0, 0, 0)
        numbers = [plain.get(name) for name in KeyValue._fields[2:5]]
        row = KeyValue(key, value, *numbers, plain.get("lease", 0))  # type: ignore[arg-type, call-arg]
        Restore(header.revision, 0, [], [row]).check()
    except InvalidRequestError as error:
        raise _wrong(number, str(error)) from None
    return row


def _wrong(number: int, why: str) -> UsageError:
    return UsageError(f"line {number} of the dump: {why}; nothing was loaded")
