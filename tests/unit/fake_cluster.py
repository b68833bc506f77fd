"""Servers on loopback that share one Store instead of a log, and do what the test tells them."""

from __future__ import annotations

import threading
import time

from raftkv import errors
from raftkv.kvdb.lease_keeper import LeaseKeeper
from raftkv.kvdb.maintenance import LeaseKeepAlive, LeaseTimeToLive
from raftkv.kvdb.operation import Read
from raftkv.kvdb.operations import IN_LOG
from raftkv.kvdb.requests import entry_of, of_request
from raftkv.kvdb.session_table import Sessions
from raftkv.kvdb.store import Store
from raftkv.kvdb.watches import Watches
from raftkv.rpc.channel import send_replies
from raftkv.rpc.server import RpcServer

KEY = b"a key that clients and servers share"
SILENT = object()  # no reply
HOLD = object()  # no reply until release()
HANG_UP = object()  # no reply, and the connection is closed


class Cluster:
    """Servers that share one Store instead of a log. `leader` answers; the others name it."""

    def __init__(self, ids):
        self.id = 7
        self.leader = ids[0]
        self.lock = threading.Lock()
        self.store = Store()
        self.index = 1
        self.keeper = LeaseKeeper(time.monotonic, 1.0)
        self.keeper.watch(self.store.data)
        self.keeper.leads(1, [])
        self.watches = Watches(send_replies, time.monotonic, 1.0)  # of all servers
        self.watches.watch(self.store.data)
        self.watches.role_changed(self.leader)
        self.requests = []  # (server, method, args), in order
        self.servers = {}
        for server in ids:
            self.servers[server] = Server(self, server)
        self.addresses = {server: each.address for server, each in self.servers.items()}

    def carry_out(self, method, args):
        """What the leader answers: (ok, result)."""
        operation = of_request(method, args)
        operation.check()
        if isinstance(operation, Read):
            return self.store.read(operation)
        if isinstance(operation, LeaseKeepAlive):
            return self.keeper.keepalive(None, None, operation, self.store.data)
        if isinstance(operation, LeaseTimeToLive):
            return self.keeper.time_to_live(operation, self.store.data)
        self.index += 1
        outcome = self.store.apply(self.index, entry_of(operation, args), operation)
        self.watches.changed()
        return outcome

    def watch(self, channel, request_id, method, args):
        """What any server answers to a request about watches: SILENT, or why not."""
        operation = of_request(method, args)
        operation.check()
        if method == "watch":
            return self.watches.begin(channel, request_id, operation) or SILENT
        (self.watches.taken if method == "watch_taken" else self.watches.cancel)(channel, operation)
        return SILENT

    def not_leader(self, hint="the leader"):
        hint = self.leader if hint == "the leader" else hint
        return False, (errors.NOT_LEADER, "this node is not the leader", {"leader": hint, "proposed": False})

    def forget_sessions(self):
        self.store.sessions = Sessions()
        self.store.sessions.horizon = self.index - 1

    @property
    def clients(self):
        """How many clients have sent a write."""
        return len({args[0] for _, method, args in self.requests if method in IN_LOG})

    def numbers_of(self, method):
        """The sequence numbers of the attempts of a method, in order."""
        return [args[2] for _, each, args in self.requests if each == method]

    def value(self, key):
        return self.store.data.get(key.encode())[0].decode()

    def close(self):
        for server in self.servers.values():
            server.rpc.close()


class Server:
    """One server. `behave(method, args)` may return an answer of its own, or None for the usual one."""

    def __init__(self, cluster, server):
        self.cluster = cluster
        self.id = server
        self.behave = lambda method, args: None
        self.held = []
        self.holds = threading.Semaphore(0)  # counts them
        self.rpc = RpcServer(f"server-{server}")
        self.address = self.rpc.listen(
            ("127.0.0.1", 0),
            KEY,
            self,
            max_frame_bytes=1 << 24,
            max_connections=100,
            max_unauthenticated=100,
            handshake_timeout_s=5.0,
        )
        self.rpc.start()

    def on_requests(self, batch):
        for channel, request_id, method, args in batch:
            with self.cluster.lock:
                answer = self.answer(channel, request_id, method, args)
            if answer is HANG_UP:
                channel.close()
            elif answer is HOLD:
                self.held.append((channel, request_id, method, args))
                self.holds.release()
            elif answer is not SILENT:
                send_replies([(channel, request_id, *answer)])

    def on_close(self, channel):
        self.cluster.watches.closed(channel)

    def release(self):
        """Answer what was held, as the leader does."""
        self.behave = lambda method, args: None
        with self.cluster.lock:
            replies = [
                (channel, id, *self.cluster.carry_out(*request)) for channel, id, *request in self.held
            ]
        send_replies(replies)

    def answer(self, channel, request_id, method, args):
        if method == "hello":  # a Clerk's own, between all others
            applied = {"leader": self.cluster.leader, "applied": self.cluster.index}
            return True, {"cluster_id": self.cluster.id, **applied}
        self.cluster.requests.append((self.id, method, args))
        answer = self.behave(method, args)
        if answer is not None:
            return answer
        if method == "status":
            return True, {"id": self.id, "role": "leader" if self.id == self.cluster.leader else "follower"}
        if method == "serializable":
            return self.cluster.store.read(of_request(method, args).read())
        if method.startswith("watch"):
            return self.cluster.watch(channel, request_id, method, args)
        if self.id != self.cluster.leader:
            return self.cluster.not_leader()
        return self.cluster.carry_out(method, args)

    def do(self, *answers, only=None):
        """Give these answers to the next requests (those of the method `only`), then the usual ones.

        An answer may be a function of (method, args).
        """
        left = list(answers)

        def behave(method, args):
            if not left or (only is not None and method != only):
                return None
            answer = left.pop(0)
            return answer(method, args) if callable(answer) else answer

        self.behave = behave

    def always(self, answer):
        self.behave = lambda method, args: answer
