"""LogWriter: what waits for the disk, who writes it, and when the promises about it leave.

Usually the thread `log-writer` takes all that waits and writes it with one fsync (group commit): what comes
meanwhile is the next batch. A lone entry on a quick disk is written by the thread that brings it, see
`_is_lone`. One thread writes at a time; who has written looks at what came meanwhile.

The order of effects
    1. term and vote, then entries, then snapshot chunks are made durable
    2. the core is told, and the promises leave: the messages that say that it is durable
    3. the log before a new snapshot is let go
A failed write or fsync ends the node: what the disk holds is not known any more (see Persister). A full disk
does not: the log-writer waits for room, and with it all promises. To the others this node is one whose disk
hangs; it answers heartbeats, and its clients' reads.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Callable

from raftkv.errors import InvariantError, NoRoomError
from raftkv.histogram import DISK_S, Histogram
from raftkv.node.crash_points import reach
from raftkv.node.interfaces import Network
from raftkv.node.threads import Lock, Threads
from raftkv.raft.core import Raft
from raftkv.raft.messages import InstallSnapshot
from raftkv.raft.ready import Ready
from raftkv.raft.types import Entry, HardState, Snapshot
from raftkv.storage.persister import Persister

log = logging.getLogger("raftkv.raft")

SLOW_FSYNC_S = 0.5  # a write that takes longer is reported
HANGS = (
    "the disk of this node has not finished a write for {:.1f} s: this node acknowledges nothing meanwhile, and "
    "does not lead if the others can do without it; check that disk, or stop this node, which loses nothing"
)
LONE_WRITE_S = 0.03  # the thread that makes one for longer is relieved of what else it does
NO_ROOM_S = 0.1  # after a write that found no room, until it is made again
QUICK_FSYNC_S = 0.001  # while writes are this quick, a lone entry is written by the thread that brings it


class LogWriter:
    """The one way from the core to the disk. Its state is guarded by `mutex`, which guards `raft`, too.

    `sort_ready()` is called with the mutex held when the core has something new to hand out, `work()` without
    it when there may be something to send or apply. `relieve(thread)` is called with the mutex held when
    `thread` (see Threads.current) hangs in a lone write.
    """

    def __init__(
        self,
        raft: Raft,
        persister: Persister,
        network: Network,
        threads: Threads,
        mutex: Lock,
        *,
        sort_ready: Callable[[], None],
        work: Callable[[], None],
        relieve: Callable[[Any], None],
    ) -> None:
        self._raft, self._persister, self._network = raft, persister, network
        self._threads, self._mutex = threads, mutex
        self._sort_ready, self._work, self._relieve = sort_ready, work, relieve
        # Something waits for the disk and nobody writes, or the node stops. Only the log-writer waits.
        self._work_waits = threads.condition(mutex)
        self._queue: list[Ready] = []
        self._compact_to: Snapshot | None = None
        self._busy = False  # some thread writes
        #: How long writes and their fsyncs took.
        self.writes = Histogram(DISK_S)
        self._last_write_s = 0.0
        self._writing_since: float | None = None
        self._lone_writer: Any = None  # the thread that makes a lone write
        self._is_late = False  # the present write was reported to hang
        self._has_waited = False  # for room, in the present write

    # -- what others call ------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """With the mutex held: is all durable that was handed in?"""
        return not (self._busy or self._queue)

    @property
    def is_at_rest(self) -> bool:
        """Does no thread write?"""
        return not self._busy

    @property
    def has_work(self) -> bool:
        """With the mutex held: does something wait for the disk?"""
        return bool(self._queue or self._compact_to)

    def add(self, ready: Ready) -> None:
        """With the mutex held: `ready` waits for the disk from now on. write_or_wake() must follow, without
        it."""
        self._queue.append(ready)

    def compact_to(self, snapshot: Snapshot) -> None:
        """With the mutex held: let go of the log up to `snapshot`, which is durable, when there is time."""
        self._compact_to = snapshot
        self._work_waits.notify()

    def write_or_wake(self, may_write: bool = True) -> None:
        """Have somebody write what waits for the disk: this thread, if it is a lone entry and it may."""
        if not self._queue:
            return
        with self._mutex:
            if self._busy or not self._queue:
                return  # who writes now looks again
            if not (may_write and self._is_lone()):
                self._work_waits.notify()
                return
            batch, _ = self._take()
            self._lone_writer = self._threads.current()
        try:
            self._write(batch, None, patient=False)
        except NoRoomError:
            with self._mutex:
                self._queue[:0] = batch
                self._busy = False
                self._writing_since = self._lone_writer = None
                self._work_waits.notify()

    @property
    def hangs_for_s(self) -> float:
        """How long the present write has taken, if that is an election timeout or more; else 0."""
        since = self._writing_since
        took = 0.0 if since is None else self._threads.clock() - since
        return took if took >= self._raft.options.election_timeout_s else 0.0

    def watch(self) -> None:
        """For the ticker: a thread that hangs in a lone write is relieved, and a disk that hangs is
        reported."""
        since = self._writing_since
        if since is None:
            return
        if self._lone_writer is not None and self._threads.clock() >= since + LONE_WRITE_S:
            with self._mutex:
                if self._writing_since == since and self._lone_writer is not None:
                    self._relieve(self._lone_writer)
                    self._lone_writer = None
        took = self.hangs_for_s
        if took and not self._is_late and not self._persister.is_short_of_room:
            self._is_late = True
            log.warning("%s", HANGS.format(took))

    def run(self) -> None:
        """The thread `log-writer`. Ends when the node stops and wake() is called; first it writes what waits, so
        that a node that was stopped in good order has on its disk what it has applied."""
        while self.write_waiting(wait=True):
            pass

    def wake(self) -> None:
        """Have run() see that the node stops."""
        with self._mutex:
            self._work_waits.notify_all()

    def write_waiting(self, wait: bool = False) -> bool:
        """Make durable all that waits for the disk, and let the promises of it leave. Returns whether anything
        did. Who may `wait` comes back without anything only when the node stops."""
        with self._mutex:
            while self._busy or not self.has_work:
                if not wait or (self._threads.stopping and not self._busy):
                    return False
                self._work_waits.wait()
            taken = self._take()
        try:
            self._write(*taken)
        except _Stopped:
            return False
        self._work()
        return True

    # -- who writes ------------------------------------------------------------------------------------------

    def _is_lone(self) -> bool:
        """With the mutex held: is it one entry that waits, and all before it is committed already?

        Then nothing else is under way that this thread should go on with meanwhile, and a switch to another
        thread, which costs as much as a quick fsync, would only delay it. Several entries mostly come from
        several clients, the next requests of which should be read while the disk works. A slow disk is left
        to the log-writer, and so is one that may have no room: this thread may be the one that reads what
        clients and peers send.
        """
        ready = self._queue[0]
        return (
            self._last_write_s < QUICK_FSYNC_S
            and len(self._queue) == 1
            and not (ready.hard_state or ready.chunk or self._compact_to)
            and len(ready.entries) == 1
            and ready.entries[0].index == self._raft.log.commit + 1
            and not self._persister.is_short_of_room
        )

    def _take(self) -> tuple[list[Ready], Snapshot | None]:
        """With the mutex held, by the thread that will write it: all that waits."""
        if self._busy:
            raise InvariantError("two threads want to write at the same time")
        batch, self._queue = self._queue, []
        compact_to, self._compact_to = self._compact_to, None
        self._busy = True
        return batch, compact_to

    # -- writing, without the mutex --------------------------------------------------------------------------

    def _write(self, batch: Sequence[Ready], compact_to: Snapshot | None, patient: bool = True) -> None:
        """Make `batch` durable, let its promises leave, and let go of the log up to `compact_to`. If there is
        no room for it, wait until there is if this thread is `patient`, or else raise NoRoomError."""
        self._save(batch, patient)
        with self._mutex:
            for ready in batch:
                self._raft.advance(ready)
                self._network.enqueue(ready.promises)
            self._end_write(compact_to is None)
        self._network.flush()
        if compact_to is not None:
            self._writing_since = self._threads.clock()
            self._persister.compact(compact_to.index)
            with self._mutex:
                self._end_write(True)

    def _end_write(self, done: bool) -> None:
        """With the mutex held: sort what the write led to. `done`: others may write now."""
        self._busy = not done
        self._writing_since = self._lone_writer = None
        self._sort_ready()
        if done and (self.has_work or self._threads.stopping):
            self._work_waits.notify()

    def _save(self, batch: Sequence[Ready], patient: bool) -> None:
        """Make a batch durable: one write and one fsync, unless it holds a snapshot chunk or replaces
        entries."""
        reach("node:before-save")
        self._is_late = self._has_waited = False
        self._writing_since = started = self._threads.clock()
        hard_state: HardState | None = None
        entries: list[Entry] = []
        for ready in batch:
            hard_state = ready.hard_state or hard_state  # the newest says it all
            if entries and ready.entries and ready.entries[0].index != entries[-1].index + 1:
                self._persist(hard_state, entries, patient)
                hard_state, entries = None, []
            entries += ready.entries
            if ready.chunk is not None:
                self._persist(hard_state, entries, patient)
                hard_state, entries = None, []
                self._store_chunk(ready.chunk)
        if hard_state or entries:
            self._persist(hard_state, entries, patient)
        self._last_write_s = took = self._threads.clock() - started
        self.writes.observe(took)
        if (took > SLOW_FSYNC_S or self._is_late) and not self._has_waited:
            log.warning("writing the log took %.1f s: the disk is slow", took)
        reach("node:saved")

    def _persist(self, hard_state: HardState | None, entries: list[Entry], patient: bool) -> None:
        while True:
            try:
                self._persister.save(hard_state, entries)
                break
            except NoRoomError:
                if not patient:
                    raise
                if not self._has_waited:
                    log.warning("the reserve of the disk is used up: nothing is written until there is room")
                self._has_waited = True
                if self._threads.sleep(NO_ROOM_S):
                    raise _Stopped from None
        if self._has_waited:
            log.info("there was room for what waited for the disk")

    def _store_chunk(self, chunk: InstallSnapshot) -> None:
        held = self._persister.receive_chunk(chunk.snapshot, chunk.offset, chunk.data, chunk.done)
        complete = chunk.done and 0 < held == chunk.offset + len(chunk.data)
        installed = complete and self._persister.install(chunk.snapshot)
        reach("node:chunk-stored")
        with self._mutex:
            self._raft.chunk_stored(chunk, held, installed)
            self._sort_ready()


class _Stopped(Exception):
    """The node stops while it waits for room; what waits was promised to nobody."""
