"""PeerNetwork: Raft messages over the RPC layer, both ways.

Outgoing: a PeerLink to each address that follow() names, whoever answers there; a message goes to the link on which
its receiver has answered. Messages are one-way requests ``(None, "raft", message)``. Any thread may send: enqueue()
keeps messages in their order (under the node's mutex), and flush() lets one thread a link put them on the wire
while others go on. A message that cannot be sent now is dropped; Raft sends again what matters.

Incoming: the listener for peers hands over each turn's messages as one batch. The first request on a connection is
a "hello" (hello.py), which is answered by one. What comes before it closes the connection. What is wrong between two
servers is in `problems`, on both sides.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Protocol

from raftkv.errors import BAD_REQUEST, REMOVED, ClosedError, ProtocolError, ResourceError, RpcError
from raftkv.node.hello import Hello, RemovedError
from raftkv.node.interfaces import Refusal
from raftkv.node.peer_link import PeerLink
from raftkv.node.problems import Problems
from raftkv.node.wire import from_plain, hello_from_plain
from raftkv.raft.messages import InstallSnapshot, Message
from raftkv.raft.types import Snapshot
from raftkv.rpc.channel import Channel, send_replies
from raftkv.storage.persister import Persister
from raftkv.threads import start_thread

CLOSE_S = 0.5  # at most, for the thread that reads snapshots
CALLED_S = 30.0
REFUSED_S = 10.0  # a peer that was refused, and does not come again for so long, is none any more
CUT_OFF = "this server is cut off from the others until it is told otherwise"
MAX_PEER_FRAME = 64 << 20  # bytes; an AppendEntries is at most max_append_bytes, or one larger entry


class PeerHandler(Protocol):
    """What PeerNetwork needs of the member it belongs to. Called on the threads of the rpc layer."""

    def on_messages(self, messages: list[Message]) -> list[Refusal]:
        """Messages of servers whose hello was accepted. Returns those that no correct one sends."""

    def on_lost_contact(self, peer: int) -> None:
        """The connection from the disk `peer` ended."""

    def make_hello(self) -> Hello: ...

    def is_remembered(self, hello: Hello) -> bool:
        """Need on_hello(hello) not wait for the disk?"""

    def on_hello(self, to: int, hello: Hello) -> Hello:
        """The answer to a hello that was meant for node `to`, or for any (0). May wait for the disk. Raises
        ProtocolError."""

    def on_hello_reply(self, hello: Hello) -> None:
        """May wait for the disk. Raises ProtocolError."""

    def on_removed(self, sentence: str) -> None:
        """A member says that this server's disk was removed from the cluster."""

    def on_snapshot_unreadable(self, peer: int, snapshot: Snapshot) -> None:
        """The snapshot that `peer` is being sent is not there any more. Called with no lock held."""


