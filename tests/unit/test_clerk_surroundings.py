"""A Clerk in a process without threads, descriptors, a resolver or much time, and one that is dropped."""

from __future__ import annotations

import gc
import os
import queue
import socket
import subprocess
import sys
import textwrap
import threading
import time
import weakref

import pytest
from raftkv import errors
from raftkv.client.clerk import Clerk
from raftkv.kvdb.writes import Put
from raftkv.rpc.client import ClientEnd, try_connect
from raftkv.rpc.resolve import resolve

from tests.cluster.waiting import wait_until
from tests.unit.fake_cluster import HOLD, KEY, SILENT

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@pytest.fixture
def names(monkeypatch):
    """A dict of names: to the addresses they have, or to an Event that the resolver waits for."""
    known, real = {}, socket.getaddrinfo

    def getaddrinfo(host, port, *args, flags=0, **options):
        if host not in known or flags:
            return real(host, port, *args, flags=flags, **options)
        if isinstance(known[host], threading.Event):
            known[host].wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [
            (socket.AF_INET6 if ":" in each[0] else socket.AF_INET, socket.SOCK_STREAM, 6, "", each)
            for each in known[host]
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield known
    for value in known.values():
        if isinstance(value, threading.Event):
            value.set()


def test_an_answer_of_the_resolver_for_which_nobody_waits_is_kept_for_who_asks_next(monkeypatch):
    answer, asked = threading.Event(), []

    def getaddrinfo(host, port, *args, flags=0, **options):
        if flags:
            raise socket.gaierror(socket.EAI_NONAME, "no number")
        asked.append(host)
        answer.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    def ask():
        return resolve("slow.example", 1, time.monotonic(), queue.SimpleQueue())

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(errors.CallTimeoutError):
        ask()
    answer.set()
    wait_until(lambda: not any(t.name == "rpc-resolver" for t in threading.enumerate()), "the answer")
    assert ask() == [(socket.AF_INET, ("127.0.0.1", 1))]
    assert asked == ["slow.example"]


def clerks_threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("clerk")]


# -- threads -------------------------------------------------------------------------------------------------


@pytest.fixture
def no_threads(monkeypatch):
    """While `on`, no thread of a Clerk whose name begins with `prefix` can be started."""

    class Switch:
        on = True
        prefix = "clerk"

    real = threading.Thread.start

    def start(thread):
        if Switch.on and thread.name.startswith(Switch.prefix):
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    return Switch


@pytest.mark.parametrize("prefix", ["clerk", "clerk-", "clerk-1", "clerk-1-dial"])
def test_threads_that_cannot_be_started_are_said_and_recovered_from(cluster, no_threads, prefix):
    no_threads.prefix = prefix
    with Clerk({1: cluster.addresses[1]}, authkey=KEY, timeout=0.3) as clerk:
        for call in (
            lambda: clerk.put("a", "1"),
            lambda: clerk.get("a"),
            lambda: clerk.submit("put", "a", "1").result(),
            lambda: clerk.pipeline().put("a", "1").execute(),
        ):
            started = time.monotonic()
            with pytest.raises(errors.UnavailableError, match="can't start new thread") as caught:
                call()
            assert not isinstance(caught.value, errors.OutcomeUnknown)
            assert time.monotonic() - started < 0.5
        if prefix != "clerk":
            assert "can't start new thread" in clerk.status(0.5)[0]["error"]
        no_threads.on = False
        wait_until(lambda: clerk.status()[0]["alive"], "the server to be reached")
        assert clerk._callers.run(Put(b"a", b"2"), 30.0) and clerk.get("a") == "2"
    assert cluster.numbers_of("put") == [1]


def test_close_when_no_thread_was_ever_started(cluster, no_threads):
    clerk = Clerk(cluster.addresses, authkey=KEY)
    with pytest.raises(errors.NotApplied):
        clerk.put("a", "1")
    clerk.close()
    with pytest.raises(errors.ClosedError):
        clerk.put("a", "1")


