"""A Clerk in a process that forks: the child gets connections and a session of its own, the parent notices
nothing."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from raftkv import errors
from raftkv.client.clerk import Clerk
from raftkv.config import load_server_config
from raftkv.kvdb.server import KVServer
from raftkv.rpc.client import ClientEnd

from tests.unit.fake_cluster import HOLD, KEY

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]

PATIENCE_S = 20


@pytest.fixture
def clerk(clerk):
    for _ in range(4):
        clerk.put("a", "1")
    return clerk


class Child:
    """A forked process that runs `function`. result() is what that returned, or raises what it raised."""

    def __init__(self, function):
        self._read, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                signal.alarm(PATIENCE_S)
                try:
                    outcome = (True, function())
                except BaseException as error:
                    outcome = (False, error)
                os.write(write, pickle.dumps(outcome))
            finally:
                os._exit(0)
        os.close(write)

    def result(self):
        with open(self._read, "rb") as pipe:
            data = pipe.read()
        os.waitpid(self.pid, 0)
        assert data, "the child hung"
        ok, value = pickle.loads(data)
        if not ok:
            raise value
        return value


def work(clerk, name, count=50):
    for number in range(count):
        clerk.append(f"{name}{number}", "x")
        assert clerk.get(f"{name}{number}") == "x"


def sockets(folder="socket"):
    """The kernel's names of this process's sockets, and of its files in `folder`."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(os.readlink(f"/proc/self/fd/{fd}"))
    return {name for name in found if name.startswith(("socket", str(folder)))}


def test_parent_and_child_both_go_on(clerk, cluster):
    children = [Child(lambda name=name: work(clerk, name)) for name in "uvw"]
    work(clerk, "p")
    for child in children:
        child.result()
    for name in "uvwp":
        assert all(cluster.value(f"{name}{number}") == "x" for number in range(50))
    assert cluster.clients == 4, "a child went on in its parent's session"


def test_many_threads_are_in_the_middle_of_commands_at_the_fork(clerk, cluster):
    failures, stop = [], threading.Event()

    def busy(name):
        number = 0
        try:
            while not stop.is_set():
                clerk.append(f"{name}.{number}", "x")
                clerk.submit("append", f"{name}.{number}", "y").result(10)
                number += 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=busy, args=(f"t{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for number in range(10):
        Child(lambda number=number: work(clerk, f"c{number}.", 5)).result()
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    for number in range(10):
        assert all(cluster.value(f"c{number}.{each}") == "x" for each in range(5))


def test_a_child_of_a_child_goes_on(clerk, cluster):
    def child():
        work(clerk, "c", 3)
        Child(lambda: work(clerk, "g", 3)).result()
        work(clerk, "d", 3)

    Child(child).result()
    assert [cluster.value(f"{name}2") for name in "cgd"] == ["x"] * 3


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="a system without /proc")
def test_nothing_inherited_is_kept_open(cluster):
    before = sockets()  # those of the servers, which live in this process
    with Clerk(cluster.addresses, authkey=KEY) as clerk:
        for _ in range(4):
            clerk.put("a", "1")
        clerk.status()
        end = ClientEnd(cluster.addresses[1], KEY, keep_connected=True)
        end.call("ping", (), 5.0)
        served = {f"socket:[{inode}]" for inode in established(cluster)}
        ours = sockets() - before - served
        assert ours
        assert Child(sockets).result() & ours == set()
        end.close()


def established(cluster):
    """The inodes of the servers' ends of the connections."""
    ports = {port for _, port in cluster.addresses.values()}
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return {row[9] for row in rows if int(row[1].split(":")[1], 16) in ports}


def test_calls_under_way_do_not_exist_in_the_child(clerk, cluster):
    cluster.servers[1].always(HOLD)
    future = clerk.submit("put", "a", "2")
    assert cluster.servers[1].holds.acquire(timeout=10)

    def child():
        with pytest.raises(errors.ClosedError, match="forked"):
            future.result(PATIENCE_S)
        return future.done()

    assert Child(child).result() is False
    cluster.servers[1].release()
    assert future.result(10)