class PeerNetwork:
    """The connections of a server to the others, and theirs to it.

    `on_fatal(exception)` is called when a connection's thread cannot go on: a failed disk, or a bug.
    """

    def __init__(
        self,
        authkey: bytes,
        persister: Persister,
        chunk_bytes: int,
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self.handler: PeerHandler  # from start() on
        self.problems = Problems()
        self._on_fatal = on_fatal
        self._authkey, self._persister, self._chunk_bytes = authkey, persister, chunk_bytes
        self._links: dict[str, PeerLink] = {}  # by address; replaced as a whole
        self._routes: dict[int, PeerLink] = {}  # uid -> the link on which it answered
        self._chunks: queue.SimpleQueue[tuple[PeerLink, InstallSnapshot | None] | None] = queue.SimpleQueue()
        self._chunk_reader: threading.Thread | None = None
        self._callers: dict[int, tuple[Channel, Hello]] = {}  # uid -> the newest connection from it
        self._called: dict[str, float] = {}  # address -> until when, by time.monotonic(); replaced as a whole
        self._waiting: set[int] = set()  # uids whose hello waits for the disk
        self._changing = threading.Lock()  # held by who replaces `_links`
        self._is_closed = self._is_cut_off = False

    def start(self, handler: PeerHandler) -> None:
        """`handler` gets what arrives."""
        self.handler = handler
        self._chunk_reader = self._start_thread(self._read_chunks, "snapshot-reader")

    def close(self) -> None:
        self._is_closed = True
        self._chunks.put(None)
        for link in self._links.values():
            link.close()
        if self._chunk_reader is not None:
            self._chunk_reader.join(CLOSE_S)
            if self._chunk_reader.is_alive():
                return  # the disk holds it up
        for link in self._links.values():
            link.close_snapshot()

    # -- whom to be connected with; for one thread -----------------------------------------------------------

    def follow(self, wanted: Mapping[str, int]) -> None:
        """Be connected to the servers at these addresses, and to no others: address -> id, 0 if that is not
        known. What cannot be begun now is begun at the next call."""
        if self._is_cut_off:
            wanted = {}
        if self._is_closed or wanted == {address: link.expected for address, link in self._links.items()}:
            return
        with self._changing:
            self._links = self._changed(self._links, wanted)

    def cut_off(self, is_cut_off: bool) -> None:
        """Whether this server hears nothing of the others, and they nothing of it, as by a broken network: for lessons and
        drills. Any thread may call it."""
        self._is_cut_off = is_cut_off
        if not is_cut_off:
            self.problems.clear("cut off")
            return
        self.problems.set("cut off", CUT_OFF)
        self.follow({})
        for channel, _ in [*self._callers.values()]:
            channel.close()

    def _changed(self, links: dict[str, PeerLink], wanted: Mapping[str, int]) -> dict[str, PeerLink]:
        kept = {address: link for address, link in links.items() if wanted.get(address) == link.expected}
        for address, link in links.items():
            if address not in kept:
                self._end_link(link)
        for address, expected in wanted.items():
            if address not in kept:
                link = PeerLink(
                    self, address, expected, self._authkey, self._persister, self._chunk_bytes, self._on_fatal
                )
                with contextlib.suppress(RpcError):  # no thread: it is tried again when something is sent
                    link.end.start()
                kept[address] = link
        return kept

    def _end_link(self, link: PeerLink) -> None:
        link.is_over = True
        self.link_down(link)
        self._chunks.put((link, None))  # to close it may take a moment
        self.problems.clear(("call", link.address))

    def met(self) -> dict[int, Hello]:
        """uid -> the hello of each server that this one is connected with."""
        answered = {uid: link.hello for uid, link in [*self._routes.items()] if link.hello is not None}
        return {**answered, **{uid: hello for uid, (_, hello) in [*self._callers.items()]}}

    def call(self, address: str) -> None:
        """Let called() name this address for a while."""
        now = time.monotonic()
        called = {other: until for other, until in self._called.items() if until > now}
        self._called = {**called, address: now + CALLED_S}

    def called(self) -> list[str]:
        """Addresses of servers that are expected there; see MemberAdmin.add()."""
        now = time.monotonic()
        return [address for address, until in self._called.items() if until > now]

    @property
    def is_refused(self) -> bool:
        """Does another server refuse this one?"""
        return any(link.is_refused for link in [*self._links.values()])

    def describe(self) -> list[dict[str, Any]]:
        """For `status`: of each peer that is known, what has been sent, and how long a round trip takes."""
        found = [link.describe() for link in [*self._links.values()]]
        return [row for row in found if row["id"]]

    def drop(self, uid: int, reason: str) -> None:
        """End the connections with the disk `uid`."""
        caller, link = self._callers.get(uid), self._routes.get(uid)
        if caller is not None:
            caller[0].close(reason)
        if link is not None:
            with self._changing:
                self._links = {address: other for address, other in self._links.items() if other is not link}
            self._end_link(link)

    # -- outgoing (see node.Network) -------------------------------------------------------------------------

    def enqueue(self, messages: Sequence[Message]) -> None:
        for message in messages:
            link = self._routes.get(message.to)
            if link is not None:
                link.outbox.append(message)

    def flush(self) -> None:
        for link in self._links.values():
            if link.outbox:
                link.flush()

    # -- what links call -------------------------------------------------------------------------------------

    def make_hello(self) -> Hello:
        return self.handler.make_hello()

    def link_up(self, link: PeerLink, hello: Hello) -> None:
        self.handler.on_hello_reply(hello)
        if link.is_over:
            raise ProtocolError("it is not wanted any more")
        link.hello = hello
        self._routes[hello.uid] = link
        self.problems.clear(("call", link.address))

    def link_down(self, link: PeerLink) -> None:
        hello, link.hello = link.hello, None
        link.outbox.clear()
        if hello is not None and self._routes.get(hello.uid) is link:
            del self._routes[hello.uid]

    def link_failed(self, link: PeerLink, sentence: str | None, is_removal: bool) -> None:
        if sentence is not None:
            self.problems.set(("call", link.address), sentence)
        if is_removal and sentence is not None:
            self.handler.on_removed(sentence)

    def snapshot_unreadable(self, uid: int, message: InstallSnapshot) -> None:
        self.handler.on_snapshot_unreadable(uid, message.snapshot)

    def read_chunk(self, link: PeerLink, message: InstallSnapshot) -> None:
        self._chunks.put((link, message))

    def _read_chunks(self) -> None:
        """The thread `snapshot-reader`."""
        while True:
            item = self._chunks.get()
            if item is None:
                return
            link, message = item
            if message is None:
                link.close()
                link.close_snapshot()
            else:
                link.send_chunk(message)

    def _start_thread(self, body: Callable[[], None], name: str) -> threading.Thread:
        return start_thread(body, name, self._on_fatal)

    # -- incoming: the rpc server's handler for the peers' listener ------------------------------------------

    def on_requests(self, batch: list[tuple[Channel, Any, str, tuple[Any, ...]]]) -> None:
        messages: list[Message] = []
        for channel, id, method, args in batch:
            try:
                if self._is_cut_off:
                    channel.close()
                elif method == "raft" and channel.context is not None:
                    message = from_plain(args)
                    if message.sender != channel.context:
                        raise ProtocolError("a message in the name of another server")
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
        caller = self._callers.get(refusal.sender)
        if caller is not None:
            channel, hello = caller
            channel.close(f"node {hello.id} sent what no correct member sends: {refusal.reason}")
            text = f"node {hello.id} is refused, it sends what no correct member sends: {refusal.reason}"
            self.problems.set(("sent", refusal.sender), text, REFUSED_S)

    def on_close(self, channel: Channel) -> None:
        uid = channel.context
        caller = self._callers.get(uid)
        if caller is not None and caller[0] is channel:
            del self._callers[uid]
            self.handler.on_lost_contact(uid)

    def _answer_hello(self, channel: Channel, id: Any, args: tuple[Any, ...]) -> None:
        try:
            if not args or type(args[0]) is not int:
                raise ProtocolError("not a hello of this version of the peers' protocol")
            to, hello = args[0], hello_from_plain(args[1:])
        except ProtocolError as error:
            self._refuse_hello(channel, id, _host(channel), _host(channel), error)
            return
        if self.handler.is_remembered(hello):
            self._welcome(channel, id, to, hello)
        elif hello.uid in self._waiting:
            channel.close()  # the one before it waits for the disk still; the peer will come again
        else:  # it is new here, and waits for the disk: nobody else should
            self._waiting.add(hello.uid)
            try:
                self._start_thread(lambda: self._welcome(channel, id, to, hello), "hello")
            except ResourceError:
                self._waiting.discard(hello.uid)
                channel.close()  # the peer will come again

    def _refuse_hello(self, channel: Channel, id: Any, caller: Any, where: str, error: ProtocolError) -> None:
        self.problems.set(("refused", caller), f"refused a server at {where}: {error}", REFUSED_S)
        code = REMOVED if isinstance(error, RemovedError) else BAD_REQUEST
        send_replies([(channel, id, False, (code, str(error), None))])

    def _welcome(self, channel: Channel, id: Any, to: int, hello: Hello) -> None:
        try:
            reply = self.handler.on_hello(to, hello)
        except ProtocolError as error:
            self._refuse_hello(channel, id, hello.uid, hello.peer_address, error)
            return
        finally:
            self._waiting.discard(hello.uid)
        if channel.closing:
            return  # it did not wait for the answer
        self.problems.clear(("refused", hello.uid))
        before = self._callers.get(hello.uid)
        if before is not None and before[0] is not channel:
            before[0].context = None  # of an earlier life, perhaps
            before[0].close()
        channel.context = hello.uid
        self._callers[hello.uid] = channel, hello
        self._forget_earlier_life(hello)
        link = self._links.get(hello.peer_address)
        if link is not None:
            with contextlib.suppress(ClosedError):
                link.end.connect_now()  # who comes back is reached again without waiting
        send_replies([(channel, id, True, tuple(reply))])
        if channel.closing:  # on_close() may have been called before it was known whose it is
            self.on_close(channel)

    def _forget_earlier_life(self, hello: Hello) -> None:
        """What is said to the process that was on this disk before is not for it any more."""
        link = self._routes.get(hello.uid)
        if link is not None and link.hello is not None and link.hello.tokens != hello.tokens:
            self.drop(hello.uid, "a later start of this server has been met")


def _host(channel: Channel) -> str:
    """Without the port, which is another one each time."""
    return channel.peer.rpartition(":")[0]
