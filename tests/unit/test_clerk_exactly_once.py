"""Clients and the real state machine, with chance between them: nothing is ever applied twice, and no error
lies.

A small cluster of one log: leaders come and go, proposals are lost with them, requests and replies are
delayed or lost, and sessions are pushed out. Each command appends a token of its own, so that at the end the
store itself says what took effect. Time is a number; a seed decides everything.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter

import pytest
from raftkv import errors
from raftkv.client.command import Command, Send
from raftkv.client.session import ClerkSession
from raftkv.kvdb import session_table as sessions
from raftkv.kvdb.member_requests import Hello
from raftkv.kvdb.requests import entry_of, of_request
from raftkv.kvdb.store import Store
from raftkv.kvdb.writes import Append

SERVERS = (1, 2, 3)
CLIENTS = 6
COMMANDS = 25  # of each client
CALM_S = 60.0  # when the faults end


class Cluster:
    """One log, at most one leader, and a queue of things to come."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.now = 0.0
        self.order = itertools.count()
        self.queue = []
        self.store = Store()
        self.index = 1
        self.leader = None
        self.pending = []  # proposals of the present leader: (data, reply)
        self.counts = Counter()

    def at(self, delay_s, action, *args):
        heapq.heappush(self.queue, (self.now + delay_s, next(self.order), action, args))

    def run(self):
        while self.queue:
            self.now, _, action, args = heapq.heappop(self.queue)
            action(*args)

    def delay_s(self):
        """Mostly short; sometimes so long that the client has given this attempt up."""
        calm = self.now >= CALM_S
        return self.rng.expovariate(1000) if calm or self.rng.random() < 0.9 else self.rng.uniform(0, 4)

    def change_leader(self):
        """The old one's proposals take effect up to some point; its clients are told, or not."""
        calm = self.now >= CALM_S
        cut = self.rng.randint(0, len(self.pending))
        for number, (data, reply) in enumerate(self.pending):
            if number < cut:
                self.apply(data)
                self.counts["applied, unanswered"] += 1
            if self.rng.random() < 0.5:
                reply(False, (errors.NOT_LEADER, "deposed", {"leader": None, "proposed": True}))
        self.pending = []
        self.leader = self.rng.choice(SERVERS) if calm or self.leader is None else None
        if not calm:
            self.at(self.rng.uniform(0.05, 1.0), self.change_leader)
        elif self.leader is None:
            self.change_leader()

    def receive(self, server, method, args, reply):
        operation = of_request(method, args)
        operation.check()
        if isinstance(operation, Hello):  # it may lag behind
            applied = self.rng.randint(max(1, self.index - 20), self.index)
            reply(True, {"applied": applied, "leader": self.leader})
        elif server != self.leader:
            hint = self.rng.choice([None, self.leader, *SERVERS])
            reply(False, (errors.NOT_LEADER, "not the leader", {"leader": hint, "proposed": False}))
        elif self.now < CALM_S and self.rng.random() < 0.05:
            reply(False, (errors.OVERLOADED, "overloaded", {"proposed": False}))
        else:
            self.pending.append((entry_of(operation, args), reply))
            self.at(self.delay_s(), self.commit)

    def commit(self):
        if self.pending:
            data, reply = self.pending.pop(0)
            reply(*self.apply(data))

    def apply(self, data):
        self.index += 1
        answer = self.store.apply(self.index, data)
        if not answer[0]:
            self.counts[answer[1][0]] += 1
        return answer


class Client:
    """Drives a ClerkSession as Clerk does, over connections that lose things but do not double them."""

    def __init__(self, name, cluster):
        self.name = name
        self.cluster = cluster
        self.session = ClerkSession(
            SERVERS,
            random.Random(cluster.rng.random()),
            draw_name=lambda: f"{cluster.rng.getrandbits(128):032x}",
        )
        self.commands = {}
        for number in range(COMMANDS):
            cluster.at(cluster.rng.uniform(0, CALM_S), self.start, number)

    def start(self, number):
        token = f"<{self.name}.{number}>"
        command = Command(Append(b"log", token.encode()), self.cluster.now + 10.0)
        self.commands[token] = command
        self.act(self.session.start(command, self.cluster.now))

    def act(self, actions):
        for action in actions:
            if isinstance(action, Send):
                self.send(action)
        if self.session.wake_at is not None:
            self.cluster.at(
                max(0.0, self.session.wake_at - self.cluster.now), self.wake, self.session.wake_at
            )

    def wake(self, planned):
        if self.session.wake_at == planned:
            self.act(self.session.wake(self.cluster.now))

    def send(self, send):
        cluster, rng = self.cluster, self.cluster.rng
        calm = cluster.now >= CALM_S
        fate = 1.0 if calm else rng.random()

        def reply(ok, result):
            if not calm and rng.random() < 0.05:
                cluster.at(cluster.delay_s(), self.tell, "lost", send, True, "reply lost")
            else:
                name, args = ("answered", (result,)) if ok else ("refused", result)
                cluster.at(cluster.delay_s(), self.tell, name, send, *args)

        if fate < 0.05:
            cluster.at(cluster.delay_s(), self.tell, "lost", send, False, "no connection")
            return
        if fate > 0.1:
            cluster.at(cluster.delay_s(), cluster.receive, send.server, send.method, send.args, reply)
        cluster.at(send.timeout_s, self.tell, "timed_out", send, True)

    def tell(self, event, send, *args):
        self.cluster.counts[event] += 1
        self.act(getattr(self.session, event)(send.command, send.attempt, *args, self.cluster.now))


def run(seed):
    cluster = Cluster(seed)
    clients = [Client(name, cluster) for name in range(CLIENTS)]
    cluster.at(0.0, cluster.change_leader)
    cluster.at(CALM_S, cluster.change_leader)
    cluster.run()
    text = (cluster.store.data.get(b"log") or (b"",))[0].decode()
    for client in clients:
        assert len(client.commands) == COMMANDS
        for token, command in client.commands.items():
            check(token, command, text.count(token))
            cluster.counts[type(command.error).__name__] += 1
    return cluster.counts


def check(token, command, times):
    assert command.done, f"{token} never ended"
    if command.error is None:
        assert times == 1, f"{token} was acknowledged and is there {times} times"
    elif isinstance(command.error, errors.OutcomeUnknown):
        assert times <= 1, f"{token} is there {times} times"
    else:
        assert isinstance(command.error, errors.NotApplied), f"{token}: {command.error!r}"
        assert times == 0, f"{token} was reported as not applied, and is there {times} times"


@pytest.mark.parametrize("first_seed", range(0, 100, 20))
def test_nothing_twice_and_no_error_lies(first_seed, monkeypatch):
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 4)  # fewer than there are clients
    counts = Counter()
    for seed in range(first_seed, first_seed + 20):
        try:
            counts += run(seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    # The test would prove nothing if these did not happen.
    for what in ("applied, unanswered", "lost", "timed_out", errors.SESSION_EXPIRED, "SessionExpiredError"):
        assert counts[what] > 20, f"too little happened: {counts}"
    assert counts["NoneType"] > 1000, f"too little worked: {counts}"
