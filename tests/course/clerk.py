"""CourseClerk: a client's real session (ClerkSession) on the course's network.

It has the course's three calls. They never give up: a call is Pending until it is answered, however long
that takes. What fails on the way fails as in the course's RPC package, where the caller learns it: a
request or an answer that the network lost, a server that is down or out of reach (known after up to 0.1 s).
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import count
from typing import Any, Callable

from raftkv.client.command import Command, Done, Send
from raftkv.client.session import ClerkSession
from raftkv.kvdb.operations import OPERATIONS

from tests.course.world import LIMIT_S, Pending, World
from tests.sim.record import Record

UNREACHABLE_MS = 100  # at most, until the caller of a server out of reach knows

Call = tuple[Command, int]  # (command, attempt)


class CourseClerk:
    """`servers` are those that it reaches; more may be added. Every call goes into `record`."""

    def __init__(self, world: World, name: str, servers: Iterable[int], record: Record) -> None:
        self.world, self.name, self.servers = world, name, set(servers)
        self._record = record
        self._rng = random.Random(f"{world.plan.seed}/{name}")
        names = (f"{name}.{number}" for number in count(1))
        self._session = ClerkSession(sorted(world.hosts), self._rng, draw_name=names.__next__)
        self._calls: dict[int, tuple[int, Call]] = {}  # request -> (server, call)
        self._requests = 0
        self._wake_at: float | None = None
        world.clients.append(self)

    # -- what a test calls ----------------------------------------------------------------------------------

    def get(self, key: str) -> Pending:
        """Its result is the value, "" for a key that is not there."""
        return self._begin("get", key, None, key)

    def put(self, key: str, value: str) -> Pending:
        return self._begin("put", key, value, key, value)

    def append(self, key: str, value: str) -> Pending:
        return self._begin("append", key, value, key, value)

    def _begin(self, method: str, key: str, value: str | None, *args: str) -> Pending:
        pending = Pending()
        at = self._record.invoke(self.name, method, key, value)
        now = self.world.now
        self._perform(
            self._session.start(
                Command(
                    OPERATIONS[method].of(tuple(map(str.encode, args))), now + 10 * LIMIT_S, (pending, at)
                ),
                now,
            )
        )
        return pending

    def _end(self, command: Command) -> None:
        assert command.error is None, (
            f"{self.name}: {command.method} {command.args} failed: {command.error!r}"
        )
        pending, at = command.context
        item = command.result[1] if command.method == "get" else None
        value = None if item is None else item[0].decode()
        self._record.end(at, "ok", value)
        pending.finish("" if value is None else value)

    # -- what the session wants -----------------------------------------------------------------------------

    def _perform(self, actions: list[Any]) -> None:
        for action in actions:
            if isinstance(action, Done):
                self._end(action.command)
            else:
                self._send(action)
        wake_at = self._session.wake_at
        if wake_at is not None and (self._wake_at is None or wake_at < self._wake_at):
            self._wake_at = wake_at
            self.world.schedule(max(0.0, wake_at - self.world.now), self._wake, wake_at)

    def _wake(self, planned: float) -> None:
        if planned == self._wake_at:
            self._wake_at = None
            self._perform(self._session.wake(self.world.now))

    def _send(self, send: Send) -> None:
        self._requests += 1
        request, server, network = self._requests, send.server, self.world.network
        self._calls[request] = server, (send.command, send.attempt)
        schedule = self.world.schedule
        schedule(send.timeout_s, self._time_out, request)
        if not self._reaches(server):
            schedule(self._rng.randrange(UNREACHABLE_MS) / 1000, self._lose, request, False)
        elif network.loses():
            schedule(network.short_delay_s(), self._lose, request, True)
        else:
            delay_s = network.moment_s() + network.short_delay_s()
            schedule(delay_s, self._arrive, server, request, send.method, send.args)

    def _reaches(self, server: int) -> bool:
        return server in self.servers and self.world.hosts[server].process is not None

    def _arrive(self, server: int, request: int, method: str, args: tuple) -> None:
        process = self.world.hosts[server].process
        if process is None:
            self._lose(request, True)
            return
        if self.world.tracing:
            self.world.say(f"{self.name} -> n{server} {method} {args}")
        process.receive_request((self, request, method, args))

    # -- what becomes of its requests -----------------------------------------------------------------------

    def carry_reply(self, server: int, request: int, ok: bool, result: Any) -> None:
        """A server sends the answer."""
        network, schedule = self.world.network, self.world.schedule
        if not self._reaches(server):
            schedule(self._rng.randrange(UNREACHABLE_MS) / 1000, self._lose, request, True)
        elif network.loses():
            schedule(network.moment_s(), self._lose, request, True)
        else:
            schedule(network.moment_s(), self._receive, server, request, ok, result)

    def _receive(self, server: int, request: int, ok: bool, result: Any) -> None:
        if self.world.tracing:
            self.world.say(f"n{server} -> {self.name} {'' if ok else 'refused: '}{result}")
        if ok:
            self._report(request, self._session.answered, result)
        else:
            self._report(request, self._session.refused, *result)

    def _time_out(self, request: int) -> None:
        if request in self._calls:
            _server, (command, attempt) = self._calls[request]
            if command.done:
                del self._calls[request]
            else:  # its answer, if it still comes, is as good as another's
                self._perform(self._session.timed_out(command, attempt, True, self.world.now))

    def _lose(self, request: int, sent: bool) -> None:
        self._report(request, self._session.lost, sent, "the call failed")

    def server_gone(self, server: int, within_s: float | None) -> None:
        """The process there ended (see tests/sim/host.py)."""
        for request in [request for request, (to, _) in self._calls.items() if to == server]:
            self.world.schedule(self._rng.randrange(UNREACHABLE_MS) / 1000, self._lose, request, True)

    def _report(self, request: int, event: Callable[..., list[Any]], *what: Any) -> None:
        if request in self._calls:
            _, (command, attempt) = self._calls.pop(request)
            self._perform(event(command, attempt, *what, self.world.now))
