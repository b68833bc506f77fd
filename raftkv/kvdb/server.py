"""KVServer: one server process's worth of database. It wires rpc, raft and the service together."""

from __future__ import annotations

import logging
import os
from typing import Any, Callable

from raftkv import __version__, forks
from raftkv.config import Address, ServerConfig
from raftkv.errors import ClosedError, StorageError
from raftkv.kvdb.lease_keeper import TICK_S
from raftkv.kvdb.limits import MAX_REQUEST_BYTES
from raftkv.kvdb.members import Members
from raftkv.kvdb.open_files import allow_open_files
from raftkv.kvdb.service import KVService
from raftkv.kvdb.usage import file_age_s, usage
from raftkv.node.crash_points import reach
from raftkv.node.member import Member
from raftkv.node.network import MAX_PEER_FRAME, PeerNetwork
from raftkv.node.profile import Profile
from raftkv.node.threads import Threads
from raftkv.rpc.channel import send_replies
from raftkv.rpc.server import RpcServer, die
from raftkv.storage.persister import Persister
from raftkv.threads import start_thread

log = logging.getLogger("raftkv")

#: A request's keys and values are at most MAX_REQUEST_BYTES; the rest is its frame, its names and its
#: numbers.
MAX_CLIENT_FRAME = MAX_REQUEST_BYTES + (1 << 20)


