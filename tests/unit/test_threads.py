"""Threads: how they end, and what their death means."""

from __future__ import annotations

import threading

from raftkv.node.threads import Threads


def test_join_waits_for_a_thread_that_is_only_just_begun() -> None:
    """By the log-writer, say, that sees a commit while the node stops."""
    deaths: list[BaseException] = []
    threads, finished = Threads(deaths.append), threading.Event()

    def second(first: threading.Thread) -> None:
        first.join()
        threading.Event().wait(0.05)  # so that a join() that does not wait is caught
        finished.set()

    def first() -> None:
        threads.sleep(60)
        threads.start("second", second, threading.current_thread())

    threads.start("first", first)
    threads.stop()
    threads.join()
    assert finished.is_set() and not deaths


def test_only_the_first_death_is_reported() -> None:
    deaths: list[BaseException] = []
    threads = Threads(deaths.append)

    def die(word: str) -> None:
        raise RuntimeError(word)

    for word in ("first", "second"):
        threads.start(word, die, word)
        threads.join()
    assert [str(death) for death in deaths] == ["first"]
