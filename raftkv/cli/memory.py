"""How a server's process deals with memory: one heap for all threads, and garbage that is looked for at good moments."""

from __future__ import annotations

import gc

BUSY_S = 0.1  # of processor time since the last look
_M_ARENA_MAX = -8  # of glibc's malloc.h


def share_heap() -> None:
    """To be called before there are threads. glibc gives each thread a heap of its own, and each heap keeps the most that its
    threads ever had at a time. They could allocate at the same time then; Python's threads do not. With another C library
    nothing happens."""
    try:
        import ctypes

        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    except (ImportError, OSError, TypeError, AttributeError):
        pass


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
