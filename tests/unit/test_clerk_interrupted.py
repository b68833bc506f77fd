"""Exceptions out of signal handlers, at any place in a command: the caller gets them, and the Clerk goes on."""

from __future__ import annotations

import os
import queue
import random
import signal
import sys
import threading
import time

import pytest
from raftkv.client.clerk import Clerk
from raftkv.rpc.channel import send_replies

from tests.unit.fake_cluster import HOLD, KEY, Cluster

OURS = os.sep + "raftkv" + os.sep


class Interrupted(BaseException):
    """What the signal handler raises."""


@pytest.fixture
def cluster():
    cluster = Cluster([1])
    yield cluster
    cluster.close()


def interrupt_at(number, function):
    """Calls `function` and raises Interrupted at the `number`-th step in raftkv's code of this thread. Returns
    whether there were so many."""
    left = number

    def trace(frame, event, _):
        nonlocal left
        if OURS not in frame.f_code.co_filename or frame.f_code.co_name == "__del__":
            return None
        frame.f_trace_opcodes = sys.version_info >= (3, 10)  # in 3.9 the interpreter itself cannot bear it
        if event in ("opcode", "line"):
            left -= 1
            if left == 0:
                raise Interrupted
        return trace

    sys.settrace(trace)
    try:
        function()
    except Interrupted:
        pass
    finally:
        sys.settrace(None)
    return left <= 0


OPERATIONS = {
    "put": lambda clerk, text: clerk.append("k", text),
    "get": lambda clerk, text: clerk.get("k"),
    "submit": lambda clerk, text: clerk.submit("append", "k", text),
    "result": lambda clerk, text: clerk.submit("append", "k", text).result(5),
    "pipeline": lambda clerk, text: clerk.pipeline().append("k", text).get("k").execute(),
    "status": lambda clerk, text: clerk.status(),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("alone", [True, False])
def test_interrupted_at_any_step(cluster, name, alone):
    """`alone`: the caller has been lent the connection. What was interrupted takes effect once, later perhaps, or never."""
    with Clerk(cluster.addresses, authkey=KEY, timeout=5.0) as clerk:
        number, texts = 0, []
        while True:
            number += random.randint(10, 60)
            for _ in range(4 if alone else 0):
                clerk.put("k", "")
            texts.append(f"<{number}>")
            if not interrupt_at(number, lambda: OPERATIONS[name](clerk, texts[-1])):
                break
            started = time.monotonic()
            clerk.put("k", "")
            clerk.append("k", "y")
            value = clerk.get("k")
            assert value.count("y") == 1 and all(value.count(text) <= 1 for text in texts), value
            assert time.monotonic() - started < 2.0, f"interrupted at step {number}"
        clerk.put("k", "")
        assert clerk.submit("get", "k").result(5) is not None
        assert number > 20
    assert not any(thread.name.startswith("clerk") for thread in threading.enumerate())


@pytest.mark.parametrize("used", [True, False])
def test_close_interrupted_at_any_step(cluster, used):
    for number in range(1, 400, 17):
        clerk = Clerk(cluster.addresses, authkey=KEY, timeout=5.0)
        if used:
            clerk.put("k", "")
        more = interrupt_at(number, clerk.close)
        clerk.close()
        assert not any(thread.name.startswith("clerk") for thread in threading.enumerate())
        if not more:
            return


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="a system without setitimer")
def test_a_storm_of_signals(cluster):
    """Each acknowledged append is there once, and those that were interrupted at most once."""
    acknowledged, tried = [], 0

    def handler(*_):
        raise Interrupted

    with Clerk(cluster.addresses, authkey=KEY, timeout=5.0) as clerk:
        clerk.put("k", "")
        before = signal.signal(signal.SIGALRM, handler)
        try:
            while tried < 300 or not 20 < len(acknowledged) < tried - 20:
                tried += 1
                try:
                    signal.setitimer(signal.ITIMER_REAL, 10 ** random.uniform(-5, -2))
                    if tried % 3:
                        clerk.append("k", f"<{tried}>")
                    else:
                        clerk.submit("append", "k", f"<{tried}>").result(5)
                    acknowledged.append(tried)
                    signal.setitimer(signal.ITIMER_REAL, 0)
                except Interrupted:
                    pass
        finally:
            while True:
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                    signal.signal(signal.SIGALRM, before)
                    break
                except Interrupted:
                    pass
        started = time.monotonic()
        clerk.append("k", "end")
        value = clerk.get("k")
        assert time.monotonic() - started < 2.0
        futures = [clerk.submit("append", "f", "x") for _ in range(1500)]
        assert all(future.result(10) for future in futures)
    assert all(value.count(f"<{number}>") == 1 for number in acknowledged)
    assert all(value.count(f"<{number}>") <= 1 for number in range(tried + 1))


@pytest.mark.parametrize("how", ["interrupted", "dropped", "given up"])
def test_a_dump_that_nobody_reads_is_ended_on_the_server(cluster, how):
    ended = queue.SimpleQueue()

    def behave(method, args):
        if method == "dump":
            return HOLD if how == "interrupted" else (True, (1, 7, 20, 5, []))
        if method == "dump_end":
            ended.put(args)
            return True, None
        return True, [[b"k", b"v", 1, 1, 1, 0]] if method == "dump_piece" else None

    def interrupt():
        cluster.servers[1].holds.acquire()
        os.kill(os.getpid(), signal.SIGALRM)

    def handler(*_):
        raise Interrupted

    cluster.servers[1].behave = behave
    before = signal.signal(signal.SIGALRM, handler)
    try:
        with Clerk(cluster.addresses, authkey=KEY, timeout=5.0) as clerk:
            if how == "interrupted":
                thread = threading.Thread(target=interrupt)
                thread.start()
                with pytest.raises(Interrupted):
                    clerk.dump()
                thread.join()
                for channel, id, *_ in cluster.servers[1].held:
                    send_replies([(channel, id, True, (1, 7, 20, 5, []))])
            elif how == "dropped":
                clerk.dump()
            else:
                next(iter(clerk.dump()))
            assert ended.get(timeout=5) == (7,)
            assert ended.empty()
    finally:
        signal.signal(signal.SIGALRM, before)
