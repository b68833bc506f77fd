"""PeerNetwork: Raft messages over the RPC layer, both ways.

Outgoing: each other node has a ClientEnd, and messages are one-way requests ``(None, "raft", message)`` on
it. Any thread may send: enqueue() keeps messages in their order (under the node's mutex), and flush() lets
one thread a peer put them on the wire while others go on. A message that cannot be sent now is dropped; Raft
sends again what matters. Incoming: the listener for peers hands over each turn's messages as one batch. The
first request on a connection is a "hello": a Greeting (greeting.py), then a Hello (joining.py). What comes
before it, or from who does not belong here, closes the connection. What is wrong between two servers is in
`problems`, on both sides.
"""

from __future__ import annotations

import queue
import secrets
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Callable, NamedTuple, Protocol

from raftkv.errors import (
    BAD_REQUEST,
    ClosedError,
    ProtocolError,
    ResourceError,
    RpcError,
)
from raftkv.node.greeting import Greeting, addresses_text, check_called, difference, why_refused
from raftkv.node.interfaces import Refusal
from raftkv.node.joining import Hello, HelloReply
from raftkv.node.problems import Problems
from raftkv.node.snapshot_source import SnapshotSource
from raftkv.node.wire import from_plain, hello_from_plain, to_plain
from raftkv.raft.messages import InstallSnapshot, Message
from raftkv.raft.types import Snapshot
from raftkv.rpc.calls import FutureCall
from raftkv.rpc.channel import Channel, send_replies
from raftkv.rpc.client import ClientEnd
from raftkv.rpc.wire import dumps, frame
from raftkv.storage.persister import Persister
from raftkv.threads import start_thread

HELLO_TIMEOUT_S = 5.0
CLOSE_S = 0.5  # at most, for the thread that reads snapshots
ALIVE_S = 3.0  # a connection that brought something so lately is alive: its other side sends pings
UNREACHABLE_S = 5.0  # a peer that cannot be reached for so long is a problem
REFUSED_S = 10.0  # a peer that was refused, and does not come again for so long, is none any more
MAX_PEER_FRAME = 64 << 20  # bytes; an AppendEntries is at most max_append_bytes, or one larger entry


class PeerHandler(Protocol):
    """What PeerNetwork needs of the member it belongs to. Called on the threads of the rpc layer."""

    def on_messages(self, messages: list[Message]) -> list[Refusal]:
        """Messages of peers whose hello was accepted. Returns those that no correct peer sends."""

    def on_lost_contact(self, peer: int) -> None:
        """The connection from `peer` ended."""

    def make_hello(self) -> Hello: ...

    def is_remembered(self, hello: Hello) -> bool:
        """Need on_hello(hello) not wait for the disk?"""

    def on_hello(self, hello: Hello) -> tuple[HelloReply, bool]:
        """The answer to a peer's hello, and whether its Raft messages are accepted. May wait for the disk.
        Raises ProtocolError."""

    def on_hello_reply(self, reply: HelloReply) -> None: ...

    def on_snapshot_unreadable(self, peer: int, snapshot: Snapshot) -> None:
        """The snapshot that `peer` is being sent is not there any more. Called with no lock held."""


class _Caller(NamedTuple):
    """Who greeted on a connection: the random name of its process."""

    channel: Channel
    process: str


