"""Member: one process's part in the cluster. It opens the disk, finds out who is who, and then runs the node.

    opened ──hello to all others──▶ decided (joining.py) ──▶ RaftNode runs ──▶ stopped

Until that is decided the member takes no part: it knows no leader, and drops Raft messages.
"""

from __future__ import annotations

import logging
import random
from typing import Any, Callable

from raftkv.config import RaftOptions
from raftkv.errors import NoRoomError, ProtocolError
from raftkv.node.interfaces import Refusal, StateMachine
from raftkv.node.joining import NEW, Acquaintance, Hello, HelloReply, Joining
from raftkv.node.network import PeerNetwork
from raftkv.node.node import STOP_S, RaftNode
from raftkv.node.outsider import Outsider
from raftkv.node.threads import Threads
from raftkv.raft.core import Raft
from raftkv.raft.log import RaftLog
from raftkv.raft.messages import Message
from raftkv.raft.types import HardState, Options, Snapshot
from raftkv.storage.persister import Persister

log = logging.getLogger("raftkv.raft")


class Member:
    """The disk, the network and the node of one member. Thread-safe.

    `machine` is what is replicated. `threads` are this member's own; it stops them. `relieve`: see LogWriter.
    A simulator gives `rng`, too.
    """

    def __init__(
        self,
        id: int,
        cluster: str,
        persister: Persister,
        network: PeerNetwork,
        machine: StateMachine,
        options: RaftOptions,
        threads: Threads,
        *,
        relieve: Callable[[Any], None] = lambda thread: None,
        rng: random.Random | None = None,
    ) -> None:
        self._persister, self._network, self._machine = persister, network, machine
        self._options, self._threads, self._rng = options, threads, rng or random.Random()
        self._relieve = relieve
        self.id = id
        self.node: RaftNode | Outsider = Outsider(id)
        machine.replicated_by(self.node)
        self._mutex = threads.lock()  # guards _joining; the node has a mutex of its own
        self._remembering = threads.lock()  # held by who makes durable what is known of the others
        self._joining = Joining(
            id,
            persister.uid,
            cluster,
            persister.configuration.voters,
            {peer: Acquaintance(*known) for peer, known in persister.known_peers.items()},
        )

    def start(self) -> None:
        """Begin to take part as soon as it is clear how."""
        if not self._persister.fresh:
            self._joining.begin(self._persister.hard_state)
            self._run_node(self._persister.hard_state)
        self._network.start(self)
        self._join()

    def stop(self) -> bool:
        """Returns whether all has ended; see RaftNode.stop."""
        if isinstance(self.node, RaftNode):
            return self.node.stop()
        self._threads.stop()
        return self._threads.join(STOP_S)

    # -- what the network asks of it (network.PeerHandler) ---------------------------------------------------

    def on_messages(self, messages: list[Message]) -> list[Refusal]:
        return self.node.step(messages)

    def on_lost_contact(self, peer: int) -> None:
        self.node.lost_contact(peer)

    def on_snapshot_unreadable(self, peer: int, snapshot: Snapshot) -> None:
        self.node.snapshot_unreadable(peer, snapshot)

    def make_hello(self) -> Hello:
        with self._mutex:
            return self._joining.hello()

    def is_remembered(self, hello: Hello) -> bool:
        """Is all durable that on_hello(hello) would have to remember? Else that waits for the disk."""
        known = self._persister.known_peers.get(hello.id)
        return known is not None and (known[0], known[2]) == (hello.uid, hello.rejoin_term)

    def on_hello(self, hello: Hello) -> tuple[HelloReply, bool]:
        term = self.node.get_state()[0]
        with self._mutex:
            reply = self._joining.answer(hello, term)
            accepted = self._joining.accepts(hello)
        try:
            self._remember(hello.id)
        except NoRoomError as error:
            raise ProtocolError(f"node {hello.id} cannot be remembered: {error}") from None
        return reply, accepted

    def on_hello_reply(self, reply: HelloReply) -> None:
        with self._mutex:
            self._joining.heard(reply)
        try:
            self._remember(reply.id)
            self._join()
        except NoRoomError as error:
            raise ProtocolError(f"this node cannot take part yet: {error}") from None

    def _remember(self, peer: int) -> None:
        """Make durable what is known of `peer`. The mutex is not held meanwhile: others may say hello."""
        with self._remembering:
            with self._mutex:
                known = self._joining.known[peer]
            if self._persister.known_peers.get(peer) != known:
                self._persister.remember_peer(peer, *known)

    # -- taking part -----------------------------------------------------------------------------------------

    def _join(self) -> None:
        """If it is clear now how this new member begins, make that durable and begin."""
        with self._mutex:
            hard_state = self._joining.decide() if self._joining.state == NEW else None
            if hard_state is None:
                return
            self._persister.save(hard_state, [])
            self._joining.begin(hard_state)
        if hard_state.rejoin_term:
            log.warning(
                "this member's disk is empty, but others know it: it rejoins, and does not vote until it "
                "caught up"
            )
        self._network.greet()  # before the first message of the node that begins now
        self._run_node(hard_state)

    def _run_node(self, hard_state: HardState) -> None:
        """Build the node on what the disk holds, and `hard_state`, and start it."""
        persister, options = self._persister, self._options
        raft = Raft(
            self.id,
            RaftLog(persister.snapshot or Snapshot(0, 0, persister.configuration), persister.entries),
            hard_state,
            rng=self._rng,
            now=self._threads.clock(),
            options=Options(
                election_timeout_s=options.election_timeout_ms / 1000,
                heartbeat_interval_s=options.heartbeat_interval_ms / 1000,
                max_append_bytes=options.max_append_bytes,
                max_inflight_appends=options.max_inflight_appends,
                max_inflight_bytes=options.max_inflight_bytes,
                max_uncommitted_bytes=options.max_uncommitted_bytes,
                max_kept_bytes=max(options.max_raft_state, 0),  # so the log about doubles at most
            ),
        )
        persister.forget_recovered()
        node = RaftNode(
            raft,
            persister,
            self._network,
            self._machine,
            self._threads,
            relieve=self._relieve,
            max_raft_state=options.max_raft_state,
            snapshot_growth=options.snapshot_growth_percent / 100,
        )
        node.start()
        self.node = node
        self._machine.replicated_by(node)
