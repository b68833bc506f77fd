"""PeerNetwork: Raft messages over the RPC layer, both ways.

Outgoing: each other node has a ClientEnd, and messages are one-way requests ``(None, "raft", message)`` on
it. Any thread may send: enqueue() keeps messages in their order (under the node's mutex), and flush() lets
one thread a peer put them on the wire while others go on. A message that cannot be sent now is dropped; Raft
sends again what matters. Incoming: the listener for peers hands over each turn's messages as one batch. The
first request on a connection is a "hello" (see joining.py); what comes before it, or from who does not belong
here, closes the connection.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Callable, Protocol

from raftkv.errors import BAD_REQUEST, ClosedError, ProtocolError, RpcError
from raftkv.node.joining import Hello, HelloReply
from raftkv.node.wire import from_plain, hello_from_plain, to_plain
from raftkv.raft.messages import InstallSnapshot, Message
from raftkv.raft.types import Snapshot
from raftkv.rpc.channel import Channel, send_replies
from raftkv.rpc.client import ClientEnd
from raftkv.rpc.wire import dumps, frame
from raftkv.storage.persister import Persister, SnapshotReader

log = logging.getLogger("raftkv.raft")

HELLO_TIMEOUT_S = 5.0
MAX_PEER_FRAME = 64 << 20  # bytes; an AppendEntries is at most max_append_bytes, or one larger entry


class PeerHandler(Protocol):
    """What PeerNetwork needs of the member it belongs to. Called on the threads of the rpc layer."""

    def on_messages(self, messages: list[Message]) -> None:
        """Messages of peers whose hello was accepted."""

    def on_lost_contact(self, peer: int) -> None:
        """The connection from `peer` ended."""

    def make_hello(self) -> Hello: ...

    def on_hello(self, hello: Hello) -> tuple[HelloReply, bool]:
        """The answer to a peer's hello, and whether its Raft messages are accepted. Raises ProtocolError."""

    def on_hello_reply(self, reply: HelloReply) -> None: ...

    def on_snapshot_unreadable(self, peer: int, snapshot: Snapshot) -> None:
        """The snapshot that `peer` is being sent is not there any more. Called with no lock held but the
        link's."""


