"""HttpServer on real connections: what clients do, and what it costs."""

import socket
import struct
import threading
import time

import pytest
from raftkv.errors import ConfigError
from raftkv.http.web import connection as connection_module
from raftkv.http.web.head import HttpError
from raftkv.http.web.server import HttpServer
from raftkv.ini import Address

from tests.http.conftest import LOCAL, wait_for

MAX_BODY = 1000


class Echo:
    """Answers with the body, at once or when the test says so; /stream begins one."""

    takes_pieces = False
    max_body = MAX_BODY

    def __init__(self, app, exchange):
        self._app, self._exchange = app, exchange

    def receive(self, data, is_last):
        exchange = self._exchange
        if exchange.head.path == "/bug":
            raise ZeroDivisionError
        if exchange.head.path == "/stream":
            exchange.start()
            exchange.send(b"first\n")
            self._app.streams.append(exchange)
        elif exchange.head.path == "/later":
            self._app.waiting.append(lambda: exchange.reply(200, data))
        else:
            exchange.reply(200, data)

    def gone(self):
        self._app.gone.set()

    def drained(self):
        pass


class App:
    def __init__(self):
        self.waiting, self.streams, self.gone = [], [], threading.Event()

    def open(self, exchange):
        if exchange.head.path == "/no":
            raise HttpError(404, "not here")
        return Echo(self, exchange)


@pytest.fixture
def server():
    made = HttpServer(Address(LOCAL, 0), App(), max_connections=50)
    thread = threading.Thread(target=made.run)
    thread.start()
    yield made
    made.stop()
    thread.join()


class Client:
    def __init__(self, server):
        self.sock = socket.create_connection(server.address, timeout=10)
        self.file = self.sock.makefile("rb")

    def send(self, data):
        self.sock.sendall(data)
        return self

    def answer(self):
        """(status, body); (None, b"") if the server has closed."""
        try:
            line = self.file.readline()
        except ConnectionError:
            line = b""
        if not line:
            return None, b""
        fields = {}
        while (field := self.file.readline()) not in (b"\r\n", b""):
            name, _, value = field.decode().partition(": ")
            fields[name.lower()] = value.strip()
        self.fields = fields
        length = int(fields.get("content-length", 0))
        return int(line.split()[1]), self.file.read(length)

    def close(self):
        self.file.close()
        self.sock.close()


@pytest.fixture
def connect(server):
    made = []

    def connect():
        made.append(Client(server))
        return made[-1]

    yield connect
    for client in made:
        client.close()


def post(path=b"/", body=b"", *fields):
    lines = [b"POST %b HTTP/1.1" % path, b"Host: x", b"Content-Length: %d" % len(body), *fields, b"", b""]
    return b"\r\n".join(lines) + body


def test_pipelined_requests_are_answered_in_their_order_also_if_the_first_takes_its_time(server, connect):
    client = connect().send(post(b"/later", b"1") + post(b"/", b"2") + post(b"/", b"3"))
    probe = connect().send(post(b"/", b"other"))
    assert probe.answer() == (200, b"other")
    while not server.app.waiting:
        probe.send(post())
        probe.answer()
    server.call_soon(server.app.waiting.pop())
    assert [client.answer() for _ in range(3)] == [(200, b"1"), (200, b"2"), (200, b"3")]


def test_pipelined_requests_are_answered_though_the_client_sends_no_more(server, connect):
    client = connect().send(post(b"/later", b"1") + post(b"/later", b"2") + post(b"/", b"3") + b"POST / HT")
    client.sock.shutdown(socket.SHUT_WR)
    for _ in range(2):
        assert server.app.gone.wait(10)  # the end has been seen
        server.app.gone.clear()
        server.call_soon(server.app.waiting.pop())
    assert [client.answer() for _ in range(4)] == [(200, b"1"), (200, b"2"), (200, b"3"), (None, b"")]


@pytest.mark.parametrize(
    ("host", "words"), [(LOCAL, "the port is in use; stop"), ("192.0.2.1", "0.0.0.0 is all")]
)
def test_address_that_cannot_be_had_is_an_error_that_says_what_to_do(server, host, words):
    with pytest.raises(ConfigError, match=words):
        HttpServer(Address(host, server.address.port), App(), max_connections=1)


def test_body_in_chunks_is_taken(connect):
    client = connect().send(
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    )
    assert client.answer() == (200, b"abc")


def test_body_is_asked_for_if_the_client_waits_for_that(connect):
    client = connect().send(
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    )
    assert client.answer()[0] == 100
    assert client.send(b"ab").answer() == (200, b"ab")


def test_head_has_the_length_and_no_body(connect):
    client = connect().send(post(b"/", b"abc").replace(b"POST", b"HEAD"))
    assert client.file.readline().split()[1] == b"200"
    head = b"".join(iter(client.file.readline, b"\r\n"))
    assert b"Content-Length: 3" in head
    assert client.send(post(b"/", b"next")).answer() == (200, b"next")


