"""One server: the real core, its disk, and what waits for that disk.

It takes one event at a time and does at once all that the core wants done. With a slow disk, each write is an event
of its own, and a crash before it loses what was to be written.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from raftkv.errors import InvalidChangeError, NotLeaderError, OverloadedError
from raftkv.raft import invariants
from raftkv.raft.changes import Change
from raftkv.raft.configuration import Configuration, MemberRecord
from raftkv.raft.core import Raft
from raftkv.raft.log import RaftLog
from raftkv.raft.messages import InstallSnapshot, Message, TimeoutNow
from raftkv.raft.ready import Ready
from raftkv.raft.types import Entry, HardState, Options, Role, Snapshot

ID = 9_000_000  # server n is ID + n: ids are told from all other numbers by their size, so that they can be renamed

_ENOUGH = 100  # things that the core wants done after one event


class Longest:
    """In place of chance: each wait takes as long as it may, and ends by an event."""

    def uniform(self, low: float, high: float) -> float:
        return high

    def __reduce__(self) -> str:
        return "LONGEST"  # there is one


LONGEST = Longest()


class Disk(NamedTuple):
    """What a server finds again after a crash."""

    hard_state: HardState
    snapshot: Snapshot
    entries: tuple[Entry, ...] = ()

    def saved(self, hard_state: HardState | None, entries: Sequence[Entry]) -> Disk:
        kept = self.entries
        if entries:
            kept = (*[entry for entry in kept if entry.index < entries[0].index], *entries)
        return Disk(hard_state or self.hard_state, self.snapshot, kept)

    def installed(self, snapshot: Snapshot) -> Disk:
        """Entries after it are kept if they follow it (paper section 7)."""
        follow = any((entry.index, entry.term) == snapshot[:2] for entry in self.entries)
        kept = tuple(entry for entry in self.entries if follow and entry.index > snapshot.index)
        return Disk(self.hard_state, snapshot, kept)


class Server:
    def __init__(self, id: int, disk: Disk, options: Options, is_slow: bool) -> None:
        self.disk, self._is_slow, self._options = disk, is_slow, options
        self.queue: deque[Ready] = deque()
        self._start(id)

    def _start(self, id: int) -> None:
        log = RaftLog(self.disk.snapshot, self.disk.entries)
        self.raft = Raft(id, log, self.disk.hard_state, rng=LONGEST, options=self._options)  # type: ignore[arg-type]

    # -- events ----------------------------------------------------------------------------------------------

    def take(
        self, event: str, message: Message | None, about: Sequence[int], leases: bool, rules: bool
    ) -> list[Message]:
        """Returns what leaves. Raises AssertionError if an invariant of one server does not hold afterwards.

        `about`: the servers that the event names. `leases`: does a follower help nobody to depose a leader that it
        has just heard? `rules`: see Scenario.
        """
        before = invariants.observe(self.raft)
        sent: list[Message] = []
        if message is not None:
            self.raft.step(message)
        else:
            with suppress(NotLeaderError, InvalidChangeError, OverloadedError):
                sent += getattr(self, f"_do_{event}")(*about) or []
        sent += self._collect()
        if not leases and self.raft.role is Role.FOLLOWER:
            self._do_disconnect()
        invariants.check_state(self.raft)
        if event != "crash":
            invariants.check_delta(before, self.raft, changes=rules)
        return sent

    def _do_timeout(self) -> None:
        """Its longest election timeout passes; a leader has heard of nobody meanwhile."""
        self.raft.tick(self.raft.now + 2 * self._options.election_timeout_s)

    def _do_campaign(self) -> None:
        """It stands for election at once: without a pre-vote, which only keeps servers from that."""
        self.raft.step(TimeoutNow(0, self.raft.id, self.raft.term))

    def _do_heartbeat(self) -> None:
        if self.raft.role is Role.LEADER:
            self.raft.tick(self.raft.now + self._options.heartbeat_interval_s)

    def _do_disconnect(self) -> None:
        """The connection from its leader breaks."""
        if self.raft.role is Role.FOLLOWER and self.raft.leader is not None:
            self.raft.lost_contact(self.raft.leader)

    def _do_crash(self) -> None:
        """And starts again, from its disk."""
        self.queue.clear()
        self._start(self.raft.id)

    def _do_write(self) -> list[Message]:
        return self._write() if self.queue else []

    def _do_propose(self) -> None:
        self.raft.propose(["x"])

    def _do_add(self, new: int) -> None:
        self.raft.propose_configuration(Change(add=(MemberRecord(new, new),)))

    def _do_remove(self, old: int) -> None:
        self.raft.propose_configuration(Change(remove=(old,)))

    def _do_replace(self, old: int, new: int) -> None:
        self.raft.propose_configuration(Change(add=(MemberRecord(new, new),), promote=(new,), remove=(old,)))

    def _do_transfer(self, to: int) -> None:
        self.raft.transfer_leadership(to)

    def _do_snapshot(self) -> None:
        """All that it has applied is in a durable snapshot."""
        log = self.raft.log
        if log.snapshot.index < log.applied <= log.stable:
            snapshot = Snapshot(log.applied, log.term(log.applied) or 0, log.configuration_at(log.applied))
            self.disk = self.disk.installed(snapshot)
            self.raft.compact(snapshot)

    # -- what the core wants done ----------------------------------------------------------------------------

    def _collect(self) -> list[Message]:
        sent: list[Message] = []
        for _ in range(_ENOUGH):
            if self.raft.has_ready:
                sent += self._do(self.raft.ready())
            elif self.queue and not self._is_slow:
                sent += self._write()
            else:
                return sent
        raise AssertionError("the core always wants more done")

    def _do(self, ready: Ready) -> list[Message]:
        sent = [_whole(message) for message in ready.messages]
        if ready.needs_disk or (ready.promises and self.queue):
            self.queue.append(ready)
        else:
            sent += ready.promises
        if ready.committed:
            self.raft.applied_to(ready.committed[-1].index)
        return sent

    def _write(self) -> list[Message]:
        ready = self.queue.popleft()
        self.disk = self.disk.saved(ready.hard_state, ready.entries)
        chunk = ready.chunk
        if chunk is not None:
            is_newer = chunk.snapshot.index > self.disk.snapshot.index
            if is_newer:
                self.disk = self.disk.installed(chunk.snapshot)
            self.raft.chunk_stored(chunk, 0, is_newer)
        self.raft.advance(ready)
        return ready.promises


def _whole(message: Message) -> Message:
    """A snapshot goes in one chunk."""
    return message._replace(done=True) if isinstance(message, InstallSnapshot) else message


def new_server(number: int, voters: Sequence[int], options: Options, is_slow: bool) -> Server:
    """With an empty disk, but for the configuration that it was founded with."""
    snapshot = Snapshot(0, 0, Configuration(tuple(ID + voter for voter in voters)))
    return Server(ID + number, Disk(HardState(), snapshot), options, is_slow)
