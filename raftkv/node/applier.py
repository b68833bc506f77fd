"""Applier: takes what is committed to the state machine, in order, and has its clients answered.

There is no thread for it: whoever has seen something committed applies it, if it gets `machine_lock`. That is
only ever tried for; a thread that does not get it leaves its work in the queue to the one that has it, which
looks again after it let go. So entries are applied in order, and nobody waits.

The thread that has seen it is mostly the one that reads what clients and peers send, heartbeats among it. So
more than MANY_BYTES at once is handed, with the lock, to a thread of its own, as after a restart. Bytes are what
is counted because an entry can hold one operation or ten thousand, and none is shorter than a dozen bytes. (The
state machine says which entries are short and take long all the same.)
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Callable, NamedTuple

from raftkv.node.crash_points import reach
from raftkv.node.interfaces import RoleChange, StateMachine
from raftkv.node.threads import Lock, Threads
from raftkv.raft.types import Entry, Snapshot

log = logging.getLogger("raftkv.raft")

SLOW_APPLY_S = 0.5
MANY_BYTES = 1 << 17  # of encoded entries; of the shortest operations it is some 10 ms of work
SLICE_BYTES = 1 << 16  # of encoded entries are applied in one go
WORK_S = 0.01  # of slices on the thread of its own, and then a pause:
PAUSE_S = 0.001  # enough for the thread that reads to read, step and answer without waiting for the GIL at each call
LONGEST_PAUSE_S = 0.05  # of a node that does not lead


class Work(NamedTuple):
    """What one Ready leaves for the state machine."""

    restore: Snapshot | None
    entries: list[Entry]
    contexts: list[Any]  # aligned to the entries, see StateMachine.apply()
    reads: list[Any]
    lost_proposals: list[Any]
    lost_reads: list[Any]
    role_change: RoleChange | None
    bytes: int = 0  # of the encoded entries


class Applier:
    """The one way from the core to the state machine.

    `machine_lock` is held by whoever uses the state machine, and guards all here but the queue, which any
    thread may add to. `applied`: the last entry that is applied; may be read at any time. Without the node's
    mutex, `load()` begins the state machine anew from the newest durable snapshot and returns its index,
    `on_applied(index)` is told how far it has come, `leads()` says whether this node does, and `work()` is
    called when machine_lock was let go by a thread of this object's own.
    """

    def __init__(
        self,
        machine: StateMachine,
        threads: Threads,
        machine_lock: Lock,
        applied: int,
        *,
        load: Callable[[], int],
        on_applied: Callable[[int], None],
        leads: Callable[[], bool],
        work: Callable[[], None],
    ) -> None:
        self._machine, self._threads = machine, threads
        self._load, self._on_applied, self._leads, self._work = load, on_applied, leads, work
        self._queue: deque[Work] = deque()
        self._given_up = (
            False  # the node stopped in the middle of some work: what follows it must not be done
        )
        self._machine_lock = machine_lock
        self.applied = applied

    def add(self, work: Work) -> None:
        """Called in the order of the log. run() must follow, without the node's mutex."""
        self._queue.append(work)

    def load_snapshot(self) -> None:
        """Begin from the newest durable snapshot. With machine_lock held, or before there is another
        thread."""
        self.applied = self._load()

    def run(self) -> None:
        """Apply what waits, unless another thread uses the state machine: then that one does."""
        while self._queue and not self._given_up and self._machine_lock.acquire(blocking=False):
            if not self._apply_queued():
                return  # another thread has the lock now, and goes on here when it is done
            self._machine_lock.release()

    def _apply_queued(self) -> bool:
        """With machine_lock held: do all that is queued. False if the lock was handed to another thread."""
        room = MANY_BYTES
        while self._queue and not self._given_up:
            work = self._queue.popleft()
            if work.restore is not None:
                self._threads.start("snapshot", self._restore_and_go_on, work)
                return False
            room -= work.bytes
            if room < 0 or (work.entries and self._machine.takes_long(work.entries)):
                self._threads.start("apply", self._apply_and_go_on, work)
                return False
            self._apply(work)
        return True

    def _restore_and_go_on(self, work: Work) -> None:
        """`work` after a received snapshot; see _apply_and_go_on()."""
        self.load_snapshot()
        self._apply_and_go_on(work)

    def _apply_and_go_on(self, work: Work) -> None:
        """The body of a thread that got machine_lock from the one that started it. (That one reads, perhaps:
        a leader that hears nobody while it applies a whole log would think that it is alone.)"""
        self._given_up = not self._apply(work, self._pause)
        self._machine_lock.release()
        self._work()

    def _pause(self, took_s: float) -> bool:
        """Let other threads run after work that took so long. True if the node stops.

        Clients wait for the leader's answers only. So the others leave half of the time to what needs a quick
        answer, and to the leader, if that is on the same machine.
        """
        return self._threads.sleep(PAUSE_S if self._leads() else min(max(PAUSE_S, took_s), LONGEST_PAUSE_S))

    def _apply(self, work: Work, pause: Callable[[float], bool] | None = None) -> bool:
        """Do `work`, with pauses between slices of its entries. False if the node was stopped in one."""
        machine, clock = self._machine, self._threads.clock
        if work.role_change is not None:
            machine.role_changed(work.role_change)
        # Entries that were applied already: a newer snapshot was loaded meanwhile.
        if work.entries and work.entries[0].index > self.applied:
            reach("node:before-apply")
            started = resumed = clock()
            for start, end in _slices(work):
                machine.apply(work.entries[start:end], work.contexts[start:end])
                self.applied = work.entries[end - 1].index
                self._on_applied(self.applied)
                if pause is not None and clock() - resumed >= WORK_S:
                    if pause(clock() - resumed):
                        return False
                    resumed = clock()
            took = clock() - started
            if took > SLOW_APPLY_S:
                log.info("applying %d entries took %.1f s", len(work.entries), took)
        if work.reads:
            machine.read(work.reads)
        if work.lost_proposals or work.lost_reads:
            machine.refuse(work.lost_proposals, work.lost_reads)
        return True


def _slices(work: Work) -> Iterable[tuple[int, int]]:
    """Where its entries are to be cut, as (start, end): no slice is longer than SLICE_BYTES but by one entry."""
    if work.bytes <= SLICE_BYTES:  # as nearly always
        return ((0, len(work.entries)),)
    return _cut(work.entries)


def _cut(entries: Sequence[Entry]) -> Iterator[tuple[int, int]]:
    start = size = 0
    for end, entry in enumerate(entries, 1):
        size += len(entry.line)
        if size >= SLICE_BYTES:
            yield start, end
            start, size = end, 0
    if start < len(entries):
        yield start, len(entries)
