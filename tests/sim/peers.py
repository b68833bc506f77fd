"""PeerPort: what PeerNetwork is to a real member, over the simulated network.

A connection is one direction between two processes, as there: its first words are a hello, and what comes
before a hello that was accepted ends it. When it ends, the receiver learns it sooner or later, and the sender
dials again.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from raftkv.errors import ProtocolError
from raftkv.node.hello import Hello, RemovedError
from raftkv.node.network import PeerHandler
from raftkv.node.problems import Problems
from raftkv.node.snapshot_source import SnapshotSource
from raftkv.node.wire import from_plain, hello_from_plain, to_plain
from raftkv.raft.messages import AppendEntries, InstallSnapshot, Message
from raftkv.raft.types import Entry

from tests.sim.network import Letter, Network
from tests.sim.trace import format_hello, format_received, format_sent

if TYPE_CHECKING:
    from tests.sim.process import Process

HELLO_TIMEOUT_S = 1.0
REDIAL_S = (0.05, 0.5)


def address_of(host: int, port: int = 1) -> str:
    """Where the processes of a host listen."""
    return f"sim{host}:{port}"


def host_at(address: str) -> int:
    return int(address[len("sim") : address.index(":")])


class Connection:
    """From the process `sender` to the process `to`. `answer`: what the receiver said of itself; `accepted`: by
    the receiver."""

    def __init__(self, sender: Process, to: Process) -> None:
        self.sender, self.to = sender, to
        self.open = True
        self.accepted = False
        self.answer: Hello | None = None


class PeerPort:
    """The links of one process, by the address that they are to."""

    def __init__(self, process: Process, chunk_bytes: int, rng: random.Random) -> None:
        self._process, self._world, self._rng = process, process.world, rng
        self._network: Network = process.world.network
        self._encoded = process.world.plan.encoded
        self._chunk_bytes = chunk_bytes
        self._handler: PeerHandler
        self.problems = Problems(process.threads.clock)
        self.is_refused = False  # only what an operator reads depends on it
        self._wanted: Mapping[str, int] = {}  # address -> the node that should answer there
        self._redials: set[str] = set()  # addresses that will be dialled in a moment
        self._outboxes: dict[int, deque[Message]] = {}  # by uid
        self._sources: dict[int, SnapshotSource] = {}  # by uid
        self._flushing: list[int] = []
        self._waiting = False  # is anything in an outbox?
        self._waiting_hellos: set[int] = set()  # of uids, that wait for the disk
        self.dialled: dict[str, Connection] = {}
        self.incoming: dict[int, tuple[Connection, Hello]] = {}  # by uid

    # -- what the member calls -------------------------------------------------------------------------------

    def start(self, handler: PeerHandler) -> None:
        self._handler = handler

    def close(self) -> None:
        for source in self._sources.values():
            source.close()

    def follow(self, wanted: Mapping[str, int]) -> None:
        before, self._wanted = self._wanted, wanted
        for address in before:
            connection = self.dialled.get(address)
            if address not in wanted and connection is not None and connection.open:
                self.end(connection)
        for address in wanted:
            if address not in before:
                self._redial(address, (0, 0.02))

    def to(self, host: int) -> list[Connection]:
        """The open connections that were made to a host."""
        return [each for each in self.dialled.values() if each.open and each.to.id == host]

    def met(self) -> dict[int, Hello]:
        answers = [c.answer for c in self.dialled.values() if c.open and c.answer is not None]
        callers = {uid: hello for uid, (connection, hello) in self.incoming.items() if connection.open}
        return {**{answer.uid: answer for answer in answers}, **callers}

    def call(self, address: str) -> None:
        """All addresses are known to all, see hints."""

    def called(self) -> list[str]:
        return []

    def drop(self, uid: int, reason: str) -> None:
        if uid in self.incoming:
            self._hang_up(self.incoming[uid][0])
        for connection in list(self.dialled.values()):
            if connection.open and connection.answer is not None and connection.answer.uid == uid:
                self.end(connection)

    def enqueue(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._outboxes.setdefault(message.to, deque()).append(message)
            self._waiting = True

    def flush(self) -> None:
        if not self._waiting:
            return
        self._waiting = False
        for uid, outbox in list(self._outboxes.items()):
            if outbox and uid not in self._flushing:
                self._flushing.append(uid)
                while outbox:
                    message = outbox.popleft()
                    if type(message) is InstallSnapshot:
                        self._later(0.0, self._send_chunk, message)
                    else:
                        self._send(message)
                self._flushing.remove(uid)

    # -- sending ---------------------------------------------------------------------------------------------

    def _send_chunk(self, message: InstallSnapshot) -> None:
        """Fill in a snapshot's bytes, as the thread snapshot-reader does."""
        if message.to not in self._sources:
            self._sources[message.to] = SnapshotSource(self._process.persister, self._chunk_bytes)
        chunk = self._sources[message.to].read(message.snapshot, message.offset)
        if chunk is None:
            self._handler.on_snapshot_unreadable(message.to, message.snapshot)
        else:
            self._send(message._replace(data=chunk[0], done=chunk[1]))

    def _route(self, uid: int) -> Connection | None:
        for connection in self.dialled.values():
            if connection.open and connection.answer is not None and connection.answer.uid == uid:
                return connection
        return None

    def _send(self, message: Message) -> None:
        world, connection = self._world, self._route(message.to)
        world.count["messages"] += 1
        process, carried = self._process, False
        if connection is not None:
            cargo = to_plain(message) if self._encoded else message
            sender, to = process.host, connection.to.host
            letter = Letter(sender.id, to.id, cargo)
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

    def _redial(self, address: str, within_s: tuple[float, float] = REDIAL_S) -> None:
        if address not in self._redials:
            self._redials.add(address)
            self._later(self._rng.uniform(*within_s), self._dial, address)

    def _dial(self, address: str) -> None:
        self._redials.discard(address)
        old = self.dialled.get(address)
        if address not in self._wanted or (old is not None and old.open):
            return
        here, host = self._process.id, host_at(address)
        other = self._world.hosts[host].process
        if (
            other is None
            or other.address != address
            or self._network.is_cut(here, host)
            or self._network.is_cut(host, here)
        ):
            self._redial(address)
            return
        connection = self.dialled[address] = Connection(self._process, other)
        expected, hello = self._wanted[address], self._handler.make_hello()
        self._network.carry(here, host, other.arrives, other.port.receive_hello, connection, expected, hello)
        self._later(HELLO_TIMEOUT_S, self._give_up, connection)

    def _give_up(self, connection: Connection) -> None:
        if connection.open and connection.answer is None:
            self.end(connection)

    def end(self, connection: Connection) -> None:
        """It broke, or was given up: dial again. The other side learns it, if it can."""
        connection.open = False
        to = connection.to
        if self.dialled.get(to.address) is connection:
            self._redial(to.address)
        self._network.carry(self._process.id, to.id, to.arrives, to.port.lost_incoming, connection)

    def receive_hello_reply(self, connection: Connection, reply: Hello | ProtocolError) -> None:
        """`reply` is an error if the other side refused."""
        if not connection.open:
            return
        if isinstance(reply, ProtocolError):
            self.end(connection)
            if isinstance(reply, RemovedError):
                self._handler.on_removed(str(reply))
            return
        try:
            self._handler.on_hello_reply(reply)
        except ProtocolError as error:
            self._world.say(f"n{self._process.id} refuses the answer of n{reply.id}: {error}")
            self.end(connection)
            return
        connection.answer = reply

    # -- connections, as the one who is called ---------------------------------------------------------------

    def receive_hello(self, connection: Connection, to: int, hello: Hello) -> None:
        if not connection.open:
            return
        if self._encoded:
            hello = hello_from_plain(tuple(hello))
        if self._handler.is_remembered(hello):
            self._welcome(connection, to, hello)
        elif hello.uid in self._waiting_hellos:
            self._hang_up(connection)
        else:  # it waits for the disk
            self._waiting_hellos.add(hello.uid)
            self._later(0.0, self._welcome, connection, to, hello)

    def _hang_up(self, connection: Connection) -> None:
        """Close a connection that somebody made: the sender dials again."""
        connection.open = False
        self._world.schedule(0.001, connection.sender.run, connection.sender.port.end, connection)

    def _welcome(self, connection: Connection, to: int, hello: Hello) -> None:
        reply: Hello | ProtocolError
        try:
            reply = self._handler.on_hello(to, hello)
        except ProtocolError as error:
            reply = error
            self._world.say(f"n{self._process.id} refuses n{hello.id}: {error}")
        self._waiting_hellos.discard(hello.uid)
        if not connection.open:
            return  # it did not wait for the answer
        if isinstance(reply, Hello):
            self._accept(connection, hello)
        if self._world.tracing:
            self._world.say(format_hello(self._process.id, hello, reply))
        sender = connection.sender
        self._network.carry(
            self._process.id, sender.id, sender.run, sender.port.receive_hello_reply, connection, reply
        )

    def _accept(self, connection: Connection, hello: Hello) -> None:
        before = self.incoming.get(hello.uid)
        if before is not None and before[0] is not connection and before[0].open:
            self._hang_up(before[0])  # of an earlier life, perhaps
        connection.accepted = True
        self.incoming[hello.uid] = connection, hello
        route = self._route(hello.uid)
        if route is not None and route.answer is not None and route.answer.tokens != hello.tokens:
            self.end(route)
        self._dial(hello.peer_address)

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
        for uid, (known, _) in list(self.incoming.items()):
            if known is connection:
                del self.incoming[uid]
                self._handler.on_lost_contact(uid)


def _copy(message: Message) -> Message:
    """What comes over a wire is never the sender's own object, and some of the core's care is about that."""
    if type(message) is AppendEntries:
        return message._replace(entries=tuple([Entry(*entry) for entry in message.entries]))
    return message