def run_script(cluster, script):
    """Runs a program with a Clerk named `db`; (what it wrote, how long it took, in seconds)."""
    head = f"""
        import atexit, sys, threading, time
        sys.path.insert(0, {ROOT!r})
        from raftkv import Clerk, errors
        db = Clerk({cluster.addresses!r}, authkey={KEY!r}, timeout=5.0)
        def use(what):
            try:
                print(what, db.put("x", what) > 0, db.get("x") == what)
            except errors.RaftKVError as error:
                print(what, type(error).__name__)
    """
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(head) + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, done.stderr
    return done.stdout, time.monotonic() - started


AT_EXIT = {
    "first use in atexit": "atexit.register(use, 'atexit')",
    "use in atexit": "use('before'); atexit.register(use, 'atexit')",
    "alone in atexit": "[use('before') for _ in range(4)]; atexit.register(use, 'atexit')",
    "close in atexit": "use('before'); atexit.register(db.close)",
    "first use in __del__": """
        class Late:
            def __del__(self):
                use("del")
        late = Late()
        late.itself = late
        """,
    "use in __del__": """
        class Late:
            def __del__(self):
                use("del")
        use("before")
        late = Late()
        late.itself = late
        """,
    "open at the end": "use('before')",
    "used by daemon threads at the end": """
        def forever():
            while True:
                use("t")
        sys.stdout = open("/dev/null", "w")
        for _ in range(3):
            threading.Thread(target=forever, daemon=True).start()
        time.sleep(0.2)
        """,
    "futures at the end": "use('before'); futures = [db.submit('put', 'k', 'v') for _ in range(100)]",
}


@pytest.mark.parametrize("script", AT_EXIT.values(), ids=AT_EXIT)
def test_the_end_of_the_interpreter(cluster, script):
    _, took_s = run_script(cluster, script)
    assert took_s < 4.0, "it hung at exit"


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="a system whose limits are other ones")
def test_descriptors_that_run_out_are_said_and_recovered_from(cluster):
    out, _ = run_script(
        cluster,
        """
        import resource, os
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = len(os.listdir("/proc/self/fd"))
        for more in (0, 5, 30):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most + more, hard))
            other = Clerk(db._addresses, authkey=db._authkey, timeout=0.5)
            started = time.monotonic()
            try:
                other.put("a", "1")
                print("done")
            except errors.NotApplied as error:
                print(error)
            assert time.monotonic() - started < 0.7
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            while True:  # servers that failed are passed over for a second
                try:
                    assert other.put("a", "1")
                    break
                except errors.NotApplied:
                    assert time.monotonic() - started < 10
            other.close()
        use("after")
        """,
    )
    assert "Too many open files" in out and "done" in out and "after True True" in out


# -- names ---------------------------------------------------------------------------------------------------


def test_a_resolver_that_hangs_delays_nobody(names):
    names["db.example"] = threading.Event()
    clerk = Clerk(["db.example:7001"], authkey=KEY, timeout=0.6)
    for call in (
        lambda: clerk.put("a", "1"),
        lambda: clerk.submit("get", "a").result(),
        clerk.get_with_revision,
    ):
        started = time.monotonic()
        with pytest.raises((errors.UnavailableError, TypeError)):
            call()
        assert time.monotonic() - started < 0.8
    assert clerk.status(0.3)[0]["alive"] is False
    waiting = clerk.submit("put", "a", "1")
    started = time.monotonic()
    clerk.close()
    assert time.monotonic() - started < 0.2
    assert isinstance(waiting.exception(0), (errors.ClosedError, errors.NotApplied))
    assert [thread.name for thread in threading.enumerate()].count("rpc-resolver") <= 1
    # close() does not wait for a dial that the scheduler holds up.
    wait_until(lambda: clerks_threads() == [], "the last dial to end")


