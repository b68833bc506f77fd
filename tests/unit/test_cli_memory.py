"""A server's memory: garbage that is looked for at good moments, and one heap for all threads."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import weakref

import pytest
from raftkv.cli.memory import BUSY_S, collect_garbage

COUNT_HEAPS = """
import ctypes, threading
from raftkv.cli.memory import share_heap

share_heap()
held = []
threads = [threading.Thread(target=lambda: held.append([bytes(5000) for _ in range(100)])) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, file)
libc.fflush(file)
"""


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


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_info"), reason="glibc's malloc_info"
)
def test_all_threads_share_one_heap() -> None:
    told = subprocess.run([sys.executable, "-c", COUNT_HEAPS], capture_output=True, text=True, check=True)
    assert told.stdout.count("<heap nr=") == 1