def test_a_with_block_and_a_pipeline_over_a_fork(clerk, cluster):
    pipeline = clerk.pipeline().put("p", "1")

    def child():
        with clerk:
            pipeline.put("q", "2").execute()
        clerk.close()
        with pytest.raises(errors.ClosedError):
            clerk.get("a")

    Child(child).result()
    assert cluster.value("q") == "2"
    pipeline.put("r", "3").execute()
    assert cluster.value("r") == "3"


def test_a_closed_clerk_is_closed_in_the_child(cluster):
    clerk = Clerk(cluster.addresses, authkey=KEY)
    clerk.put("a", "1")
    clerk.close()
    with pytest.raises(errors.ClosedError):
        Child(lambda: clerk.put("a", "2")).result()


def test_children_of_multiprocessing_and_of_subprocess(clerk, cluster):
    process = multiprocessing.get_context("fork").Process(target=work, args=(clerk, "m", 3))
    process.start()
    process.join(PATIENCE_S)
    assert process.exitcode == 0
    subprocess.run([sys.executable, "-c", ""], preexec_fn=lambda: work(clerk, "s", 3), check=True)
    assert cluster.value("m2") == cluster.value("s2") == "x"
    work(clerk, "p", 3)


def test_an_end_of_its_own(cluster):
    end = ClientEnd(cluster.addresses[1], KEY)
    assert end.call("ping", (), 5.0) == "pong"
    assert Child(lambda: end.call("ping", (), 5.0)).result() == "pong"
    assert end.submit("ping", (), 5.0).result(5) == "pong"
    end.close()


def test_a_signal_handler_that_forks_in_the_middle_of_a_command(clerk, cluster):
    children = []
    before = signal.signal(signal.SIGALRM, lambda *_: children.append(Child(lambda: work(clerk, "h", 2))))
    try:
        cluster.servers[1].always(HOLD)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        threading.Timer(0.3, cluster.servers[1].release).start()
        clerk.put("a", "2")
    finally:
        signal.signal(signal.SIGALRM, before)
    time.sleep(0)
    children[0].result()
    assert cluster.value("a") == "2" and cluster.value("h1") == "x"


@pytest.fixture
def embedded(tmp_path):
    """A server of a cluster of one, in this process, and its addresses."""
    with socket.socket() as client, socket.socket() as peer:
        for sock in (client, peer):
            sock.bind(("127.0.0.1", 0))
        ports = client.getsockname()[1], peer.getsockname()[1]
    path = tmp_path / "server.ini"
    path.write_text(
        f"[node]\nid = 1\ndata_dir = data\n[servers]\n1 = 127.0.0.1:{ports[0]}\n[peers]\n"
        f"1 = 127.0.0.1:{ports[1]}\n[auth]\nclient_key_file = client.key\npeer_key_file = peer.key\n"
    )
    config = load_server_config(path)
    server = KVServer(config)
    server.start()
    yield server, config
    server.stop()


def test_an_embedded_server_stays_with_its_parent(embedded, tmp_path):
    server, config = embedded
    key = (tmp_path / "client.key").read_bytes().strip()
    ended, end = os.pipe()
    with Clerk([str(server.client_address)], authkey=key) as clerk:
        clerk.put("a", "1")
        ours = sockets(tmp_path)

        def child():
            kept = sockets(tmp_path) & ours
            with pytest.raises(errors.ClosedError, match="forked"):
                server.start()
            server.stop()
            work(clerk, "c", 3)  # the parent's server serves it
            return kept

        assert Child(child).result() == set()
        sleeper = os.fork()
        if sleeper == 0:
            os.close(end)
            os.read(ended, 1)
            os._exit(0)
        work(clerk, "p", 3)
    try:
        server.stop()
        again = KVServer(config)  # the ports and the lock of the folder are free, though a child lives
        again.stop()
    finally:
        os.close(end)
        os.waitpid(sleeper, 0)
        os.close(ended)
