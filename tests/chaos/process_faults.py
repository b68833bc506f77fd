"""What the nemesis does to processes and disks, and what an operator does to members meanwhile.

Each fault is a generator: it does something, yields the seconds to wait before it is to go on, and undoes
in the end what it did. All nodes run when it begins, and when it has ended.
"""

from __future__ import annotations

import contextlib
import random
import signal
import socket
from collections.abc import Iterator
from typing import Callable

from raftkv import Clerk
from raftkv.config import load_server_config
from raftkv.errors import RaftKVError
from raftkv.node.crash_points import CRASH_POINTS as NODE_CRASH_POINTS
from raftkv.node.crash_points import EXIT_STATUS
from raftkv.storage.persister import CRASH_POINTS as DISK_CRASH_POINTS

from tests.chaos.cluster import CAN_LIMIT, ChaosCluster
from tests.cluster.harness import takes_part

PATIENCE_S = 40.0
POLL_S = 0.1
CRASHES_WITHIN_S = 4.0
CHANGE_S = 1.0  # for one attempt at a change of the members: the other hand waits meanwhile
LAST_WORDS_S = 1.0  # of a node whose disk failed in the last moment
DISK_FAILS_WITHIN_S = 8.0  # a node that nobody writes to notices nothing
FEW_FILES, FILES_A_MEMBER = 40, 10  # a little more than a server needs
STRANGERS = 50  # at each address
STORAGE_ERROR = "cannot read or write"  # said as it ends, or as it fails to start

Fault = Iterator[float]


