"""Raft messages and hellos as plain data, and back: what the RPC layer carries between peers.

A message is ``(class name, *fields)``. Entries travel as their encoded lines, joined: the bytes that the
leader made once are what every follower checks (CRC-32), stores and applies.

What passes here has the types and the ranges that the core counts on: a peer of another version, or with a
bug, is refused instead of ending this node. Whether it says the truth cannot be seen here: Raft trusts its
members.
"""

from __future__ import annotations

import re
from typing import Any, get_args, get_origin, get_type_hints

from raftkv.errors import CorruptEntryError, ProtocolError
from raftkv.ini import host_problem
from raftkv.node.hello import Hello
from raftkv.raft.configuration import MAX_UID, Configuration
from raftkv.raft.messages import AppendEntries, InstallSnapshot, Message
from raftkv.raft.types import CONFIG, Entry, Snapshot, decode_entries, encode_entries
from raftkv.storage.identity import MAX_TOKENS

MAX_NUMBER = 2**63 - 1  # of ids, terms, indexes, offsets and rounds; none is negative

_PORT = re.compile(r"[0-9]{1,5}")
_HELLO = [get_origin(type_) or type_ for type_ in get_type_hints(Hello).values()]

_PLAIN: dict[Any, type] = {tuple[Entry, ...]: bytes, Snapshot: tuple}
_CLASSES: dict[str, type] = {cls.__name__: cls for cls in get_args(Message)}
#: The types of each message as plain data: of its name and its fields. Entries are bytes, a snapshot a tuple.
_SHAPES = {
    name: (str, *(_PLAIN.get(type_, type_) for type_ in get_type_hints(cls).values()))
    for name, cls in _CLASSES.items()
}


def to_plain(message: Message) -> tuple[Any, ...]:
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
    name, fields = plain[0], plain[1:]
    if tuple(map(type, plain)) != _SHAPES[name]:
        raise ProtocolError(f"{name} with fields of other types, or another number of them")
    for field in fields:
        if type(field) is int and not 0 <= field <= MAX_NUMBER:
            raise ProtocolError(f"{name} with a number out of range")
    try:
        if name == "AppendEntries":
            sender, to, term, prev_index, prev_term, lines, commit = fields
            entries = _entries_from_lines(term, prev_index, prev_term, lines)
            return AppendEntries(sender, to, term, prev_index, prev_term, entries, commit)
        if name == "InstallSnapshot":
            sender, to, term, snapshot, *chunk = fields
            return InstallSnapshot(sender, to, term, _snapshot_from_plain(term, snapshot), *chunk)
    except (CorruptEntryError, TypeError, ValueError, KeyError, RecursionError) as error:
        raise ProtocolError(f"{name} that cannot be right: {error}") from None
    message: Message = _CLASSES[name](*fields)
    return message


def hello_from_plain(plain: Any) -> Hello:
    """The Hello that `plain` is the fields of. Raises ProtocolError for anything else."""
    if (
        type(plain) is not tuple
        or [*map(type, plain)] != _HELLO
        or not all(0 <= field <= MAX_NUMBER for field in plain if type(field) is int)
    ):
        raise ProtocolError("not a hello of this version of the peers' protocol")
    hello = Hello(*plain)
    if not all(type(token) is int for token in hello.tokens) or len(hello.tokens) > MAX_TOKENS:
        raise ProtocolError("a hello with what are no tokens")
    if not all(type(address) is str for address in hello.members):
        raise ProtocolError("a hello with what are no addresses")
    if not all(0 < number <= MAX_UID for number in (hello.id, hello.uid)):
        raise ProtocolError("a hello with numbers out of range")
    for address in (hello.peer_address, *hello.members):
        host, _, port = address.rpartition(":")
        if host_problem(host) or not (_PORT.fullmatch(port) and 0 < int(port) < 1 << 16):
            raise ProtocolError("a hello with what is no address")
    return hello


def _entries_from_lines(
    message_term: int, prev_index: int, prev_term: int, lines: bytes
) -> tuple[Entry, ...]:
    entries, term = tuple(decode_entries(lines)), prev_term
    for position, entry in enumerate(entries, prev_index + 1):
        if entry.index != position or entry.term < term:
            raise ValueError(f"entry {entry} where {position} of term {term} or later belongs")
        term = entry.term
        if entry.kind == CONFIG:
            Configuration.from_plain(entry.data)
    if term > message_term:
        raise ValueError(f"entries of term {term} in a message of term {message_term}")
    return entries


def _snapshot_to_plain(snapshot: Snapshot) -> tuple[int, int, dict[str, Any]]:
    return snapshot.index, snapshot.term, snapshot.configuration.to_plain()


def _snapshot_from_plain(message_term: int, plain: Any) -> Snapshot:
    index, term, configuration = plain
    if not (
        type(index) is int and type(term) is int and 0 < index <= MAX_NUMBER and 0 < term <= message_term
    ):
        raise ValueError(f"no snapshot has this index or term in term {message_term}")
    return Snapshot(index, term, Configuration.from_plain(configuration))
