"""Reserve: room on the disk that this node keeps, and gives back to itself when the disk is full.

    reserve/00000001        pieces: files that hold nothing, but have their bytes on the disk

A full disk must not end a node: nobody could delete anything then. So the node fills some of the disk before
others do. Whatever it has to write while there is no room (find_room()) takes the place of one piece after
the other. From the first of them on the node is *short of room* (`is_short`), which its leader hears: the
cluster takes no writes any more that make it larger. It still has the room for deletes, for votes, and for a
snapshot that lets the log go; that is what gives room back. When it has, the pieces are made again.

**To write again what found no room is safe.** Each write goes to a fixed place of its file, which no other
write has or gets before this one is done, with the same bytes each time; and nothing was promised of it. So
what a crash leaves is a torn write, as if there had been one attempt only. This is so for write, creation and
rename. It is not so for an fsync: after a failed one nobody knows what the disk holds. That still ends the
node, even if it says that the disk is full (as a network file system may).

Pieces are files of their own, and not one large one that shrinks, so that a piece frees an inode, too. They
need not be durable, and a crash in the middle of all this does not matter: at the start what is there is
counted. On a file system that compresses, or shares equal blocks, a piece may take up no room; then the
reserve helps less, or not at all.

Thread-safe.
"""

from __future__ import annotations

import os
import re
import threading
from typing import Callable, TypeVar

from raftkv.storage.disk import FULL, Disk, DiskFile, DiskFullError

FOLDER = "reserve"
LEAST = 64 << 20  # bytes, by default
SNAPSHOTS = 2  # or so many times the newest snapshot's bytes: the next one, and the log meanwhile
SHARE = 10  # but not more than this part of the file system
PIECES = 16
LARGEST_PIECE = 4 << 20  # bytes

_MARGIN = 64 << 10  # bytes
_TOO_LARGE = FULL[-1]  # giving room back does not help

_NAME = re.compile(r"\d{8}")
_T = TypeVar("_T")


class Reserve:
    """The reserve in the data folder `folder`. `wanted`: its size in bytes; 0: none; -1: by the rule above.

    `is_short`: from the first write that found no room, until the reserve is whole again, and about a piece
    more is free.
    """

    def __init__(self, disk: Disk, folder: str, wanted: int) -> None:
        self._disk, self._data_folder, self._wanted = disk, folder, wanted
        self._folder = os.path.join(folder, FOLDER)
        self._lock = threading.Lock()
        self._pieces: list[tuple[str, int]] = []  # (path, bytes)
        self._number = 0  # of the newest piece
        self.target = max(wanted, 0)  # bytes
        self.is_short = False
        if disk.exists(self._folder):
            for name in filter(_NAME.fullmatch, disk.list_folder(self._folder)):
                self._count(name)

    def _count(self, name: str) -> None:
        path = os.path.join(self._folder, name)
        file = self._disk.open(path)
        try:
            self._pieces.append((path, file.size()))
        finally:
            file.close()
        self._number = max(self._number, int(name))

    @property
    def held(self) -> int:
        """Bytes."""
        with self._lock:
            return sum(size for _, size in self._pieces)

    @property
    def piece(self) -> int:
        """Bytes of one; where there is no reserve, what must be free for the alarm to end."""
        return max(1, min(self.target // PIECES, LARGEST_PIECE)) if self.target else _MARGIN

    # -- giving ----------------------------------------------------------------------------------------------

    def find_room(self, write: Callable[[], _T], leave: float = 0.0) -> _T:
        """What `write` returns, which is called again, after a piece was given back, whenever it finds no
        room. `leave`: the part of the reserve that is not for it.

        Raises DiskFullError if there is no room even so; `write` may then be asked for later.
        """
        while True:
            try:
                return write()
            except DiskFullError as error:
                self.is_short = True
                if error.errno == _TOO_LARGE or not self._give(leave):
                    raise

    def _give(self, leave: float) -> bool:
        """Remove a piece. Returns whether there was one to give."""
        with self._lock:
            held = sum(size for _, size in self._pieces)
            if not self._pieces or held - self._pieces[-1][1] < leave * self.target:
                return False
            path, _ = self._pieces.pop()
        self._disk.remove(path)
        return True

    # -- keeping ---------------------------------------------------------------------------------------------

    def tend(self, snapshot_bytes: int) -> bool:
        """Make a piece that is missing, or remove one that is too many. For one thread, again and again.

        `snapshot_bytes`: of the newest snapshot. Returns whether there is more to do at once. Raises OSError
        if the disk fails.
        """
        disk, folder = self._disk, self._data_folder
        if self._wanted < 0:
            most = disk.total_bytes(folder) // SHARE
            self.target = min(max(LEAST, SNAPSHOTS * snapshot_bytes), most)
        target, held, piece = self.target, self.held, self.piece
        free = disk.free_bytes(folder)
        if held < target:
            size = min(piece, target - held)
            if free < size + piece or not self._add(size):
                self.is_short = True
                return False
            return True
        if held - piece >= target:
            return self._give(0.0)
        if free >= piece:
            self.is_short = False
        return False

    def _add(self, size: int) -> bool:
        """Make a piece. Returns whether there was room for it."""
        disk = self._disk
        path = os.path.join(self._folder, f"{self._number + 1:08d}")
        file: DiskFile | None = None
        try:
            if not disk.exists(self._folder):
                disk.make_folder(self._folder)
            file = disk.create(path)
            file.allocate(size)
        except DiskFullError:
            if file is not None:
                disk.remove(path)
            return False
        finally:
            if file is not None:
                file.close()
        self._number += 1
        with self._lock:
            self._pieces.append((path, size))
        return True
