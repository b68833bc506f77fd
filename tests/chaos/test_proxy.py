"""The proxy on the links between peers."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Client, Listener

import pytest

from tests.chaos.pipe import BACK, OPENING_FRAMES, OUT, FrameCutter
from tests.chaos.proxy import HOST, Proxy
from tests.cluster.waiting import wait_until

LINK = (1, 2)
SILENCE_S = 0.15  # so long is looked for what must not come
SOON_S = 5.0


@contextlib.contextmanager
def connected() -> Iterator[tuple[Proxy, socket.socket, socket.socket]]:
    """(a proxy with one link, the dialer's socket, the listener's)."""
    proxy = Proxy(seed=1)
    with socket.create_server((HOST, 0)) as server, contextlib.closing(proxy):
        proxy.add_link(LINK, server.getsockname())
        proxy.start()
        with dial(proxy) as dialer, server.accept()[0] as accepted:
            accepted.settimeout(SOON_S)
            yield proxy, dialer, accepted


def dial(proxy: Proxy) -> socket.socket:
    return socket.create_connection(proxy.links[LINK].address, SOON_S)


def frame(payload: bytes) -> bytes:
    return struct.pack("!i", len(payload)) + payload


NUMBERED = [frame(b"%03d" % number) for number in range(100)]


def receive(sock: socket.socket, size: int) -> bytes:
    """`size` bytes; fewer if the connection ends before."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while len(data) < size:
            more = sock.recv(size - len(data))
            if not more:
                break
            data += more
    return data


def receive_all(sock: socket.socket) -> bytes:
    return receive(sock, 1 << 30)


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
    proxy = Proxy()
    with Listener((HOST, 0), authkey=b"key") as listener, contextlib.closing(proxy):

        def echo() -> None:
            with listener.accept() as connection:
                connection.send_bytes(connection.recv_bytes())

        thread = threading.Thread(target=echo)
        thread.start()
        address = proxy.add_link(LINK, listener.address)  # type: ignore[arg-type]
        proxy.start()
        with Client(address, authkey=b"key") as connection:
            connection.send_bytes(bytes(size))
            assert connection.recv_bytes() == bytes(size)
        thread.join()


@pytest.mark.parametrize("held, flowing", [(OUT, BACK), (BACK, OUT)])
def test_held_bytes_come_late_and_in_order_while_the_other_way_flows(held: str, flowing: str) -> None:
    with connected() as (proxy, dialer, listener):
        proxy.set([LINK], ways=(held,), hold=True)
        ends = {OUT: (dialer, listener), BACK: (listener, dialer)}
        for sender, _ in ends.values():
            sender.sendall(b"".join(NUMBERED))
        assert receive(ends[flowing][1], 700) == b"".join(NUMBERED)
        assert is_silent(ends[held][1])
        proxy.heal()
        assert receive(ends[held][1], 700) == b"".join(NUMBERED)


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
        whole = sent // len(piece) * len(piece)
        assert len(receive(listener, whole)) == whole


def test_a_refusing_link_ends_its_connections_and_new_ones_until_it_is_healed() -> None:
    with connected() as (proxy, dialer, listener):
        proxy.refuse([LINK])
        assert receive_all(dialer) == receive_all(listener) == b""
        with dial(proxy) as again:
            assert receive_all(again) == b""
        proxy.heal([LINK])
        with dial(proxy) as again:
            assert is_silent(again), "it is connected"


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


@pytest.mark.parametrize(
    "fault, bytes_sent, least_s",
    [({"delay_s": 0.2}, 10, 0.2), ({"bytes_per_s": 20_000.0}, 6000, 0.25), ({"jitter_s": 0.05}, 10, 0.0)],
)
def test_delayed_or_throttled_bytes_take_their_time_and_keep_their_order(
    fault: dict[str, float], bytes_sent: int, least_s: float
) -> None:
    with connected() as (proxy, dialer, listener):
        proxy.set([LINK], **fault)
        began = time.monotonic()
        stream = b"".join([frame(bytes(bytes_sent)), *NUMBERED[:9]])
        dialer.sendall(stream)
        assert receive(listener, len(stream)) == stream
        assert least_s <= time.monotonic() - began < SOON_S


def test_a_lossy_way_loses_whole_frames_but_the_first() -> None:
    with connected() as (proxy, dialer, listener):
        proxy.set([LINK], loss=1.0)
        dialer.sendall(b"".join(NUMBERED))
        kept = b"".join(NUMBERED[:OPENING_FRAMES])
        assert receive(listener, len(kept)) == kept
        wait_until(lambda: proxy.lost_frames == 100 - OPENING_FRAMES, "the other frames to be lost")
        proxy.heal()
        dialer.sendall(frame(b"end"))
        assert receive(listener, 7) == frame(b"end")


def test_a_dead_target_ends_the_dialers_connection_and_closing_leaves_no_thread() -> None:
    with socket.create_server((HOST, 0)) as server:
        target = server.getsockname()
    proxy = Proxy()
    proxy.add_link(LINK, target)
    proxy.start()
    with dial(proxy) as dialer:
        assert receive_all(dialer) == b""
    proxy.close()
    assert "proxy" not in [thread.name for thread in threading.enumerate()]


def test_a_link_heals_alone() -> None:
    with contextlib.closing(Proxy()) as proxy:
        for key in ((1, 2), (2, 1)):
            proxy.add_link(key, (HOST, 9))
        proxy.start()
        proxy.set(proxy.links, hold=True)
        proxy.heal([(2, 1)])
        assert proxy.links[1, 2].ways[OUT].hold and not proxy.links[2, 1].ways[OUT].hold


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 1000])
def test_frames_are_found_however_they_arrive(piece: int) -> None:
    big = struct.pack("!i", -1) + struct.pack("!Q", 3) + b"big"  # as Connection writes one of 2 GiB or more
    frames = [*map(frame, [b"", b"a", bytes(500), b"\xff" * 5]), big]
    stream, cutter = b"".join(frames) + b"\0\0", FrameCutter()
    found: list[bytes] = []
    for at in range(0, len(stream), piece):
        found += cutter.feed(stream[at : at + piece])
    assert found == frames
    assert cutter.rest == b"\0\0"
