"""A server's memory: garbage that is looked for at good moments, and one heap for all threads."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
from raftkv.cli.memory import BUSY_S, collect_garbage

from tests.chaos.run import processes_left
from tests.http.conftest import free_run, version, wait_for

LAUNCHER = os.path.join(os.path.dirname(__file__), "..", "..", "bin", "kvcluster.py")


def test_garbage_in_a_cycle_is_collected_unless_the_server_is_busy() -> None:
    class Cycle:
        def __init__(self) -> None:
            self.itself = self

    gc.collect()
    gc.disable()
    try:
        gone = weakref.ref(Cycle())
        collect_garbage(BUSY_S)
        assert gone() is None
        data = [[each] for each in range(1000)]
        collect_garbage(BUSY_S + 0.01)
        assert gc.get_freeze_count() > len(data)
    finally:
        gc.unfreeze()
        gc.enable()


def heaps_of_threads(pid: str) -> int:
    """glibc reserves up to 64 MiB of addresses for each heap that is not the first one."""
    found = 0
    for line in Path("/proc", pid, "maps").read_text().splitlines():
        addresses, mode, *rest = line.split()
        start, end = (int(each, 16) for each in addresses.split("-"))
        found += mode == "---p" and len(rest) == 3 and 32 << 20 < end - start <= 64 << 20
    return found


@pytest.mark.skipif(sys.platform != "linux" or sys.maxsize < 1 << 32, reason="/proc, 64 bits")
def test_the_threads_of_launcher_server_and_front_share_one_heap(tmp_path: Path) -> None:
    folder, port = str(tmp_path / "cluster"), free_run(2)
    command = [sys.executable, LAUNCHER, "--nodes", "1", "--data-dir", folder, "--http", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None and process.stdout.readline().startswith(b"ready")
            wait_for(lambda: version(port) == 200)
            pids = processes_left(Path(folder))
            assert [heaps_of_threads(str(pid)) for pid in pids] == [0, 0, 0]
        finally:
            process.terminate()
