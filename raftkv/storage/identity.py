"""Whose data folder this is: LOCK and node.json.

    LOCK          locked by the process that uses the folder, and holds its pid
    node.json     {"format","cluster","node","uid","starts","tokens","newest_log","met","crc"}

A server is its disk, and `uid` is the disk's name, drawn when the folder is made. But a disk can be copied, and an
older copy can be put back. So each start draws a random token, and makes it durable before it says anything: two
lives of one disk that do not know of each other have other tokens at the same place. What the others last showed of
theirs is in `met` (node/lives.py compares).

node.json is written last when a folder is made: where it is, the folders log/ and snapshot/ are; where it is
not, nothing that matters can be.
"""

from __future__ import annotations

import os
import secrets
from typing import Callable, NamedTuple

from raftkv.errors import ForeignDataError, LockedError
from raftkv.raft.configuration import MAX_UID
from raftkv.storage.disk import Disk, DiskLock
from raftkv.storage.sealed import FORMAT, replace_file, seal, unseal

LOCK = "LOCK"
NODE = "node.json"
MAX_TOKENS = 1000  # the last ones are kept
MAX_MET = 1000  # other disks of which something is remembered

CRASH_POINTS = ("node-file-written", "node-file-synced", "node-file-renamed")


def draw() -> int:
    """A random uid, token or cluster_id: positive, of 53 bits."""
    return secrets.randbelow(MAX_UID) + 1


class Life(NamedTuple):
    """Of a disk: its `starts`th start, and the token that it drew."""

    starts: int
    token: int


class Identity(NamedTuple):
    """The content of node.json. `tokens`: of the last starts, the newest last. `newest_log`: the index that the
    newest file of the log is named for, 0: none has begun; see segments.py. `met`: uid of another disk -> the latest life of it that was met; the one that was met last is last."""

    cluster: str
    node: int
    uid: int
    starts: int = 0
    tokens: tuple[int, ...] = ()
    newest_log: int = 0
    met: dict[int, Life] = {}  # noqa: RUF012 (never changed in place)

    def started(self, token: int) -> Identity:
        """One start later."""
        tokens = (*self.tokens, token)[-MAX_TOKENS:]
        return self._replace(starts=self.starts + 1, tokens=tokens)

    def having_met(self, uid: int, life: Life) -> Identity:
        met = {other: known for other, known in self.met.items() if other != uid}
        met[uid] = life
        return self._replace(met=dict(list(met.items())[-MAX_MET:]))

    def write(self, disk: Disk, folder: str, reach: Callable[[str], None]) -> None:
        """Durable on return."""
        plain = {"format": FORMAT, **self._asdict(), "tokens": list(self.tokens)}
        plain["met"] = {str(uid): list(life) for uid, life in self.met.items()}
        replace_file(disk, os.path.join(folder, NODE), seal(plain), reach, "node-file")

    @classmethod
    def read(cls, disk: Disk, folder: str) -> Identity:
        """Raises DamagedDataError or ForeignDataError."""
        path = os.path.join(folder, NODE)
        plain = unseal(disk.read(path), path)
        met = {int(uid): Life(*life) for uid, life in plain["met"].items()}
        fields = {name: plain[name] for name in cls._fields}
        return cls(**{**fields, "tokens": tuple(plain["tokens"]), "met": met})


def lock_folder(disk: Disk, folder: str, *, for_reading: bool = False) -> DiskLock:
    """The lock of the node of `folder`; or, `for_reading`, one that keeps nodes from starting on it, which has a
    LOCK. Raises LockedError, which names the process that has it."""
    path = os.path.join(folder, LOCK)
    try:
        return disk.lock_for_reading(path) if for_reading else disk.lock(path)
    except BlockingIOError:
        instead = "ask it as a client" if for_reading else "give this node a data_dir of its own"
        raise LockedError(
            f"the data folder {folder} is in use by the process {_holder(disk, folder)}: stop that one first, or "
            f"{instead}"
        ) from None


def _holder(disk: Disk, folder: str) -> str:
    return disk.read(os.path.join(folder, LOCK)).decode(errors="replace").strip() or "unknown"


def check_identity(identity: Identity, folder: str, cluster: str, node_id: int) -> None:
    """Raises ForeignDataError if `folder` is not that of this node of this cluster."""
    if identity.cluster != cluster:
        raise ForeignDataError(
            f"{folder} belongs to the cluster {identity.cluster!r}, but the configuration says {cluster!r}: "
            "correct [node] cluster or data_dir"
        )
    if identity.node != node_id:
        raise ForeignDataError(
            f"{folder} belongs to node {identity.node}, but the configuration says node {node_id}: "
            "correct [node] id or data_dir"
        )
