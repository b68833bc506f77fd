"""Threads: how they end, and what their death means."""

from __future__ import annotations

import queue
import threading

import pytest
from raftkv.errors import ResourceError
from raftkv.node.threads import Threads

from tests.cluster.waiting import wait_until


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
    assert threads.join(5.0)
    assert finished.is_set() and not deaths


def test_only_the_first_death_is_reported() -> None:
    deaths: list[BaseException] = []
    threads = Threads(deaths.append)

    def die(word: str) -> None:
        raise RuntimeError(word)

    for word in ("first", "second"):
        threads.start(word, die, word)
        assert threads.join(5.0)
    assert [str(death) for death in deaths] == ["first"]


def no_thread_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)


def test_work_that_comes_at_times_is_done_though_the_system_has_no_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads, done = Threads(pytest.fail), queue.SimpleQueue[str]()

    def work(both: threading.Barrier) -> None:
        both.wait(5)
        done.put(threading.current_thread().name)

    threads.prepare()
    threads.start("log-writer", threads.sleep, 60.0)
    no_thread_can_be_had(monkeypatch)
    threads.start("ticker", threads.sleep, 60.0)
    for _ in range(10):
        both = threading.Barrier(2)
        for name in ("snapshot", "apply"):
            threads.start(name, work, both)
        assert {done.get(timeout=5), done.get(timeout=5)} == {"snapshot", "apply"}
        wait_until(
            lambda: not {"snapshot", "apply"} & {thread.name for thread in threading.enumerate()}, "both"
        )
    threads.stop()
    assert threads.join(5.0)


def test_a_node_that_cannot_have_its_threads_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = Threads(pytest.fail)
    no_thread_can_be_had(monkeypatch)
    with pytest.raises(ResourceError, match="this system allows no more threads"):
        threads.prepare()
