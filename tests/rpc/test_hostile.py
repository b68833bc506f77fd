"""What strangers and misbehaving clients can do: get one line in the log, and be closed."""

from __future__ import annotations

import errno
import logging
import os
import pickle
import socket
import struct
import threading
import time
from multiprocessing.connection import Client, Connection, answer_challenge, deliver_challenge
from typing import Any

import pytest
from raftkv.errors import TOO_MANY_CONNECTIONS, AuthenticationError
from raftkv.rpc import complaints as complaints_module
from raftkv.rpc import dial
from raftkv.rpc import server as server_module
from raftkv.rpc.door import Door
from raftkv.rpc.wire import dumps, frame

from tests.rpc.conftest import KEY


def drain(sock: socket.socket) -> bytes:
    """All that comes until the other side closes, which must be soon."""
    data = b""
    sock.settimeout(10)
    try:
        while True:
            chunk = sock.recv(1 << 20)
            if not chunk:
                return data
            data += chunk
    except ConnectionResetError:
        return data


def assert_serves(address: tuple) -> None:
    with Client(address, authkey=KEY) as connection:
        connection.send((1, "echo", ("still here",)))
        assert connection.recv() == (1, True, ("still here",))


# -- before the handshake ------------------------------------------------------------------------------------


def test_a_wrong_key_gets_nowhere(serve: Any, warnings: Any) -> None:
    served = serve()
    with pytest.raises(AuthenticationError, match="does not hold the same key"):
        dial.connect(served.address, b"guess", 5.0)
    assert_serves(served.address)
    assert served.handler.closed.get(timeout=5)
    assert served.handler.closed.empty(), "a channel was made for who has no key"
    assert len(warnings(1)) == 1
    assert "does not hold the same key" in warnings(1)[0]


def test_a_client_that_knows_no_key_cannot_skip_its_proof(serve: Any) -> None:
    served = serve()
    for lie in (b"#WELCOME#", b"", b"#CHALLENGE#" + b"x" * 20, b"x" * 16, b"x" * 256):
        with socket.create_connection(served.address) as sock:
            sock.sendall(frame(lie) + frame(b"#CHALLENGE#" + b"x" * 20) + frame(dumps((1, "hold", ()))))
            assert b"#WELCOME#" not in drain(sock)
    assert served.handler.seen.empty()


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(500),
        struct.pack("!i", 2**31 - 1) + b"x" * 1000,
        struct.pack("!iQ", -1, 2**40),
        struct.pack("!i", -7),
        b"\0" * 5000,
    ],
    ids=["http", "tls", "2 GiB", "1 TiB", "negative", "zeros"],
)
def test_garbage_in_place_of_a_handshake(serve: Any, warnings: Any, garbage: bytes) -> None:
    served = serve()
    with socket.create_connection(served.address) as sock:
        sock.sendall(garbage)
        assert drain(sock).count(b"#CHALLENGE#") == 1
    assert_serves(served.address)
    assert len(warnings(1)) == 1


def test_a_silent_connection_is_closed_in_time(serve: Any, warnings: Any) -> None:
    served = serve(handshake_timeout_s=0.2)
    started = time.monotonic()
    with socket.create_connection(served.address) as sock:
        drain(sock)
    assert 0.15 < time.monotonic() - started < 5
    assert "did not finish the handshake in time" in warnings(1)[0]


def test_a_proof_sent_byte_by_byte_is_cut_off_in_time(serve: Any) -> None:
    served = serve(handshake_timeout_s=0.3)
    started = time.monotonic()
    with socket.create_connection(served.address) as sock:
        sock.settimeout(0.02)
        closed = False
        proof = iter(frame(b"x" * 250))
        while not closed and time.monotonic() < started + 5:
            try:
                sock.sendall(bytes([next(proof)]))
                while sock.recv(100):
                    pass
                closed = True
            except socket.timeout:
                pass  # the next byte, then
            except ConnectionError:
                closed = True
    assert 0.25 < time.monotonic() - started < 4


