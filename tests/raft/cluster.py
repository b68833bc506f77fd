"""A cluster of cores in one thread, where every event is an explicit call: nothing happens by itself.

Each member has a clock and a Persister on a simulated disk; what waits for that disk is lost in a crash. Messages
wait on the wire until somebody delivers or drops them. After each event the paper's invariants are checked, over
the whole history of the cluster.
"""

from __future__ import annotations

import itertools
import json
import random
from collections import deque
from typing import Any, Callable, NamedTuple

from raftkv.node.hello import VERSION, Hello, check_hello
from raftkv.node.lives import check_life, life_of
from raftkv.node.snapshot_source import SnapshotSource
from raftkv.raft import invariants
from raftkv.raft.core import Raft
from raftkv.raft.log import RaftLog
from raftkv.raft.messages import AppendEntries, InstallSnapshot, Message
from raftkv.raft.ready import Ready
from raftkv.raft.types import COMMAND, Entry, HardState, Options, Role, Snapshot

from tests.raft.harness import empty_snapshot
from tests.raft.trace import format_entries, format_message, format_raft, format_saved
from tests.sim.disk import NOTHING, SimDisk
from tests.storage.model import open_persister


class Down(NamedTuple):
    """A server that is down. `id` is what it is called on the wire."""

    id: int
    disk: SimDisk
    clock: float


class Member:
    """One node, which is up. `commands` is its state machine."""

    def __init__(self, cluster: Cluster, id: int, disk: SimDisk, clock: float) -> None:
        self.id, self.disk, self.clock, self.cluster = id, disk, clock, cluster
        self.persister = open_persister(disk, node_id=id, segment_bytes=1 << 20, draw=cluster.tokens.__next__)
        first = self.persister.snapshot or empty_snapshot(cluster.voters if id in cluster.voters else ())
        self.raft = Raft(id, RaftLog(first, self.persister.entries), self.persister.hard_state,
                         rng=random.Random(id), now=clock, options=cluster.options)  # fmt: skip
        self.commands: list[Any] = self._stored_commands()
        self.disk_queue: deque[Ready] = deque()
        self.slow = self.damages_next = False  # its disk; the next snapshot that it receives whole
        self._sources: dict[int, SnapshotSource] = {}
        self._seen = invariants.observe(self.raft)
        self._was = (self.raft.role, self.raft.term, self.raft.leader)
        cluster.history.restarted(id)

    def _stored_commands(self) -> list[Any]:
        reader = self.persister.open_snapshot()
        if reader is None:
            return []
        with reader:
            return list(reader.records())

    def say(self, line: str) -> None:
        self.cluster.say(f"{format_raft(self.raft)}{line}")

    def tick(self, seconds: float) -> None:
        self.clock += seconds
        self.raft.tick(self.clock)
        self.collect()

    def collect(self) -> None:
        """Do what the core wants done; what is for a slow disk waits for write()."""
        raft = self.raft
        self._note_change()
        while raft.has_ready:
            ready = raft.ready()
            self._send(ready.messages)
            if ready.needs_disk or (ready.promises and self.disk_queue):
                self.disk_queue.append(ready)
            else:
                self._send(ready.promises)
            self._apply(ready)
            self._note_change()
        invariants.check_state(raft)
        self._seen = invariants.check_delta(self._seen, raft)
        self.cluster.history.check([raft])
        while self.disk_queue and not self.slow:
            self.write()

    def write(self) -> None:
        """The disk finishes the oldest of its queue; then the promises of it leave."""
        ready = self.disk_queue.popleft()
        self.persister.save(ready.hard_state, ready.entries)
        if ready.hard_state or ready.entries:
            self.say(f" {format_saved(ready.hard_state, ready.entries)}")
        if ready.chunk is not None:
            self._store(ready.chunk)
        self.raft.advance(ready)
        self._send(ready.promises)
        self.collect()

    def _store(self, chunk: InstallSnapshot) -> None:
        data = chunk.data
        if chunk.done and self.damages_next:
            self.damages_next, data = False, b"?" + data[1:]
        held = self.persister.receive_chunk(chunk.snapshot, chunk.offset, data, chunk.done)
        installed = chunk.done and held == chunk.offset + len(data) and self.persister.install(chunk.snapshot)
        self.say(f" stores {held} bytes{', installed' if installed else ''}")
        self.raft.chunk_stored(chunk, held, installed)

    def _apply(self, ready: Ready) -> None:
        if ready.restore is not None:
            self.commands = self._stored_commands()
            self.say(f" restores {ready.restore}")
        if ready.committed:
            self.commands += [entry.data for entry in ready.committed if entry.kind == COMMAND]
            self.say(f" applies {format_entries(ready.committed)}")
            self.raft.applied_to(ready.committed[-1].index)
        for context, index in ready.reads:
            self.say(f" answers {context} at {index}")
        for context in ready.lost_reads:
            self.say(f" gives up {context}")

    def _send(self, messages: list[Message]) -> None:
        for message in messages:
            if isinstance(message, InstallSnapshot):
                message = self._with_chunk(message)
            lost = (message.sender, message.to) in self.cluster.cut
            if not lost:
                self.cluster.wire.append(message)
            self.cluster.say(format_message(message, self.raft.role) + (" (lost)" if lost else ""))

    def _with_chunk(self, message: InstallSnapshot) -> InstallSnapshot:
        source = self._sources.setdefault(message.to, SnapshotSource(self.persister, CHUNK_BYTES))
        data, done = source.read(message.snapshot, message.offset) or (b"", False)
        return message._replace(data=data, done=done)

    @property
    def hello(self) -> Hello:
        starts, tokens = self.persister.identity.starts, self.persister.identity.tokens
        return Hello(VERSION, "raftkv", 1, self.id, self.id, "", f"n{self.id}:1", "", starts, tokens, "", ())

    def meet(self, other: Member) -> None:
        """The other one has said hello. Raises ProtocolError if it is not to be talked to."""
        log, hello = self.raft.log, other.hello
        check_hello(hello, self.hello, log.configuration_at(log.commit))
        check_life(hello, self.persister.identity.met.get(hello.uid))
        self.persister.remember(hello.uid, life_of(hello))

    def snapshot(self) -> None:
        """A snapshot of the state machine becomes durable, and the log is compacted."""
        log = self.raft.log
        snapshot = Snapshot(log.applied, log.term(log.applied) or 0, log.configuration_at(log.applied))
        lines = [json.dumps(command).encode() + b"\n" for command in self.commands]
        assert self.persister.write_snapshot(snapshot, lines), f"n{self.id} has nothing new to write"
        self.raft.compact(snapshot)
        self.say(f" writes {snapshot}, log from {log.first_index}")
        self.collect()

    def _note_change(self) -> None:
        raft, (role, term, leader) = self.raft, self._was
        if raft.role is not role:
            self.say(f": {raft.role_reason}")
            if raft.role is Role.LEADER:
                self.cluster.history.check_leader_completeness(raft)
        if raft.leader not in (None, raft.id) and (raft.leader, raft.term) != (leader, term):
            self.say(f" follows n{raft.leader}")
        self._was = (raft.role, raft.term, raft.leader)


