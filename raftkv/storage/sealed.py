"""Sealed JSON: one JSON object on one line whose last member is the CRC-32 of all bytes before that member's
comma.

    {"format":1,"term":7,"vote":2,"crc":1122334455}

The small files (node.json, hard_state.json) and a snapshot's header are written so. Whatever a later format
changes, it keeps the seal and the member "format": then an older raftkv can tell an unknown format from
damage.
"""

from __future__ import annotations

import json
import os
import zlib
from typing import Any, Callable

from raftkv.errors import DamagedDataError, ForeignDataError
from raftkv.storage.disk import Disk

FORMAT = 1  # of everything in a data folder

_encode_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def seal(plain: dict[str, Any]) -> bytes:
    """The line for `plain`, a dict of plain JSON data that has "format" and no "crc"."""
    body = _encode_json(plain).encode()[:-1]
    return b'%b,"crc":%d}\n' % (body, zlib.crc32(body))


def unseal(line: bytes, path: str) -> dict[str, Any]:
    """The dict in `line`, which was read from `path`.

    Raises DamagedDataError if it does not match its CRC, ForeignDataError if its format is an unknown one.
    """
    body = line[: line.rfind(b',"crc":')]
    if line != b'%b,"crc":%d}\n' % (body, zlib.crc32(body)):
        raise damaged(path, "it does not match its CRC-32", 1)
    plain: dict[str, Any] = json.loads(line)
    if plain["format"] != FORMAT:
        raise ForeignDataError(
            f"{path} has format {plain['format']}, and this version of raftkv knows only format {FORMAT}: "
            "start the version that wrote it"
        )
    return plain


def damaged(path: str, why: str, line: int | None = None) -> DamagedDataError:
    """The error that says that the file `path` cannot be trusted, and the way back."""
    where = path if line is None else f"{path}, line {line}"
    return DamagedDataError(
        f"this member's data is damaged at {where}: {why}. Move its data folder away and start the member "
        "with an empty one: it will catch up from the others"
    )


def replace_file(disk: Disk, path: str, data: bytes, reach: Callable[[str], None], name: str) -> None:
    """Replace the file `path` by one that holds `data`: at every instant it is the old or the new one, whole.

    Durable on return. After a DiskFullError it may be asked for again. `reach` is called with crash points
    that begin with `name`.
    """
    temporary = path + ".tmp"
    file = disk.create(temporary)
    try:
        file.write_at(0, data)
        reach(f"{name}-written")
        file.sync()
    finally:
        file.close()
    reach(f"{name}-synced")
    disk.rename(temporary, path)
    reach(f"{name}-renamed")
    disk.sync_folder(os.path.dirname(path))
