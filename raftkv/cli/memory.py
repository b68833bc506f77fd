"""The memory of a process that runs for long: one heap for all threads, and when garbage is looked for."""

from __future__ import annotations

import gc

BUSY_S = 0.1  # of processor time since the last look
_M_ARENA_MAX = -8  # of glibc's malloc.h


def share_heap() -> None:
    """One heap for all threads of this process. Call it before there are any. glibc gives threads heaps of their own, so that
    they can allocate at the same time, and what was freed in one stays there. Python's threads take turns anyway."""
    try:
        import ctypes

        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    except (ImportError, OSError, TypeError, AttributeError):
        pass  # no ctypes, or another C library: it works as well, with more memory


def collect_garbage(used_s: float) -> None:
    """Called now and then, in place of Python's own collector of cyclic garbage; `used_s` is the processor time since
    the last time, in seconds.

    That one looks at each new object up to three times, and at times through the whole database: with a million keys
    all threads stop for half a second, which is an election. A server makes hardly any cycles; reference counts free
    the rest. So new objects are looked through once. What is new in a busy server is data, of a log, a snapshot or many
    writes: that is not looked through at all."""
    if used_s > BUSY_S:
        gc.freeze()
    else:
        gc.collect(1)
