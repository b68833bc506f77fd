"""A history that makes the Persister do everything it can: the steps that the crash tests cut short one by
one."""

from __future__ import annotations

import json
import zlib

import pytest
from raftkv.raft.types import Entry, HardState, Snapshot
from raftkv.storage.identity import Life
from raftkv.storage.persister import Persister
from raftkv.storage.snapshot_file import encode_footer, encode_header

from tests.sim.disk import SimDisk
from tests.storage.model import Step, entries, lines, open_persister, snapshot


def save(term: int, vote: int, new: list[Entry]) -> Step:
    return Step("save", (HardState(term, vote), new))


def append(new: list[Entry]) -> Step:
    return Step("save", (None, new))


def write(taken: Snapshot) -> Step:
    return Step("write_snapshot", (taken, lines(taken)))


def file_of(taken: Snapshot, count: int = 3) -> bytes:
    """The bytes of a snapshot file, as a leader sends them. (Made here so that the format is checked,
    too.)"""
    body = encode_header(taken) + b"".join(lines(taken, count))
    return body + encode_footer(count, zlib.crc32(body))


def transfer(taken: Snapshot) -> list[Step]:
    """A snapshot that comes from the leader in three chunks."""
    data = file_of(taken)
    cuts = [0, len(data) // 3, len(data) // 2, len(data)]
    chunks = [
        Step("receive_chunk", (taken, start, data[start:end], end == len(data)))
        for start, end in zip(cuts, cuts[1:])
    ]
    return [*chunks, Step("install", (taken,))]


HISTORY: list[Step] = [
    save(1, 1, entries(1, 3, 1)),
    Step("remember", (2, Life(1, 5))),
    append(entries(4, 5, 1)),
    append(entries(6, 20, 1)),  # more than a file
    append(entries(21, 22, 1)),  # the next file
    save(2, 2, []),
    append(entries(22, 24, 2)),  # replaces the last one
    append(entries(15, 16, 2)),  # replaces entries of the file before: this one goes on
    append(entries(17, 30, 2)),  # over its size, and past its name again
    append(entries(31, 32, 2)),  # so the next file
    write(snapshot(12, 1)),
    Step("compact", (12,)),
    write(snapshot(30, 2)),
    Step("compact", (30,)),
    append(entries(33, 45, 2)),
    Step("remember", (3, Life(2, 7))),
    *transfer(snapshot(40, 2)),  # the log holds its last entry: what follows is kept
    append(entries(46, 47, 2)),
    save(3, 3, entries(48, 60, 3)),
    append(entries(61, 62, 3)),
    *transfer(snapshot(55, 4)),  # the log holds another one there: it is dropped
    save(4, 2, entries(56, 58, 4)),
    *transfer(snapshot(70, 4)),  # the log ends before it
    append(entries(71, 72, 4)),
    write(snapshot(75, 4)),  # applied before it was written here
    append(entries(73, 76, 4)),
    write(snapshot(80, 4)),
    append(entries(81, 83, 4)),  # 77 to 80 never come
    append(entries(84, 90, 4)),
    save(5, 2, []),
    write(snapshot(85, 5)),  # what is here from 81 on is of another history
    Step("compact", (85,)),
    append(entries(86, 87, 5)),
    append(entries(88, 100, 5)),
    write(snapshot(89, 6)),  # of a term that this disk does not know yet
    save(6, 1, entries(90, 92, 6)),
]


# -- shorthands for tests that go their own way --------------------------------------------------------------


def begun(disk: SimDisk, log: list[Entry] | None = None) -> Persister:
    persister = open_persister(disk)
    persister.save(HardState(9, 1), log if log is not None else entries(1, 10, 1))
    return persister


def reopened(disk: SimDisk) -> Persister:
    disk.kill()
    return open_persister(disk)


def content(persister: Persister) -> list[object]:
    with persister.open_snapshot() or pytest.fail("there is no snapshot") as reader:
        return list(reader.records())


def expected(taken: Snapshot, count: int = 3) -> list[object]:
    return [json.loads(line) for line in lines(taken, count)]


def receive(persister: Persister, taken: Snapshot, chunk: int = 50) -> int:
    data = file_of(taken)
    held = 0
    for start in range(0, len(data), chunk):
        held = persister.receive_chunk(taken, start, data[start : start + chunk], start + chunk >= len(data))
    return held
