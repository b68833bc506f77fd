"""The server as honest clients and its handler see it."""

from __future__ import annotations

import contextlib
import pickle
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Client
from typing import Any, NamedTuple

import pytest
from raftkv.errors import AuthenticationError, ConfigError
from raftkv.rpc import channel as channel_module
from raftkv.rpc import dial
from raftkv.rpc import server as server_module
from raftkv.rpc.channel import send_replies
from raftkv.rpc.server import RpcServer
from raftkv.rpc.wire import FrameReader, dumps, frame, loads

from tests.rpc.conftest import KEY, OPTIONS, Script


def read_replies(sock: socket.socket, count: int) -> list[Any]:
    reader, replies = FrameReader(1 << 30), []
    while len(replies) < count:
        data = sock.recv(1 << 20)
        assert data, f"the connection ended after {len(replies)} of {count} replies"
        replies += [loads(payload) for payload in reader.feed(data)]
    return replies


# -- the protocol --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_plain_multiprocessing_client_can_talk(serve: Any, protocol: int) -> None:
    with Client(serve().address, authkey=KEY) as connection:
        connection.send((1, "ping", ()))
        assert connection.recv() == (1, True, "pong")
        connection.send_bytes(pickle.dumps((2, "echo", (1, "a", None, [1.5, {"k": (True,)}])), protocol))
        assert connection.recv() == (2, True, (1, "a", None, [1.5, {"k": (True,)}]))
        connection.send((3, "refuse", ()))
        assert connection.recv() == (3, False, ("bad_request", "because", {"why": 1}))


def test_requests_of_a_turn_are_one_batch_and_replies_come_in_any_order(serve: Any) -> None:
    served = serve()
    with dial.connect(served.address, KEY, 5.0) as sock:
        sock.sendall(b"".join(frame(dumps((number, "hold", (number,)))) for number in range(50)))
        held = [served.handler.seen.get(timeout=5) for _ in range(50)]
        assert [number for _, number, _, _ in held] == list(range(50)), (
            "requests of a channel keep their order"
        )
        assert served.handler.batches == [50]
        send_replies([(channel, number, True, number * 2) for channel, number, _, _ in reversed(held)])
        assert read_replies(sock, 50) == [(number, True, number * 2) for number in reversed(range(50))]


