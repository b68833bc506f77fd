"""Entry's one encoding, and the small nouns beside it."""

from __future__ import annotations

import json

import pytest
from raftkv.errors import CorruptEntryError
from raftkv.raft.ready import Ready
from raftkv.raft.types import (
    COMMAND,
    CONFIG,
    NOOP,
    Configuration,
    Entry,
    HardState,
    Snapshot,
    decode_entries,
    encode_entries,
)

DATA = [
    None,
    [3, 1, 0, "put", "k", "v"],
    'ünï\u2028\r\n"quoted"',
    [1.5, True, {"voters": [1]}],
    "",
    "a]\n,7]",
]


@pytest.mark.parametrize("data", DATA)
def test_an_entry_survives_its_encoding(data: object) -> None:
    entry = Entry.create(12, 3, COMMAND, data)
    assert entry.line.isascii() and entry.line.endswith(b"]\n") and entry.line.count(b"\n") == 1
    again = Entry.decode(entry.line)
    assert again == entry and again.data == data and (again.index, again.term, again.kind) == (12, 3, COMMAND)
    assert json.loads(entry.line)[:4] == [12, 3, COMMAND, data], (
        "a JSON array, for whoever looks into the file"
    )


def test_many_entries_joined_come_apart_again() -> None:
    entries = [Entry.create(index, 2, COMMAND, data) for index, data in enumerate(DATA, 1)]
    entries.append(Entry.create(7, 2, NOOP, None))
    entries.append(Entry.create(8, 2, CONFIG, Configuration((1, 2)).to_plain()))
    assert decode_entries(encode_entries(entries)) == entries
    assert decode_entries(b"") == []


def test_every_flipped_bit_and_every_shortened_line_is_noticed() -> None:
    line = Entry.create(12, 3, COMMAND, [3, 1, 0, "put", "k", "v"]).line
    flipped = [
        line[:at] + bytes([line[at] ^ 1 << bit]) + line[at + 1 :]
        for at in range(len(line))
        for bit in range(8)
    ]
    for damaged in flipped + [line[:length] for length in range(len(line))]:
        with pytest.raises(CorruptEntryError):
            Entry.decode(damaged)


@pytest.mark.parametrize("line", [b"", b"\n", b"]\n", b"garbage\n", b"[]\n", b'[1,1,"cmd",null]\n', b",0]\n"])
def test_plain_data_that_is_no_entry_is_refused(line: bytes) -> None:
    with pytest.raises(CorruptEntryError):
        Entry.decode(line)


def test_a_cut_or_doubled_line_among_others_is_noticed() -> None:
    one, two = Entry.create(1, 1, COMMAND, "a").line, Entry.create(2, 1, COMMAND, "b").line
    with pytest.raises(CorruptEntryError):
        decode_entries(one[:-5] + two)
    with pytest.raises(CorruptEntryError):
        decode_entries(one + two[:-1])


def test_data_that_is_not_plain_json_makes_no_entry() -> None:
    with pytest.raises(TypeError):
        Entry.create(1, 1, COMMAND, b"bytes")


def test_entries_and_snapshots_are_named_by_index_and_term() -> None:
    assert str(Entry.create(8, 3, NOOP, None)) == "8@3"
    assert str(Snapshot(8, 3, Configuration((1,)))) == "snapshot 8@3"


def test_a_configuration_is_sorted_when_it_is_read() -> None:
    configuration = Configuration.from_plain({"voters": [3, 1, 2]})
    assert configuration.voters == (1, 2, 3)
    assert Configuration.from_plain(configuration.to_plain()) == configuration


@pytest.mark.parametrize("part", ["hard_state", "entries", "chunk"])
def test_ready_needs_the_disk_for_any_of_three_things(part: str) -> None:
    nothing = Ready([], None, [], None, [], None, [], [], [])
    assert not nothing.needs_disk
    values = {"hard_state": HardState(), "entries": [Entry.create(1, 1, NOOP, None)], "chunk": ("a", "chunk")}
    assert nothing._replace(**{part: values[part]}).needs_disk
