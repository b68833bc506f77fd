"""A cluster of cores in one thread, where every event is an explicit call: nothing happens by itself.

Each member has a clock, a disk that loses what was not yet written when it crashes, a state machine and
queues in front of both, as a real node has. Messages wait on the wire until somebody delivers or drops them,
in any order. After each event the paper's invariants are checked, over the whole history of the cluster.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Sequence
from typing import (
    Any,
    Callable,
    NamedTuple,
)

from raftkv.raft import invariants
from raftkv.raft.core import Raft
from raftkv.raft.log import RaftLog
from raftkv.raft.messages import AppendEntries, InstallSnapshot, Message
from raftkv.raft.ready import Ready
from raftkv.raft.types import COMMAND, Entry, HardState, Options, Role, Snapshot

from tests.raft.harness import empty_snapshot
from tests.raft.sim_disk import Machine, SimDisk
from tests.raft.trace import format_entries, format_message, format_raft, format_saved


class Applying(NamedTuple):
    """What one Ready leaves for the state machine."""

    restore: Snapshot | None
    entries: list[Entry]
    reads: list[tuple[Any, int]]
    lost_reads: list[Any]


class Member:
    """One node: `raft` is None while it is down; `disk` outlives that."""

    def __init__(self, id: int, disk: SimDisk, seed: int) -> None:
        self.id, self.disk = id, disk
        self.rng = random.Random(seed)
        self.clock = 0.0
        self.raft: Raft | None = None
        self.machine = Machine()
        self.disk_queue: deque[Ready] = deque()
        self.apply_queue: deque[Applying] = deque()
        self.readers: dict[
            int, tuple[Snapshot, bytes]
        ] = {}  # peer -> the snapshot file that is being sent to it
        self.writing: tuple[Snapshot, bytes] | None = None  # an own snapshot, not yet durable
        self.seen: Any = None
        self.was: tuple[Any, ...] = ()  # role, term, leader at the last look


class Cluster:
    """Members 1..`size`, all voters, all up. `say` gets a line for each thing that happens."""

    def __init__(
        self,
        size: int,
        *,
        seed: int = 1,
        options: Options = Options(),
        chunk_bytes: int = 64,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.voters = tuple(range(1, size + 1))
        self.options, self.chunk_bytes, self.say = options, chunk_bytes, say
        self.wire: list[Message] = []
        self.cut: set[tuple[int, int]] = set()  # (from, to)
        self.history = invariants.ClusterHistory()
        self.answers: dict[Any, int] = {}  # answered reads: context -> what was applied then
        self.lost_reads: set[Any] = set()
        self._asked: dict[Any, int] = {}  # read context -> the highest index committed anywhere when it came
        first = empty_snapshot(self.voters)
        self.members = {id: Member(id, SimDisk(first), seed * 1000 + id) for id in self.voters}
        for id in self.voters:
            self.start(id)

    # -- nodes come and go -------------------------------------------------------------------------

    def start(self, id: int) -> None:
        """Bring a member up from what its disk holds."""
        member = self.members[id]
        assert member.raft is None, f"n{id} is up"
        log, hard_state = member.disk.recover(), member.disk.hard_state
        member.raft = Raft(id, log, hard_state, rng=member.rng, now=member.clock, options=self.options)
        member.machine = Machine()
        if log.snapshot.index:
            member.machine.load(log.snapshot, member.disk.content)
        member.seen = invariants.observe(member.raft)
        member.was = (member.raft.role, member.raft.term, member.raft.leader)
        self.history.restarted(id)

    def crash(self, id: int) -> None:
        """kill -9, or the power goes: what was not written is lost."""
        member = self.members[id]
        assert member.raft is not None, f"n{id} is down"
        self.lost_reads.update(context for work in member.apply_queue for context, _ in work.reads)
        member.raft, member.writing = None, None
        member.disk_queue.clear()
        member.apply_queue.clear()
        member.readers.clear()

    def wipe(self, id: int) -> None:
        """Its disk is replaced by an empty one. It will rejoin as joining.py decides: it asks all others."""
        if self.members[id].raft is not None:
            self.crash(id)
        term = max(other.raft.term for other in self.members.values() if other.raft is not None)
        disk = SimDisk(empty_snapshot(self.voters))
        disk.hard_state = HardState(term + 1, None, term)
        self.members[id].disk = disk

    def live(self) -> Iterable[tuple[Member, Raft]]:
        return [(member, member.raft) for member in self.members.values() if member.raft is not None]

    def leader(self) -> int | None:
        """The leader of the latest term that has one."""
        leaders = [(raft.term, raft.id) for _, raft in self.live() if raft.role is Role.LEADER]
        return max(leaders)[1] if leaders else None

    def up(self, id: int) -> tuple[Member, Raft]:
        member = self.members[id]
        assert member.raft is not None, f"n{id} is down"
        return member, member.raft

    # -- input -------------------------------------------------------------------------------------

    def tick(self, id: int, seconds: float) -> None:
        member, raft = self.up(id)
        member.clock += seconds
        raft.tick(member.clock)
        self.collect(member)

    def propose(self, id: int, *commands: Any) -> tuple[int, int]:
        member, raft = self.up(id)
        proposed = raft.propose(commands)
        self.collect(member)
        return proposed

    def read(self, id: int, context: Any) -> None:
        """Ask for a read; when it is answered, all that is committed anywhere now must be applied there."""
        member, raft = self.up(id)
        raft.read_index(context)
        self._asked[context] = max(self.history.committed, default=0)
        self.collect(member)

    def lost_contact(self, id: int, peer: int) -> None:
        member, raft = self.up(id)
        raft.lost_contact(peer)
        self.collect(member)

    def deliver(self, at: int = 0, *, keep: bool = False) -> None:
        """Deliver one message of the wire; with `keep` it stays there, to arrive once more."""
        message = self.wire[at] if keep else self.wire.pop(at)
        raft = self.members[message.to].raft
        if raft is None or (message.sender, message.to) in self.cut:
            return
        if isinstance(message, AppendEntries):  # what comes over a real wire is never the sender's own object
            message = message._replace(entries=tuple(Entry(*entry) for entry in message.entries))
        raft.step(message)
        self.collect(self.members[message.to])

    # -- output ------------------------------------------------------------------------------------

    def collect(self, member: Member) -> None:
        """Sort what the core has to say: onto the wire, to the disk, to the state machine."""
        raft = member.raft
        assert raft is not None
        self._note_change(member, raft)
        while raft.has_ready:
            ready = raft.ready()
            self._send(member, ready.messages)
            if ready.needs_disk or (ready.promises and member.disk_queue):
                member.disk_queue.append(ready)
            else:
                self._send(member, ready.promises)
            if ready.restore or ready.committed or ready.reads or ready.lost_reads:
                member.apply_queue.append(
                    Applying(ready.restore, ready.committed, ready.reads, ready.lost_reads)
                )
            self._note_change(member, raft)
        self.check()

    def write(self, id: int) -> None:
        """The disk finishes the oldest of its queue; then the promises of it leave."""
        member, raft = self.up(id)
        ready = member.disk_queue.popleft()
        member.disk.save(ready.hard_state, ready.entries)
        if ready.hard_state or ready.entries:
            self.say(f"{format_raft(raft)} {format_saved(ready.hard_state, ready.entries)}")
        if ready.chunk is not None:
            self._store_chunk(member, raft, ready.chunk)
        raft.advance(ready)
        self._send(member, ready.promises)
        self.collect(member)

    def _store_chunk(self, member: Member, raft: Raft, chunk: InstallSnapshot) -> None:
        held = member.disk.receive_chunk(chunk.snapshot, chunk.offset, chunk.data, chunk.done)
        installed = chunk.done and held == chunk.offset + len(chunk.data)
        if installed:
            member.disk.install(chunk.snapshot)
        self.say(f"{format_raft(raft)} stores {held} bytes{', installed' if installed else ''}")
        raft.chunk_stored(chunk, held, installed)

    def apply(self, id: int) -> None:
        """The state machine takes the oldest of its queue."""
        member, raft = self.up(id)
        work = member.apply_queue.popleft()
        machine = member.machine
        if work.restore is not None and work.restore.index > machine.applied:
            assert member.disk.snapshot is not None
            machine.load(member.disk.snapshot, member.disk.content)
            self.say(f"{format_raft(raft)} restores {member.disk.snapshot}")
        if work.entries and work.entries[0].index > machine.applied:
            machine.apply(work.entries)
            self.say(f"{format_raft(raft)} applies {format_entries(work.entries)}")
            raft.applied_to(machine.applied)
        for context, index in work.reads:
            assert machine.applied >= index, f"read at {index}, but only {machine.applied} is applied"
            needed = self._asked[context]
            assert index >= needed, f"stale read: at {index}, but {needed} was committed when it came"
            self.answers[context] = machine.applied
            self.say(f"{format_raft(raft)} answers {context} at {index}")
        for context in work.lost_reads:
            self.lost_reads.add(context)
            self.say(f"{format_raft(raft)} gives up {context}")
        self.collect(member)

    def _send(self, member: Member, messages: Sequence[Message]) -> None:
        raft = member.raft
        assert raft is not None
        for message in messages:
            filled = self._with_chunk(member, raft, message)
            if filled is None:
                continue
            lost = (message.sender, message.to) in self.cut
            if not lost:
                self.wire.append(filled)
            self.say(format_message(filled, raft.role) + (" (lost)" if lost else ""))

    def _with_chunk(self, member: Member, raft: Raft, message: Message) -> Message | None:
        """A snapshot's bytes are read when they are sent; the file that is read outlives a newer one."""
        if not isinstance(message, InstallSnapshot):
            return message
        reader = member.readers.get(message.to)
        if reader is None or reader[0] != message.snapshot:
            assert member.disk.snapshot is not None, "a snapshot to be sent, but none on the disk"
            reader = member.readers[message.to] = (member.disk.snapshot, member.disk.content)
        if reader[0] != message.snapshot:
            raft.snapshot_unreadable(message.to, message.snapshot)
            return None
        data = reader[1][message.offset : message.offset + self.chunk_bytes]
        return message._replace(data=data, done=message.offset + len(data) >= len(reader[1]))

    # -- own snapshots -----------------------------------------------------------------------------

    def begin_snapshot(self, id: int) -> bool:
        """Start writing a snapshot of the state machine as it is now. False if there is nothing new."""
        member, raft = self.up(id)
        index = member.machine.applied
        term = raft.log.term(index)
        if member.writing is not None or index <= raft.log.snapshot.index or term is None:
            return False
        snapshot = Snapshot(index, term, raft.log.configuration_at(index))
        member.writing = (snapshot, member.machine.dump())
        return True

    def end_snapshot(self, id: int) -> None:
        """The snapshot is durable, and the log can be compacted."""
        member, raft = self.up(id)
        assert member.writing is not None
        (snapshot, content), member.writing = member.writing, None
        member.disk.write_snapshot(snapshot, content)
        raft.compact(snapshot)
        self.say(f"{format_raft(raft)} writes {snapshot}, log from {raft.log.first_index}")
        self.collect(member)

    # -- looking -----------------------------------------------------------------------------------

    def _note_change(self, member: Member, raft: Raft) -> None:
        role, term, leader = member.was
        if raft.role is not role:
            self.say(f"{format_raft(raft)}: {raft.role_reason}")
            if raft.role is Role.LEADER:
                self.history.check_leader_completeness(raft)
        if raft.leader not in (None, raft.id) and (raft.leader, raft.term) != (leader, term):
            self.say(f"{format_raft(raft)} follows n{raft.leader}")
        member.was = (raft.role, raft.term, raft.leader)

    def check(self) -> None:
        """The invariants of each node and of the cluster's whole life."""
        rafts = []
        for member, raft in self.live():
            rafts.append(raft)
            invariants.check_state(raft)
            member.seen = invariants.check_delta(member.seen, raft)
        self.history.check(rafts)

    def check_machines(self) -> None:
        """Every state machine has applied what was committed, in order, each once."""
        for member, _ in self.live():
            expected = [
                (index, Entry.decode(line).data)
                for index, (_, line) in sorted(self.history.committed.items())
                if index <= member.machine.applied and Entry.decode(line).kind == COMMAND
            ]
            assert member.machine.commands == expected, f"n{member.id} applied {member.machine.commands}"

    def make_log(self, id: int, log: RaftLog, term: int) -> None:
        """Let a member have had another past: it is brought up anew with this log and in this term."""
        self.crash(id)
        self.members[id].disk.save(HardState(term), log.entries)
        self.start(id)
