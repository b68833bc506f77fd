"""RaftNode: a monitor round the core, with the threads, the disk and the network that drive it.

One mutex guards the core and what waits for the disk. Whoever has input for the core (a client's batch,
messages of other nodes, a tick, a finished write) takes the mutex, calls the core, sorts what came out
(`_sort_ready`) into queues, releases the mutex, and only then works on the queues (`_work`). Nothing is
written, fsynced, sent or unpickled with the mutex held. With RAFTKV_CHECK=1, raft/invariants.py is run at
every release of it.

Threads
    ticker        tells the core the time, every fifth of a heartbeat interval.
    log-writer    see log_writer.py
    room          keeps a reserve on the disk; see room.py.
    snapshot      at times: writes a snapshot, or begins anew from a received one; see snapshotter.py.
    apply         at times: applies very many entries at once, as after a restart; see applier.py.
    (callers)     the threads of the rpc layer: they call propose(), read_index() and step(), send what may
                  leave, write a lone entry, and apply and answer what they saw committed. No thread is woken
                  for a request.

The order of effects
    1. messages that promise nothing leave at once (a leader sends entries while it writes its own disk,
       thesis 10.2.1)
    2. what must be durable is written, then the promises of it leave (log_writer.py)
    3. committed entries are applied, in order; then their clients are answered (applier.py)
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Any, Callable, TypeVar

from raftkv.errors import InvalidChangeError, NotLeaderError, OverloadedError, ProtocolError
from raftkv.histogram import LOCK_S, Histogram
from raftkv.node.applier import Applier, Work
from raftkv.node.checked_lock import CheckedLock
from raftkv.node.crash_points import reach
from raftkv.node.handover import Handover
from raftkv.node.interfaces import Network, Refusal, RoleChange, StateMachine
from raftkv.node.log_writer import HANGS, LogWriter
from raftkv.node.proposals import Proposals
from raftkv.node.room import RoomWatch
from raftkv.node.snapshotter import Snapshotter
from raftkv.node.threads import Threads
from raftkv.node.view import View, role_of, view_of
from raftkv.raft.changes import Change
from raftkv.raft.configuration import Configuration
from raftkv.raft.core import Raft
from raftkv.raft.messages import Message
from raftkv.raft.types import Role, Snapshot
from raftkv.storage.persister import Persister

_T = TypeVar("_T")

HANDOVER_POLL_S = 0.002
STOP_S = 0.5  # at most, for the threads to end


class RaftNode:
    """One node. All public methods are thread-safe. `id` is its label. `on_tick()` is called after each tick, without
    the mutex. `max_raft_state`, `snapshot_growth`: see Snapshotter,
    `relieve`: see LogWriter."""

    def __init__(
        self,
        raft: Raft,
        persister: Persister,
        network: Network,
        machine: StateMachine,
        threads: Threads,
        *,
        id: int,
        on_tick: Callable[[], None] = lambda: None,
        max_raft_state: int,
        snapshot_growth: float = 0.0,
        relieve: Callable[[Any], None] = lambda thread: None,
    ) -> None:
        self._raft, self._network, self._threads = raft, network, threads
        self._id, self._after_tick = id, on_tick
        mutex, machine_lock = threads.lock(), threads.lock()
        self._mutex = mutex = CheckedLock(raft, mutex) if os.environ.get("RAFTKV_CHECK") == "1" else mutex
        self._mutex_waits = Histogram(LOCK_S)  # of the ticker, which stand for those of all
        # guarded by the mutex
        self._proposals = Proposals()
        self._handover: Handover | None = None
        self._last_role = RoleChange(raft.role, raft.term, None, "")
        self._last_leader = raft.leader
        self.log_writer = LogWriter(
            raft,
            persister,
            network,
            threads,
            mutex,
            sort_ready=self._sort_ready,
            work=self._work,
            relieve=relieve,
        )
        # with locks of their own
        self._snapshotter = Snapshotter(
            raft,
            persister,
            machine,
            threads,
            mutex,
            machine_lock,
            max_raft_state=max_raft_state,
            growth=snapshot_growth,
            compact_to=self.log_writer.compact_to,
            work=self._work,
        )
        self._room = RoomWatch(raft, persister, self._snapshotter, threads)
        self._applier = Applier(
            machine,
            threads,
            machine_lock,
            raft.log.applied,
            load=self._snapshotter.load,
            on_applied=self._snapshotter.applied,
            leads=lambda: raft.role is Role.LEADER,
            work=self._work,
        )

    # -- life ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Load the state machine from the snapshot, then begin to take part."""
        if self._raft.log.snapshot.index:
            self._applier.load_snapshot()
        self._room.prepare()
        self._threads.start("log-writer", self.log_writer.run)
        self._threads.repeat("ticker", self._tick_s, self._on_tick)
        self._threads.repeat("room", 0.0, self._room.tend)

    def stop(self) -> bool:
        """Stop taking part. What is acknowledged is durable already; nothing else is waited for. Returns
        whether all threads have ended: one that the disk holds up is left after STOP_S."""
        self._threads.stop()
        self.log_writer.wake()
        return self._threads.join(STOP_S) and self.log_writer.is_at_rest

    # -- input -----------------------------------------------------------------------------------------------

    def propose(self, commands: Sequence[Any], contexts: Sequence[Any], term: int = 0) -> None:
        """Propose `commands` (plain JSON data); each one's context goes to the state machine with its entry. Not in another
        term than `term`, if that is not 0.

        Raises NotLeaderError or OverloadedError; then none of them was proposed.
        """
        with self._mutex:
            if term and term != self._raft.term:
                raise NotLeaderError(self._raft.leader_id)
            if self._handover is not None and self._handover.holds_writes:
                if term:  # whoever leads then looks after it
                    raise OverloadedError("the leadership is being handed over")
                self._handover.writes.append((commands, contexts))
                return
            self._proposals.add(*self._raft.propose(commands), contexts)
            self._sort_ready()
        self._work()

    def read_index(self, contexts: Sequence[Any]) -> None:
        """Have the state machine read for `contexts` as soon as this is linearizable. Raises
        NotLeaderError."""
        with self._mutex:
            if self._handover is not None and self._handover.holds_reads:
                self._handover.reads.append(contexts)
                return
            self._raft.read_index(contexts)
            self._sort_ready()
        self._work(may_write=False)

    def read_now(self, contexts: Sequence[Any]) -> None:
        """Have the state machine read for `contexts` as it is now on this node, whoever leads."""
        self._applier.add(Work(None, [], [], list(contexts), [], [], None))
        self._work()

    def step(self, messages: Sequence[Message]) -> list[Refusal]:
        """Take in messages of other nodes, in the order of their arrival. Returns those that no correct node
        can have sent, mostly none."""
        refused = []
        with self._mutex:
            for message in messages:
                try:
                    self._raft.step(message)
                except ProtocolError as error:
                    refused.append(Refusal(message.sender, str(error)))
            self._sort_ready()
        self._work()
        return refused

    def lost_contact(self, peer: int) -> None:
        """The connection from `peer` broke."""
        with self._mutex:
            self._raft.lost_contact(peer)
            self._sort_ready()
        self._work(may_write=False)

    def snapshot_unreadable(self, peer: int, snapshot: Snapshot) -> None:
        """The snapshot that `peer` is being sent was replaced before its file could be opened."""
        with self._mutex:
            self._raft.snapshot_unreadable(peer, snapshot)
            self._sort_ready()
        self._work(may_write=False)

    def found(self, configuration: Configuration) -> None:
        """See Raft.found()."""
        self._tell(lambda: self._raft.found(configuration))

    def change(self, wanted: Change) -> None:
        """See Raft.propose_configuration()."""
        self._tell(lambda: self._raft.propose_configuration(wanted))

    def transfer(self, to: int | None = None) -> int:
        """See Raft.transfer_leadership(). What clients ask meanwhile is held."""

        def begin() -> int:
            target = self._raft.transfer_leadership(to)
            until = self._raft.now + self._raft.options.election_timeout_s
            self._handover = self._handover or Handover(self._raft, self._proposals, until)
            return target

        return self._tell(begin)

    def hand_over(self) -> None:
        """This node is to be stopped: have another one lead, and its clients know which, if that can be done
        within an election timeout."""
        with contextlib.suppress(NotLeaderError, InvalidChangeError):
            self.transfer()
        while self._handover is not None and not self._threads.sleep(HANDOVER_POLL_S):
            pass

    @property
    def configuration(self) -> Configuration:
        """The newest one, at this moment; another one is another object."""
        return self._raft.configuration

    @property
    def id(self) -> int:
        """Its label."""
        return self._id

    @property
    def is_handing_over(self) -> bool:
        """Is a transfer of the leadership under way, that this leader has begun?"""
        return self._handover is not None

    def note_removal(self) -> None:
        """See Raft.note_removal()."""
        self._tell(self._raft.note_removal)

    def gathered(self) -> None:
        """See Raft.gathered()."""
        self._tell(self._raft.gathered)

    def _tell(self, what: Callable[[], _T]) -> _T:
        with self._mutex:
            result = what()
            self._sort_ready()
        self._work(may_write=False)
        return result

    def view(self) -> View:
        with self._mutex:
            return view_of(self._raft)

    def get_state(self) -> tuple[int, bool]:
        """(current term, whether this node believes it is the leader)."""
        with self._mutex:
            return self._raft.get_state()

    @property
    def no_room(self) -> str:
        """Why this leader takes no writes that make the data larger; "" if it does, or does not lead."""
        return self._room.no_room

    def status(self) -> dict[str, Any]:
        """What this node knows of itself, as plain data."""
        with self._mutex:
            raft, log_, leads = self._raft, self._raft.log, self._raft.leadership
            return {
                "id": self._id,
                "role": role_of(raft),
                "term": raft.term,
                "leader": raft.leader_id,
                "quorum_silent_ms": None if leads is None else round(leads.quorum_silent_s * 1000),
                "commit_index": log_.commit,
                "applied_index": self._applier.applied,
                "log_first_index": log_.first_index,
                "log_last_index": log_.last_index,
                "log_bytes": log_.bytes,
                "snapshot_index": raft.latest_snapshot.index if raft.latest_snapshot else 0,
                "unwritten_bytes": log_.bytes_of(max(log_.stable + 1, log_.first_index), log_.last_index),
                "alarms": self._room.alarms,
                "mutex_waits": self._mutex_waits.plain(),
                "writes": self.log_writer.writes.plain(),
            }

    def problems(self) -> list[str]:
        """What is wrong with this node now: sentences for its operator."""
        hangs_for_s = self.log_writer.hangs_for_s
        hangs = [HANGS.format(hangs_for_s)] if hangs_for_s and not self._room.is_short else []
        return [*hangs, *self._room.problems]

    def tick(self) -> None:
        """Tell the core what time it is."""
        asked_at = self._threads.clock()
        with self._mutex:
            now = self._threads.clock()
            self._mutex_waits.observe(now - asked_at)
            self._raft.tick(now)
            self._look_at_handover()
            self._raft.log.free_dropped()
            self._room.look()
            self._sort_ready()
        self._work(may_write=False)  # whoever tells the time must not hang with the disk
        self.log_writer.watch()
        self._after_tick()

    @property
    def _tick_s(self) -> float:
        return self._raft.options.heartbeat_interval_s / 5

    def _on_tick(self) -> float:
        self.tick()
        return self._tick_s

    # -- output: sorting, with the mutex held ----------------------------------------------------------------

    def _sort_ready(self) -> None:
        """Put everything that the core wants done into the queue it belongs to."""
        raft = self._raft
        role_has_changed = self._role_has_changed()
        if not raft.has_ready and not role_has_changed:
            return
        ready = raft.ready()
        if ready.messages:
            self._network.enqueue(ready.messages)
        if ready.needs_disk or (ready.promises and not self.log_writer.is_idle):
            self.log_writer.add(ready)
        elif ready.promises:
            self._network.enqueue(ready.promises)
        contexts = self._proposals.committed(ready.committed) if ready.committed else []
        role_change, lost = self._note_role_change() if role_has_changed else (None, [])
        if ready.committed or ready.reads or ready.lost_reads or ready.restore or role_change:
            reads = [context for contexts_, _ in ready.reads for context in contexts_]
            lost_reads = [context for contexts_ in ready.lost_reads for context in contexts_]
            if self._handover is not None and self._handover.holds_reads:
                self._handover.reads.append(lost_reads)
                lost_reads = []
            committed = ready.committed
            size = raft.log.bytes_of(committed[0].index, committed[-1].index) if committed else 0
            self._applier.add(
                Work(ready.restore, committed, contexts, reads, lost, lost_reads, role_change, size)
            )
        self._look_at_handover()

    def _look_at_handover(self) -> None:
        """What was held goes on: is refused with the name of the next leader, or, if that came to nothing, proposed."""
        handover, raft = self._handover, self._raft
        if handover is None or not (handover.is_over or handover.next_is_known):
            return
        writes = handover.writes
        lost, lost_reads = handover.take()
        if handover.is_over:
            self._handover = None
            if raft.leadership is None:
                lost = self._proposals.lost() + lost
        if raft.leadership is not None:
            with contextlib.suppress(NotLeaderError, OverloadedError):
                for commands, contexts in writes:
                    self._proposals.add(*raft.propose(commands), contexts)
                    del lost[: len(contexts)]
        self._applier.add(Work(None, [], [], [], lost, lost_reads, None))
        self._sort_ready()

    def _role_has_changed(self) -> bool:
        raft, last = self._raft, self._last_role
        return not (raft.role is last.role and raft.term == last.term and raft.leader == self._last_leader)

    def _note_role_change(self) -> tuple[RoleChange, list[Any]]:
        """The new role, and who waits for what was proposed in the old one and is in doubt now."""
        raft, last = self._raft, self._last_role
        self._last_role = RoleChange(raft.role, raft.term, raft.leader_id, raft.role_reason)
        self._last_leader = raft.leader
        led = last.role is Role.LEADER and self._handover is None
        return self._last_role, self._proposals.lost() if led or raft.role is Role.LEADER else []

    # -- output: working, without the mutex ------------------------------------------------------------------

    def _work(self, may_write: bool = True) -> None:
        """Send what may leave, have what must be durable written, apply what is committed.

        `may_write`: this thread may be held up by the disk. Only those may that have nothing to do after it:
        another thread reads connections meanwhile, see LogWriter.watch().
        """
        reach("node:before-send")
        self._network.flush()
        self.log_writer.write_or_wake(may_write)
        self._applier.run()
