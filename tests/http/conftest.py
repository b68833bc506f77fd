"""A front of a cluster of one, in this process, for all tests that need one."""

import contextlib
import http.client
import json
import random
import socket
import threading
import time

import pytest
from raftkv.config import load_server_config
from raftkv.http.front import Front
from raftkv.http_config import HttpConfig
from raftkv.ini import Address
from raftkv.kvdb.server import KVServer

from tests.cluster.harness import free_ports

LOCAL = "127.0.0.1"


WAIT_S = 20


def version(port):
    """Of the front that listens there; None if nobody does."""
    connection = http.client.HTTPConnection(LOCAL, port, timeout=WAIT_S)
    try:
        connection.request("GET", "/version")
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def wait_for(condition):
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)


def free_run(count):
    """The first of so many free ports in a row, below those of outgoing connections."""
    while True:
        first = random.randrange(15_000, 30_000)
        with contextlib.ExitStack() as listeners:
            try:
                for port in range(first, first + count):
                    listeners.enter_context(socket.create_server((LOCAL, port)))
                return first
            except OSError:
                continue


@pytest.fixture(scope="package")
def cluster(tmp_path_factory):
    """The ServerConfig of its only server."""
    with new_cluster(tmp_path_factory.mktemp("cluster")) as config:
        yield config


@contextlib.contextmanager
def new_cluster(folder):
    """The same, of another one."""
    clients, peers = free_ports(2)
    ini = folder / "server1.ini"
    ini.write_text(
        f"[node]\nid = 1\ndata_dir = data\n[servers]\n1 = {LOCAL}:{clients}\n[peers]\n1 = {LOCAL}:{peers}\n"
        "[auth]\nclient_key_file = client.key\npeer_key_file = peer.key\n"
    )
    config = load_server_config(ini)
    server = KVServer(config)
    try:
        server.start()
        yield config
    finally:
        server.stop()


class RunningFront:
    """In a thread, until stop()."""

    def __init__(self, cluster, **options):
        config = HttpConfig(Address(LOCAL, free_ports(1)[0]), **options)
        self.front = Front(config, cluster.servers, cluster.load_keys()[0], own_id=1)
        self.port = self.front.address.port
        self._thread = threading.Thread(target=self.front.run)
        self._thread.start()

    def stop(self):
        self.front.stop()
        self._thread.join()

    def connect(self):
        return http.client.HTTPConnection(LOCAL, self.port, timeout=10)

    def ask(self, path, body=None, *, method=None, fields=None):
        """(status, the JSON or text of the answer)."""
        connection = self.connect()
        try:
            data = json.dumps(body) if isinstance(body, dict) else body
            connection.request(method or ("GET" if body is None else "POST"), path, data, fields or {})
            reply = connection.getresponse()
            text = reply.read().decode()
            try:
                return reply.status, json.loads(text)
            except ValueError:
                return reply.status, text
        finally:
            connection.close()

    def stream(self, path, body):
        """A Stream, once its first bytes are there."""
        connection = self.connect()
        connection.request("POST", path, json.dumps(body) if isinstance(body, dict) else body)
        return Stream(connection)


class Stream:
    """What comes, one message a chunk."""

    def __init__(self, connection):
        self._connection = connection
        self.reply = connection.getresponse()

    def next(self):
        """The next message; None at the end."""
        size = int(self.reply.fp.readline(), 16)
        text = self.reply.fp.read(size + 2)[:-2]
        assert not size or text.endswith(b"\n")
        return json.loads(text)["result"] if size else None

    def close(self):
        self.reply.close()
        self._connection.close()


@pytest.fixture(scope="package")
def front(cluster):
    running = RunningFront(cluster)
    yield running
    running.stop()
