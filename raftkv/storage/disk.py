"""Disk: the few file operations that storage is built of, and nothing more.

All of raftkv's file access goes through here, so that a simulated disk with the same methods can stand in for
it and lose what was not fsynced, tear writes, flip bits, fill up and crash between any two operations.

What storage may rely on, and the simulated disk keeps to:

* a file's bytes are durable once its `sync()` returned, and not before. Of what was written and not synced, a
  power cut keeps any sectors (of SECTOR bytes): each of the others is as it was, or zeros if the file had not
  come so far, or missing with all behind it;
* a name (of a created, renamed or removed file) is durable once `sync_folder()` of its folder returned;
* `rename()` replaces the target in one step: after a crash the name means the old file or the new one, whole.

Every method raises OSError, with the path as its `filename`: DiskFullError if there is no room for what it
writes or names. What failed so may be asked for again.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from raftkv import forks
from raftkv.storage.file_lock import BINARY, FileLock

SECTOR = 512  # bytes that a disk writes whole or not at all


#: No block or inode is free; a quota is used up; the file has the largest size that is allowed.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_ZEROS = bytes(1 << 20)


class DiskFullError(OSError):
    """There is no room. Never raised by sync() and sync_folder(): after those nobody knows what the disk
    holds, whatever the reason is."""


class DiskFile(Protocol):
    """An open file. Not thread-safe."""

    def write_at(self, offset: int, data: bytes) -> None:
        """Write all of `data` from byte `offset` on, over what is there, and beyond. After an error any part
        of it may be there; after a DiskFullError the same may be written in the same place again."""

    def allocate(self, size: int) -> None:
        """Give an empty file `size` bytes on the disk, that nothing else can take."""

    def sync(self) -> None:
        """Make all that was written durable, and the file's length. After an error nobody knows what is: it
        must not be tried again."""

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset` on: fewer only at the end of the file."""

    def size(self) -> int:
        """Its length in bytes."""

    def close(self) -> None:
        """May be called more than once."""


class DiskLock(Protocol):
    """A lock that is held until release(), or the end of the process."""

    def release(self) -> None: ...


