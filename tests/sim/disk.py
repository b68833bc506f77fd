"""SimDisk: a disk in memory that does all that a real one may do, and a bit more often.

It has the page cache and what is durable apart. Until a file's fsync returns, a power cut may keep its new
bytes up to any one of them, or any of the sectors that they went to: the others are as they were, or zeros if
the file had not come so far; until a folder's fsync returns, it may lose creations, renames and removals.
`before` is called ahead of every operation and may make it fail (OSError) or end it all (Crash).

Not thread-safe.
"""

from __future__ import annotations

import contextlib
import copy
import errno
import os
import random
from collections.abc import Iterator
from typing import Callable

from raftkv.storage.disk import FULL, SECTOR, Disk, DiskFullError

NOTHING, EVERYTHING, SOME = "nothing", "everything", "some"

PID = 4711
ENDLESS = 1 << 50  # bytes


class Crash(BaseException):
    """The process ends here. No `except Exception` of the code under test catches it."""


class _Inode:
    """A file's bytes: `data` is what is read, `durable` what survives a power cut."""

    def __init__(self) -> None:
        self.data, self.durable = bytearray(), bytearray()
        self.unsynced: list[tuple[int, int]] = []  # (first byte, end) of each write since the last fsync
        self.lying = False  # an fsync failed: see fail()

    def write(self, offset: int, new: bytes) -> None:
        self.data[offset : offset + len(new)] = new
        self.unsynced.append((offset, offset + len(new)))

    def sync(self) -> None:
        for start, end in self.unsynced:
            self.durable += bytes(max(0, start - len(self.durable)))  # of what never came to the disk
            self.durable[start:end] = self.data[start:end]
        self.unsynced = []

    def fail(self) -> None:
        """An fsync fails. As on Linux, what was written counts as clean from now on: the next fsync says yes and
        writes nothing of it, but what is written after this."""
        self.lying, self.unsynced = True, []


class _Folder:
    def __init__(self) -> None:
        self.names: dict[str, _Inode] = {}
        self.durable: dict[str, _Inode] = {}
        self.pending: list[tuple[str, str | None, _Inode | None]] = []  # (name, renamed from, inode)

    def change(self, name: str, inode: _Inode | None, renamed_from: str | None = None) -> None:
        change = (name, renamed_from, inode)
        self.pending.append(change)
        _apply(self.names, change)


def _apply(names: dict[str, _Inode], change: tuple[str, str | None, _Inode | None]) -> None:
    name, renamed_from, inode = change
    if renamed_from is not None:
        names.pop(renamed_from, None)
    if inode is None:
        names.pop(name, None)
    else:
        names[name] = inode


