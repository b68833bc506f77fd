"""What the checks ask of a server, without bringing it to life again."""

from __future__ import annotations

from typing import NamedTuple

from raftkv.raft.configuration import Configuration
from raftkv.raft.types import Entry, Role

from tests.explore.server import Disk, Server

_KNOWN: dict[object, object] = {}


class Log(NamedTuple):
    """Of a server's memory: the names are those of raftkv.raft.log.RaftLog."""

    first_index: int
    entries: tuple[Entry, ...]
    configurations: tuple[
        tuple[int, Configuration], ...
    ]  # with the index of the entry; the first one is the oldest

    @property
    def last_index(self) -> int:
        return self.first_index + len(self.entries) - 1

    def configuration_at(self, index: int) -> Configuration:
        """The configuration in force once the entry `index` is in the log."""
        return [configuration for at, configuration in self.configurations if at <= index][-1]

    def entry(self, index: int) -> Entry | None:
        return (
            self.entries[index - self.first_index] if self.first_index <= index <= self.last_index else None
        )


class View(NamedTuple):
    id: int
    term: int
    role: Role
    hears_leader: bool
    commit: int
    log: Log  # equal logs are one object
    disk: Disk
    writes: int  # that wait for the disk

    @property
    def leads(self) -> bool:
        return self.role is Role.LEADER

    @property
    def configuration(self) -> Configuration:
        return self.log.configurations[-1][1]

    @property
    def last(self) -> tuple[int, int]:
        """What decides which of two logs is more complete (paper 5.4.1)."""
        return (
            (self.log.entries[-1].term, self.log.last_index) if self.log.entries else (0, self.log.last_index)
        )


def view_of(server: Server) -> View:
    raft, log = server.raft, server.raft.log
    found = [(log.snapshot.index, log.snapshot.configuration)]
    for entry in log.entries:
        configuration = log.configuration_at(entry.index)
        if configuration != found[-1][1]:
            found.append((entry.index, configuration))
    return View(
        raft.id,
        raft.term,
        raft.role,
        raft.role is Role.FOLLOWER and raft.leader is not None,
        log.commit,
        _one(Log(log.first_index, tuple(_one(entry) for entry in log.entries), tuple(found))),
        _one(server.disk._replace(entries=tuple(_one(entry) for entry in server.disk.entries))),
        len(server.queue),
    )


def _one(thing):  # type: ignore[no-untyped-def]
    """Of equal things one, which saves memory and makes comparing cheap."""
    return _KNOWN.setdefault(thing, thing)
