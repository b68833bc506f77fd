"""The nouns of consensus: entries, what must be durable, who votes, what a node is at the moment.

All are immutable. Indexes count from 1; index 0 is the state before the first entry, with term 0.
"""

from __future__ import annotations

import enum
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from raftkv.errors import CorruptEntryError, ForeignDataError, UnknownEntryError
from raftkv.raft.configuration import Configuration

NOOP = "noop"  # the entry each new leader begins its term with (paper section 8); data is None
CONFIG = "config"  # data is a plain Configuration, in effect as soon as it is in the log (thesis 4.1)
COMMAND = "cmd"  # data belongs to the state machine, and the core never looks at it

_KINDS = {b'"%b"' % kind.encode(): kind for kind in (NOOP, CONFIG, COMMAND)}

_encode_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_decode_json = json.JSONDecoder().raw_decode  # takes half as long as json.loads() of bytes
_crc32 = zlib.crc32
_new = tuple.__new__  # a NamedTuple's own __new__() takes three times as long


#: A term that is further ahead of this node's own is no term that elections can have come to: adopted, it would
#: leave no room for later ones.
MAX_TERM_LEAP = 1 << 32


class Entry(NamedTuple):
    """One log entry.

    `line` is its only encoding: ``[index,term,kind,data,crc]\\n``, a JSON array in ASCII on a line of its
    own, where crc is the CRC-32 of all the bytes before its comma. It is made once, by the leader that
    creates the entry; the same bytes then go over the wire and to every disk. `data` is kept in no other
    form: a log in memory is many entries that were applied long ago.
    """

    index: int  # type: ignore[assignment]  # shadows tuple.index, which nobody asks of an entry
    term: int
    kind: str
    line: bytes

    @classmethod
    def create(cls, index: int, term: int, kind: str, data: Any) -> Entry:
        """Make a new entry and its encoding. `data` must be plain JSON data."""
        head = b'[%d,%d,"%b",%b' % (index, term, kind.encode(), _encode_json(data).encode())
        return _new(cls, (index, term, kind, b"%b,%d]\n" % (head, _crc32(head))))

    @classmethod
    def decode(cls, line: bytes) -> Entry:
        """The entry that `line` encodes. `data` is not looked at: the CRC vouches for it.

        Raises CorruptEntryError if the line is not whole or does not match its CRC, UnknownEntryError if it does
        and is yet no entry.
        """
        head, _, crc = line.rpartition(b",")
        if crc != b"%d]\n" % _crc32(head):
            raise CorruptEntryError("the line does not match its CRC-32")
        try:
            index, term, kind, _ = head.split(b",", 3)
            return _new(cls, (int(index[1:]), int(term), _KINDS[kind], line))
        except (ValueError, KeyError) as error:
            raise UnknownEntryError(f"the line is not a log entry of this version ({error})") from None

    @property
    def data(self) -> Any:
        """What the entry says, decoded anew."""
        return _decode_json(self.line.decode())[0][3]

    def __str__(self) -> str:
        return f"{self.index}@{self.term}"


def unknown_entry(entry: Entry, why: str) -> ForeignDataError:
    """What the operator of a node reads that has `entry`, which is whole, and cannot make anything of it. It must
    not be skipped: the state would no longer be that of the others."""
    return ForeignDataError(
        f"this version of raftkv cannot read the entry {entry.index} of term {entry.term} ({why}): another version "
        "wrote it. Nothing is lost, and nothing after that entry is applied here: start this node with the version "
        "that wrote it"
    )


def encode_entries(entries: Iterable[Entry]) -> bytes:
    """The lines of `entries`, joined: what an AppendEntries message carries and what a log segment holds."""
    return b"".join([entry.line for entry in entries])


def decode_entries(lines: bytes) -> list[Entry]:
    """The entries of `lines`, as joined by encode_entries. Raises CorruptEntryError."""
    return [Entry.decode(line) for line in lines.splitlines(keepends=True)]


class HardState(NamedTuple):
    """What a node must have on disk before it speaks (paper figure 2, "persistent state"). `vote` is a uid."""

    term: int = 0
    vote: int | None = None


class Snapshot(NamedTuple):
    """What a snapshot stands for (its content is a file that only persister and state machine see):
    the state after applying the entry `index` of `term`, and the configuration in force there."""

    index: int  # type: ignore[assignment]
    term: int
    configuration: Configuration

    def __str__(self) -> str:
        return f"snapshot {self.index}@{self.term}"


class Role(enum.Enum):
    """What a node is at the moment (paper section 5.1; PRE_CANDIDATE is of thesis section 9.6)."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


@dataclass(frozen=True)
class Options:
    """How a node behaves in time and how much it lets be under way. Durations in seconds, sizes in bytes."""

    election_timeout_s: float = 0.5  # an election begins after one to two of these without a leader
    heartbeat_interval_s: float = 0.05
    max_append_bytes: int = 1 << 20  # of entries in one message (one entry may exceed it)
    max_inflight_appends: int = 16  # unanswered messages to one follower
    max_inflight_bytes: int = 8 << 20
    max_uncommitted_bytes: int = 64 << 20  # not committed or not durable here: beyond, proposals are refused
    max_kept_bytes: int = 32 << 20  # of entries that a snapshot has, which followers that lag still need
