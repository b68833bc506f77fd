"""The file that `dump` writes and `load` reads: JSON lines in UTF-8.

    {"raftkv_dump": 1, "keys": 2, "index": 17}                 format, keys, last entry of the log that is in it
    {"key": "city", "value": "Lhasa", "revision": 5}           a key a line; load gives it a new revision
    {"key": "poem", "value": "two\\nlines", "revision": 17}
    {"end": true, "keys": 2}                                   without it, the file is not complete

The first line and the revisions may be missing in a file that somebody else writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from raftkv.cli.outcome import UsageError
from raftkv.errors import InvalidRequestError
from raftkv.kvdb.limits import MAX_REQUEST_BYTES
from raftkv.kvdb.operations import Put

FORMAT = 1
MAX_LINE = 8 * MAX_REQUEST_BYTES  # bytes: each character may be escaped

Row = tuple[str, str, int]  # key, value, revision

_BOM = b"\xef\xbb\xbf"


def header_line(keys: int, index: int) -> str:
    return json.dumps({"raftkv_dump": FORMAT, "keys": keys, "index": index}) + "\n"


def row_lines(rows: Iterable[Row]) -> str:
    return "".join(
        json.dumps({"key": key, "value": value, "revision": revision}, ensure_ascii=False) + "\n"
        for key, value, revision in rows
    )


def end_line(keys: int) -> str:
    return json.dumps({"end": True, "keys": keys}) + "\n"


def read_rows(file: Any) -> Iterator[tuple[str, str]]:
    """The (key, value) of each line of a binary file, each checked. Raises UsageError, which names the line."""
    rows, number, ended = 0, 0, False
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
            if plain != {"end": True, "keys": rows}:
                raise _wrong(
                    number, f"the end line says that there are {plain.get('keys')} keys, but there are {rows}"
                )
        elif "raftkv_dump" in plain:
            if plain["raftkv_dump"] != FORMAT or rows:
                raise _wrong(number, f"this version of raftkv reads one dump of format {FORMAT}")
        else:
            rows += 1
            yield _row(plain, number)
    if not ended:
        raise _wrong(
            number + 1,
            f'the file ends without its end line {{"end": true, "keys": {rows}}}: part of it is missing',
        )


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


def _row(plain: dict[str, Any], number: int) -> tuple[str, str]:
    unknown = set(plain) - {"key", "value", "revision"}
    if unknown:
        raise _wrong(number, f"{min(unknown)!r} is nothing that a key of this database has")
    key: Any = plain.get("key")
    value: Any = plain.get("value")
    try:
        Put(key, value).check()
    except InvalidRequestError as error:
        raise _wrong(number, str(error)) from None
    return key, value


def _wrong(number: int, why: str) -> UsageError:
    return UsageError(f"line {number} of the dump: {why}; nothing was loaded")