class Stop(Script):
    """A handler that holds the loop up in its first batch until `go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped, self.go = threading.Event(), threading.Event()

    def on_requests(self, batch: list) -> None:
        self.stopped.set()
        self.go.wait(20)
        super().on_requests(batch)


@pytest.fixture
def held_requests(serve: Any) -> Iterator[Any]:
    """A function that sends `data` on each of some new connections to a server while its loop is held up, lets
    it go on, and returns the Served and the connections."""
    with contextlib.ExitStack() as stack:

        def send(count: int, data: bytes) -> tuple[Any, list[socket.socket]]:
            served, stop = serve(), Stop()
            # Also: a listener of a running server.
            address = served.server.listen(("127.0.0.1", 0), KEY, stop, **OPTIONS)
            stopper, *ends = [
                stack.enter_context(dial.connect(where, KEY, 5.0))
                for where in (address, *[served.address] * count)
            ]
            for end in ends:
                end.sendall(frame(dumps((1, "ping", ()))))
                read_replies(end, 1)
            stopper.sendall(frame(dumps((1, "stop", ()))))
            assert stop.stopped.wait(5)
            for end in ends:
                end.sendall(data)
            stop.go.set()
            return served, ends

        yield send


def test_requests_of_several_channels_are_one_batch(held_requests: Any) -> None:
    served, ends = held_requests(20, frame(dumps((1, "hold", ()))))
    channels = {served.handler.seen.get(timeout=5)[0] for _ in ends}
    assert len(channels) == 20
    assert max(served.handler.batches) > 1


def test_a_batch_is_bounded_in_bytes_and_who_is_left_out_comes_next(
    held_requests: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_BATCH_BYTES", 50_000)
    served, _ = held_requests(5, frame(dumps((1, "hold", ("x" * 60_000,)))) * 3)
    channels = [served.handler.seen.get(timeout=5)[0] for _ in range(15)]
    assert len(set(channels[:10])) == 5 and max(map(channels[:10].count, channels)) == 2
    assert max(served.handler.batches) == 1


def test_a_client_that_waits_long_to_be_read_is_sent_a_sign_of_life(
    held_requests: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_BATCH_BYTES", 1)
    monkeypatch.setattr(server_module, "_SWEEP_INTERVAL_S", 0.0)
    _, ends = held_requests(3, frame(dumps((1, "echo", ()))))
    replies = []
    for end in ends:
        while (1, True, ()) not in (of_end := read_replies(end, 1)):
            replies += of_end
        replies += of_end
    assert replies.count((0, True, "pong")) == 3  # one turn for the second, two for the third


def test_a_one_way_request_gets_no_reply(serve: Any) -> None:
    served = serve()
    with dial.connect(served.address, KEY, 5.0) as sock:
        for method, args in (("tell", ("news",)), ("ping", ()), ("echo", ("answered all the same",))):
            sock.sendall(frame(dumps((None, method, args))))
        sock.sendall(frame(dumps((5, "ping", ()))))
        assert read_replies(sock, 1) == [(5, True, "pong")]
        assert served.handler.seen.get(timeout=5)[1:] == (None, "tell", ("news",))
        sock.sendall(frame(dumps((6, "ping", ()))))
        assert read_replies(sock, 1) == [(6, True, "pong")]


def test_all_replies_for_a_channel_leave_in_one_write(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[int] = []
    send = channel_module.Channel.send

    def counting(channel: Any, data: bytes) -> None:
        writes.append(len(data))
        send(channel, data)

    served = serve()
    with dial.connect(served.address, KEY, 5.0) as sock:
        sock.sendall(b"".join(frame(dumps((number, "hold", ()))) for number in range(20)))
        held = [served.handler.seen.get(timeout=5) for _ in range(20)]
        monkeypatch.setattr(channel_module.Channel, "send", counting)
        send_replies([(channel, number, True, None) for channel, number, _, _ in held])
        assert len(read_replies(sock, 20)) == 20
    assert len(writes) == 1


# -- listeners -----------------------------------------------------------------------------------------------


def test_each_listener_has_its_own_key_and_handler(serve: Any, warnings: Any) -> None:
    served = serve()
    peers = Script()
    peer_address = served.server.listen(("127.0.0.1", 0), b"the peers' key", peers, **OPTIONS)
    with Client(peer_address, authkey=b"the peers' key") as connection:
        connection.send((1, "raft", ("message",)))
        assert peers.seen.get(timeout=5)[2:] == ("raft", ("message",))
    for address, key in ((peer_address, KEY), (served.address, b"the peers' key")):
        with pytest.raises(AuthenticationError):
            dial.connect(address, key, 5.0)
    assert peers.seen.empty()
    assert served.handler.seen.empty()
    assert all("does not hold the same key" in line for line in warnings(2))


def test_an_address_may_be_a_named_tuple(serve: Any) -> None:
    class Address(NamedTuple):
        host: str
        port: int

    with Client(serve(Address("127.0.0.1", 0)).address, authkey=KEY) as connection:
        connection.send((1, "ping", ()))
        assert connection.recv() == (1, True, "pong")


def test_a_port_in_use_is_said_in_one_sentence(serve: Any) -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on 127.0.0.1:\d+: the port is in use"):
        serve(serve().address)


def test_a_foreign_address_is_said_in_one_sentence(serve: Any) -> None:
    with pytest.raises(ConfigError, match="192.0.2.1:1234: that is not an address of this machine"):
        serve(("192.0.2.1", 1234))


# -- channels ------------------------------------------------------------------------------------------------


def test_on_close_is_called_once_for_every_channel(serve: Any) -> None:
    served = serve()
    talker = dial.connect(served.address, KEY, 5.0)
    talker.sendall(frame(dumps((1, "hold", ()))))
    channel = served.handler.seen.get(timeout=5)[0]
    assert channel.peer == "{}:{}".format(*talker.getsockname())
    assert channel.context is None
    talker.close()
    assert served.handler.closed.get(timeout=5) is channel
    channel.send(frame(dumps((1, True, None))))  # late replies go nowhere, and hurt nobody
    channel.close("again")
    with dial.connect(served.address, KEY, 5.0) as silent:
        silent.shutdown(socket.SHUT_WR)
        assert served.handler.closed.get(timeout=5) is not channel
    assert served.handler.closed.empty()


def test_the_handler_can_close_a_channel(serve: Any, warnings: Any) -> None:
    served = serve()
    with dial.connect(served.address, KEY, 5.0) as sock:
        sock.sendall(frame(dumps((1, "hold", ()))))
        channel = served.handler.seen.get(timeout=5)[0]
        channel.close("it said something silly")
        assert sock.recv(1) == b""
    assert served.handler.closed.get(timeout=5) is channel
    assert (
        len(
            [line for line in warnings(1) if line.endswith(f"closed {channel.peer}: it said something silly")]
        )
        == 1
    )


def test_a_reply_larger_than_the_socket_takes_is_sent_on_while_others_are_served(serve: Any) -> None:
    served = serve()
    size = 20 << 20
    with dial.connect(served.address, KEY, 5.0) as sock, Client(served.address, authkey=KEY) as other:
        sock.sendall(frame(dumps((1, "blob", (size,)))) + frame(dumps((2, "blob", (10,)))))
        for number in range(100):
            other.send((number, "echo", (number,)))
            assert other.recv() == (number, True, (number,))
        assert read_replies(sock, 2) == [(1, True, b"x" * size), (2, True, b"x" * 10)]
        sock.sendall(frame(dumps((3, "ping", ()))))
        assert read_replies(sock, 1) == [(3, True, "pong")]


def test_a_client_that_takes_no_replies_has_no_more_requests_read(serve: Any) -> None:
    served = serve()
    size = 20 << 20
    with dial.connect(served.address, KEY, 5.0) as sock, Client(served.address, authkey=KEY) as other:
        sock.sendall(frame(dumps((1, "hold", ()))))
        channel = served.handler.seen.get(timeout=5)[0]
        send_replies([(channel, 1, True, b"x" * size)])
        assert len(channel.backlog) > 0, "the socket took everything: this test needs a larger reply"
        for number in range(3):  # so that the loop has gone round, and watches for room only
            other.send((number, "echo", ()))
            other.recv()
        sock.sendall(frame(dumps((2, "hold", ()))))
        for number in range(3):
            other.send((number, "echo", ()))
            other.recv()
        assert served.handler.seen.empty(), "a request was read from a channel with a backlog"
        assert read_replies(sock, 1) == [(1, True, b"x" * size)]
        assert served.handler.seen.get(timeout=5)[1] == 2


def test_large_replies_take_no_memory_before_the_client_takes_those_before_them(serve: Any) -> None:
    served = serve()
    value, count = b"x" * (3 << 20), 50
    with dial.connect(served.address, KEY, 5.0) as sock, Client(served.address, authkey=KEY) as other:
        for number in range(count):
            sock.sendall(frame(dumps((number, "hold", ()))))
        requests = [served.handler.seen.get(timeout=5) for _ in range(count)]
        send_replies([(channel, number, True, (number, value)) for channel, number, *_ in requests[:-1]])
        channel, last, *_ = requests[-1]
        send_replies([(channel, last, True, "the last")])
        for number in range(3):
            other.send((number, "echo", (number,)))
            assert other.recv() == (number, True, (number,))
        with channel.lock:
            assert len(channel.backlog) < 3 * len(value)
            assert not any(type(each) is bytes for each in channel.waiting)
            assert all(result is value for _, _, (_, result) in list(channel.waiting)[:-1])
        expected = [(number, True, (number, value)) for number in range(count - 1)]
        assert read_replies(sock, count) == [*expected, (last, True, "the last")]
        sock.sendall(frame(dumps((99, "ping", ()))))
        assert read_replies(sock, 1) == [(99, True, "pong")]


def test_many_connections_that_read_much_leave_time_for_one_that_asks_little(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sent in a turn of the loop is bounded, whoever it is for; each of them gets all of it in the end."""
    made: list[int] = []  # in one turn
    turns: list[int] = []
    flush = channel_module.Channel.flush

    def watched(channel: channel_module.Channel) -> int:
        made.append(flush(channel))
        return made[-1]

    turn = server_module.RpcServer._flush

    def bounded(server: Any, channels: Any) -> None:
        made.clear()
        turn(server, channels)
        turns.append(sum(made))

    monkeypatch.setattr(channel_module.Channel, "flush", watched)
    monkeypatch.setattr(server_module.RpcServer, "_flush", bounded)
    served = serve()
    value = b"x" * (2 << 20)
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(dial.connect(served.address, KEY, 5.0)) for _ in range(12)]
        for sock in socks:
            sock.sendall(b"".join([frame(dumps((number, "hold", ()))) for number in range(5)]))
        requests = [served.handler.seen.get(timeout=5) for _ in range(5 * len(socks))]
        send_replies([(channel, number, True, value) for channel, number, *_ in requests])
        for sock in socks:
            assert read_replies(sock, 5) == [(number, True, value) for number in range(5)]
    assert max(turns) < channel_module.AT_ONCE_BYTES + 2 * len(value)


