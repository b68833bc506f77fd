"""PeerPort: what PeerNetwork is to a real member, over the simulated network.

A connection is one direction between two processes, as there: its first words are a hello, and what comes
before a hello that was accepted ends it. When it ends, the receiver learns it sooner or later, and the sender
dials again.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from raftkv.errors import ProtocolError
from raftkv.node.joining import Hello, HelloReply
from raftkv.node.network import PeerHandler
from raftkv.node.snapshot_source import SnapshotSource
from raftkv.node.wire import from_plain, to_plain
from raftkv.raft.messages import AppendEntries, InstallSnapshot, Message
from raftkv.raft.types import Entry

from tests.sim.network import Letter, Network
from tests.sim.trace import format_hello, format_received, format_sent

if TYPE_CHECKING:
    from tests.sim.process import Process

HELLO_TIMEOUT_S = 1.0
REDIAL_S = (0.05, 0.5)


class Connection:
    """From the process `sender` to the process `to`. `up`: the sender was answered; `accepted`: by the
    receiver."""

    def __init__(self, sender: Process, to: Process) -> None:
        self.sender, self.to = sender, to
        self.open = True
        self.up = self.accepted = False


class PeerPort:
    """The links of one process. `peers` are the ids of the others."""

    def __init__(self, process: Process, peers: Sequence[int], chunk_bytes: int, rng: random.Random) -> None:
        self._process, self._world, self._rng = process, process.world, rng
        self._network: Network = process.world.network
        self._encoded = process.world.plan.encoded
        self._handler: PeerHandler
        self._outboxes: dict[int, deque[Message]] = {peer: deque() for peer in peers}
        self._sources = {peer: SnapshotSource(process.persister, chunk_bytes) for peer in peers}
        self._flushing: list[int] = []
        self._waiting = False  # is anything in an outbox?
        self._waiting_hellos: set[int] = set()  # of peers, that wait for the disk
        self.dialled: dict[int, Connection] = {}
        self.incoming: dict[int, Connection] = {}

    # -- what the member calls -------------------------------------------------------------------------------

    def start(self, handler: PeerHandler) -> None:
        self._handler = handler
        for peer in self._outboxes:
            self._later(self._rng.uniform(0, 0.02), self._dial, peer)

    def close(self) -> None:
        for source in self._sources.values():
            source.close()

    def greet(self) -> None:
        for connection in list(self.dialled.values()):
            if connection.open:
                self._say_hello(connection)

    def enqueue(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._outboxes[message.to].append(message)
            self._waiting = True

    def flush(self) -> None:
        if not self._waiting:
            return
        self._waiting = False
        for peer, outbox in self._outboxes.items():
            if outbox and peer not in self._flushing:
                self._flushing.append(peer)
                while outbox:
                    message = outbox.popleft()
                    if type(message) is InstallSnapshot:
                        self._later(0.0, self._send_chunk, peer, message)
                    else:
                        self._send(message)
                self._flushing.remove(peer)

    # -- sending ---------------------------------------------------------------------------------------------

    def _send_chunk(self, peer: int, message: InstallSnapshot) -> None:
        """Fill in a snapshot's bytes, as the thread snapshot-reader does."""
        chunk = self._sources[peer].read(message.snapshot, message.offset)
        if chunk is None:
            self._handler.on_snapshot_unreadable(peer, message.snapshot)
        else:
            self._send(message._replace(data=chunk[0], done=chunk[1]))

    def _send(self, message: Message) -> None:
        world, connection = self._world, self.dialled.get(message.to)
        world.count["messages"] += 1
        process, carried = self._process, False
        assert process.raft is not None, f"n{process.id} says {message} before it takes part"
        if connection is not None and connection.open and connection.up:
            cargo = to_plain(message) if self._encoded else message
            sender, to = process.host, connection.to.host
            letter = Letter(sender.id, sender.disks, to.id, to.disks, cargo)
            self._network.recent.append(letter)
            if world.plan.letters:
                carried = self._network.carry_loosely(sender.id, to.id, to.receive_letter, letter)
            else:
                carried = self._network.carry_loosely(
                    sender.id, to.id, connection.to.receive_peer, connection, cargo
                )
        if not carried and world.tracing:
            world.say(f"{format_sent(process.raft, message)} (lost)")
        process.promises.note(message, process.raft)
        if process.host.trap is not None:
            process.host.spring(type(message).__name__)

    # -- connections, as the one who dials -------------------------------------------------------------------

    def _later(self, delay_s: float, action: Any, *args: Any) -> None:
        self._world.schedule(delay_s, self._process.run, action, *args)

    def _dial(self, peer: int) -> None:
        old = self.dialled.get(peer)
        if old is not None and old.open:
            return
        other = self._world.hosts[peer].process
        id = self._process.id
        if other is None or self._network.is_cut(id, peer) or self._network.is_cut(peer, id):
            self._later(self._rng.uniform(*REDIAL_S), self._dial, peer)
            return
        connection = self.dialled[peer] = Connection(self._process, other)
        self._say_hello(connection)
        self._later(HELLO_TIMEOUT_S, self._give_up, connection)

    def _say_hello(self, connection: Connection) -> None:
        hello = self._handler.make_hello()
        id, to = self._process.id, connection.to
        self._network.carry(id, to.id, to.arrives, to.port.receive_hello, connection, hello)

    def _give_up(self, connection: Connection) -> None:
        if connection.open and not connection.up:
            self.end(connection)

    def end(self, connection: Connection) -> None:
        """It broke, or was given up: dial again. The other side learns it, if it can."""
        connection.open = False
        if self.dialled.get(connection.to.id) is connection:
            self._later(self._rng.uniform(*REDIAL_S), self._dial, connection.to.id)
        to = connection.to
        self._network.carry(self._process.id, to.id, to.arrives, to.port.lost_incoming, connection)

    def receive_hello_reply(self, connection: Connection, reply: HelloReply | None) -> None:
        """`reply` is None if the other side refused."""
        if not connection.open:
            return
        if reply is None:
            self.end(connection)
            return
        try:
            self._handler.on_hello_reply(reply)
        except ProtocolError:
            self.end(connection)
            return
        connection.up = True

    # -- connections, as the one who is called ---------------------------------------------------------------

    def receive_hello(self, connection: Connection, hello: Hello) -> None:
        if not connection.open:
            return
        if self._handler.is_remembered(hello):
            self._welcome(connection, hello)
        elif hello.id in self._waiting_hellos:
            self._hang_up(connection)
        else:  # it waits for the disk
            self._waiting_hellos.add(hello.id)
            self._later(0.0, self._welcome, connection, hello)

    def _hang_up(self, connection: Connection) -> None:
        """Close a connection that somebody made: the sender dials again."""
        connection.open = False
        self._world.schedule(0.001, connection.sender.run, connection.sender.port.end, connection)

    def _welcome(self, connection: Connection, hello: Hello) -> None:
        reply: HelloReply | None
        try:
            reply, accepted = self._handler.on_hello(hello)
        except ProtocolError as error:
            reply, accepted = None, False
            self._world.say(f"n{self._process.id} refuses n{hello.id}: {error}")
        self._waiting_hellos.discard(hello.id)
        if not connection.open:
            return  # it did not wait for the answer
        if accepted:
            before = self.incoming.get(hello.id)
            if before is not None and before is not connection:
                before.open = False  # what it still brings may be of a disk that was lost since
            connection.accepted = True
            self.incoming[hello.id] = connection
            self._dial(hello.id)
        if self._world.tracing:
            self._world.say(format_hello(self._process.id, hello, reply))
        sender = connection.sender
        self._network.carry(
            self._process.id, sender.id, sender.run, sender.port.receive_hello_reply, connection, reply
        )

    def receive(self, batch: Sequence[Any]) -> None:
        """Take in what arrived in one turn: (connection, cargo). A connection of None is not checked."""
        messages: list[Message] = []
        for connection, cargo in batch:
            if connection is not None:
                if not connection.open:
                    continue
                if not connection.accepted:  # before its hello: closed, and the sender dials again
                    self._hang_up(connection)
                    continue
            message = from_plain(cargo) if self._encoded else _copy(cargo)
            if self._world.tracing:
                self._world.say(format_received(message))
            messages.append(message)
        if messages:
            refused = self._handler.on_messages(messages)
            assert not refused, f"n{self._process.id} refuses what a correct node sent: {refused}"

    def lost_incoming(self, connection: Connection) -> None:
        """The connection from a peer ended."""
        id = connection.sender.id
        if self.incoming.get(id) is connection:
            del self.incoming[id]
            self._handler.on_lost_contact(id)


def _copy(message: Message) -> Message:
    """What comes over a wire is never the sender's own object, and some of the core's care is about that."""
    if type(message) is AppendEntries:
        return message._replace(entries=tuple([Entry(*entry) for entry in message.entries]))
    return message