class KVServer:
    """One server of the cluster. start() and stop() are for one thread.

    `on_fatal(exception)` is called when the server cannot go on (a failed disk, a bug); by default the
    process ends at once, because a server that lost a thread must not look alive. Raises ConfigError,
    StorageError or ResourceError, from the constructor or from start(), with a sentence for the operator.
    """

    def __init__(
        self, config: ServerConfig, *, on_fatal: Callable[[BaseException], None] | None = None
    ) -> None:
        self._config = config
        #: What else status() says is wrong.
        self.other_problems: Callable[[], list[str]] = list
        self._is_serving = False
        self._generation = forks.generation
        on_fatal = on_fatal or _end
        client_key, peer_key = config.load_keys()
        self._places = allow_open_files(config.limits, len(config.peers))
        if self._places.warning:
            log.warning("%s", self._places.warning)
        self._service = KVService(
            send_replies,
            __version__,
            self._describe,
            max_data_bytes=config.limits.max_data_bytes,
            election_timeout_s=config.raft.election_timeout_ms / 1000,
        )
        id = config.node_id
        self._persister = Persister(
            config.data_dir,
            node_id=id,
            cluster=config.cluster,
            segment_bytes=config.raft.segment_bytes,
            reserve_bytes=config.limits.disk_reserve_bytes,
            crash_point=reach,
        )
        for notice in self._persister.notices:
            log.warning("%s", notice)
        self._network = PeerNetwork(peer_key, self._persister, config.raft.snapshot_chunk_bytes, on_fatal)
        self._threads = Threads(on_fatal)
        self._rpc = RpcServer("rpc", on_fatal)
        self.member = Member(
            _profile(config),
            self._persister,
            self._network,
            self._service,
            config.raft,
            self._threads,
            relieve=self._rpc.relieve,
        )
        self._service.administered_by(Members(self.member.admin))
        try:
            # In a turn of the loop peers come first: what they acknowledge lets clients be answered.
            self.peer_address = self._listen_for_peers(config.listen_peers, peer_key)
            self.client_address = self._listen_for_clients(config.listen_clients, client_key)
        except BaseException:
            self.stop()
            raise

    def _listen_for_peers(self, address: Address, key: bytes) -> Address:
        bound = self._rpc.listen(
            address,
            key,
            self._network,
            max_frame_bytes=MAX_PEER_FRAME,
            max_connections=self._places.peers,
            max_unauthenticated=self._places.strangers,
            handshake_timeout_s=self._config.limits.handshake_timeout_ms / 1000,
        )
        return Address(*bound)

    def _listen_for_clients(self, address: Address, key: bytes) -> Address:
        bound = self._rpc.listen(
            address,
            key,
            self._service,
            max_frame_bytes=MAX_CLIENT_FRAME,
            max_connections=self._places.clients,
            max_unauthenticated=self._places.strangers,
            handshake_timeout_s=self._config.limits.handshake_timeout_ms / 1000,
            always=frozenset({"status"}),
            full=self._full(),
        )
        return Address(*bound)

    def _full(self) -> str:
        """What a client hears that is one too many."""
        configured, clients = self._config.limits.max_connections, self._places.clients
        limit = f"[limits] max_connections = {configured} of server {self._config.node_id}"
        if clients < configured:
            limit = f"{clients} of {limit}, since the system allows it no more open files"
        return f"the server has as many client connections as it may have ({limit}): close some, or raise it"

    def _describe(self) -> dict[str, Any]:
        """What `status` says besides what the member knows."""
        clients, peers = map(self._rpc.occupancy, (self.client_address, self.peer_address))
        problems = [*self.member.node.problems(), *self._network.problems.sentences(), *self.other_problems()]
        problems += [f"refused at the port of peers: {complaint}" for complaint in peers.complaints]
        if any(self._full() in complaint for complaint in clients.complaints):
            problems.append(f"clients are refused: {self._full()}")
        return {
            "members": self.member.admin.list(),
            "recovered": self.member.node.view().configuration.recovered or None,
            "cluster_id": self.member.admin.guide()["cluster_id"],
            "problems": problems,
            "peers": self._network.describe(),
            "snapshot_age_s": file_age_s(self._persister.snapshot_path),
            **usage(),
            "connections": clients.connections,
            "max_connections": clients.max_connections,
            "refused_connections": clients.refused,
        }

    def cut_off(self, is_cut_off: bool) -> None:
        """See PeerNetwork. Clients still reach it. Any thread may call it."""
        self._network.cut_off(is_cut_off)

    def start(self) -> None:
        """Load what the disk holds, then serve. Returns when the server listens; a leader may not be known
        yet. Raises ClosedError in a forked child: the server is its parent's."""
        if self._generation != forks.generation:
            raise ClosedError("this server belongs to the process that forked this one")
        self._threads.prepare()
        self.member.start()
        self._threads.repeat("leases", TICK_S, self._service.tick)
        self._rpc.start()
        self._is_serving = True
        members = self.member.node.view().configuration
        if self._config.join is not None and members.voters:
            labels = ", ".join(str(record.id) for record in members.records)
            log.info(
                "its cluster has the nodes %s; [cluster] join is only a hint where to look for them", labels
            )
        log.info(
            "node %d listens: clients on %s, peers on %s, data in %s",
            self._config.node_id,
            self.client_address,
            self.peer_address,
            self._config.data_dir,
        )

    def stop(self) -> None:
        """Stop serving, and release the ports and the data folder. May be called twice; does nothing in a forked
        child, which holds neither.

        If it leads, another server is made the leader first, which takes an election timeout at most.
        Returns within some seconds, whatever the disk does: then the connections end. A write that hangs is left alone; nothing of it was acknowledged. The folder stays
        locked until it is over, or the process ends.
        """
        if self._generation != forks.generation:
            return
        if self._is_serving:
            self._is_serving = False
            self.member.hand_over()
        self._rpc.close()
        self._network.close()
        if self.member.stop():
            self._persister.close()
        else:
            log.warning(
                "stopped while the disk has not finished a write: nothing that was acknowledged is lost"
            )
            start_thread(self._close_when_written, "closer")

    def _close_when_written(self) -> None:
        while not self.member.stop():
            pass  # each waits for a while
        self._persister.close()


def _profile(config: ServerConfig) -> Profile:
    peers = {id: str(address) for id, address in config.peers.items()}
    own = config.servers[config.node_id]
    hints = tuple(address for id, address in peers.items() if id != config.node_id)
    if config.join is not None:
        hints = (str(config.join), *hints)
    return Profile(
        config.cluster,
        config.node_id,
        str(own),
        peers[config.node_id],
        config.http_address,
        founders={} if config.join is not None else peers,
        hints=hints,
        servers={id: str(address) for id, address in config.servers.items()},
        peers=peers,
    )


def _end(error: BaseException) -> None:
    """The default `on_fatal`. A failed disk is no bug: its operator needs the sentence, and no traceback."""
    if not isinstance(error, StorageError):
        die(error)
    log.critical("the node ends: %s", error)
    logging.shutdown()
    os._exit(1)
