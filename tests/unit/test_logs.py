"""Log lines wait for nobody: not in a queue, not in a process whose log nobody reads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from raftkv import Clerk
from raftkv.cli.cluster_files import prepare_folder
from raftkv.logs import LineStream, LineWriter

from tests.cluster.waiting import wait_until

SERVER = os.path.join(os.path.dirname(__file__), "..", "..", "bin", "kvserver.py")
AT_ONCE_S = 5.0  # far more than it takes, far less than for ever


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            pass  # the test did


def fill(fd: int) -> None:
    """Leave no room in a pipe."""
    os.set_blocking(fd, False)
    try:
        while True:
            os.write(fd, b"\n" * 4096)
    except BlockingIOError:
        pass
    os.set_blocking(fd, True)


def writer_to(fd: int, most_bytes: int = 1 << 20) -> LineWriter:
    return LineWriter(fd, lambda count: f"{count} missing\n", most_bytes)


def read_lines(fd: int, until: str) -> list[str]:
    """What comes up to the line that holds `until`."""
    lines: list[str] = []
    with open(fd, closefd=False) as file:
        for line in file:
            lines.append(line.strip())
            if until in line:
                return lines
    raise AssertionError(f"no {until!r} in {lines[-10:]}")


def test_lines_arrive_in_order(pipe: tuple[int, int]) -> None:
    writer = writer_to(pipe[1])
    for number in range(1000):
        writer.write(f"line {number}\n")
    assert read_lines(pipe[0], "line 999") == [f"line {number}" for number in range(1000)]
    assert writer.flush(AT_ONCE_S)


def test_lines_that_nobody_reads_are_dropped_and_counted_where_they_are_missing(
    pipe: tuple[int, int],
) -> None:
    fill(pipe[1])
    writer = writer_to(pipe[1], most_bytes=1000)
    started = time.monotonic()
    for number in range(1000):
        writer.write(f"line {number}\n")
    assert not writer.flush(0.05)
    assert time.monotonic() - started < AT_ONCE_S
    lines = [line for line in read_lines(pipe[0], "missing") if line]
    kept, loss = lines[:-1], lines[-1]
    assert kept == [f"line {number}" for number in range(len(kept))] and 50 < len(kept) < 200
    assert loss == f"{1000 - len(kept)} missing"
    writer.write("after\n")
    assert read_lines(pipe[0], "after") == ["after"], "the loss is told once"


def test_a_reader_that_is_gone_hurts_nobody_and_the_loss_is_told_to_the_next_one(
    pipe: tuple[int, int],
) -> None:
    writer = writer_to(pipe[1])
    os.close(pipe[0])
    for number in range(3):
        writer.write(f"line {number}\n")
        assert writer.flush(AT_ONCE_S)
    again = os.pipe()
    os.dup2(again[1], pipe[1])
    writer.write("after\n")
    assert read_lines(again[0], "after") == ["3 missing", "after"]
    for end in again:
        os.close(end)


def test_a_descriptor_that_somebody_made_non_blocking_gets_all_lines(pipe: tuple[int, int]) -> None:
    fill(pipe[1])
    os.set_blocking(pipe[1], False)
    writer = writer_to(pipe[1])
    writer.write("line\n")
    assert not writer.flush(0.05)
    assert read_lines(pipe[0], "line")[-1] == "line"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
def test_a_forked_child_writes_by_itself_and_repeats_nothing_of_its_parent(pipe: tuple[int, int]) -> None:
    fill(pipe[1])
    writer = writer_to(pipe[1])
    writer.write("of the parent\n")
    pid = os.fork()
    if not pid:
        writer.write("of the child\n")
        os._exit(0 if writer.flush(AT_ONCE_S) and threading.active_count() == 2 else 1)
    seen = b""
    while seen.count(b"of the") < 2:
        seen += os.read(pipe[0], 1 << 20)
    assert writer.flush(AT_ONCE_S)
    assert os.waitpid(pid, 0)[1] == 0
    assert sorted(seen.split(b"\n"))[-2:] == [b"of the child", b"of the parent"]


def test_a_stream_keeps_lines_whole(pipe: tuple[int, int]) -> None:
    stream = LineStream(writer_to(pipe[1]))
    print("begun", end="", file=stream)
    other = threading.Thread(target=print, args=("of another thread",), kwargs={"file": stream})
    other.start()
    other.join()
    print(" and ended", file=stream)
    assert read_lines(pipe[0], "ended") == ["of another thread", "begun and ended"]
    print("not ended", end="", file=stream, flush=True)
    assert os.read(pipe[0], 100) == b"not ended"


@pytest.mark.parametrize("closed", [False, True], ids=["full", "closed"])
def test_a_server_whose_log_nobody_reads_serves_and_stops(
    tmp_path: object, pipe: tuple[int, int], closed: bool
) -> None:
    files = prepare_folder(str(tmp_path), 1)
    if closed:
        os.close(pipe[0])
    else:
        fill(pipe[1])
    process = subprocess.Popen([sys.executable, SERVER, files.server_inis[1]], stderr=pipe[1])
    try:
        wait_until(lambda: os.path.exists(os.path.join(str(tmp_path), "client.key")), "the key")
        with Clerk.from_config(files.client_ini) as db:
            db.put("k", "v")
            assert db.get("k") == "v"
        process.send_signal(signal.SIGTERM)
        assert process.wait(AT_ONCE_S) == 0
    finally:
        process.kill()
        process.wait()
