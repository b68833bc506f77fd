"""Member: one process's part in the cluster. It opens the disk, finds out who is who, and then runs the node.

    opened ──hello to all others──▶ decided (joining.py) ──▶ RaftNode runs ──▶ stopped

Until that is decided the member takes no part: it knows no leader, and drops Raft messages.
"""
from __future__ import annotations

import logging
import random
import threading
import time
from typing import Any, Callable, List, Optional, Sequence, Tuple

from raftkv.config import ServerConfig
from raftkv.errors import NotLeaderError
from raftkv.raft.core import Options, Raft
from raftkv.raft.crash_points import reach
from raftkv.raft.joining import NEW, Acquaintance, Hello, HelloReply, Joining
from raftkv.raft.log import RaftLog
from raftkv.raft.messages import Message
from raftkv.raft.network import PeerNetwork
from raftkv.raft.node import RaftNode, StateMachine
from raftkv.raft.persister import Persister
from raftkv.raft.types import HardState, Snapshot

log = logging.getLogger("raftkv.raft")


class Member:
    """The disk, the network and the node of one member. Thread-safe.

    Opening raises StorageError (and its kinds) if the data folder cannot be used.
    """

    def __init__(
        self,
        config: ServerConfig,
        peer_key: bytes,
        machine: StateMachine,
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self._config, self._machine, self._on_fatal = config, machine, on_fatal
        self._persister = persister = Persister(
            config.data_dir,
            node_id=config.node_id,
            cluster=config.cluster,
            voters=tuple(sorted(config.peers)),
            segment_bytes=config.raft.segment_bytes,
            crash_point=reach,
        )
        for notice in persister.notices:
            log.warning("%s", notice)
        self._mutex = threading.Lock()  # guards the two below; the node has its own
        self._joining = Joining(
            config.node_id,
            persister.uid,
            config.cluster,
            persister.configuration.voters,
            {id: Acquaintance(*known) for id, known in persister.known_peers.items()},
        )
        self._node: Optional[RaftNode] = None
        others = {id: tuple(address) for id, address in config.peers.items() if id != config.node_id}
        self.network = PeerNetwork(others, peer_key, self, persister, config.raft.snapshot_chunk_bytes)

    def start(self) -> None:
        """Begin to take part as soon as it is clear how."""
        if not self._persister.fresh:
            self._joining.settle(self._persister.hard_state)
            self._run_node(self._persister.hard_state)
        self.network.start()
        self._join()

    def stop(self) -> None:
        self.network.close()
        if self._node is not None:
            self._node.stop()
        self._persister.close()

    # -- what the database asks of it ----------------------------------------------------------------------------

    def propose(self, commands: Sequence[Any], contexts: Sequence[Any]) -> None:
        """See RaftNode.propose."""
        if self._node is None:
            raise NotLeaderError(None)
        self._node.propose(commands, contexts)

    def read_index(self, contexts: Sequence[Any]) -> None:
        """See RaftNode.read_index."""
        if self._node is None:
            raise NotLeaderError(None)
        self._node.read_index(contexts)

    def status(self) -> dict:
        """See RaftNode.status; the role of a member that takes no part yet is "joining"."""
        if self._node is not None:
            return self._node.status()
        numbers = ("term", "commit_index", "applied_index", "log_last_index", "log_bytes", "snapshot_index")
        joining = {"id": self._config.node_id, "role": "joining", "leader": None, "log_first_index": 1}
        return {**joining, **dict.fromkeys(numbers, 0)}

    # -- what the network asks of it (network.PeerHandler) ---------------------------------------------------------

    def on_messages(self, messages: List[Message]) -> None:
        if self._node is not None:
            self._node.step(messages)

    def on_lost_contact(self, peer: int) -> None:
        if self._node is not None:
            self._node.lost_contact(peer)

    def on_snapshot_unreadable(self, peer: int, snapshot: Snapshot) -> None:
        if self._node is not None:
            self._node.snapshot_unreadable(peer, snapshot)

    def make_hello(self) -> Hello:
        with self._mutex:
            return self._joining.hello()

    def on_hello(self, hello: Hello) -> Tuple[HelloReply, bool]:
        term = self._node.get_state()[0] if self._node is not None else 0
        with self._mutex:
            before = self._joining.known.get(hello.id)
            reply = self._joining.answer(hello, term)
            known = self._joining.known[hello.id]
            if known != before:
                self._persister.remember_peer(hello.id, *known)
            return reply, self._joining.accepts(hello)

    def on_hello_reply(self, reply: HelloReply) -> None:
        with self._mutex:
            self._joining.heard(reply)
        self._join()

    # -- taking part -------------------------------------------------------------------------------------------

    def _join(self) -> None:
        """If it is clear now how this new member begins, make that durable and begin."""
        with self._mutex:
            hard_state = self._joining.decide() if self._joining.state == NEW else None
            if hard_state is None:
                return
            self._persister.save(hard_state, [])
            self._joining.settle(hard_state)
        if hard_state.rejoin_term:
            log.warning("this member's disk is empty, but others know it: it rejoins, and does not vote until it caught up")
        self.network.greet()  # before the first message of the node that begins now
        self._run_node(hard_state)

    def _run_node(self, hard_state: HardState) -> None:
        """Build the node on what the disk holds, and `hard_state`, and start it."""
        persister, options = self._persister, self._config.raft
        raft = Raft(
            self._config.node_id,
            RaftLog(persister.snapshot or Snapshot(0, 0, persister.configuration), persister.entries),
            hard_state,
            rng=random.Random(),
            now=time.monotonic(),
            options=Options(
                election_timeout_s=options.election_timeout_ms / 1000,
                heartbeat_interval_s=options.heartbeat_interval_ms / 1000,
                max_append_bytes=options.max_append_bytes,
                max_inflight_appends=options.max_inflight_appends,
                max_inflight_bytes=options.max_inflight_bytes,
                max_uncommitted_bytes=options.max_uncommitted_bytes,
            ),
        )
        persister.forget_recovered()
        node = RaftNode(
            raft,
            persister,
            self.network,
            self._machine,
            max_raft_state=options.max_raft_state,
            on_fatal=self._on_fatal,
        )
        node.start()
        self._node = node