class SimDisk(Disk):
    """`before(operation, path)` is called ahead of each of OPERATIONS. `capacity`: bytes; None is endless.
    `reorders`: unsynced changes of names survive in any subset, not only in a prefix of their order.
    `operations` counts them; `syncs` counts the fsyncs of files and folders; `open_files`: those
    that nobody closed."""

    OPERATIONS = ("make_folder", "create", "update", "open", "read", "write", "sync", "rename", "remove",
                  "sync_folder", "lock")  # fmt: skip

    def __init__(self, rng: random.Random | None = None, *, reorders: bool = False) -> None:
        self.rng = rng or random.Random(0)
        self.reorders = reorders
        self.capacity: int | None = None
        self.before: Callable[[str, str], None] = lambda operation, path: None
        self.operations = self.syncs = 0
        self.down = False
        self.epoch = 0  # processes before this one are dead, and their files closed
        self.folders: dict[str, _Folder] = {"": _Folder()}
        self.open_files: set[SimFile] = set()
        self._locks: set[str] = set()

    # -- what happens to it ----------------------------------------------------------------------------------

    def kill(self) -> None:
        """The process ends; the machine goes on, and with it the page cache."""
        self.epoch += 1
        self.down = False
        self._locks.clear()
        self.open_files.clear()

    def power_cut(self, keep: str = SOME) -> None:
        """The machine ends. Of what was not fsynced NOTHING, EVERYTHING or SOME is kept."""
        self.kill()
        seen: set[int] = set()
        for folder in self.folders.values():
            for change in self._surviving(folder.pending, keep):
                _apply(folder.durable, change)
            folder.pending = []
            folder.names = dict(folder.durable)
            for inode in folder.names.values():
                if id(inode) not in seen:
                    seen.add(id(inode))
                    self._cut(inode, keep)

    @contextlib.contextmanager
    def failing(self, error: BaseException, *operations: str) -> Iterator[None]:
        """Meanwhile, each of these operations raises `error`."""

        def before(operation: str, path: str) -> None:
            if operation in operations:
                raise error

        usual, self.before = self.before, before
        try:
            yield
        finally:
            self.before = usual

    def copy(self) -> SimDisk:
        """Another disk with the same content."""
        before, self.before = self.before, lambda operation, path: None
        try:
            return copy.deepcopy(self)
        finally:
            self.before = before

    def flip(self, path: str, bit: int) -> None:
        """Flip one bit of the file, as a failing drive does."""
        inode = self._inode(path)
        inode.data[bit // 8] ^= 1 << bit % 8
        if bit // 8 < len(inode.durable):
            inode.durable[bit // 8] ^= 1 << bit % 8

    def overwrite(self, path: str, data: bytes) -> None:
        """Somebody, or the drive, put other bytes into the file."""
        inode = self._inode(path)
        inode.data[:], inode.durable[:], inode.unsynced = data, data, []

    def lose(self, path: str) -> None:
        """Somebody removes the file."""
        folder, name = os.path.split(path)
        del self.folders[folder].names[name], self.folders[folder].durable[name]

    def files(self) -> list[str]:
        """The paths of all files."""
        return sorted(os.path.join(folder, name) for folder, f in self.folders.items() for name in f.names)

    def size_of(self, path: str) -> int:
        """Bytes."""
        return len(self._inode(path).data)

    def written(self, path: str) -> int:
        """Bytes without the zeros at the file's end."""
        return len(self._inode(path).data.rstrip(b"\0"))

    def used(self) -> int:
        """Bytes."""
        return sum(len(inode.data) for folder in self.folders.values() for inode in folder.names.values())

    def _surviving(self, pending: list, keep: str) -> list:
        if keep != SOME:
            return pending if keep == EVERYTHING else []
        if self.reorders:
            return [change for change in pending if self.rng.random() < 0.5]
        return pending[: self.rng.randint(0, len(pending))]

    def _cut(self, inode: _Inode, keep: str) -> None:
        if keep == NOTHING:
            inode.data[:] = inode.durable
        elif keep == SOME and inode.unsynced:
            self._keep_some(inode)
        elif inode.lying:
            inode.sync()
            inode.data[:] = inode.durable
        inode.durable[:], inode.unsynced, inode.lying = inode.data, [], False

    def _keep_some(self, inode: _Inode) -> None:
        rng, data, before = self.rng, inode.data, len(inode.durable)
        kept = inode.durable + bytes(len(data) - before)
        if rng.random() < 0.5:  # up to any byte
            left = rng.randint(0, sum(end - start for start, end in inode.unsynced))
            for start, end in inode.unsynced:
                end = min(end, start + left)
                left -= end - start
                kept[start:end] = data[start:end]
        else:  # any sectors
            spans = [range(start // SECTOR, (end - 1) // SECTOR + 1) for start, end in inode.unsynced]
            for sector in sorted(set().union(*spans)):
                if rng.random() < 0.5:
                    part = slice(sector * SECTOR, (sector + 1) * SECTOR)
                    kept[part] = data[part]
        size = rng.choice([len(data), rng.randint(before, len(data))])  # and as much of its growth
        data[:] = kept[:size]

    # -- the operations: see Disk ----------------------------------------------------------------------------

    def make_folder(self, path: str) -> None:
        self._begin("make_folder", path)
        self.folders.setdefault(path, _Folder())

    def make_private(self, path: str) -> bool:
        return False

    def list_folder(self, path: str) -> list[str]:
        if path not in self.folders:
            raise FileNotFoundError(errno.ENOENT, "No such folder", path)
        below = [folder[len(path) + 1 :] for folder in self.folders if folder.startswith(path + os.sep)]
        return sorted([*self.folders[path].names, *(name for name in below if os.sep not in name)])

    def exists(self, path: str) -> bool:
        folder, name = os.path.split(path)
        return path in self.folders or (folder in self.folders and name in self.folders[folder].names)

    def read(self, path: str) -> bytes:
        self._begin("read", path)
        return bytes(self._inode(path).data)

    def create(self, path: str) -> SimFile:
        self._begin("create", path)
        folder, name = os.path.split(path)
        self.folders[folder].change(name, _Inode())
        return SimFile(self, path, self._inode(path))

    def update(self, path: str) -> SimFile:
        self._begin("update", path)
        return SimFile(self, path, self._inode(path))

    def open(self, path: str) -> SimFile:
        self._begin("open", path)
        return SimFile(self, path, self._inode(path))

    def rename(self, old: str, new: str) -> None:
        self._begin("rename", old)
        (folder, old_name), (new_folder, new_name) = os.path.split(old), os.path.split(new)
        assert folder == new_folder, f"{old} and {new} are not in one folder"
        self.folders[folder].change(new_name, self._inode(old), old_name)

    def remove(self, path: str) -> None:
        self._begin("remove", path)
        self._inode(path)
        folder, name = os.path.split(path)
        self.folders[folder].change(name, None)

    def sync_folder(self, path: str) -> None:
        self._begin("sync_folder", path)
        self.syncs += 1
        folder = self.folders[path]
        folder.durable, folder.pending = dict(folder.names), []

    def free_bytes(self, path: str) -> int:
        return ENDLESS if self.capacity is None else max(0, self.capacity - self.used())

    def total_bytes(self, path: str) -> int:
        return ENDLESS

    def lock(self, path: str) -> SimLock:
        self._begin("lock", path)
        if path in self._locks:
            raise BlockingIOError(errno.EAGAIN, "locked", path)
        folder, name = os.path.split(path)
        if name not in self.folders[folder].names:
            self.folders[folder].change(name, _Inode())
        self._inode(path).write(0, b"%d\n" % PID)
        self._locks.add(path)
        return SimLock(self, path)

    # -- helpers ---------------------------------------------------------------------------------------------

    def _begin(self, operation: str, path: str, epoch: int | None = None) -> None:
        if self.down or (epoch is not None and epoch != self.epoch):
            raise Crash  # a dead process does nothing any more
        self.operations += 1
        try:
            self.before(operation, path)
        except Crash:
            self.down = True
            raise
        except OSError as error:
            if error.errno in FULL and operation not in ("sync", "sync_folder"):
                raise DiskFullError(error.errno, error.strerror, path) from None
            raise

    def _inode(self, path: str) -> _Inode:
        folder, name = os.path.split(path)
        if folder not in self.folders or name not in self.folders[folder].names:
            raise FileNotFoundError(errno.ENOENT, "No such file", path)
        return self.folders[folder].names[name]


class SimFile:
    """An open file of a SimDisk."""

    def __init__(self, disk: SimDisk, path: str, inode: _Inode) -> None:
        self._disk, self._path, self._inode, self._epoch = disk, path, inode, disk.epoch
        disk.open_files.add(self)

    def write_at(self, offset: int, data: bytes) -> None:
        disk, inode = self._disk, self._inode
        assert offset <= len(inode.data), f"byte {offset} of a file of {len(inode.data)}"
        alive = not disk.down
        try:
            disk._begin("write", self._path, self._epoch)
        except Crash:
            if alive and self._epoch == disk.epoch:  # cut short at any byte
                inode.write(offset, data[: disk.rng.randint(0, len(data))])
            raise
        missing = 0
        if disk.capacity is not None:
            growth = max(0, offset + len(data) - len(inode.data))
            missing = min(growth, max(0, disk.used() + growth - disk.capacity))
        inode.write(offset, data[: len(data) - missing])
        if missing:
            raise DiskFullError(errno.ENOSPC, "No space left on device", self._path)

    def allocate(self, size: int) -> None:
        self.write_at(0, bytes(size))

    def sync(self) -> None:
        try:
            self._disk._begin("sync", self._path, self._epoch)
        except OSError:
            self._inode.fail()
            raise
        self._disk.syncs += 1
        self._inode.sync()

    def read(self, offset: int, size: int) -> bytes:
        self._disk._begin("read", self._path, self._epoch)
        return bytes(self._inode.data[offset : offset + size])

    def size(self) -> int:
        return len(self._inode.data)

    def close(self) -> None:
        self._disk.open_files.discard(self)


class SimLock:
    def __init__(self, disk: SimDisk, path: str) -> None:
        self._disk, self._path, self._epoch = disk, path, disk.epoch

    def release(self) -> None:
        if self._epoch == self._disk.epoch and not self._disk.down:
            self._disk._locks.discard(self._path)