@pytest.mark.parametrize(
    ("data", "keeps"),
    [
        (post(b"/", b"x"), True),
        (post(b"/", b"x", b"Connection: close"), False),
        (b"POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\nx", False),
        (b"POST / HTTP/1.0\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\nx", True),
    ],
)
def test_connection_is_kept_or_closed_as_the_client_says(connect, data, keeps):
    client = connect().send(data)
    assert client.answer() == (200, b"x")
    client.sock.shutdown(socket.SHUT_RDWR) if not keeps else client.send(data)
    assert client.answer() == ((200, b"x") if keeps else (None, b""))


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (post(b"/no", b"x" * 10), 404),
        (post(b"/", b"x" * (MAX_BODY + 1)), 413),
    ],
)
def test_refused_request_with_a_small_body_leaves_the_connection_usable(connect, data, status):
    client = connect().send(data)
    assert client.answer()[0] == status
    assert client.send(post(b"/", b"next")).answer() == (200, b"next")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"100\r\n%b\r\n" % (b"x" * 256) * 9, 413),
        (b"POST /no HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", 404),
        (post(b"/", b"", b"Content-Length: 7"), 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 20_000, 431),
    ],
)  # fmt: skip
def test_request_of_which_the_rest_is_not_read_is_answered_and_the_connection_closed(connect, data, status):
    client = connect().send(data)
    assert client.answer()[0] == status
    assert client.answer() == (None, b"")


def test_bug_in_a_handler_ends_its_connection_and_no_other(connect):
    other = connect()
    assert connect().send(post(b"/bug")).answer() == (None, b"")
    assert other.send(post(b"/", b"x")).answer() == (200, b"x")


@pytest.mark.parametrize("data", [b"POST / HT", post(b"/", b"abc")[:-1], b"P"])
def test_slow_request_is_given_up_while_others_are_served(monkeypatch, connect, data):
    for name in ("HEAD_S", "BODY_S"):
        monkeypatch.setattr(connection_module, name, 0.2)
    slow = [connect().send(data) for _ in range(20)]
    assert connect().send(post(b"/", b"x")).answer() == (200, b"x")
    assert {client.answer()[0] for client in slow} == {408}


def test_idle_connections_make_room_for_new_ones(server, connect):
    idle = [connect() for _ in range(60)]
    assert connect().send(post(b"/", b"x")).answer() == (200, b"x")
    assert idle[0].answer() == (None, b"")
    assert len(server) <= 50


def test_stream_ends_when_its_client_goes(server, connect):
    client = connect().send(post(b"/stream"))
    assert client.answer()[0] == 200
    assert client.fields["transfer-encoding"] == "chunked"
    assert client.file.readline() == b"6\r\n"
    client.close()
    assert server.app.gone.wait(10)


def test_untaken_answers_are_let_go_when_the_client_leaves(server, connect):
    client = connect().send(post(b"/stream"))
    assert client.file.readline()
    (stream,) = server.app.streams
    server.call_soon(lambda: stream.send(b"x" * (32 << 20)))
    wait_for(lambda: stream.unsent)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.sock.close()
    client.file.close()
    wait_for(server.app.gone.is_set)
    assert (stream.unsent, server.unsent) == (0, 0)


def test_client_that_reads_nothing_is_given_up(monkeypatch, server, connect):
    monkeypatch.setattr(connection_module, "STALLED_S", 0.2)
    client = connect().send(post(b"/stream"))
    assert client.answer()[0] == 200
    server.call_soon(lambda: server.app.streams[0].send(b"x" * (32 << 20)))
    assert server.app.gone.wait(10)
    assert server.unsent == 0


def test_large_answer_reaches_a_slow_reader_whole(server, connect):
    client = connect().send(post(b"/stream"))
    assert client.answer()[0] == 200
    size = 8 << 20
    server.call_soon(lambda: server.app.streams[0].send(b"x" * size))
    data = b""
    while len(data) < size:
        data += client.sock.recv(3000) if len(data) < 300_000 else client.sock.recv(1 << 20)
    assert data.count(b"x") == size


def test_bodies_that_are_being_received_have_a_bound_together(monkeypatch, server, connect):
    monkeypatch.setattr(connection_module, "MAX_BODIES", 2 * MAX_BODY)
    clients = [connect().send(post(b"/", b"x" * MAX_BODY)[:-1]) for _ in range(2)]
    deadline = time.monotonic() + 10
    while server.bodies < 2 * (MAX_BODY - 1) and time.monotonic() < deadline:
        connect().send(post()).answer()
    assert connect().send(post(b"/", b"x" * MAX_BODY)[:-1]).answer()[0] == 503
    assert [client.send(b"x").answer()[0] for client in clients] == [200, 200]
    assert server.bodies == 0
