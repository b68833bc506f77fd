"""Persister: everything a node must find again after a crash.

    data_dir/            for its owner alone (0700)
      LOCK, node.json    whose folder this is                                 identity.py, folder.py
      hard_state.json    {"format","term","vote","crc"}                       here
      log/               the log, in append-only files                        segments.py
      snapshot/          the newest snapshot, and what is on the way to it    snapshots.py
      reserve/           room that is given back when the disk is full        reserve.py

What it promises: when a method returns, what it was given is durable, and after a crash at any instant the
next open finds everything that was. What was under way is there, or is not, or (entries) the first part of it
is.

The order in which things become durable matters:

* term and vote before entries of that term;
* a snapshot before the log that it stands for is let go. On opening, as well as while running, a log that
  does not lead up to the snapshot's last entry (another term there, or it ends before) is dropped (paper
  section 7).

A failed write or fsync ends the persister: nobody knows what the disk holds after it, and trying again can
succeed without having written anything. The process must end; the next open reads what is really there. A
full disk is no failure: NoRoomError says that nothing is promised, and the same may be asked for again later.

What it does not do: take its own decisions (which entry replaces which, when to take a snapshot), or repair
damage. Damage that no crash can have caused is refused, with the file and the way back.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from threading import Lock
from typing import Callable

from raftkv.errors import InvariantError, NoRoomError, StorageError
from raftkv.raft.types import Entry, HardState, Snapshot
from raftkv.storage import identity, segments, snapshots
from raftkv.storage.disk import Disk, DiskFullError
from raftkv.storage.folder import explain, prepare_folder
from raftkv.storage.identity import Identity, Life, check_identity, draw, lock_folder
from raftkv.storage.reserve import Reserve
from raftkv.storage.sealed import FORMAT, damaged, replace_file, seal, unseal
from raftkv.storage.segments import SegmentedLog
from raftkv.storage.snapshot_file import SnapshotReader
from raftkv.storage.snapshots import SnapshotStore

__all__ = ["CRASH_POINTS", "Persister", "SnapshotReader"]

HARD_STATE = "hard_state.json"

#: Every place between two steps on the disk.
CRASH_POINTS = (
    *identity.CRASH_POINTS,
    "hard-state-written",
    "hard-state-synced",
    "hard-state-renamed",
    *segments.CRASH_POINTS,
    *snapshots.CRASH_POINTS,
)


class Guard:
    """A context manager: an OSError of the body becomes a StorageError, after which nothing is done any more;
    a DiskFullError becomes a NoRoomError, after which all goes on.

    Any number of threads may be inside.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._failure: str | None = None

    def __enter__(self) -> None:
        if self._failure is not None:
            raise StorageError(self._failure)

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, DiskFullError):
            raise NoRoomError(explain(error, self._folder)) from error
        if isinstance(error, OSError):
            self._failure = explain(error, self._folder)
            raise StorageError(self._failure) from error


