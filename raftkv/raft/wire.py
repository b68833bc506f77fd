"""Raft messages as plain data, and back: what the RPC layer carries between peers.

A message is ``(class name, *fields)``. Entries travel as their encoded lines, joined: the bytes that the
leader made once are what every follower checks (CRC-32), stores and applies.
"""

from __future__ import annotations

from typing import Any, Dict, Tuple, Type, get_args, get_type_hints

from raftkv.errors import CorruptEntryError, ProtocolError
from raftkv.raft.messages import AppendEntries, InstallSnapshot, Message
from raftkv.raft.types import Configuration, Snapshot, decode_entries, encode_entries

_CLASSES: Dict[str, Type] = {cls.__name__: cls for cls in get_args(Message)}
#: The types that the plain fields of each message must have; other fields are checked as they are rebuilt.
_PLAIN = {
    name: [type_ if type_ in (int, bool, bytes) else None for type_ in get_type_hints(cls).values()]
    for name, cls in _CLASSES.items()
}


def to_plain(message: Message) -> Tuple[Any, ...]:
    """`message` as a tuple of plain data."""
    if type(message) is AppendEntries:
        sender, to, term, prev_index, prev_term, entries, commit = message
        return "AppendEntries", sender, to, term, prev_index, prev_term, encode_entries(entries), commit
    if type(message) is InstallSnapshot:
        return ("InstallSnapshot", *message._replace(snapshot=_snapshot_to_plain(message.snapshot)))  # type: ignore[arg-type]
    return (type(message).__name__, *message)


def from_plain(plain: Any) -> Message:
    """The message that `plain` stands for. Raises ProtocolError for anything else, and for entries that do
    not match their CRC-32."""
    if type(plain) is not tuple or not plain or type(plain[0]) is not str or plain[0] not in _CLASSES:
        raise ProtocolError("not a Raft message of this version")
    name, fields = plain[0], list(plain[1:])
    expected = _PLAIN[name]
    if len(fields) != len(expected):
        raise ProtocolError(f"{name} with {len(fields)} fields instead of {len(expected)}")
    if any(type_ is not None and type(field) is not type_ for field, type_ in zip(fields, expected)):
        raise ProtocolError(f"{name} with a field of the wrong type")
    try:
        if name == "AppendEntries":
            fields[5] = _entries_from_lines(fields[3], fields[5])
        elif name == "InstallSnapshot":
            fields[3] = _snapshot_from_plain(fields[3])
    except (CorruptEntryError, TypeError, ValueError, KeyError) as error:
        raise ProtocolError(f"{name} that cannot be right: {error}") from None
    return _CLASSES[name](*fields)


def _entries_from_lines(prev_index: int, lines: bytes) -> tuple:
    entries = tuple(decode_entries(lines))
    for position, entry in enumerate(entries, prev_index + 1):
        if entry.index != position:
            raise ValueError(f"entry {entry.index} where {position} belongs")
    return entries


def _snapshot_to_plain(snapshot: Snapshot) -> Tuple[int, int, dict]:
    return snapshot.index, snapshot.term, snapshot.configuration.to_plain()


def _snapshot_from_plain(plain: Any) -> Snapshot:
    index, term, configuration = plain
    return Snapshot(int(index), int(term), Configuration.from_plain(configuration))
