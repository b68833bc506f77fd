"""PeerLink: the way to the server at one address. What waits to be sent, and the end that sends it."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any, Callable, Protocol

from raftkv.errors import REMOVED, AuthenticationError, ProtocolError, RemoteError, RpcError
from raftkv.histogram import NETWORK_S, Histogram
from raftkv.node.hello import Hello, RefusedError
from raftkv.node.snapshot_source import SnapshotSource
from raftkv.node.wire import hello_from_plain, to_plain
from raftkv.raft.messages import InstallSnapshot, Message
from raftkv.rpc.client import ClientEnd
from raftkv.rpc.wire import dumps, frame
from raftkv.storage.persister import Persister

UNREACHABLE_S = 5.0  # a server that cannot be reached for so long is a problem


class LinkOwner(Protocol):
    """What a link needs of the network that it belongs to. Called on the link's own thread, or on one that
    sends."""

    def make_hello(self) -> Hello: ...

    def link_up(self, link: PeerLink, hello: Hello) -> None:
        """Who answers there. Raises ProtocolError if it does not belong here."""

    def link_down(self, link: PeerLink) -> None: ...

    def link_failed(self, link: PeerLink, sentence: str | None, is_removal: bool) -> None:
        """An attempt to connect failed: what is wrong with that, if it is worth a sentence."""

    def read_chunk(self, link: PeerLink, message: InstallSnapshot) -> None:
        """Have send_chunk() called by a thread that may wait for the disk."""

    def snapshot_unreadable(self, uid: int, message: InstallSnapshot) -> None: ...


class PeerLink:
    """`address` is "host:port"; `expected` the id of the node that should answer there, 0 if any. `hello` is
    what the one that answers said, while the link is up."""

    def __init__(
        self,
        owner: LinkOwner,
        address: str,
        expected: int,
        authkey: bytes,
        persister: Persister,
        chunk_bytes: int,
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self.address, self.expected = address, expected
        self.hello: Hello | None = None
        self.is_over = False  # it is being closed
        self.outbox: deque[Message] = deque()
        self.sent_bytes = 0  # of messages, but for snapshots
        self._round_trips = Histogram(NETWORK_S)
        self._owner = owner
        self._snapshots = SnapshotSource(persister, chunk_bytes)
        self._failing_since: float | None = None  # time.monotonic()
        self.is_refused = False  # the other side refused this server when it last said anything
        self._sending = threading.Lock()
        host, _, port = address.rpartition(":")
        self.end = ClientEnd(
            (host, int(port)),
            authkey,
            name=f"peer-{expected or address}",
            hello=self._hello,
            on_hello=self._on_hello,
            on_down=lambda reason: self._on_down(),
            on_failure=self._on_failure,
            on_fatal=on_fatal,
            on_pong=self._round_trips.observe,
            keep_connected=True,
            idle_ping_interval_s=1.0,  # what is sent to a peer has no answer to wait for
        )

    def close(self) -> None:
        self.end.close()

    def close_snapshot(self) -> None:
        """When nothing reads a chunk any more."""
        self._snapshots.close()

    def describe(self) -> dict[str, Any]:
        """For `status`."""
        return {
            "id": self.hello.id if self.hello is not None else self.expected,
            "sent_bytes": self.sent_bytes,
            "waiting_bytes": self.end.waiting_bytes,
            "round_trips": self._round_trips.plain(),
        }

    # -- sending ---------------------------------------------------------------------------------------------

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
                        self._owner.read_chunk(self, message)
                    else:
                        frames.append(frame(dumps((None, "raft", to_plain(message)))))
                if frames:
                    data = b"".join(frames)
                    self.sent_bytes += len(data)
                    self.end.notify(data)
            finally:
                self._sending.release()

    def send_chunk(self, message: InstallSnapshot) -> None:
        """Send `message` with the bytes that belong to it, unless that snapshot is not there any more."""
        chunk = self._snapshots.read(message.snapshot, message.offset)
        if chunk is None:
            self._owner.snapshot_unreadable(message.to, message)
            return
        whole = message._replace(data=chunk[0], done=chunk[1])
        self.end.notify(frame(dumps((None, "raft", to_plain(whole)))))

    # -- the hello -------------------------------------------------------------------------------------------

    def _hello(self) -> tuple[str, tuple[Any, ...]]:
        return "hello", (self.expected, *self._owner.make_hello())

    def _on_hello(self, result: Any) -> None:
        hello = hello_from_plain(result)
        if self.expected not in (0, hello.id):
            raise ProtocolError(f"node {hello.id} answers there")
        self._owner.link_up(self, hello)
        self.is_refused = False
        self._failing_since = None

    def _on_down(self) -> None:
        self._owner.link_down(self)

    def _on_failure(self, error: RpcError) -> None:
        now, reason = time.monotonic(), why_refused(error)
        if reason is not None:
            self._failing_since = None
        elif self._failing_since is None:
            self._failing_since = now
        elif now >= self._failing_since + UNREACHABLE_S:
            self._failing_since = float("inf")  # said once: the error may be another one each time
            reason = f"cannot be reached: {error}"
        where = (
            f"node {self.expected} at {self.address}" if self.expected else f"the server at {self.address}"
        )
        is_removal = isinstance(error, RemoteError) and error.code == REMOVED
        self.is_refused = isinstance(error, RemoteError)
        self._owner.link_failed(self, None if reason is None else f"{where} {reason}", is_removal)


def why_refused(error: RpcError) -> str | None:
    """What an attempt to connect says of the other side; None if it was not even reached."""
    if isinstance(error, RemoteError):
        return f"refuses this node: {error}"
    if isinstance(error, AuthenticationError):
        return "does not hold the same key: compare [auth] peer_key_file of both, and see that this is an address for peers"
    if isinstance(error, RefusedError):
        return f"is refused: {error}"
    if isinstance(error, ProtocolError):
        return f"is no member of this cluster ({error}): compare the sections [peers] of both"
    return None