class PeerNetwork:
    """This node's connections to the others, and theirs to it. `addresses`: id -> (host, port) of the other
    nodes.

    `on_fatal(exception)` is called when a connection's thread cannot go on: a failed disk, or a bug.
    """

    def __init__(
        self,
        addresses: Mapping[int, tuple[str, int]],
        authkey: bytes,
        persister: Persister,
        chunk_bytes: int,
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self.handler: PeerHandler  # from start() on
        self._links = {
            peer: _Link(self, peer, address, authkey, SnapshotSource(persister, chunk_bytes), on_fatal)
            for peer, address in addresses.items()
        }
        self._channels: dict[int, Channel] = {}  # the newest accepted connection from each peer

    def start(self, handler: PeerHandler) -> None:
        """Connect to the others. `handler` gets what arrives."""
        self.handler = handler
        for link in self._links.values():
            link.end.start()

    def close(self) -> None:
        for link in self._links.values():
            link.close()

    def greet(self) -> None:
        """Say hello again on every connection: this node is another one now than when it connected."""
        for link in self._links.values():
            link.greet()

    # -- outgoing (see node.Network) -------------------------------------------------------------------------

    def enqueue(self, messages: Sequence[Message]) -> None:
        for message in messages:
            link = self._links.get(message.to)
            if link is not None:
                link.outbox.append(message)

    def flush(self) -> None:
        for link in self._links.values():
            if link.outbox:
                link.flush()

    # -- incoming: the rpc server's handler for the peers' listener ------------------------------------------

    def on_requests(self, batch: list[tuple[Channel, Any, str, tuple[Any, ...]]]) -> None:
        messages: list[Message] = []
        for channel, id, method, args in batch:
            try:
                if method == "raft" and channel.context is not None:
                    message = from_plain(args)
                    if message.sender != channel.context:
                        raise ProtocolError(f"a message in the name of node {message.sender}")
                    messages.append(message)
                elif method == "hello":
                    self._answer_hello(channel, id, args)
                else:
                    raise ProtocolError("a request before a hello that was accepted")
            except ProtocolError as error:
                channel.close(str(error))
        if messages:
            self.handler.on_messages(messages)

    def on_close(self, channel: Channel) -> None:
        peer = channel.context
        if peer is not None and self._channels.get(peer) is channel:
            del self._channels[peer]
            self.handler.on_lost_contact(peer)

    def _answer_hello(self, channel: Channel, id: Any, args: tuple[Any, ...]) -> None:
        try:
            hello = hello_from_plain(Hello, args)
            reply, accepted = self.handler.on_hello(hello)
        except ProtocolError as error:
            log.warning("refused %s: %s", channel.peer, error)
            send_replies([(channel, id, False, (BAD_REQUEST, str(error), None))])
            return
        if accepted:
            before = self._channels.get(hello.id)
            if before is not None and before is not channel:
                before.context = None  # what it still brings may be of a disk that was lost since
                before.close()
            channel.context = hello.id
            self._channels[hello.id] = channel
            self._links[hello.id].end.connect_now()  # who comes back is reached again without waiting
        send_replies([(channel, id, True, tuple(reply))])


class _Link:
    """The way to one peer: what waits to be sent, and the end that sends it."""

    def __init__(
        self,
        network: PeerNetwork,
        peer: int,
        address: tuple[str, int],
        authkey: bytes,
        snapshots: SnapshotSource,
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self.outbox: deque[Message] = deque()
        self.snapshots = snapshots
        self._network, self._peer, self._on_fatal = network, peer, on_fatal
        self._sending = threading.Lock()
        self.end = ClientEnd(
            address,
            authkey,
            name=f"peer-{peer}",
            hello=self._hello,
            on_hello=self._on_hello,
            on_fatal=on_fatal,
            keep_connected=True,
            idle_ping_interval_s=1.0,  # what is sent to a peer has no answer to wait for
        )

    def flush(self) -> None:
        """Send the outbox in its order. Only tries for the lock: whoever has it looks again after letting
        go."""
        outbox = self.outbox
        while outbox and self._sending.acquire(blocking=False):
            try:
                frames = []
                while outbox:
                    message: Message | None = outbox.popleft()
                    if type(message) is InstallSnapshot:
                        message = self._with_chunk(message)
                    if message is not None:
                        frames.append(frame(dumps((None, "raft", to_plain(message)))))
                if frames:
                    self.end.notify(b"".join(frames))
            finally:
                self._sending.release()

    def close(self) -> None:
        self.end.close()
        with self._sending:  # the node's threads may still be reading a chunk
            self.snapshots.close()

    def greet(self) -> None:
        """Say hello once more on the connection, if there is one."""
        method, args = self._hello()
        try:
            future = self.end.submit(method, args, HELLO_TIMEOUT_S)
        except ClosedError:
            return  # the node is being stopped
        future.add_done_callback(self._greeted)

    def _greeted(self, future: Future[Any]) -> None:
        try:
            self._on_hello(future.result())
        except RpcError as error:
            log.debug(
                "node %d, greeted again: %s", self._peer, error
            )  # the next connection begins with a hello
        except BaseException as error:
            self._on_fatal(error)  # a Future would swallow it

    def _hello(self) -> tuple[str, tuple[Any, ...]]:
        return "hello", tuple(self._network.handler.make_hello())

    def _on_hello(self, result: Any) -> None:
        reply = hello_from_plain(HelloReply, result)
        if reply.id != self._peer:
            raise ProtocolError(
                f"node {reply.id} answers at the address of node {self._peer}: compare the [peers] sections"
            )
        self._network.handler.on_hello_reply(reply)

    def _with_chunk(self, message: InstallSnapshot) -> InstallSnapshot | None:
        """`message` with the bytes that belong to it, or None if that snapshot is not there any more."""
        chunk = self.snapshots.read(message.snapshot, message.offset)
        if chunk is None:
            self._network.handler.on_snapshot_unreadable(self._peer, message.snapshot)
            return None
        return message._replace(data=chunk[0], done=chunk[1])


class SnapshotSource:
    """Reads the snapshot that is being sent to one peer. Stays readable when a newer one replaces it.

    A peer that was sent all of it and asks for its beginning may have found it damaged. If the damage is in
    this node's file, the peer would ask for ever; then this node is the one that must stop.
    """

    def __init__(self, persister: Persister, chunk_bytes: int) -> None:
        self._persister, self._chunk_bytes = persister, chunk_bytes
        self._reader: SnapshotReader | None = None
        self._sent: Snapshot | None = None  # the last one that was read to its end

    def read(self, snapshot: Snapshot, offset: int) -> tuple[bytes, bool] | None:
        """(the chunk from `offset` on, whether it is the last), or None if this snapshot cannot be had.

        Raises StorageError: the disk failed; DamagedDataError: the file is not what was written.
        """
        with self._persister.guard:
            reader = self._open(snapshot)
            if reader is None:
                return None
            if offset == 0 and snapshot == self._sent:
                reader.verify()
                self._sent = None
            data = reader.read(offset, self._chunk_bytes)
            done = offset + len(data) >= reader.size
        if done:
            self._sent = snapshot
            self.close()
        return data, done

    def _open(self, snapshot: Snapshot) -> SnapshotReader | None:
        if self._reader is None or self._reader.snapshot != snapshot:
            self.close()
            self._reader = self._persister.open_snapshot()
        return self._reader if self._reader is not None and self._reader.snapshot == snapshot else None

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None
