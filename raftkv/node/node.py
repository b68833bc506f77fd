"""RaftNode: a monitor round the core, with the threads, the disk and the network that drive it.

One mutex guards the core and the queues below. Whoever has input for the core (a client's batch, messages of
other nodes, a tick, a finished write) takes the mutex, calls the core, sorts what came out (`_sort_ready`)
into queues, releases the mutex, and only then works on the queues (`_work`). Nothing is written, fsynced,
sent or unpickled with the mutex held. With RAFTKV_CHECK=1, raft/invariants.py is run at every release of it.

Threads
    ticker        tells the core the time, every fifth of a heartbeat interval.
    log-writer    takes all that waits for the disk, writes it with one fsync (group commit), tells the core,
                  and only then lets the promises leave: the messages that say that it is durable. A lone
                  entry does not wait for it, see `_is_lone`: the thread that brought it writes it.
    snapshot      at times: writes the state machine's snapshot, or begins anew from a received one.
    apply         at times: applies very many entries at once, as after a restart.
    (callers)     the threads of the rpc layer: they call propose(), read_index() and step(), send what may
                  leave, and apply and answer what they saw committed. No thread is woken for a request.

Condition variables
    _disk_work    (on the mutex) something waits for the disk and nobody writes, or the node stops.
                  Waits: log-writer. Notified by: _write_or_wake(), whoever has written, compaction after a
                  snapshot, stop().
    _stopping     (an Event) ends the ticker and the throttling of snapshots.

Who applies: whoever holds `_apply_lock`. It is only ever tried for; a thread that does not get it leaves its
work in the queue to the one that has it, which looks again after it let go. So entries are applied in order,
and nobody waits.

The order of effects
    1. messages that promise nothing leave at once (a leader sends entries while it writes its own disk,
       thesis 10.2.1)
    2. term and vote, then entries, then snapshot chunks are made durable
    3. the promises of these leave: votes, acknowledgements
    4. committed entries are applied, in order; then their clients are answered
A failed write or fsync ends the node: what the disk holds is not known any more (see Persister).
A thread that dies takes the node down through `on_fatal`.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Callable, NamedTuple

from raftkv.node.checked_lock import CheckedLock
from raftkv.node.crash_points import reach
from raftkv.node.interfaces import Network, RoleChange, SnapshotView, StateMachine
from raftkv.node.proposals import Proposals
from raftkv.raft.core import Raft
from raftkv.raft.messages import InstallSnapshot, Message
from raftkv.raft.ready import Ready
from raftkv.raft.types import Entry, Role, Snapshot
from raftkv.storage.persister import Persister

log = logging.getLogger("raftkv.raft")

SLOW_FSYNC_S = 0.5  # a write that takes longer is reported
SLOW_APPLY_S = 0.5
QUICK_FSYNC_S = 0.001  # while writes are this quick, a lone entry is written by the thread that brings it
MANY_ENTRIES = 5000  # so many at once are applied on a thread of their own: some ten milliseconds of work
SNAPSHOT_CHUNK_KEYS = 500  # read from the state machine at a time: about a millisecond
LONGEST_PAUSE_S = 0.2  # of the snapshot thread after each of these


class _Work(NamedTuple):
    """What one Ready leaves for the state machine."""

    restore: Snapshot | None
    entries: list[Entry]
    contexts: list[Any]
    reads: list[Any]
    lost_proposals: list[Any]
    lost_reads: list[Any]
    role_change: RoleChange | None


class RaftNode:
    """One node. All public methods are thread-safe.

    `max_raft_state`: bytes of log after which a snapshot is taken; -1 for never. `snapshot_growth`: but not
    before they are so many times the newest snapshot's (thesis 5.1.2), lest a large state be written again
    and again.
    `on_fatal(exception)` is called at most once, by the thread that cannot go on.

    A simulator has no threads: it gives a `clock` (seconds) and a `spawn(name, target, *args)` of its own,
    which keeps the targets of "log-writer" and "ticker" to itself and calls tick() and, while
    `has_disk_work`, write_log() instead, whenever it likes; and a `pause(seconds)` that stands for waiting.
    """

    def __init__(
        self,
        raft: Raft,
        persister: Persister,
        network: Network,
        machine: StateMachine,
        *,
        max_raft_state: int,
        snapshot_growth: float = 0.0,
        on_fatal: Callable[[BaseException], None],
        clock: Callable[[], float] = time.monotonic,
        spawn: Callable[..., None] | None = None,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self._raft, self._persister, self._network, self._machine = raft, persister, network, machine
        self._max_raft_state, self._snapshot_growth = max_raft_state, snapshot_growth
        self._on_fatal = on_fatal
        self._clock = clock
        self._spawn = spawn or self._spawn_thread
        self._quick_fsync_s = QUICK_FSYNC_S if spawn is None else 0.0  # a simulator does all writing itself
        self._mutex = CheckedLock(raft) if os.environ.get("RAFTKV_CHECK") == "1" else threading.Lock()
        self._disk_work = threading.Condition(self._mutex)  # type: ignore[arg-type]
        self._stopping = threading.Event()
        self._pause = pause or self._stopping.wait
        self._failed = threading.Lock()  # acquired by the first thread that cannot go on
        self._threads: list[threading.Thread] = []
        # guarded by the mutex
        self._disk_queue: list[Ready] = []
        self._disk_busy = False  # some thread writes
        self._last_write_s = 0.0
        self._compact_to: Snapshot | None = None
        self._kept_bytes = 0  # of the log: entries that an own snapshot has, kept for a follower
        self._proposals = Proposals()
        self._last_role = RoleChange(raft.role, raft.term, raft.leader, "")
        # guarded by _apply_lock, except that the queue is filled under the mutex
        self._apply_queue: deque[_Work] = deque()
        self._apply_lock = threading.Lock()
        self._applied = raft.log.applied
        self._snapshot_running = False

    # -- life ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Load the state machine from the snapshot, then begin to take part."""
        if self._raft.log.snapshot.index:
            self._load_snapshot()
        self._spawn("log-writer", self._run_log_writer)
        self._spawn("ticker", self._run_ticker)

    def stop(self) -> None:
        """Stop taking part. What is acknowledged is durable already; nothing else is waited for."""
        self._stopping.set()
        with self._mutex:
            self._disk_work.notify_all()
        while True:  # one of them may be about to spawn another
            others = [thread for thread in self._alive() if thread is not threading.current_thread()]
            if not others:
                return
            for thread in others:
                thread.join()

    def _alive(self) -> list[threading.Thread]:
        return [thread for thread in self._threads if thread.is_alive()]

    def _spawn_thread(self, name: str, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=self._run, args=(target, *args), name=name, daemon=True)
        thread.start()
        self._threads = [*self._alive(), thread]

    def _run(self, target: Callable[..., None], *args: Any) -> None:
        try:
            target(*args)
        except BaseException as error:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """The node cannot go on."""
        # Not under the mutex: with RAFTKV_CHECK=1 that raises again what has perhaps just been raised.
        if self._failed.acquire(blocking=False):
            self._on_fatal(error)

    # -- input -----------------------------------------------------------------------------------------------

    def propose(self, commands: Sequence[Any], contexts: Sequence[Any]) -> None:
        """Propose `commands` (plain JSON data); each one's context goes to the state machine with its entry.

        Raises NotLeaderError or OverloadedError; then none of them was proposed.
        """
        with self._mutex:
            self._proposals.add(*self._raft.propose(commands), contexts)
            self._sort_ready()
        self._work()

    def read_index(self, contexts: Sequence[Any]) -> None:
        """Have the state machine read for `contexts` as soon as this is linearizable. Raises
        NotLeaderError."""
        with self._mutex:
            self._raft.read_index(contexts)
            self._sort_ready()
        self._work()

    def step(self, messages: Sequence[Message]) -> None:
        """Take in messages of other nodes, in the order of their arrival."""
        with self._mutex:
            for message in messages:
                self._raft.step(message)
            self._sort_ready()
        self._work()

    def lost_contact(self, peer: int) -> None:
        """The connection from `peer` broke."""
        with self._mutex:
            self._raft.lost_contact(peer)
            self._sort_ready()
        self._work()

    def snapshot_unreadable(self, peer: int, snapshot: Snapshot) -> None:
        """The snapshot that `peer` is being sent was replaced before its file could be opened."""
        with self._mutex:
            self._raft.snapshot_unreadable(peer, snapshot)
            self._sort_ready()
        self._work()

    def get_state(self) -> tuple[int, bool]:
        """(current term, whether this node believes it is the leader)."""
        with self._mutex:
            return self._raft.get_state()

    def status(self) -> dict[str, Any]:
        """What this node knows of itself, as plain data."""
        with self._mutex:
            raft, log_ = self._raft, self._raft.log
            return {
                "id": raft.id,
                "role": raft.role.value,
                "term": raft.term,
                "leader": raft.leader,
                "commit_index": log_.commit,
                "applied_index": self._applied,
                "log_first_index": log_.first_index,
                "log_last_index": log_.last_index,
                "log_bytes": log_.bytes,
                "snapshot_index": raft.latest_snapshot.index if raft.latest_snapshot else 0,
            }

    def tick(self) -> None:
        """Tell the core what time it is."""
        with self._mutex:
            self._raft.tick(self._clock())
            self._sort_ready()
        self._work()

    def _run_ticker(self) -> None:
        interval_s = self._raft.options.heartbeat_interval_s / 5
        while not self._stopping.wait(interval_s):
            self.tick()

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
        if ready.needs_disk or (ready.promises and (self._disk_busy or self._disk_queue)):
            self._disk_queue.append(ready)
        elif ready.promises:
            self._network.enqueue(ready.promises)
        contexts = self._proposals.committed(ready.committed) if ready.committed else []
        role_change, lost = self._note_role_change() if role_has_changed else (None, [])
        if ready.committed or ready.reads or ready.lost_reads or ready.restore or role_change:
            reads = [context for contexts_, _ in ready.reads for context in contexts_]
            lost_reads = [context for contexts_ in ready.lost_reads for context in contexts_]
            work = _Work(ready.restore, ready.committed, contexts, reads, lost, lost_reads, role_change)
            self._apply_queue.append(work)

    def _role_has_changed(self) -> bool:
        raft, last = self._raft, self._last_role
        return not (raft.role is last.role and raft.term == last.term and raft.leader == last.leader)

    def _note_role_change(self) -> tuple[RoleChange, list[Any]]:
        """The new role, and who waits for what was proposed in the old one and is in doubt now."""
        raft, last = self._raft, self._last_role
        self._last_role = RoleChange(raft.role, raft.term, raft.leader, raft.role_reason)
        led = last.role is Role.LEADER
        return self._last_role, self._proposals.lost() if led else []

    # -- output: working, without the mutex ------------------------------------------------------------------

    def _work(self) -> None:
        """Send what may leave, have what must be durable written, apply what is committed."""
        reach("node:before-send")
        self._network.flush()
        if self._disk_queue:
            self._write_or_wake()
        while self._apply_queue and self._apply_lock.acquire(blocking=False):
            if not self._apply_queued():
                return  # another thread has the lock now, and goes on here when it is done
            self._apply_lock.release()

    def _apply_queued(self) -> bool:
        """With _apply_lock held: do all that is queued. False if the lock was handed to another thread."""
        while self._apply_queue:
            work = self._apply_queue.popleft()
            if work.restore is not None:
                self._spawn("snapshot", self._restore, work)
                return False
            if len(work.entries) > MANY_ENTRIES:
                self._spawn("apply", self._apply_and_go_on, work)
                return False
            self._apply(work)
        return True

    def _apply(self, work: _Work) -> None:
        machine = self._machine
        if work.role_change is not None:
            machine.role_changed(work.role_change)
        # Entries that were applied already: a newer snapshot was loaded meanwhile.
        if work.entries and work.entries[0].index > self._applied:
            reach("node:before-apply")
            started = self._clock()
            machine.apply(work.entries, work.contexts)
            took = self._clock() - started
            if took > SLOW_APPLY_S:
                log.warning("applying %d entries took %.1f s", len(work.entries), took)
            self._applied = work.entries[-1].index
            self._after_apply()
        if work.reads:
            machine.read(work.reads)
        if work.lost_proposals or work.lost_reads:
            machine.refuse(work.lost_proposals, work.lost_reads)

    def _apply_and_go_on(self, work: _Work) -> None:
        """The body of a thread that got _apply_lock from the one that spawned it. (That one reads, perhaps:
        a leader that hears nobody while it applies a whole log would think that it is alone.)"""
        self._apply(work)
        self._apply_lock.release()
        self._work()

    def _after_apply(self) -> None:
        """Tell the core, and begin a snapshot when the log has grown past its bound."""
        with self._mutex:
            log_ = self._raft.log
            self._raft.applied_to(self._applied)
            grown = log_.bytes - self._kept_bytes
            if not 0 <= self._max_raft_state < grown or self._snapshot_running:
                return
            if grown < self._snapshot_growth * self._persister.snapshot_bytes:
                return
            if self._applied <= log_.snapshot.index:  # less: one was received meanwhile
                return
            term = log_.term(self._applied)
            assert term is not None
            snapshot = Snapshot(self._applied, term, log_.configuration_at(self._applied))
            self._snapshot_running = True
        self._spawn("snapshot", self._write_snapshot, snapshot, self._machine.begin_snapshot())

    # -- the log-writer --------------------------------------------------------------------------------------

    def _run_log_writer(self) -> None:
        while True:
            with self._mutex:
                while not self._stopping.is_set() and (self._disk_busy or not self.has_disk_work):
                    self._disk_work.wait()
                if self._stopping.is_set():
                    return
                batch, compact_to = self._take_disk_work()
            self._write(batch, compact_to)
            self._work()

    def write_log(self) -> None:
        """Make durable what waits for the disk, and let the promises of it leave. For a simulator, instead of
        the log-writer."""
        with self._mutex:
            batch, compact_to = self._take_disk_work()
        self._write(batch, compact_to)
        self._work()

    def _write_or_wake(self) -> None:
        """Have somebody write what waits for the disk: this thread, if it is a lone entry."""
        with self._mutex:
            if self._disk_busy or not self._disk_queue:
                return  # who writes now looks again
            if not self._is_lone():
                self._disk_work.notify()
                return
            batch, _ = self._take_disk_work()
        self._write(batch, None)

    def _is_lone(self) -> bool:
        """With the mutex held: is it one entry that waits, and all before it is committed already?

        Then nothing else is under way that this thread should go on with meanwhile, and a switch to another
        thread, which costs as much as a quick fsync, would only delay it. Several entries mostly come from
        several clients, the next requests of which should be read while the disk works. A slow disk is left
        to the log-writer: this thread may be the one that reads what clients and peers send.
        """
        ready = self._disk_queue[0]
        return (
            self._last_write_s < self._quick_fsync_s
            and len(self._disk_queue) == 1
            and not (ready.hard_state or ready.chunk or self._compact_to)
            and len(ready.entries) == 1
            and ready.entries[0].index == self._raft.log.commit + 1
        )

    @property
    def has_disk_work(self) -> bool:
        """Does something wait for the disk? With the mutex held, or by the only thread there is."""
        return bool(self._disk_queue or self._compact_to)

    def _take_disk_work(self) -> tuple[list[Ready], Snapshot | None]:
        """With the mutex held, by the thread that will write it: all that waits."""
        assert not self._disk_busy, "two threads want to write at the same time"
        batch, self._disk_queue = self._disk_queue, []
        compact_to, self._compact_to = self._compact_to, None
        self._disk_busy = True
        return batch, compact_to

    def _write(self, batch: Sequence[Ready], compact_to: Snapshot | None) -> None:
        """Make `batch` durable, let its promises leave, and let go of the log up to `compact_to`."""
        self._save(batch)
        with self._mutex:
            for ready in batch:
                self._raft.advance(ready)
                self._network.enqueue(ready.promises)
            self._end_write(compact_to is None)
        self._network.flush()
        if compact_to is not None:
            self._persister.compact(compact_to.index)
            with self._mutex:
                self._end_write(True)

    def _end_write(self, done: bool) -> None:
        """With the mutex held: sort what the write led to. `done`: others may write now."""
        self._disk_busy = not done
        self._sort_ready()
        if done and self.has_disk_work:
            self._disk_work.notify()

    def _save(self, batch: Sequence[Ready]) -> None:
        """Make a batch durable: one write and one fsync, unless it holds a snapshot chunk or replaces
        entries."""
        reach("node:before-save")
        started = self._clock()
        hard_state, entries = None, []  # type: ignore[var-annotated]
        for ready in batch:
            hard_state = ready.hard_state or hard_state  # the newest says it all
            if entries and ready.entries and ready.entries[0].index != entries[-1].index + 1:
                self._persister.save(hard_state, entries)
                hard_state, entries = None, []
            entries += ready.entries
            if ready.chunk is not None:
                self._persister.save(hard_state, entries)
                hard_state, entries = None, []
                self._store_chunk(ready.chunk)
        if hard_state or entries:
            self._persister.save(hard_state, entries)
        self._last_write_s = took = self._clock() - started
        if took > SLOW_FSYNC_S:
            log.warning("writing the log took %.1f s: the disk is slow", took)
        reach("node:saved")

    def _store_chunk(self, chunk: InstallSnapshot) -> None:
        held = self._persister.receive_chunk(chunk.snapshot, chunk.offset, chunk.data, chunk.done)
        complete = chunk.done and 0 < held == chunk.offset + len(chunk.data)
        installed = complete and self._persister.install(chunk.snapshot)
        reach("node:chunk-stored")
        with self._mutex:
            self._raft.chunk_stored(chunk, held, installed)
            self._sort_ready()

    # -- snapshots -------------------------------------------------------------------------------------------

    def _write_snapshot(self, snapshot: Snapshot, view: SnapshotView) -> None:
        """Write the state machine's state at `snapshot` while it goes on, then let go of the log up to
        there."""
        started = self._clock()
        try:
            self._persister.write_snapshot(snapshot, self._snapshot_lines(view))
        except _Stopped:
            return
        finally:
            with self._apply_lock:
                view.close()
            self._work()
        reach("node:snapshot-written")
        log.info("wrote the snapshot at %d in %.1f s", snapshot.index, self._clock() - started)
        with self._mutex:
            self._snapshot_running = False
            if snapshot.index > self._raft.log.snapshot.index:
                self._raft.compact(snapshot)
                log_ = self._raft.log
                kept = log_.slice(log_.first_index, snapshot.index)
                self._kept_bytes = sum([len(entry.line) for entry in kept])
                self._compact_to = snapshot
                self._disk_work.notify()

    def _snapshot_lines(self, view: SnapshotView) -> Iterable[bytes]:
        """The lines of the file. After each, other threads get as much time as it took (unless the process
        was stopped meanwhile: then the log has waited long enough to be let go)."""
        while not self._stopping.is_set():
            started = self._clock()
            with self._apply_lock:
                records = view.next_chunk(SNAPSHOT_CHUNK_KEYS)
            self._work()  # what others could not apply meanwhile
            if not records:
                return
            for record in records:
                yield self._machine.encode_record(record)
            self._pause(min(self._clock() - started, LONGEST_PAUSE_S))
        raise _Stopped

    def _restore(self, work: _Work) -> None:
        """`work` after a received snapshot; see _apply_and_go_on()."""
        self._load_snapshot()
        self._apply_and_go_on(work)

    def _load_snapshot(self) -> None:
        """Begin the state machine anew from the newest durable snapshot."""
        started = self._clock()
        reader = self._persister.open_snapshot()
        assert reader is not None, "the snapshot that the log begins after is gone"
        try:
            with self._persister.guard:
                self._machine.restore(reader.records())
            with self._mutex:
                self._applied, self._kept_bytes = reader.snapshot.index, 0
        finally:
            reader.close()
        log.info("loaded the snapshot at %d in %.1f s", self._applied, self._clock() - started)


class _Stopped(Exception):
    """The node stops; the snapshot under way is given up."""