def test_replies_keep_their_order_when_what_waited_leaves_meanwhile() -> None:
    class Draining:
        def __init__(self) -> None:
            self.seen = [False, False, True]  # whether something waits, the last one first
            self.sent: list[Any] = []

        @property
        def waiting(self) -> bool:
            return self.seen.pop()

        def send(self, data: bytes) -> None:
            self.sent += [loads(payload)[0] for payload in FrameReader(1 << 20).feed(data)]

        def send_later(self, replies: list[Any]) -> None:
            self.sent += [number for number, _, _ in replies]

    channel: Any = Draining()
    send_replies([(channel, number, True, None) for number in (1, 2, 3)])
    assert channel.sent == [1, 2, 3]


def test_replies_from_many_threads_do_not_mix(serve: Any) -> None:
    served = serve()
    with dial.connect(served.address, KEY, 5.0) as sock:
        sock.sendall(frame(dumps((1, "hold", ()))))
        channel = served.handler.seen.get(timeout=5)[0]

        def answer(thread: int) -> None:
            for first in range(0, 200, 10):  # together more than the socket takes at once
                send_replies(
                    [
                        (channel, thread * 1000 + number, True, b"%d" % thread * (number * 200))
                        for number in range(first, first + 10)
                    ]
                )

        threads = [threading.Thread(target=answer, args=(thread,)) for thread in range(8)]
        for thread in threads:
            thread.start()
        replies = read_replies(sock, 8 * 200)
        for thread in threads:
            thread.join()
    assert sorted(number for number, _, _ in replies) == [t * 1000 + n for t in range(8) for n in range(200)]
    for number, _, result in replies:
        assert result == b"%d" % (number // 1000) * (number % 1000 * 200)
    for each in range(8):
        own = [number % 1000 for number, _, _ in replies if number // 1000 == each]
        assert own == list(range(200)), "the order of one thread's replies was not kept"


def test_threads_take_turns_at_the_socket(serve: Any) -> None:
    """So that what one could not send is kept before another sends."""
    served = serve()
    inside, overlaps = [], []

    class OneAtATime:
        def __init__(self, sock: socket.socket) -> None:
            self._sock = sock

        def send(self, data: bytes) -> int:
            inside.append(None)
            time.sleep(0.001)  # lets other threads run
            if len(inside) != 1:
                overlaps.append(len(inside))
            inside.pop()
            return self._sock.send(data)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._sock, name)

    with dial.connect(served.address, KEY, 5.0) as sock:
        sock.sendall(frame(dumps((1, "hold", ()))))
        channel = served.handler.seen.get(timeout=5)[0]
        channel.sock = OneAtATime(channel.sock)
        threads = [
            threading.Thread(target=lambda: [channel.send(frame(dumps((1, True, None)))) for _ in range(20)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        assert len(read_replies(sock, 80)) == 80
        for thread in threads:
            thread.join()
    assert overlaps == []


# -- the end -------------------------------------------------------------------------------------------------


def test_close_ends_connections_and_handshakes_and_leaves_no_thread(serve: Any) -> None:
    served = serve()
    talker = dial.connect(served.address, KEY, 5.0)
    talker.sendall(frame(dumps((1, "hold", ()))))
    channel = served.handler.seen.get(timeout=5)[0]
    stranger = socket.create_connection(served.address)
    assert stranger.recv(1), "the server's challenge has begun"
    assert {"test", "test-accept"} <= {thread.name for thread in threading.enumerate()}
    served.server.close()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("test")]
    assert served.handler.closed.get(timeout=5) is channel
    for sock in (talker, stranger):
        while sock.recv(100):
            pass
        sock.close()
    served.server.close()
    with pytest.raises(OSError):
        socket.create_connection(served.address)


def test_a_burst_of_connects_waits_in_the_kernels_queue() -> None:
    """Also when accepting takes its time. A connect that finds no place there takes seconds, or fails."""
    with contextlib.closing(RpcServer()) as server, contextlib.ExitStack() as connections:
        address = server.listen(("127.0.0.1", 0), KEY, Script(), **OPTIONS)
        for _ in range(100):
            connections.enter_context(socket.create_connection(address, timeout=0.9))


def test_a_new_connection_is_served_at_once(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "_SWEEP_INTERVAL_S", 60.0)
    with Client(serve().address, authkey=KEY) as connection:
        connection.send((1, "ping", ()))
        assert connection.poll(5), "the loop sleeps on"


class HeldUp:
    """A handler that "wait" holds up until the test lets it go on."""

    def __init__(self) -> None:
        self.waits: queue.Queue[int] = queue.Queue()  # identities of threads
        self.goes_on = threading.Event()

    def on_requests(self, batch: list) -> None:
        for channel, request_id, method, _ in batch:
            if method == "wait":
                self.waits.put(threading.get_ident())
                self.goes_on.wait(30)
            send_replies([(channel, request_id, True, method)])

    def on_close(self, channel: Any) -> None:
        """Not looked at here."""


@pytest.fixture
def held_up(serve: Any) -> Iterator[tuple[Any, HeldUp]]:
    """(a server, the handler of its listener)."""
    served, handler = serve(), HeldUp()
    served.address = served.server.listen(("127.0.0.1", 0), KEY, handler, **OPTIONS)
    yield served, handler
    handler.goes_on.set()


def test_another_thread_reads_on_when_the_one_that_a_handler_holds_up_is_relieved(held_up: Any) -> None:
    served, handler = held_up
    with Client(served.address, authkey=KEY) as first, Client(served.address, authkey=KEY) as other:
        for round in (1, 2):  # who was relieved is the one who relieves in the second round
            first.send((round, "wait", ()))
            thread = handler.waits.get(timeout=5)
            served.server.relieve(threading.get_ident())  # not the one that reads: nothing happens
            served.server.relieve(thread)
            served.server.relieve(thread)
            other.send((round, "echo", ()))
            assert other.recv() == (round, True, "echo")
            assert not first.poll()
            handler.goes_on.set()
            assert first.recv() == (round, True, "wait")
            handler.goes_on.clear()


def test_a_thread_in_no_handler_is_not_relieved(held_up: Any) -> None:
    served, handler = held_up
    handler.goes_on.set()
    with Client(served.address, authkey=KEY) as connection:
        connection.send((1, "wait", ()))
        thread = handler.waits.get(timeout=5)
        assert connection.recv() == (1, True, "wait")
        connection.send((2, "echo", ()))  # a turn later it is out of the handler
        assert connection.recv() == (2, True, "echo")
        served.server.relieve(thread)
        for number in (3, 4):
            connection.send((number, "wait", ()))
            assert connection.recv() == (number, True, "wait")
            assert handler.waits.get(timeout=5) in [reader.ident for reader in served.server._relay.threads]


def test_close_waits_for_no_handler_that_is_held_up(held_up: Any) -> None:
    served, handler = held_up
    with Client(served.address, authkey=KEY) as connection:
        connection.send((1, "wait", ()))
        handler.waits.get(timeout=5)
        served.server.close()
        with pytest.raises((EOFError, ConnectionError)):
            connection.recv()
        with pytest.raises(OSError):
            Client(served.address, authkey=KEY)
    handler.goes_on.set()
    for reader in served.server._relay.threads:
        reader.join(5)
        assert not reader.is_alive()


def test_close_before_start() -> None:
    server = RpcServer()
    address = server.listen(("127.0.0.1", 0), KEY, Script(), **OPTIONS)
    server.close()
    with pytest.raises(OSError):
        socket.create_connection(address)


def test_a_bug_in_a_handler_is_fatal(serve: Any) -> None:
    served = serve()
    with Client(served.address, authkey=KEY) as connection:
        connection.send((1, "raise", ()))
        error = served.fatal.get(timeout=5)
    assert "a bug in the handler" in str(error)


def test_by_default_a_thread_that_dies_ends_the_process() -> None:
    program = (
        "from tests.rpc.conftest import *\n"
        "from multiprocessing.connection import Client\n"
        "server = RpcServer()\n"
        "address = server.listen(('127.0.0.1', 0), KEY, Script(), **OPTIONS)\n"
        "server.start()\n"
        "connection = Client(address, authkey=KEY)\n"
        "connection.send((1, 'raise', ()))\n"
        "[reader.join() for reader in server._relay.threads]\n"
        "connection.recv()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.returncode == 70
    assert "one of its threads died" in done.stderr
    assert "a bug in the handler" in done.stderr
