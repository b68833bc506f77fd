"""Whose data folder this is: LOCK and node.json.

    LOCK          locked by the process that uses the folder, and holds its pid
    node.json     {"format","cluster","node","uid","voters","peers","crc"}: which node of which cluster, the
                  random identity of this disk, the voters the cluster began with, and the identities of the
                  others' disks

node.json is written last when a folder is made: where it is, the folders log/ and snapshot/ are; where it is
not, nothing that matters can be.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Callable, NamedTuple

from raftkv.errors import ForeignDataError, LockedError
from raftkv.storage.disk import Disk, DiskLock
from raftkv.storage.sealed import FORMAT, replace_file, seal, unseal

LOCK = "LOCK"
NODE = "node.json"

CRASH_POINTS = ("node-file-written", "node-file-synced", "node-file-renamed")


class Identity(NamedTuple):
    """The content of node.json. `peers`: node id -> (uid of its disk, whether it was met while this one was
    new, the disk's rejoin_term)."""

    cluster: str
    node: int
    uid: str
    voters: tuple[int, ...]
    peers: dict[int, tuple[str, bool, int]]

    def write(self, disk: Disk, folder: str, reach: Callable[[str], None]) -> None:
        """Durable on return."""
        plain = {"format": FORMAT, "cluster": self.cluster, "node": self.node, "uid": self.uid}
        plain["voters"] = list(self.voters)
        plain["peers"] = {str(id): list(known) for id, known in self.peers.items()}
        replace_file(disk, os.path.join(folder, NODE), seal(plain), reach, "node-file")

    @classmethod
    def read(cls, disk: Disk, folder: str) -> Identity:
        """Raises DamagedDataError or ForeignDataError."""
        path = os.path.join(folder, NODE)
        plain = unseal(disk.read(path), path)
        peers = {int(id): (uid, founder, term) for id, (uid, founder, term) in plain["peers"].items()}
        return cls(plain["cluster"], plain["node"], plain["uid"], tuple(plain["voters"]), peers)


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


def check_identity(
    identity: Identity, folder: str, cluster: str, node_id: int, voters: Sequence[int]
) -> None:
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
    if identity.voters != tuple(sorted(voters)):
        raise ForeignDataError(
            f"{folder} belongs to a cluster of the nodes {_ids(identity.voters)}, but the configuration says "
            f"{_ids(sorted(voters))}: correct the section [peers]; editing it does not add or remove members"
        )


def _ids(ids: Sequence[int]) -> str:
    return ", ".join(str(id) for id in ids)