class ProcessFaults:
    """`spared`: nodes that only restart_all() ends, so that somebody's memory can be watched for long.

    `quiet(wanted)` asks for the network to be left alone (or no longer), and returns whether it is.
    """

    def __init__(
        self, cluster: ChaosCluster, rng: random.Random, spared: list[int], quiet: Callable[[bool], bool]
    ) -> None:
        self._cluster, self._rng, self._quiet = cluster, rng, quiet
        self._mortal = [id for id in cluster.nodes if id not in spared]
        self.minority = (len(cluster.nodes) - 1) // 2
        self.ended_by_disk = self.ended_at_crash_point = 0

    def kinds(self) -> dict[str, Callable[[], Fault]]:
        kinds = {
            "kill -9 a minority": self.kill_minority,
            "kill -9 the leader": self.kill_leader,
            "kill -9 a majority": self.kill_majority,
            "kill -9 at a crash point": self.crash_point,
            "pause some": self.pause_some,
            "pause the leader": self.pause_leader,
            "rolling restart": self.rolling_restart,
            "fsync fails": self.fsync_fails,
            "slow disk": self.slow_disk,
            "hung disks": self.hung_disks,
            "wiped member": self.wipe,
            "a member removed and added": self.new_member,
            "transfer": self.transfer,
            "no more threads": self.few_threads,
        }
        if CAN_LIMIT:
            kinds["few open files, many strangers"] = self.few_files
            kinds["full pipes"] = self.full_pipes
            kinds["a disk full"] = lambda: self._full_disks([self._rng.choice(list(self._cluster.nodes))])
            kinds["all disks full"] = lambda: self._full_disks(list(self._cluster.nodes))
        return kinds

    # -- processes -------------------------------------------------------------------------------------------

    def kill_minority(self) -> Fault:
        yield from self._kill(self._some(self._mortal, self.minority))

    def kill_leader(self) -> Fault:
        leader = self._cluster.find_leader()
        yield from self._kill([leader if leader in self._mortal else self._rng.choice(self._mortal)])

    def kill_majority(self) -> Fault:
        yield from self._kill(self._rng.sample(self._mortal, min(self.minority + 1, len(self._mortal))))

    def restart_all(self) -> Fault:
        if self._rng.random() < 0.5:
            yield from self._kill(list(self._cluster.nodes))
        else:
            self._cluster.stop(*self._cluster.nodes)
            yield self._rng.random()
            self._cluster.start(*self._cluster.nodes)
            yield from self._until_answering(*self._cluster.nodes)

    def _kill(self, ids: list[int]) -> Fault:
        self._cluster.kill(*ids)
        yield self._rng.choice((0.0, 0.5, 3.0)) * self._rng.random()
        for id in ids:
            self._cluster.start(id)
            yield self._rng.choice((0.0, 1.0)) * self._rng.random()
        yield from self._until_answering(*ids)

    def crash_point(self) -> Fault:
        """One node ends at a random place between two steps, somewhere after its next start or in it."""
        cluster, id = self._cluster, self._rng.choice(self._mortal)
        name = self._rng.choice((*NODE_CRASH_POINTS, *DISK_CRASH_POINTS))
        times = self._rng.choice((1, 2, 5, 20))
        cluster.kill(id)
        cluster.start(id, crash_point=f"{name}@{times}")
        node = cluster.chaos_nodes[id]
        for _ in range(int(CRASHES_WITHIN_S / POLL_S)):
            if not node.running:
                break
            yield POLL_S
        status = node.end()
        assert status in (EXIT_STATUS, -signal.SIGKILL), f"node {id}, to end at {name}, ended with {status}"
        self.ended_at_crash_point += status == EXIT_STATUS
        cluster.start(id)
        yield from self._until_answering(id)

    def rolling_restart(self) -> Fault:
        """One after the other, each as soon as the one before answers."""
        ids = self._rng.sample(self._mortal, len(self._mortal))
        for id in ids:
            (self._cluster.stop if self._rng.random() < 0.7 else self._cluster.kill)(id)
            self._cluster.start(id)
            yield from self._until_answering(id)

    def pause_some(self) -> Fault:
        ids = list(self._cluster.nodes)
        yield from self._pause(self._rng.sample(ids, self._rng.randint(1, self.minority + 1)))

    def pause_leader(self) -> Fault:
        yield from self._pause([self._cluster.find_leader()])

    def _pause(self, ids: list[int]) -> Fault:
        self._cluster.pause(*ids)
        try:
            yield self._rng.choice((0.3, 2.0, 6.0)) * self._rng.uniform(0.5, 1)
        finally:
            self._cluster.resume(*ids)

    # -- what processes need of their system ------------------------------------------------------------------

    def few_threads(self) -> Fault:
        """Some nodes have the threads that they have, and get no more."""
        nodes = [self._cluster.chaos_nodes[id] for id in self._cluster.nodes if self._rng.random() < 0.5]
        try:
            for node in nodes:
                node.forbid_threads()
            yield self._rng.uniform(2, 6)
        finally:
            for node in nodes:
                node.allow_threads()

    def few_files(self) -> Fault:
        """A node may open few files, and strangers come who say nothing."""
        cluster, id = self._cluster, self._rng.choice(self._mortal)
        cluster.stop(id)
        cluster.start(id, ulimit=f"-n {FEW_FILES + FILES_A_MEMBER * len(cluster.nodes)}")
        yield from self._until_answering(id)
        config = load_server_config(cluster.nodes[id].ini)
        with contextlib.ExitStack() as strangers:
            for _ in range(STRANGERS):
                for address in (config.servers[id], config.peers[id]):
                    stranger = strangers.enter_context(contextlib.closing(socket.socket()))
                    stranger.setblocking(False)
                    stranger.connect_ex(tuple(address))
            yield self._rng.uniform(2, 6)
        yield from self._until_answering(id)
        # Or it would turn away clients as the leader after the storm: they are more than it has files for.
        cluster.stop(id)
        cluster.start(id)

    def full_pipes(self) -> Fault:
        """Nobody reads what some nodes, or all, say."""
        ids = self._some(list(self._cluster.nodes), len(self._cluster.nodes))
        nodes = [self._cluster.chaos_nodes[id] for id in ids]
        try:
            for node in nodes:
                node.fill_pipe()
            yield self._rng.uniform(2, 6)
            yield from self._until_answering(*ids)
        finally:
            for node in nodes:
                node.read_pipe()

    # -- disks -----------------------------------------------------------------------------------------------

    def _full_disks(self, ids: list[int]) -> Fault:
        """No node ends for want of room, and each goes on by itself once there is some."""
        nodes = [self._cluster.chaos_nodes[id] for id in ids]
        try:
            for node in nodes:
                node.fill_disk(self._rng.randrange(1, 6000))
            yield self._rng.uniform(2, 6)
        finally:
            for node in nodes:
                node.free_disk()
        yield from self._until_answering(*ids)

    def fsync_fails(self) -> Fault:
        id = self._rng.choice(self._mortal)
        node = self._cluster.chaos_nodes[id]
        node.may_end = True
        said = node.log.count(STORAGE_ERROR)
        node.order_fsync(self._rng.choice(("fail", "lose")))
        yield from self._until_disk_ends(id, said, lambda: node.order_fsync(""))

    def _until_disk_ends(self, id: int, said: int, mend: Callable[[], None]) -> Fault:
        """A node whose disk fails ends, with one sentence more than the `said` ones before. Then its disk is
        mended, and it starts again."""
        node = self._cluster.chaos_nodes[id]
        for _ in range(int(DISK_FAILS_WITHIN_S / POLL_S)):
            if not node.running:
                break
            yield POLL_S
        if node.running:
            mend()
            yield LAST_WORDS_S
        if node.running:
            node.may_end = False
            return
        status = node.wait()
        assert status == 1, f"node {id}, whose disk failed, ended with status {status}"
        assert node.log.count(STORAGE_ERROR) > said, f"node {id} did not say that its disk failed"
        self.ended_by_disk += 1
        mend()
        yield self._rng.random()
        self._cluster.start(id)
        yield from self._until_answering(id)

    def slow_disk(self) -> Fault:
        nodes = [
            self._cluster.chaos_nodes[id]
            for id in self._some(list(self._cluster.nodes), len(self._cluster.nodes))
        ]
        try:
            for node in nodes:
                node.order_fsync(f"slow {self._rng.choice((0.02, 0.1, 0.5))}")
            yield self._rng.uniform(2, 5)
        finally:
            for node in nodes:
                node.order_fsync("")

    def hung_disks(self) -> Fault:
        """The disk of the leader, of some, or all disks finish nothing for a while."""
        leader, everybody = self._cluster.find_leader(), list(self._cluster.nodes)
        ids = self._rng.choice([[leader], [leader], self._some(everybody, self.minority), everybody])
        nodes = [self._cluster.chaos_nodes[id] for id in ids]
        try:
            for node in nodes:
                node.order_fsync("hang")
            yield self._rng.choice((0.4, 3.0, 10.0)) * self._rng.uniform(0.5, 1)
        finally:
            for node in nodes:
                node.order_fsync("")

    def wipe(self) -> Fault:
        """A node loses its disk, while all others can be reached; it comes back with an empty one."""
        cluster, id = self._cluster, self._rng.choice(self._mortal)
        try:
            while not self._quiet(True):
                yield POLL_S
            yield from self._until_answering(*cluster.nodes)
            cluster.kill(id)
            cluster.wipe(id)
            yield self._rng.choice((0.0, 2.0)) * self._rng.random()
            cluster.start(id)
            yield from self._until(lambda: takes_part(cluster.status(id)), f"node {id} to be a voter again")
            goal = max(status["commit_index"] for status in cluster.statuses())
            yield from self._until(
                lambda: any(status["applied_index"] >= goal for status in cluster.statuses([id])),
                f"node {id}, which lost its disk, to catch up",
            )
        finally:
            self._quiet(False)

    # -- members ---------------------------------------------------------------------------------------------

    def transfer(self) -> Fault:
        """The leadership is handed to somebody, if that can be done now."""
        to = self._rng.choice([None, *self._cluster.nodes])
        with self._cluster.clerk(CHANGE_S) as db, contextlib.suppress(RaftKVError):
            db.transfer(to)
        yield 0.0

    def new_member(self) -> Fault:
        """A member is removed, and comes back with an empty disk as a new one."""
        cluster, id = self._cluster, self._rng.choice(self._mortal)
        config = load_server_config(cluster.nodes[id].ini)
        client, peer = ("{}:{}".format(*addresses[id]) for addresses in (config.servers, config.peers))
        with cluster.clerk(CHANGE_S) as db:
            yield from self._until_role(db, id, lambda: db.member_remove(id), (None,))
            yield self._rng.choice((0.0, 2.0)) * self._rng.random()
            cluster.kill(id)
            cluster.wipe(id)
            cluster.start(id)
            yield from self._until_role(db, id, lambda: db.member_add(id, client, peer), ("learner", "voter"))
        yield from self._until(lambda: takes_part(cluster.status(id)), f"node {id} to be a voter again")

    def _until_role(
        self, db: Clerk, id: int, change: Callable[[], object], roles: tuple[str | None, ...]
    ) -> Fault:
        """Ask for the change again and again, until the member has one of the roles; None: it is no member."""

        def is_done() -> bool:
            with contextlib.suppress(RaftKVError):  # what is refused or in doubt is seen in the list
                change()
            with contextlib.suppress(RaftKVError):
                rows = [row for row in db.member_list() if row["role"] != "waiting"]
                return next((row["role"] for row in rows if row["id"] == id), None) in roles
            return False

        yield from self._until(is_done, f"member {id} to be {roles}")

    # -- helpers ---------------------------------------------------------------------------------------------

    def _some(self, ids: list[int], most: int) -> list[int]:
        return self._rng.sample(ids, self._rng.randint(1, max(1, min(most, len(ids)))))

    def _until_answering(self, *ids: int) -> Fault:
        """Until the nodes answer their clients: a leader is not needed for that."""
        yield from self._until(
            lambda: len(self._cluster.statuses(ids)) == len(ids), f"the nodes {ids} to answer"
        )

    @staticmethod
    def _until(condition: Callable[[], bool], what: str) -> Fault:
        for _ in range(int(PATIENCE_S / POLL_S)):
            if condition():
                return
            yield POLL_S
        raise AssertionError(f"waited {PATIENCE_S:g} s for {what}")