def test_accepting_does_not_wait_for_a_silent_one(serve: Any) -> None:
    served = serve(handshake_timeout_s=12.0)
    started = time.monotonic()
    with socket.create_connection(served.address):
        assert_serves(served.address)
    assert time.monotonic() - started < 10


# -- after the handshake -------------------------------------------------------------------------------------


class _Mkdir:
    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> tuple:
        return (os.mkdir, (self._path,))


BAD_PAYLOADS = {
    "not a pickle": b"hello",
    "nothing": b"",
    "not a tuple": dumps("ping"),
    "two elements": dumps((1, "ping")),
    "four elements": dumps((1, "ping", (), 4)),
    "a list": dumps([1, "ping", ()]),
    "id is a string": dumps(("1", "ping", ())),
    "id is True": dumps((True, "ping", ())),
    "id is a float": dumps((1.0, "ping", ())),
    "method is bytes": dumps((1, b"ping", ())),
    "args is a list": dumps((1, "ping", [])),
    "args is None": dumps((1, "ping", None)),
    "a set": dumps((1, "ping", ({1},))),
    "a memo bomb": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "a length bomb": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b".",
    "a hash bomb": b"\x80\x04}N" + b"\x85" * 100_000 + b"Ns.",
}


@pytest.mark.parametrize("payload", BAD_PAYLOADS.values(), ids=BAD_PAYLOADS.keys())
def test_a_bad_payload_closes_the_connection_with_one_line(serve: Any, warnings: Any, payload: bytes) -> None:
    served = serve()
    with dial.connect(served.address, KEY, 5.0) as sock:
        sock.sendall(frame(payload) + frame(dumps((1, "hold", ()))))
        assert drain(sock) == b""
        peer = "{}:{}".format(*sock.getsockname())
    assert served.handler.closed.get(timeout=5).peer == peer
    assert served.handler.seen.empty()
    assert len(warnings()) == 1
    assert f"closed {peer}: it sent " in warnings(1)[0]
    assert_serves(served.address)


def test_a_pickle_that_would_run_code_runs_none(serve: Any, tmp_path: Any, warnings: Any) -> None:
    served = serve()
    trace = str(tmp_path / "was here")
    for protocol in range(6):
        with dial.connect(served.address, KEY, 5.0) as sock:
            sock.sendall(frame(pickle.dumps((1, "echo", (_Mkdir(trace),)), protocol)))
            assert drain(sock) == b""
    assert not os.path.exists(trace)
    assert warnings(1)


@pytest.mark.parametrize(
    "header",
    [struct.pack("!i", (1 << 20) + 1), struct.pack("!i", 2**31 - 1), struct.pack("!iQ", -1, 2**31)],
    ids=["a byte too much", "2 GiB - 1", "2 GiB"],
)
def test_a_frame_too_large_is_refused_when_it_is_announced(serve: Any, warnings: Any, header: bytes) -> None:
    served = serve(max_frame_bytes=1 << 20)
    with dial.connect(served.address, KEY, 5.0) as sock:
        sock.sendall(header)
        assert drain(sock) == b"", "closed at the header: nothing else was sent"
    assert "and 1048576 are allowed" in warnings(1)[0]
    assert_serves(served.address)


def test_good_requests_before_a_bad_one_are_served(serve: Any) -> None:
    served = serve()
    with dial.connect(served.address, KEY, 5.0) as sock:
        sock.sendall(frame(dumps((1, "hold", ("good",)))) + frame(b"bad"))
        drain(sock)
    assert served.handler.seen.get(timeout=5)[3] == ("good",)