CHUNK_BYTES = 64


class Cluster:
    """Members 1..`size`, all voters, all up; others may join(). `say` gets a line for each thing that happens."""

    def __init__(self, size: int, options: Options, say: Callable[[str], None]) -> None:
        self.voters = tuple(range(1, size + 1))
        self.options, self.say = options, say
        self.wire: list[Message] = []
        self.cut: set[tuple[int, int]] = set()  # (from, to)
        self.history = invariants.ClusterHistory()
        self.tokens = itertools.count(1)  # of starts
        self.members: dict[int, Member] = {}  # those that are up
        self._down: dict[int, Down] = {}
        for id in self.voters:
            self.replace_disk(id, HardState(), [])
            self.start(id)

    @property
    def ids(self) -> list[int]:
        """Of all that ever were, up or down."""
        return sorted({*self.members, *self._down})

    def join(self, id: int) -> None:
        """A new server with an empty disk, which knows of no other."""
        self.replace_disk(id, HardState(), [])
        self.start(id)

    def start(self, id: int) -> None:
        """Bring a member up from what its disk holds."""
        self.members[id] = Member(self, *self._down.pop(id))

    def crash(self, id: int) -> None:
        """The power goes: what was not written is lost."""
        member = self.members.pop(id)
        member.disk.power_cut(NOTHING)
        self._down[id] = Down(member.id, member.disk, member.clock)

    def copy(self, id: int, other: int) -> None:
        """`other` is a server on a copy of this one's disk as it is now. It is down."""
        member = self.members[id]
        disk = member.disk.copy()
        disk.power_cut(NOTHING)
        self._down[other] = Down(member.id, disk, member.clock)

    def restore(self, id: int, copy: int) -> None:
        """A member that is down gets the disk of the one that is called `copy`, which is there no more."""
        self._down[id] = self._down.pop(copy)

    def replace_disk(self, id: int, hard_state: HardState, entries: list[Entry]) -> None:
        """A member, which is down then, gets another disk that holds this."""
        clock = self.members.pop(id).clock if id in self.members else 0.0
        disk = SimDisk()
        persister = open_persister(disk, node_id=id)
        persister.save(hard_state, entries)
        persister.close()
        self._down[id] = Down(id, disk, clock)

    def deliver(self, at: int) -> None:
        """Deliver one message of the wire."""
        message = self.wire.pop(at)
        member = self.members.get(message.to)
        if member is None or (message.sender, message.to) in self.cut:
            return
        if isinstance(message, AppendEntries):  # what comes over a real wire is never the sender's own object
            message = message._replace(entries=tuple(Entry(*entry) for entry in message.entries))
        member.raft.step(message)
        member.collect()
