"""Snapshotter: when a snapshot of the state machine is due, and how it is written while all goes on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Callable

from raftkv.errors import InvariantError, NoRoomError
from raftkv.node.crash_points import reach
from raftkv.node.interfaces import SnapshotView, StateMachine
from raftkv.node.threads import Lock, Threads
from raftkv.raft.core import Raft
from raftkv.raft.types import Snapshot
from raftkv.storage.persister import Persister

log = logging.getLogger("raftkv.raft")

SNAPSHOT_CHUNK_KEYS = 500  # read from the state machine at a time: about a millisecond
RETRY_S = 5.0  # after a snapshot for which there was no room,
SMALLER = 8  # or as soon as the state is less by this part: the log takes of the same reserve meanwhile
LONGEST_PAUSE_S = 0.2  # of the snapshot thread after each of these
COMPACT_ENTRIES = 10_000  # let go of at a time, with the mutex held: about a millisecond


class Snapshotter:
    """Writes snapshots of `machine` and loads them into it. Its state is guarded by `mutex`, which guards
    `raft`, too.

    `max_raft_state`: bytes of log after which a snapshot is taken; -1 for never. `growth`: but not before
    they are so many times the newest snapshot's (thesis 5.1.2), lest a large state be written again and
    again. `machine_lock` is held by whoever uses the state machine. `compact_to(snapshot)` is called with the
    mutex held when the log up to there may go, `work()` without it when others could not use the state
    machine for a moment.
    """

    def __init__(
        self,
        raft: Raft,
        persister: Persister,
        machine: StateMachine,
        threads: Threads,
        mutex: Lock,
        machine_lock: Lock,
        *,
        max_raft_state: int,
        growth: float,
        compact_to: Callable[[Snapshot], None],
        work: Callable[[], None],
    ) -> None:
        self._raft, self._persister, self._machine = raft, persister, machine
        self._threads, self._mutex, self._machine_lock = threads, mutex, machine_lock
        self._max_raft_state, self._growth = max_raft_state, growth
        self._compact_to, self._work = compact_to, work
        self._running = False
        self._not_before = threads.clock()
        self._begun_bytes = 0  # of the state that the newest snapshot was begun with,
        self._no_room_for = 0  # and of one that found no room
        self._machine_at = 0  # what the state machine has applied; guarded by machine_lock
        self._kept_bytes = 0  # of the log: entries that an own snapshot has, kept for a follower

    def load(self) -> int:
        """Begin the state machine anew from the newest durable snapshot. Returns its index. With machine_lock
        held, or before there is another thread."""
        started = self._threads.clock()
        reader = self._persister.open_snapshot()
        if reader is None:
            raise InvariantError("the snapshot that the log begins after is gone")
        try:
            with self._persister.guard:
                self._machine.restore(reader.records())
            with self._mutex:
                self._kept_bytes = 0
        finally:
            reader.close()
        self._machine_at = index = reader.snapshot.index
        log.info("loaded the snapshot at %d in %.1f s", index, self._threads.clock() - started)
        return index

    def applied(self, index: int) -> None:
        """With machine_lock held: the state machine has come to `index`. Tell the core, and begin a snapshot
        if the log has grown past its bound."""
        self._machine_at = index
        with self._mutex:
            self._raft.applied_to(index)
            grown = self._raft.log.bytes - self._kept_bytes
            is_due = 0 <= self._max_raft_state < grown >= self._growth * self._persister.snapshot_bytes
            snapshot = self._next(index) if is_due else None
        if snapshot is not None:
            self._begin(snapshot)

    def make_room(self) -> None:
        """The disk is short of room: begin a snapshot if that gives some. Not with the mutex held, nor
        machine_lock."""
        if self._max_raft_state < 0 or not self._machine_lock.acquire(blocking=False):
            return
        try:
            index, size = self._machine_at, self._machine.snapshot_bytes()
            with self._mutex:
                if size <= self._no_room_for - self._no_room_for // SMALLER:
                    self._not_before = self._threads.clock()
                gives_room = self._persister.would_give_room(index, size)
                snapshot = self._next(index) if gives_room else None
            if snapshot is not None:
                self._begin(snapshot)
        finally:
            self._machine_lock.release()
        self._work()  # what others could not apply meanwhile

    def _next(self, applied: int) -> Snapshot | None:
        """With the mutex held: the snapshot to take now, if one can be taken. Then _begin() must follow."""
        log_ = self._raft.log
        if self._running or self._threads.clock() < self._not_before:
            return None
        if applied <= log_.snapshot.index:  # less: one was received meanwhile
            return None
        term = log_.term(applied)
        if term is None:
            raise InvariantError("the term of the last entry in the snapshot is not known")
        self._running = True
        return Snapshot(applied, term, log_.configuration_at(applied))

    def _begin(self, snapshot: Snapshot) -> None:
        """With machine_lock held."""
        self._begun_bytes = self._machine.snapshot_bytes()
        self._threads.start("snapshot", self._write, snapshot, self._machine.begin_snapshot())

    def _write(self, snapshot: Snapshot, view: SnapshotView) -> None:
        """Write the state machine's state at `snapshot` while it goes on, then let go of the log up to
        there."""
        started = self._threads.clock()
        try:
            self._persister.write_snapshot(snapshot, self._lines(view))
        except _Stopped:
            return
        except NoRoomError:
            log.warning("there is no room for a snapshot at %d: tried again in some seconds", snapshot.index)
            with self._mutex:
                self._running, self._not_before = False, self._threads.clock() + RETRY_S
                self._no_room_for = self._begun_bytes
            return
        finally:
            with self._machine_lock:
                view.close()
            self._work()
        reach("node:snapshot-written")
        log.info("wrote the snapshot at %d in %.1f s", snapshot.index, self._threads.clock() - started)
        self._compact(snapshot)

    def _compact(self, snapshot: Snapshot) -> None:
        """Let go of the log up to `snapshot`, in steps: others need the mutex meanwhile."""
        log_, more = self._raft.log, True
        while more:
            with self._mutex:
                # False at first: a newer one was received meanwhile.
                more = log_.snapshot.index < snapshot.index and self._raft.compact(snapshot, COMPACT_ENTRIES)
        with self._mutex:
            self._running = False
            # Nothing is kept for it if a newer one was received meanwhile.
            kept_to = max(snapshot.index, log_.snapshot.index)
            self._kept_bytes = log_.bytes_of(log_.first_index, kept_to)
            self._compact_to(snapshot)

    def _lines(self, view: SnapshotView) -> Iterator[bytes]:
        """The lines of the file. After each piece, other threads get as much time as it took (unless the node
        was stopped meanwhile: then the log has waited long enough to be let go)."""
        while not self._threads.stopping:
            started = self._threads.clock()
            with self._machine_lock:
                records = view.next_chunk(SNAPSHOT_CHUNK_KEYS)
            self._work()  # what others could not apply meanwhile
            if not records:
                return
            for record in records:
                yield self._machine.encode_record(record)
            self._threads.sleep(min(self._threads.clock() - started, LONGEST_PAUSE_S))
        raise _Stopped


class _Stopped(Exception):
    """The node stops; the snapshot under way is given up."""
