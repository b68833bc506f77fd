"""The fsync that can be made to fail."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.chaos.launcher import Fsync, route


def test_a_disk_fails_when_told_to(tmp_path: Path) -> None:
    synced: list[int] = []
    orders = tmp_path / "orders"
    fsync = Fsync(synced.append, str(orders))
    with open(tmp_path / "file", "wb", buffering=0) as file:
        fsync(file.fileno())
        orders.write_text("fail")
        with pytest.raises(OSError, match="Input/output error"):
            fsync(file.fileno())
        orders.unlink()
        fsync(file.fileno())
        assert synced == [file.fileno()] * 2


def test_a_failed_fsync_can_lose_what_was_not_synced(tmp_path: Path) -> None:
    orders, path = tmp_path / "orders", tmp_path / "file"
    fsync = Fsync(os.fsync, str(orders))
    with open(path, "wb", buffering=0) as file:
        file.write(b"durable")
        fsync(file.fileno())
        file.write(b" and not")
        orders.write_text("lose")
        with pytest.raises(OSError):
            fsync(file.fileno())
    assert path.read_bytes() == b"durable"


def test_a_disk_is_slow_when_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("tests.chaos.launcher.time.sleep", slept.append)
    (tmp_path / "orders").write_text("slow 0.25")
    with open(tmp_path / "file", "wb") as file:
        Fsync(os.fsync, str(tmp_path / "orders"))(file.fileno())
    assert slept == [0.25]


def test_a_disk_hangs_until_it_is_told_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    orders, slept = tmp_path / "orders", 0

    def sleep(seconds: float) -> None:
        nonlocal slept
        slept += 1
        if slept == 3:
            orders.unlink()

    monkeypatch.setattr("tests.chaos.launcher.time.sleep", sleep)
    orders.write_text("hang")
    with open(tmp_path / "file", "wb") as file:
        Fsync(os.fsync, str(orders))(file.fileno())
    assert slept == 3


def test_connections_take_the_route_to_their_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", socket.socket.connect)  # as it is put back
    with socket.create_server(("127.0.0.1", 0)) as proxy, socket.socket() as dialer:
        route({"1": proxy.getsockname()[1]})
        dialer.connect(("127.0.0.1", 1))
        assert dialer.getpeername() == proxy.getsockname()
