"""The proxy on the links between peers."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Client, Connection, Listener

import pytest

from tests.chaos.pipe import BACK, OPENING_FRAMES, OUT, FrameCutter
from tests.chaos.proxy import HOST, Proxy
from tests.cluster.waiting import wait_until

LINK = (1, 2)
SILENCE_S = 0.15  # so long is looked for what must not come
SOON_S = 5.0


@contextlib.contextmanager
def proxied() -> Iterator[tuple[Proxy, socket.socket]]:
    """A proxy with one link, and the socket that listens at its other end."""
    proxy = Proxy(seed=1)
    with socket.create_server((HOST, 0)) as server:
        server.settimeout(SOON_S)
        proxy.add_link(LINK, server.getsockname())
        proxy.start()
        try:
            yield proxy, server
        finally:
            proxy.close()


@contextlib.contextmanager
def connected() -> Iterator[tuple[Proxy, socket.socket, socket.socket]]:
    """(the proxy, the dialer's socket, the listener's)."""
    with proxied() as (proxy, server), dial(proxy) as dialer:
        accepted, _ = server.accept()
        with accepted:
            accepted.settimeout(SOON_S)
            yield proxy, dialer, accepted


def dial(proxy: Proxy) -> socket.socket:
    return socket.create_connection(proxy.links[LINK].address, SOON_S)


def frame(payload: bytes) -> bytes:
    return struct.pack("!i", len(payload)) + payload


def receive(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        assert more, f"the connection ended after {len(data)} of {size} bytes"
        data += more
    return data


def receive_all(sock: socket.socket) -> bytes:
    """Up to the end of the connection."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while True:
            more = sock.recv(1 << 16)
            if not more:
                break
            data += more
    return data


def is_silent(sock: socket.socket) -> bool:
    sock.settimeout(SILENCE_S)
    try:
        sock.recv(1, socket.MSG_PEEK)
        return False
    except socket.timeout:
        return True
    finally:
        sock.settimeout(SOON_S)


@pytest.mark.parametrize("size", [0, 1, 20_000, 3_000_000])
def test_a_connection_of_the_standard_library_works_through_it(size: int) -> None:
    with Listener((HOST, 0), authkey=b"key") as listener:

        def echo() -> None:
            with listener.accept() as connection:
                connection.send_bytes(connection.recv_bytes())

        thread = threading.Thread(target=echo)
        thread.start()
        proxy = Proxy()
        address = proxy.add_link(LINK, listener.address)  # type: ignore[arg-type]
        proxy.start()
        with Client(address, authkey=b"key") as connection:
            connection.send_bytes(bytes(size))
            assert connection.recv_bytes() == bytes(size)
        thread.join()
        proxy.close()


def test_what_is_held_comes_late_and_in_order() -> None:
    with connected() as (proxy, dialer, listener):
        proxy.set([LINK], hold=True)
        for number in range(5):
            dialer.sendall(frame(b"%d" % number))
        assert is_silent(listener)
        proxy.heal()
        assert receive(listener, 25) == b"".join(frame(b"%d" % number) for number in range(5))


@pytest.mark.parametrize("held, flowing", [(OUT, BACK), (BACK, OUT)])
def test_one_way_is_held_and_the_other_one_is_not(held: str, flowing: str) -> None:
    with connected() as (proxy, dialer, listener):
        proxy.set([LINK], ways=(held,), hold=True)
        ends = {OUT: (dialer, listener), BACK: (listener, dialer)}
        for sender, _ in ends.values():
            sender.sendall(frame(b"word"))
        assert receive(ends[flowing][1], 8) == frame(b"word")
        assert is_silent(ends[held][1])


def test_the_end_of_a_connection_is_not_told_while_it_is_held() -> None:
    with connected() as (proxy, dialer, listener):
        proxy.set([LINK], hold=True)
        dialer.sendall(frame(b"last words"))
        dialer.close()
        assert is_silent(listener)
        proxy.heal()
        assert receive_all(listener) == frame(b"last words")