class PeerNetwork:
    """The connections of the node `id` to the others, and theirs to it. `addresses`: id -> (host, port) of
    all members.

    `on_fatal(exception)` is called when a connection's thread cannot go on: a failed disk, or a bug.
    """

    def __init__(
        self,
        id: int,
        addresses: Mapping[int, tuple[str, int]],
        authkey: bytes,
        persister: Persister,
        chunk_bytes: int,
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self.handler: PeerHandler  # from start() on
        self.problems = Problems()
        self.addresses = addresses_text(addresses)
        self.process = secrets.token_hex(8)
        self._id = id
        self._links = {
            peer: _Link(self, peer, address, authkey, SnapshotSource(persister, chunk_bytes), on_fatal)
            for peer, address in addresses.items()
            if peer != id
        }
        self._on_fatal = on_fatal
        self._chunks: queue.SimpleQueue[tuple[_Link, InstallSnapshot] | None] = queue.SimpleQueue()
        self._chunk_reader: threading.Thread | None = None
        self._channels: dict[int, Channel] = {}  # the newest accepted connection from each peer
        self._waiting: set[int] = set()  # peers whose hello waits for the disk
        self._callers: dict[int, _Caller] = {}  # the newest one that greeted as it, accepted or not

    def start(self, handler: PeerHandler) -> None:
        """Connect to the others. `handler` gets what arrives."""
        self.handler = handler
        self._chunk_reader = self._start_thread(self._read_chunks, "snapshot-reader")
        for link in self._links.values():
            link.end.start()

    def close(self) -> None:
        self._chunks.put(None)
        for link in self._links.values():
            link.end.close()
        if self._chunk_reader is not None:
            self._chunk_reader.join(CLOSE_S)
            if self._chunk_reader.is_alive():
                return  # the disk holds it up
        for link in self._links.values():
            link.snapshots.close()

    def _start_thread(self, body: Callable[[], None], name: str) -> threading.Thread:
        return start_thread(body, name, self._on_fatal)

    def read_chunk(self, link: _Link, message: InstallSnapshot) -> None:
        """Have the chunk that `message` is about read and sent, by a thread that may wait for the disk."""
        self._chunks.put((link, message))

    def _read_chunks(self) -> None:
        """The thread `snapshot-reader`."""
        while True:
            item = self._chunks.get()
            if item is None:
                return
            link, message = item
            link.send_chunk(message)

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
            for refusal in self.handler.on_messages(messages):
                self._refuse(refusal)

    def _refuse(self, refusal: Refusal) -> None:
        """End the connection of a peer that sent what no correct peer sends."""
        channel = self._channels.get(refusal.sender)
        if channel is not None:
            channel.close(f"node {refusal.sender} sent what no correct member sends: {refusal.reason}")
            text = (
                f"node {refusal.sender} is refused, it sends what no correct member sends: {refusal.reason}"
            )
            self.problems.set(("sent", refusal.sender), text, REFUSED_S)

    def on_close(self, channel: Channel) -> None:
        for id, caller in [*self._callers.items()]:
            if caller.channel is channel:
                del self._callers[id]
        peer = channel.context
        if peer is not None and self._channels.get(peer) is channel:
            del self._channels[peer]
            self.handler.on_lost_contact(peer)

    def _answer_hello(self, channel: Channel, id: Any, args: tuple[Any, ...]) -> None:
        caller: Any = _host(channel)  # until it said who it is
        try:
            greeting = hello_from_plain(Greeting, args[: len(Greeting._fields)])
            hello = hello_from_plain(Hello, args[len(Greeting._fields) :])
            if hello.id in self._links:
                caller = hello.id
            self._check_caller(channel, greeting, hello)
        except ProtocolError as error:
            self._refuse_hello(channel, id, caller, error)
            return
        if self.handler.is_remembered(hello):
            self._welcome(channel, id, caller, greeting, hello)
        elif hello.id in self._waiting:
            channel.close()  # the one before it waits for the disk still; the peer will come again
        else:  # it is new here, and waits for the disk: nobody else should
            self._waiting.add(hello.id)
            try:
                self._start_thread(lambda: self._welcome(channel, id, caller, greeting, hello), "hello")
            except ResourceError:
                self._waiting.discard(hello.id)
                channel.close()  # the peer will come again

    def _refuse_hello(self, channel: Channel, id: Any, caller: Any, error: ProtocolError) -> None:
        host = _host(channel)
        self.problems.set(("refused", caller), f"refused a server at {host}: {error}", REFUSED_S)
        send_replies([(channel, id, False, (BAD_REQUEST, str(error), None))])

    def _welcome(self, channel: Channel, id: Any, caller: Any, greeting: Greeting, hello: Hello) -> None:
        try:
            reply, accepted = self.handler.on_hello(hello)
        except ProtocolError as error:
            self._refuse_hello(channel, id, caller, error)
            return
        finally:
            self._waiting.discard(hello.id)
        if channel.closing:
            return  # it did not wait for the answer
        self._callers[hello.id] = _Caller(channel, greeting.process)
        self.problems.clear(("refused", hello.id))
        self.compare(hello.id, greeting.addresses)
        if accepted:
            before = self._channels.get(hello.id)
            if before is not None and before is not channel:
                before.context = None  # what it still brings may be of a disk that was lost since
                before.close()
            channel.context = hello.id
            self._channels[hello.id] = channel
            self._links[hello.id].end.connect_now()  # who comes back is reached again without waiting
        send_replies([(channel, id, True, (self.addresses, *reply))])
        if channel.closing:  # on_close() may have been called before it was known whose it is
            self.on_close(channel)

    def _check_caller(self, channel: Channel, greeting: Greeting, hello: Hello) -> None:
        """Raises ProtocolError if it did not mean to call this node, or is not the only one with its id."""
        if greeting.process == self.process:
            raise ProtocolError(
                f"[peers] has this node's own address for node {greeting.to}: correct that line"
            )
        check_called(hello.id, greeting.to, self._id)
        other = self._callers.get(hello.id)
        if (
            other is not None
            and other.process != greeting.process
            and other.channel is not channel
            and channel.heard_at - other.channel.heard_at < ALIVE_S
        ):
            raise ProtocolError(
                f"two servers say that they are node {hello.id}: one at {_host(channel)} and, still connected, "
                f"one at {_host(other.channel)}; stop one, and correct its [node] id and data_dir"
            )

    def compare(self, peer: int, addresses: str) -> None:
        """Node `peer` has these addresses of the members."""
        text = difference(peer, addresses, self.addresses)
        if text is None:
            self.problems.clear(("addresses", peer))
        else:
            self.problems.set(("addresses", peer), text)


def _host(channel: Channel) -> str:
    """Without the port, which is another one each time."""
    return channel.peer.rpartition(":")[0]


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
        self._where = f"node {peer} at {address[0]}:{address[1]}"
        self._failing_since: float | None = None  # time.monotonic()
        self._sending = threading.Lock()
        self.end = ClientEnd(
            address,
            authkey,
            name=f"peer-{peer}",
            hello=self._hello,
            on_hello=self._on_hello,
            on_failure=self._on_failure,
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
                    message = outbox.popleft()
                    if type(message) is InstallSnapshot:
                        self._network.read_chunk(self, message)
                    else:
                        frames.append(frame(dumps((None, "raft", to_plain(message)))))
                if frames:
                    self.end.notify(b"".join(frames))
            finally:
                self._sending.release()

    def greet(self) -> None:
        """Say hello once more on the connection, if there is one."""
        method, args = self._hello()
        call = FutureCall(time.monotonic() + HELLO_TIMEOUT_S)
        try:
            self.end.begin(call, method, args)  # in its order with what flush() sends
        except (ClosedError, RpcError):
            return  # the node is being stopped; or the next connection begins with a hello
        call.future.add_done_callback(self._greeted)

    def _greeted(self, future: Future[Any]) -> None:
        try:
            self._on_hello(future.result())
        except RpcError:
            pass  # the next connection begins with a hello
        except BaseException as error:
            self._on_fatal(error)  # a Future would swallow it

    def _hello(self) -> tuple[str, tuple[Any, ...]]:
        network = self._network
        greeting = Greeting(self._peer, network.process, network.addresses)
        return "hello", (*greeting, *network.handler.make_hello())

    def _on_hello(self, result: Any) -> None:
        if type(result) is not tuple or not result or type(result[0]) is not str:
            raise ProtocolError("it does not answer a hello as a member does")
        addresses, reply = result[0], hello_from_plain(HelloReply, result[1:])
        if reply.id != self._peer:
            raise ProtocolError(f"node {reply.id} answers there")
        self._network.handler.on_hello_reply(reply)
        self._failing_since = None
        self._network.problems.clear(("call", self._peer))
        self._network.compare(self._peer, addresses)

    def _on_failure(self, error: RpcError) -> None:
        """An attempt to connect has failed."""
        now, reason = time.monotonic(), why_refused(error)
        if reason is not None:
            self._failing_since = None
        elif self._failing_since is None:
            self._failing_since = now
        elif now >= self._failing_since + UNREACHABLE_S:
            self._failing_since = float("inf")  # said once: the error may be another one each time
            reason = f"cannot be reached: {error}"
        if reason is not None:
            self._network.problems.set(("call", self._peer), f"{self._where} {reason}")

    def send_chunk(self, message: InstallSnapshot) -> None:
        """Send `message` with the bytes that belong to it, unless that snapshot is not there any more."""
        chunk = self.snapshots.read(message.snapshot, message.offset)
        if chunk is None:
            self._network.handler.on_snapshot_unreadable(self._peer, message.snapshot)
            return
        whole = message._replace(data=chunk[0], done=chunk[1])
        self.end.notify(frame(dumps((None, "raft", to_plain(whole)))))
