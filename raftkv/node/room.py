"""RoomWatch: what a node knows of the room on the disks, its own and, while it leads, those of the others.

    the reserve is not whole ──▶ this node's heartbeat replies say so ──▶ the leader's `no_room`
    (storage/reserve.py)                                                  refuses writes that make data larger

As in etcd, one live voter without room stops the growth of all: what the others took meanwhile it could not
store, and when it comes back it would need room for all of it at once. One that is dead, or removed, does
not. The alarm begins and ends by itself, and each time with a line in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from raftkv.node.snapshotter import Snapshotter
from raftkv.node.threads import Threads
from raftkv.raft.core import Raft
from raftkv.storage.persister import Persister

log = logging.getLogger("raftkv.raft")

LOOK_S = 1.0  # between looks at the reserve,
SHORT_S = 0.2  # while it is not whole,
PIECE_S = 0.05  # while it grows: it must not hold up the log
PREPARE_S = 0.5  # at most, for what is missing of it at the start

NOSPACE = "NOSPACE"  # in status, by etcd's name
_UNTIL = "writes that make the database larger are refused until there is room again; deletes and reads go on"


class RoomWatch:
    """`is_short`: this node's own disk is. `no_room`: the sentence with which a leader refuses growth, or
    "". `problems`: sentences for `status`. These are for any thread; look() is called with the node's mutex
    held."""

    def __init__(self, raft: Raft, persister: Persister, snapshotter: Snapshotter, threads: Threads) -> None:
        self._raft, self._persister = raft, persister
        self._snapshotter, self._threads = snapshotter, threads
        self._short: tuple[int, ...] = ()
        self.is_short = False
        self.no_room = ""
        self.problems: list[str] = []

    def prepare(self) -> None:
        """Make the reserve whole before there is anything to store, which could fill the disk first. Where that
        takes long, tend() does the rest."""
        until = self._threads.clock() + PREPARE_S
        while self._persister.tend_reserve() and self._threads.clock() < until:
            pass

    def tend(self) -> float:
        """The thread `room` keeps the reserve whole. Returns after how many seconds it is to look again."""
        wait_s = PIECE_S if self._persister.tend_reserve() else LOOK_S
        if self._persister.is_short_of_room:
            self._snapshotter.make_room()
            return min(wait_s, SHORT_S)
        return wait_s

    def look(self) -> None:
        """At each tick: tell the core how this node is, and ask it how the others are."""
        raft, is_short = self._raft, self._persister.is_short_of_room
        raft.note_room(is_short)
        short = raft.short_of_room
        if is_short == self.is_short and short == self._short:
            return
        own = f"there is no room on the disk of {self._persister.folder}: make room there"
        if is_short and not self.is_short:
            log.warning("%s, or delete something from the database", own)
        elif self.is_short and not is_short:
            log.info("there is room again on the disk of %s", self._persister.folder)
        self.no_room = (
            f"{_nodes(short)} no room on {'its' if len(short) == 1 else 'their'} disk" if short else ""
        )
        if short != self._short and raft.leadership is not None:
            if short:
                log.log(logging.INFO if self._short else logging.WARNING, "%s: %s", self.no_room, _UNTIL)
            else:
                log.info("all nodes have room on their disks: writes of all kinds are taken again")
        if short:
            self.no_room += f": {_UNTIL}"
        self.is_short, self._short = is_short, short
        self.problems = [*([own] if is_short else []), *([self.no_room] if short else [])]

    @property
    def alarms(self) -> list[str]:
        """For `status`."""
        return [NOSPACE] if self.problems else []


def _nodes(ids: Sequence[int]) -> str:
    if len(ids) == 1:
        return f"node {ids[0]} has"
    return f"nodes {', '.join(map(str, ids[:-1]))} and {ids[-1]} have"