def test_a_flood_into_a_held_way_makes_the_sender_wait() -> None:
    with connected() as (proxy, dialer, listener):
        proxy.set([LINK], hold=True)
        dialer.setblocking(False)
        piece, sent = frame(bytes(65_532)), 0
        with contextlib.suppress(BlockingIOError):
            while sent < 1 << 28:
                sent += dialer.send(piece)
        assert sent < 1 << 28
        proxy.heal()
        assert len(receive(listener, sent // len(piece) * len(piece))) > 0


def test_a_refusing_link_ends_its_connections_and_new_ones() -> None:
    with connected() as (proxy, dialer, listener):
        proxy.refuse([LINK])
        assert receive_all(dialer) == receive_all(listener) == b""
        with dial(proxy) as again:
            assert receive_all(again) == b""


def test_a_healed_link_accepts_again() -> None:
    with proxied() as (proxy, server):
        proxy.refuse([LINK])
        proxy.heal([LINK])
        with dial(proxy) as dialer, server.accept()[0] as listener:
            dialer.sendall(frame(b"x"))
            assert receive(listener, 5) == frame(b"x")


@pytest.mark.parametrize("way", [OUT, BACK])
def test_a_connection_is_cut_in_the_middle_of_a_frame(way: str) -> None:
    with connected() as (proxy, dialer, listener):
        sender, receiver = (dialer, listener) if way == OUT else (listener, dialer)
        sender.sendall(frame(b"whole"))
        receive(receiver, 9)
        proxy.cut_mid_frame([LINK], way)
        sender.sendall(frame(bytes(96)) + frame(b"never"))
        assert receive_all(receiver) == frame(bytes(96))[:50]
        assert receive_all(sender) == b""
        assert proxy.cut_frames == 1


def test_a_delayed_frame_takes_that_long() -> None:
    with connected() as (proxy, dialer, listener):
        proxy.set([LINK], delay_s=0.2)
        began = time.monotonic()
        dialer.sendall(frame(b"x"))
        receive(listener, 5)
        assert 0.2 <= time.monotonic() - began < 2


def test_jitter_keeps_the_order() -> None:
    with connected() as (proxy, dialer, listener):
        proxy.set([LINK], jitter_s=0.05)
        frames = [frame(b"%03d" % number) for number in range(100)]
        for each in frames:
            dialer.sendall(each)
        assert receive(listener, 700) == b"".join(frames)


def test_a_throttled_way_lets_bytes_trickle() -> None:
    with connected() as (proxy, dialer, listener):
        proxy.set([LINK], bytes_per_s=20_000.0)
        began = time.monotonic()
        dialer.sendall(frame(bytes(6000)))
        assert len(listener.recv(6004)) < 6004
        assert time.monotonic() - began < 0.2
        receive_left = 6004 - 400  # the first slice
        receive(listener, receive_left)
        assert time.monotonic() - began >= 0.25


def test_a_lossy_way_loses_whole_frames_but_the_first() -> None:
    with connected() as (proxy, dialer, listener):
        proxy.set([LINK], loss=1.0)
        frames = [frame(b"%03d" % number) for number in range(OPENING_FRAMES + 10)]
        dialer.sendall(b"".join(frames))
        assert receive(listener, 7 * OPENING_FRAMES) == b"".join(frames[:OPENING_FRAMES])
        wait_until(lambda: proxy.lost_frames == 10, "the other frames to be lost")
        proxy.heal()
        dialer.sendall(frame(b"end"))
        assert receive(listener, 7) == frame(b"end")


def test_a_dead_target_ends_the_dialers_connection() -> None:
    with proxied() as (proxy, server):
        server.close()
        with dial(proxy) as dialer:
            assert receive_all(dialer) == b""


def test_closing_leaves_no_thread_and_no_connection() -> None:
    with connected() as (proxy, dialer, listener):
        proxy.set([LINK], hold=True)
        proxy.close()
        assert receive_all(dialer) == receive_all(listener) == b""
        assert "proxy" not in [thread.name for thread in threading.enumerate()]


def test_a_link_heals_alone() -> None:
    proxy = Proxy()
    for key in ((1, 2), (2, 1)):
        proxy.add_link(key, (HOST, 9))
    proxy.start()
    proxy.set(proxy.links, hold=True)
    proxy.heal([(2, 1)])
    assert proxy.links[1, 2].ways[OUT].hold and not proxy.links[2, 1].ways[OUT].hold
    proxy.close()


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 1000])
def test_frames_are_found_however_they_arrive(piece: int) -> None:
    payloads = [b"", b"a", bytes(500), b"\xff" * 5]
    big = struct.pack("!i", -1) + struct.pack("!Q", 3) + b"big"  # as Connection writes one of 2 GiB or more
    frames = [*map(frame, payloads), big]
    stream, cutter = b"".join(frames) + b"\0\0", FrameCutter()
    found: list[bytes] = []
    for at in range(0, len(stream), piece):
        found += cutter.feed(stream[at : at + piece])
    assert found == frames
    assert cutter.rest == b"\0\0"


def test_what_connection_writes_is_one_frame() -> None:
    ours, theirs = socket.socketpair()
    with Connection(theirs.detach()) as connection, ours:
        connection.send_bytes(b"x" * 20_000)  # it writes header and payload apart
        cutter = FrameCutter()
        found: list[bytes] = []
        while not found:
            found = cutter.feed(ours.recv(1 << 16))
        assert found == [frame(b"x" * 20_000)]