def test_a_frame_that_does_not_end_closes_the_connection(
    serve: Any, warnings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_STALLED_S", 0.3)
    monkeypatch.setattr(server_module, "_SWEEP_INTERVAL_S", 0.05)
    served = serve()
    request = frame(dumps((1, "echo", ("x" * 300,))))
    patient = Client(served.address, authkey=KEY)  # idle, which is no crime
    started = time.monotonic()
    with dial.connect(served.address, KEY, 5.0) as sock:
        sock.settimeout(0.02)
        for byte in request:
            try:
                sock.sendall(bytes([byte]))
                if not sock.recv(100):
                    break
            except socket.timeout:
                pass  # the next byte, then
            except ConnectionError:
                break
        else:
            pytest.fail("the frame came through, at 20 ms a byte")
    assert 0.25 < time.monotonic() - started < 10
    assert "it has been sending one frame for more than 0.3 s" in warnings(1)[0]
    patient.send((1, "ping", ()))
    assert patient.recv() == (1, True, "pong")
    patient.close()


def test_a_client_that_takes_no_replies_is_closed(
    serve: Any, warnings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_STALLED_S", 0.3)
    monkeypatch.setattr(server_module, "_SWEEP_INTERVAL_S", 0.05)
    served = serve()
    with dial.connect(served.address, KEY, 5.0) as sock:
        sock.sendall(frame(dumps((1, "blob", (20 << 20,)))))
        assert served.handler.closed.get(timeout=10)
    assert "it has taken nothing of its replies for 0.3 s" in warnings(1)[0]


def test_a_flood_from_one_client_does_not_starve_another(serve: Any) -> None:
    served = serve()
    flood = frame(dumps((None, "ping", ()))) * 5000
    stop = threading.Event()

    def pour() -> None:
        with dial.connect(served.address, KEY, 5.0) as sock:
            while not stop.is_set():
                sock.sendall(flood)

    flooders = [threading.Thread(target=pour) for _ in range(2)]
    for flooder in flooders:
        flooder.start()
    try:
        for _ in range(10):
            assert_serves(served.address)
    finally:
        stop.set()
        for flooder in flooders:
            flooder.join()


def test_a_flood_of_refusals_does_not_fill_the_log(serve: Any, warnings: Any) -> None:
    served = serve()
    for _ in range(100):
        with dial.connect(served.address, KEY, 5.0) as sock:
            sock.sendall(frame(b"nonsense"))
            drain(sock)
    assert 1 <= len(warnings()) <= 20


# -- many ----------------------------------------------------------------------------------------------------


@pytest.fixture
def many_files() -> None:
    """Room for some thousand sockets in this process, where the default soft limit is lower."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            pytest.skip(f"needs {wanted} open files, and {hard} are allowed")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def test_a_burst_of_a_thousand_clients_gets_in(serve: Any, many_files: None, warnings: Any) -> None:
    served = serve()
    start = threading.Barrier(1000)
    connections: list[Any] = []
    failures: list[BaseException] = []

    def connect(number: int) -> None:
        start.wait(60)
        try:
            connection = Client(served.address, authkey=KEY)
            connection.send((number, "echo", (number,)))
            assert connection.recv() == (number, True, (number,))
            connections.append(connection)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=connect, args=(number,)) for number in range(1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for connection in connections:
        connection.close()
    assert not failures, f"{len(failures)} of 1000 failed, the first with {failures[0]!r}"
    assert warnings() == []


def test_a_thousand_silent_ones_keep_nobody_out(serve: Any, many_files: None) -> None:
    served = serve(handshake_timeout_s=60.0)
    silent = [socket.create_connection(served.address) for _ in range(1000)]
    started = time.monotonic()
    assert_serves(served.address)
    assert time.monotonic() - started < 10
    for sock in silent:
        sock.close()


def test_only_the_silent_make_room_for_others(serve: Any, warnings: Any) -> None:
    served = serve(max_unauthenticated=2, handshake_timeout_s=60.0)
    with socket.create_connection(served.address) as slow, socket.create_connection(served.address) as silent:
        connection = Connection(os.dup(slow.fileno()))
        answer_challenge(connection, KEY)  # has the key, and is now in no hurry
        assert_serves(served.address)
        assert "it was silent while others waited" in warnings(1)[0]
        assert "{}:{}".format(*silent.getsockname()) in warnings(1)[0]
        deliver_challenge(connection, KEY)
        connection.send((1, "ping", ()))
        assert connection.recv() == (1, True, "pong")
        connection.close()


def ask(connection: Connection, id: int, method: str) -> Any:
    connection.send((id, method, ()))
    assert connection.poll(5)
    return connection.recv()


def test_one_client_too_many_is_told_so_and_a_place_that_is_left_can_be_taken(
    serve: Any, warnings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_REFUSED_S", 0.2)
    monkeypatch.setattr(server_module, "_SWEEP_INTERVAL_S", 0.05)
    served = serve(max_connections=3, always=frozenset({"echo"}))
    inside = [Client(served.address, authkey=KEY) for _ in range(3)]
    for connection in inside:
        assert ask(connection, 1, "ping") == (1, True, "pong")
    with Client(served.address, authkey=KEY) as extra:
        code, message, _ = ask(extra, 1, "hold")[2]
        assert code == TOO_MANY_CONNECTIONS and "max_connections = 3" in message
        assert ask(extra, 2, "echo") == (2, True, ()), "what is always served"
        with pytest.raises(EOFError):
            extra.recv()
    assert served.handler.closed.get(timeout=5) and served.handler.seen.empty()
    assert "as many connections as are allowed" in warnings(1)[0]
    assert served.server.occupancy(served.address)[:3] == (3, 3, 1)
    inside.pop().close()
    served.handler.closed.get(timeout=5)
    assert_serves(served.address)
    for connection in inside:
        connection.close()


def test_refusals_for_too_many_connections_are_few_themselves(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_REFUSED_S", 60.0)
    served = serve(max_connections=1)
    with Client(served.address, authkey=KEY):
        extras = [Client(served.address, authkey=KEY) for _ in range(server_module.MOST_REFUSED + 1)]
        assert served.handler.closed.get(timeout=5).peer == _name(extras[0])
        assert ask(extras[-1], 1, "hold")[1] is False
        for extra in extras:
            extra.close()


def _name(connection: Connection) -> str:
    with socket.socket(fileno=os.dup(connection.fileno())) as sock:
        return "{}:{}".format(*sock.getsockname())


# -- when the system has no more to give ---------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_accepting_pauses_while_the_system_has_nothing_for_a_connection(
    serve: Any, warnings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    served = serve()
    accept, attempts = Door.accept, []

    def fails(door: Door) -> Any:
        attempts.append(time.monotonic())
        if len(attempts) < 4:
            raise OSError(number, os.strerror(number))
        return accept(door)

    monkeypatch.setattr(Door, "accept", fails)
    with caplog.at_level(logging.INFO, logger="raftkv.rpc"):
        assert_serves(served.address)
    assert all(later - earlier > 0.05 for earlier, later in zip(attempts, attempts[1:4])), "it spins"
    lines = [record.getMessage() for record in caplog.records]
    assert sum(os.strerror(number) in line for line in lines) == 1, "the reason is said once"
    assert sum("accepted again" in line for line in lines) == 1


def test_the_same_complaint_of_the_same_host_is_said_once_until_it_is_over(
    serve: Any, warnings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(complaints_module, "_OVER_S", 0.3)
    monkeypatch.setattr(server_module, "_SWEEP_INTERVAL_S", 0.05)
    served = serve()
    for _ in range(5):
        with pytest.raises(AuthenticationError):
            dial.connect(served.address, b"guess", 5.0)
    lines = warnings(2)
    assert "does not hold the same key" in lines[0] and "closed 4 more from 127.0.0.1" in lines[1]
    assert served.server.occupancy(served.address).complaints == []
    with pytest.raises(AuthenticationError):
        dial.connect(served.address, b"guess", 5.0)
    assert "does not hold the same key" in warnings(3)[2], "it is said again when it begins again"
    assert served.server.occupancy(served.address).complaints == ["127.0.0.1: it does not hold the same key"]
