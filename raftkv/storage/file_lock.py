"""FileLock: a lock that ends with the process that holds it, whatever becomes of that."""

from __future__ import annotations

import os

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
    import msvcrt

from raftkv import forks

BINARY = getattr(os, "O_BINARY", 0)  # Windows translates line ends without it
_LOCKED_BYTE = 1 << 30  # on Windows a locked byte cannot be read, so not one of those that hold the pid


class FileLock:
    """A lock on the file `path`, opened with `flags`: shared if only to read, else it writes the process id there.
    Raises BlockingIOError if somebody holds it. For one thread."""

    def __init__(self, path: str, flags: int) -> None:
        self._path = path
        self._fd = os.open(path, flags | BINARY, 0o600)
        forks.close_in_child(self)
        try:
            self._acquire(shared=flags == os.O_RDONLY)
        except OSError:
            os.close(self._fd)
            raise
        if flags == os.O_RDONLY:
            return
        try:
            os.ftruncate(self._fd, os.write(self._fd, b"%d\n" % os.getpid()))
        except OSError:
            pass  # a full disk: the pid only helps a message

    def _acquire(self, shared: bool) -> None:
        if fcntl is not None:
            try:
                fcntl.flock(self._fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except OSError as error:
                raise OSError(error.errno, error.strerror, self._path) from None
            return
        os.lseek(self._fd, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(self._fd, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        except OSError as error:
            raise BlockingIOError(error.errno, error.strerror) from None
        os.lseek(self._fd, 0, os.SEEK_SET)

    def close(self) -> None:
        self.release()

    def release(self) -> None:
        """Closing the file is what releases it: in a forked child, only when the parent has done so, too."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)