@pytest.fixture
def silent():
    """The address of somebody whose kernel takes connections and who says nothing, and who counts them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def full():
    """An address that answers no SYN: its queue is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        clients = [socket.socket() for _ in range(3)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield listener
        for client in clients:
            client.close()


@pytest.mark.parametrize("first", ["silent", "full", "refusing", "IPv6"])
def test_all_addresses_of_a_name_are_tried(cluster, names, first, request):
    good = cluster.addresses[1]
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        if first in ("silent", "full"):
            bad = request.getfixturevalue(first).getsockname()
        else:
            bad = ("::1", good[1], 0, 0) if first == "IPv6" else nobody.getsockname()
        for addresses in ([bad, good], [good, bad]):
            names["db.example"] = addresses
            with Clerk(["db.example:7001"], authkey=KEY, timeout=3.0) as clerk:
                assert clerk.put("a", "1")
            end = ClientEnd(("db.example", 7001), KEY, keep_connected=True)  # as peers have them
            assert end.call("ping", (), 3.0) == "pong"
            end.close()


def test_a_name_that_does_not_exist_is_said():
    with pytest.raises(errors.ConnectionLostError, match="cannot resolve db.invalid"):
        try_connect(("db.invalid", 7001), KEY, 5.0)
    with pytest.raises(errors.ConnectionLostError, match="cannot resolve .db2"):
        try_connect((".db2", 7001), KEY, 5.0)


# -- time ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("server", ["silent", "full", "holding"])
def test_no_call_outlives_its_deadline(cluster, server, request):
    if server == "holding":  # as one whose disk hangs
        for each in cluster.servers.values():
            each.behave = lambda method, args: SILENT if method != "hello" else None
        addresses = cluster.addresses
    else:
        addresses = {1: request.getfixturevalue(server).getsockname()}
    with Clerk(addresses, authkey=KEY, timeout=0.2) as clerk:
        for call in (
            lambda: clerk.put("a", "1"),
            lambda: clerk.get("a"),
            lambda: clerk.scan(),
            lambda: clerk.submit("append", "a", "1").result(),
            lambda: clerk.pipeline().get("a").execute(),
        ):
            started = time.monotonic()
            with pytest.raises(errors.UnavailableError):
                call()
            assert 0.15 < time.monotonic() - started < 0.4
        started = time.monotonic()
        assert not any(row["alive"] for row in clerk.status(0.3))
        assert time.monotonic() - started < 0.5
        started = time.monotonic()
    assert time.monotonic() - started < 0.2, "close() waited"


def test_a_callback_that_waits_is_told_at_once(cluster):
    told = []

    def wait(future):
        started = time.monotonic()
        with pytest.raises(errors.NotApplied, match="submit"):
            clerk.put("a", "1")
        told.append(time.monotonic() - started)

    with Clerk(cluster.addresses, authkey=KEY) as clerk:
        clerk.submit("put", "a", "1").add_done_callback(wait)
        wait_until(lambda: told, "the callback to end")
    assert told[0] < 1.0


# -- dropped -------------------------------------------------------------------------------------------------


def open_sockets():
    gc.collect()
    return sum(1 for each in gc.get_objects() if isinstance(each, socket.socket) and each.fileno() >= 0)


def drop_clerks(addresses):
    for number in range(50):
        clerk = Clerk(addresses, authkey=KEY)
        clerk.put("a", "1")
        clerk.get("a")
        if number % 2:
            clerk.itself = clerk


def drop_ends(addresses):
    for _ in range(5):
        ClientEnd(addresses[1], KEY, name="clerk-end").call("ping", (), 5.0)


@pytest.mark.parametrize("drop, count", [(drop_clerks, 50), (drop_ends, 5)])
def test_a_dropped_clerk_is_collected_like_a_file(cluster, drop, count):
    sockets = open_sockets()

    def collect():
        drop(cluster.addresses)
        gc.collect()
        wait_until(lambda: not clerks_threads(), "the threads to end")

    with pytest.warns(ResourceWarning, match="unclosed") as warned:
        collect()
    assert sum("unclosed" in str(each.message) for each in warned) == count
    wait_until(lambda: open_sockets() <= sockets, "the connections to be closed")


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_clerk_with_calls_under_way_is_not_collected(cluster):
    cluster.servers[1].always(HOLD)
    clerk = Clerk(cluster.addresses, authkey=KEY)
    future, gone = clerk.submit("put", "a", "1"), weakref.ref(clerk)
    del clerk
    assert cluster.servers[1].holds.acquire(timeout=10)
    gc.collect()
    cluster.servers[1].release()
    assert future.result(10)
    Clerk(cluster.addresses, authkey=KEY).submit("put", "b", "1")  # and nobody keeps anything of it
    wait_until(lambda: cluster.store.data.get(b"b"), "the put to be done")
    wait_until(lambda: gone() is None and not clerks_threads(), "the Clerks to be collected")