class Disk:
    """The operating system's files. Thread-safe."""

    def make_folder(self, path: str) -> None:
        """Create the folder `path`, for its owner alone, and those above it that are missing; durable on
        return."""
        parent = os.path.dirname(os.path.abspath(path))
        with _naming(path):
            if not os.path.isdir(parent):
                os.makedirs(parent)
            if not os.path.isdir(path):
                os.mkdir(path, 0o700)
        while True:  # those above, too: any of them may have been created a moment ago
            try:
                self.sync_folder(parent)
            except PermissionError:
                return  # we could not have created a folder that we may not even open
            if parent == os.path.dirname(parent):
                return
            parent = os.path.dirname(parent)

    def make_private(self, path: str) -> bool:
        """Take the rights on the folder `path` from all but its owner. Returns whether anybody had any.

        Raises PermissionError if they cannot be taken: the folder is another user's, or its file system keeps
        no rights.
        """
        if os.name != "posix" or os.stat(path).st_mode & 0o077 == 0:
            return False
        try:
            os.chmod(path, 0o700)
        except OSError as error:
            raise PermissionError(error.errno, error.strerror, path) from None
        if os.stat(path).st_mode & 0o077:
            raise PermissionError(errno.EPERM, "that file system keeps no rights", path)
        return True

    def list_folder(self, path: str) -> list[str]:
        """The names in it, sorted."""
        return sorted(os.listdir(path))

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def read(self, path: str) -> bytes:
        """The whole file."""
        with open(path, "rb") as file:
            return file.read()

    def create(self, path: str) -> DiskFile:
        """Open a new file for writing; one of that name that is there already is emptied."""
        return _File(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def update(self, path: str) -> DiskFile:
        """Open a file that is there for write_at()."""
        return _File(path, os.O_WRONLY)

    def open(self, path: str) -> DiskFile:
        """Open a file that is there for reading; it stays readable when it is removed or replaced
        meanwhile."""
        return _File(path, os.O_RDONLY)

    def rename(self, old: str, new: str) -> None:
        """Give the file `old` the name `new`, replacing what had it. Both are in the same folder."""
        with _naming(old):
            os.replace(old, new)

    def remove(self, path: str) -> None:
        try:
            os.remove(path)
        except PermissionError:
            if os.name != "nt":
                raise
            # Windows does not remove an open file. All that is removed here is out of use, and is looked for
            # again at the next start.

    def sync_folder(self, path: str) -> None:
        """Make the names in the folder `path` durable."""
        if os.name == "nt":
            return  # Windows cannot, and needs not
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a file system that knows no fsync of a folder says EINVAL
                raise OSError(error.errno, error.strerror, path) from None
        finally:
            os.close(fd)

    def free_bytes(self, path: str) -> int:
        """What the file system of `path` has left for this user, a quota aside."""
        return shutil.disk_usage(path).free

    def total_bytes(self, path: str) -> int:
        """The size of the file system of `path`."""
        return shutil.disk_usage(path).total

    def lock(self, path: str) -> DiskLock:
        """Lock the file `path`, creating it, and write the process id into it.

        Raises BlockingIOError if another process, or another part of this one, holds it.
        """
        return FileLock(path, os.O_RDWR | os.O_CREAT)

    def lock_for_reading(self, path: str) -> DiskLock:
        """Keep lock() from succeeding, without changing the file `path`, which is there.

        Raises BlockingIOError if somebody holds it.
        """
        return FileLock(path, os.O_RDONLY)


@contextmanager
def _naming(path: str) -> Iterator[None]:
    """An OSError of the body names a path, and is a DiskFullError if it is one."""
    try:
        yield
    except OSError as error:
        kind = DiskFullError if error.errno in FULL else OSError
        raise kind(error.errno, error.strerror, error.filename or path) from None


class _File:
    def __init__(self, path: str, flags: int) -> None:
        self._path = path
        with _naming(path):
            self._fd = os.open(path, flags | BINARY, 0o600)
        forks.close_in_child(self)

    def write_at(self, offset: int, data: bytes) -> None:
        try:
            written = _write_at(self._fd, data, offset)
            while written < len(data):
                written += _write_at(self._fd, memoryview(data)[written:], offset + written)
        except OSError as error:
            kind = DiskFullError if error.errno in FULL else OSError
            raise kind(error.errno, error.strerror, self._path) from None

    def allocate(self, size: int) -> None:
        if hasattr(os, "posix_fallocate"):
            try:
                with _naming(self._path):
                    os.posix_fallocate(self._fd, 0, size)
                return
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                    raise
        for offset in range(0, size, len(_ZEROS)):
            self.write_at(offset, _ZEROS[: size - offset])

    def sync(self) -> None:
        try:
            _fsync(self._fd)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._path) from None

    def read(self, offset: int, size: int) -> bytes:
        try:
            os.lseek(self._fd, offset, os.SEEK_SET)
            data = os.read(self._fd, size)
            while len(data) < size:
                more = os.read(self._fd, size - len(data))
                if not more:
                    break
                data += more
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._path) from None
        return data

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


def _seek_and_write(fd: int, data: bytes | memoryview, offset: int) -> int:
    os.lseek(fd, offset, os.SEEK_SET)
    return os.write(fd, data)


_write_at = getattr(os, "pwrite", _seek_and_write)  # Windows has no pwrite


def _fsync(fd: int) -> None:
    if hasattr(fcntl, "F_FULLFSYNC"):  # macOS: its fsync leaves the data in the drive's cache
        try:
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.ENOTTY, errno.EINVAL):
                raise
            # a file system that knows no F_FULLFSYNC, such as a network volume
    if hasattr(os, "fdatasync"):  # as fsync, but for the file's times, which nobody needs
        os.fdatasync(fd)
    else:
        os.fsync(fd)
