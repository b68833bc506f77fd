"""Keys with their values, as commands show them: a line each, or plain data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from raftkv.cli.values import needs_literal
from raftkv.cli.words import quote


def row_line(key: str, value: str) -> str:
    """A key and its value on one line, which `put` takes as it is: quoted, and behind `--` where needed."""
    options_end = "-- " if needs_literal(key) or needs_literal(value) else ""
    return f"{options_end}{quote(key)} {quote(value)}"


def rows_text(kvs: Iterable[Any]) -> str:
    """A line each, of KeyValues."""
    return "\n".join(row_line(kv.key, kv.value) for kv in kvs)


def items(kvs: Iterable[Any]) -> list[dict[str, Any]]:
    """The same as plain data."""
    return [{"key": kv.key, "value": kv.value, "revision": kv.mod_revision} for kv in kvs]