class Persister:
    """One node's disk. Opening recovers what is there; the attributes say what that was:

    `hard_state`, `snapshot` (None if there is none), `entries` (those after the snapshot; see
    forget_recovered()), `identity` (see there; opening is a start), `notices` (sentences that an operator should
    read).

    Threads: save(), compact(), receive_chunk() and install() are for one thread (the log-writer),
    write_snapshot() for one other, tend_reserve() for a third; remember() and
    open_snapshot() are for any. Who reads a snapshot does it within `guard`, too.

    Everything raises StorageError, or the kind of it that fits: LockedError, ForeignDataError,
    DamagedDataError, NoRoomError.
    """

    def __init__(
        self,
        data_dir: str,
        *,
        node_id: int,
        cluster: str,
        segment_bytes: int = 8 << 20,
        reserve_bytes: int = 0,
        disk: Disk | None = None,
        crash_point: Callable[[str], None] | None = None,
        draw: Callable[[], int] = draw,
        lock: Callable[[], AbstractContextManager[object]] = Lock,
    ) -> None:
        """`segment_bytes`: size after which a new log file is begun. `reserve_bytes`: see Reserve.
        `draw()` draws the numbers of identity.py. `crash_point` is called with its name at each of
        CRASH_POINTS. `lock()`: makes a lock for those threads that use this object."""
        self._disk: Disk = disk or Disk()
        self._folder = os.fspath(data_dir)
        self._reach = crash_point or _nothing
        self.guard = Guard(self._folder)
        self._identity_lock = lock()
        self._starved = False  # the log waits for room
        self.entries: list[Entry] = []
        with self.guard:
            self.notices = prepare_folder(self._disk, self._folder)
            self._lock = lock_folder(self._disk, self._folder)
        try:
            with self.guard:
                self._reserve = Reserve(self._disk, self._folder, reserve_bytes)
                self._identity = self._identify(cluster, node_id, draw)
                self._snapshots = SnapshotStore(
                    self._disk, self._path("snapshot"), self._reserve, self._reach, lock()
                )
                self._log = SegmentedLog(
                    self._disk,
                    self._path("log"),
                    segment_bytes,
                    self._reserve,
                    self._reach,
                    self._identity.newest_log,
                    self._note_newest_log,
                )
                self._recover()
                self._token: int | None = draw()  # of this start, while it is not durable
                self._note_start_if_there_is_room()
        except BaseException:
            self._lock.release()
            raise

    def close(self) -> None:
        """Let go of the folder. What was acknowledged is durable already."""
        self._log.close()
        self._snapshots.close()
        self._lock.release()

    # -- what is there ---------------------------------------------------------------------------------------

    @property
    def folder(self) -> str:
        return self._folder

    @property
    def identity(self) -> Identity:
        return self._identity

    @property
    def snapshot(self) -> Snapshot | None:
        """The newest one that is durable."""
        return self._snapshots.newest

    @property
    def snapshot_bytes(self) -> int:
        """The size of its file; 0 if there is none."""
        return self._snapshots.newest_bytes

    @property
    def snapshot_path(self) -> str | None:
        """Of its file; None if there is none."""
        return self._snapshots.newest_path

    @property
    def last_index(self) -> int:
        """Of the last entry that is durable, in the log or in the snapshot."""
        return max(self._log.last_index, self.snapshot.index if self.snapshot else 0)

    @property
    def log_bytes(self) -> int:
        """The size of the entries that no snapshot stands for yet, to within the size of a save()."""
        return self._log.bytes

    @property
    def is_short_of_room(self) -> bool:
        """Does the log wait for room, or has the reserve given some that it has not got back? For any
        thread."""
        return self._starved or self._reserve.is_short

    def would_give_room(self, index: int, size: int) -> bool:
        """Would a snapshot at `index` of about `size` bytes remove more from the disk than it takes, by a
        piece of the reserve at least? For any thread."""
        removed = self._log.removable_bytes(index) + self._snapshots.newest_bytes
        return removed - size >= self._reserve.piece

    def forget_recovered(self) -> None:
        """Let go of the memory of `entries`."""
        self.entries = []

    # -- term, vote and log ----------------------------------------------------------------------------------

    def save(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        """Make `hard_state` (unless None), then `entries`, durable.

        Entries are contiguous and begin right after the last one, or at an earlier index: then the first one
        replaces the entry there and all after it. One write and one fsync for all of them. After a
        NoRoomError some of it may be durable, and the same may be asked for again, or more, that begins with
        it.
        """
        try:
            self._save(hard_state, entries)
        except NoRoomError:
            self._starved = True
            raise
        self._starved = False

    def _save(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        with self.guard:
            self._note_start()
            if hard_state is not None and hard_state != self.hard_state:
                self._save_hard_state(hard_state)
            if entries:
                if entries[-1].term > self.hard_state.term:
                    raise InvariantError(f"entry {entries[-1]} is saved before its term is")
                if self.snapshot is not None:
                    self._log.follow(self.snapshot)
                    entries = _without_replaced(entries, self.snapshot)
                if entries:
                    self._log.append(entries)

    def compact(self, index: int) -> None:
        """Let go of the log up to `index`, which a durable snapshot stands for. Whole files go, one may
        stay."""
        have = self.snapshot.index if self.snapshot else 0
        if index > have:
            raise InvariantError(f"the log up to {index} is still needed, the snapshot ends with {have}")
        with self.guard:
            self._log.compact(index)

    # -- snapshots -------------------------------------------------------------------------------------------

    def write_snapshot(self, snapshot: Snapshot, lines: Iterable[bytes]) -> bool:
        """Make `snapshot` durable, the content of which is `lines`: each a JSON value and a newline.

        Meant for a thread of its own. What `lines` raises is passed on, and then nothing is left of the
        attempt. Returns False if a newer snapshot was installed meanwhile; that one stays.
        """
        with self.guard:
            return self._snapshots.write(snapshot, lines)

    def open_snapshot(self) -> SnapshotReader | None:
        """The newest snapshot, open for reading; None if there is none."""
        with self.guard:
            return self._snapshots.open()

    def receive_chunk(self, snapshot: Snapshot, offset: int, data: bytes, done: bool) -> int:
        """Take the bytes of the file of `snapshot` from `offset` on; `done` with the last ones.

        Returns how many bytes of it are held: where to go on. If that is the end of a `done` chunk, it is
        complete, checked and durable. 0: begin again (it is damaged, or not newer than the snapshot that is
        here).
        """
        with self.guard:
            return self._snapshots.receive(snapshot, offset, data, done)

    def install(self, snapshot: Snapshot) -> bool:
        """Make the completely received `snapshot` this node's own, and drop the log that it replaces: all of
        it, unless it holds the snapshot's last entry with the same term (paper section 7).

        Returns False, and changes nothing, if the snapshot that is here is not older, or if there is no room; then
        it may be asked for again.
        """
        with self.guard:
            try:
                self._note_start()
                if not self._log.leads_to(snapshot):
                    self._log.renounce()
            except DiskFullError:
                return False
            if not self._snapshots.install(snapshot):
                return False
            self._log.follow(snapshot)
            self._log.compact(snapshot.index)
            with contextlib.suppress(DiskFullError):
                self._log.replaced()
            return True

    # -- who is who ------------------------------------------------------------------------------------------

    def remember(self, uid: int, life: Life) -> None:
        """Make durable that the disk `uid` was met in this life of it."""
        with self.guard, self._identity_lock:
            self._write_identity(self._identity.having_met(uid, life))

    def _note_start(self, find_room: Callable[[Callable[[], None]], None] | None = None) -> None:
        """What this start promises is not to be taken for what an earlier one did."""
        if self._token is not None:
            with self._identity_lock:
                if self._token is not None:  # another thread may have been here
                    self._write_identity(self._identity.started(self._token), find_room)
                    self._token = None

    def _note_start_if_there_is_room(self) -> None:
        """Else it is noted later: before the first promise, or when there is room. Until then others refuse this
        server."""
        with contextlib.suppress(DiskFullError):
            self._note_start(lambda write: write())

    def _note_newest_log(self, first: int) -> None:
        with self._identity_lock:
            self._write_identity(self._identity._replace(newest_log=first))

    def _write_identity(
        self, new: Identity, find_room: Callable[[Callable[[], None]], None] | None = None
    ) -> None:
        """`find_room`: Reserve.find_room, unless it is to do without."""
        find_room = find_room or self._reserve.find_room
        find_room(lambda: new.write(self._disk, self._folder, self._reach))
        self._identity = new

    # -- room on the disk --------------------------------------------------------------------------------------

    def tend_reserve(self) -> bool:
        """Make a piece of the reserve, or end the alarm, if it is time. To be called again and again; returns
        whether there is more to do at once."""
        with self.guard:
            self._note_start_if_there_is_room()
            return self._reserve.tend(self.snapshot_bytes)

    # -- opening ---------------------------------------------------------------------------------------------

    def _identify(self, cluster: str, node_id: int, draw: Callable[[], int]) -> Identity:
        """Read node.json, or make this folder this node's."""
        disk, folder = self._disk, self._folder
        if disk.exists(self._path(identity.NODE)):
            found = Identity.read(disk, folder)
            check_identity(found, folder, cluster, node_id)
            for name in ("log", "snapshot"):
                if not disk.exists(self._path(name)):
                    raise damaged(self._path(name), "this folder is missing")
            disk.sync_folder(folder)  # a process killed in the middle of a rename may not have come to it
            return found
        for name in ("log", "snapshot"):
            disk.make_folder(self._path(name))
        new = Identity(cluster, node_id, draw())
        new.write(disk, folder, self._reach)
        self.notices.append(
            f"{folder} is new: node {node_id} of the cluster {cluster!r} begins with an empty database there. If it "
            "should have data, stop this node and correct [node] data_dir"
        )
        return new

    def _recover(self) -> None:
        self._snapshots.recover()
        self.entries = self._log.recover(self.snapshot)
        self.notices += self._log.notices
        self.hard_state = self._read_hard_state()
        snapshot = self.snapshot
        if self._identity.newest_log == segments.REPLACED and snapshot is None and not self.entries:
            raise damaged(self._path("snapshot"), "the snapshot that replaced the log is missing")
        if snapshot is not None and snapshot.term > self.hard_state.term:
            # An entry can be committed by others, applied, and stand in a snapshot before this node's own
            # log-writer has come to the term that it is of. So nothing was promised in that term yet.
            self._save_hard_state(HardState(snapshot.term, None))

    def _read_hard_state(self) -> HardState:
        path = self._path(HARD_STATE)
        if not self._disk.exists(path):
            if self._identity.newest_log or self.snapshot is not None or self.entries:
                raise damaged(path, "it is missing")
            return HardState()
        plain = unseal(self._disk.read(path), path)
        found = HardState(plain["term"], plain["vote"])
        if self.entries and self.entries[-1].term > found.term:
            raise damaged(
                path, f"its term {found.term} is older than that of the log's last entry {self.entries[-1]}"
            )
        return found

    # -- helpers ---------------------------------------------------------------------------------------------

    def _save_hard_state(self, new: HardState) -> None:
        old = self.hard_state
        if new.term < old.term:
            raise InvariantError(f"the term goes back from {old.term} to {new.term}")
        if new.term == old.term and old.vote is not None and new.vote != old.vote:
            raise InvariantError(f"a second vote in term {new.term}: for {old.vote}, now for {new.vote}")
        line = seal({"format": FORMAT, **new._asdict()})
        path = self._path(HARD_STATE)
        self._reserve.find_room(lambda: replace_file(self._disk, path, line, self._reach, "hard-state"))
        self.hard_state = new

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name)


def _without_replaced(entries: Sequence[Entry], snapshot: Snapshot) -> Sequence[Entry]:
    """Those that can follow `snapshot`: others were replaced, while they waited for the disk, by what was
    committed and is in it."""
    if entries[0].term >= snapshot.term:  # as nearly always; terms only rise
        return entries
    return [entry for entry in entries if entry.index < snapshot.index or entry.term >= snapshot.term]


def _nothing(name: str) -> None:
    """No crash point is asked for."""
