"""Shorthands for tests that put other bytes into a log."""

from __future__ import annotations

import pytest
from raftkv.errors import DamagedDataError
from raftkv.raft.types import Entry, HardState, encode_entries
from raftkv.storage.replay import MARKER

from tests.sim.disk import SimDisk
from tests.storage.model import open_persister

FIRST_FILE = "data/log/00000000000000000001.jsonl"


def written(*saves: list[Entry], segment_bytes: int = 1 << 20) -> SimDisk:
    disk = SimDisk()
    persister = open_persister(disk, segment_bytes=segment_bytes)
    persister.save(HardState(9, 1), [])
    for save in saves:
        persister.save(None, save)
    persister.close()
    return disk


def file_of(*saves: list[Entry]) -> bytes:
    """What a log file is to hold, but for the zeros at its end."""
    return b"".join(MARKER + encode_entries(save) for save in saves)


def reopened(disk: SimDisk) -> tuple[list[Entry], list[str]]:
    """The entries and the notices."""
    persister = open_persister(disk)
    persister.close()
    return persister.entries, persister.notices


def refused(disk: SimDisk) -> str:
    with pytest.raises(DamagedDataError, match="Move its data folder away") as caught:
        open_persister(disk)
    assert not disk.open_files, "a refused folder leaves files open"
    return str(caught.value)
