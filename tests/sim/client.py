"""SimClient: a client's real session (ClerkSession) on the simulated network, and the record of what it saw.

It makes up its own work: reads and writes of few keys that all clients share, and appends to a key of its own
that show at the end what was applied, and how often.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from raftkv.client.command import Command, Done, Send
from raftkv.client.session import ClerkSession
from raftkv.errors import (
    InvalidRequestError,
    NoSpaceError,
    NotApplied,
    RefusedError,
    SessionExpiredError,
    UnavailableError,
)
from raftkv.kvdb.operations import OPERATIONS
from raftkv.kvdb.ranges import prefix_range

from tests.sim.late_requests import LateRequests
from tests.sim.leases import KEEP_ALIVE, Sent
from tests.sim.record import Record

if TYPE_CHECKING:
    from tests.sim.process import Process
    from tests.sim.world import World

REFUSED_S = 0.002  # until a machine without the process says so
ROOM_S = 5.0  # after the faults all take writes again
LAST = 3
LAST_S = 60.0  # for the commands after the faults: longer than the simulator waits


class Work:
    """One command: its place among those of its client, and the operations that the history knows it as."""

    def __init__(self, slot: int, method: str, args: tuple, operations: list[tuple[str, str, Any]]) -> None:
        self.slot, self.method, self.args, self.operations = slot, method, args, operations
        self.token: str | None = None  # of an append to the client's own key
        self.open: list[int] = []  # the operations' places in the record
        self.asked = -1  # its own place there
        self.sent: Sent | None = None


class SimClient:
    """`tokens`: what became of each append to its own key ("ok", "fail" or "info")."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.name, self.own_key = world, f"c{number}", f"own{number}"
        plan = self._plan = world.plan
        self._rng = random.Random(f"{plan.seed}/client/{number}")
        self._session = self._new_session()
        self._pending: dict[int, tuple[Command, int, int]] = {}  # request -> (command, attempt, server)
        self._keepalives: dict[int, tuple] = {}  # request -> its arguments
        self._requests = self._written = 0
        self._seen: dict[str, str | None] = {}  # what it last read or wrote: for cas
        self._acknowledged: list[tuple[str, tuple[str, int], Any]] = []
        self._wake_at: float | None = None
        self._last = LAST  # commands to come after the faults
        self._late = LateRequests(self, f"{plan.seed}/late/{number}")
        self.under_way: dict[int, Command] = {}  # slot -> command
        self.tokens: dict[str, str] = {}
        for slot in range(plan.window):
            world.schedule(self._rng.random() * plan.think_s, self._begin, slot)

    def _new_session(self) -> ClerkSession:
        return ClerkSession(
            sorted(self.world.hosts), self._rng, draw_name=lambda: f"{self._rng.getrandbits(128):032x}"
        )

    @property
    def finished(self) -> bool:
        """Has it nothing under way, and done its last commands?"""
        return not self.under_way and self._last == 0

    # -- making up work --------------------------------------------------------------------------------------

    def _begin(self, slot: int) -> None:
        if slot in self.under_way:
            return
        if self.world.calm:
            if self._last == 0:
                return
            self._last -= 1
        work = self._make_work(slot)
        now = self.world.now
        command = Command(
            OPERATIONS[work.method].of(work.args),
            now + (LAST_S if self.world.calm else self._plan.timeout_s),
            work,
        )
        record = self.world.record
        process = f"{self.name}.{slot}"
        work.open = [
            record.invoke(f"{process}.{at}" if at else process, *operation)
            for at, operation in enumerate(work.operations)
        ]
        work.asked = record.ask(process, command.method, command.args)
        work.sent = self.world.checks.leases.sent()
        self.under_way[slot] = command
        self.world.count["client operations"] += 1
        if self.world.tracing:
            self.world.say(f"{process} begins {work.method} {work.args}")
        self._perform(self._session.start(command, now))

    def _make_work(self, slot: int) -> Work:
        rng = self._rng
        key = rng.choice(self._plan.keys)
        roll = 0.3 * (self._last % 2) if self.world.calm else rng.random()  # then its own appends, and reads
        self._written += 1
        value = f"{self.name}-{self._written}"
        if roll < 0.25:
            work = Work(slot, "append", (self.own_key.encode(), value.encode() + b";"), [])
            work.token = value
            self.tokens[value] = "info"
            return work
        if roll < 0.45:
            return Work(slot, "get", (key.encode(),), [("get", key, None)])
        if roll < 0.6:
            return Work(slot, "put", (key.encode(), value.encode()), [("put", key, value)])
        if roll < 0.7:
            return Work(slot, "append", (key.encode(), b"+" + value.encode()), [("append", key, "+" + value)])
        if roll < 0.75:
            return Work(slot, "delete", (key.encode(),), [("delete", key, None)])
        if roll < 0.85:
            expected = self._seen.get(key)
            wanted = None if expected is None else expected.encode()
            return Work(
                slot, "cas", (key.encode(), wanted, value.encode()), [("cas", key, (expected, value))]
            )
        if roll < 0.9:
            return Work(slot, "range", prefix_range(b"k"), [("get", each, None) for each in self._plan.keys])
        keys = rng.sample(self._plan.keys, rng.randint(1, len(self._plan.keys)))
        if roll < 0.95:
            return Work(
                slot, "gets", ([each.encode() for each in keys],), [("get", each, None) for each in keys]
            )
        operations = [
            ("put", each, value) if rng.random() < 0.5 else ("append", each, "+" + value) for each in keys
        ]
        batch = [(op, each.encode(), text.encode()) for op, each, text in operations]
        if {op for op, _, _ in batch} == {"put"}:
            _, *columns = zip(*batch)
            return Work(slot, "puts", tuple(columns), operations)
        return Work(slot, "batch", (batch,), operations)

    def abandon_one(self) -> None:
        """The user does not wait for one of its commands any more (Ctrl-C)."""
        for command in list(self.under_way.values())[:1]:
            self._perform(self._session.abandon(command, self.world.now))

    def restart(self) -> None:
        """A new process, without the session: nobody learns what becomes of the commands under way."""
        self._session = self._new_session()
        self._pending.clear()
        self._wake_at = None
        for slot in self.under_way:
            self.world.schedule(self._rng.random() * self._plan.think_s, self._begin, slot)
        self.under_way.clear()

    def mend(self) -> None:
        """The faults have ended: do the last commands, too."""
        for slot in range(self._plan.window):
            self._begin(slot)

    # -- what the session wants ------------------------------------------------------------------------------

    def _perform(self, actions: list[Any]) -> None:
        for action in actions:
            if type(action) is Send:
                self._send(action)
            else:
                self._done(action)
        wake_at = self._session.wake_at
        if wake_at is not None and (self._wake_at is None or wake_at < self._wake_at):
            self._wake_at = wake_at
            self.world.schedule(max(0.0, wake_at - self.world.now), self._wake, wake_at)

    def _wake(self, planned: float) -> None:
        if planned != self._wake_at:
            return
        self._wake_at = None
        if self._session.wake_at is not None:
            self._perform(self._session.wake(self.world.now))

    def _send(self, send: Send) -> None:
        self._requests += 1
        request, world = self._requests, self.world
        self._pending[request] = (send.command, send.attempt, send.server)
        world.schedule(send.timeout_s, self._time_out, request)
        # Once, or not at all: a connection doubles nothing, and a session relies on that. A refusal says that
        # its attempt will never take effect. (A command arrives more than once when the session repeats it.)
        world.network.carry(
            self.name, send.server, self._arrive, request, send.server, send.method, send.args
        )

    def carry(self, server: int, method: str, args: tuple) -> None:
        """Send this, whose answer nobody waits for."""
        self._requests += 1
        self.world.network.carry(self.name, server, self._arrive, self._requests, server, method, args)

    def _arrive(self, request: int, server: int, method: str, args: tuple) -> None:
        process = self.world.hosts[server].process
        if process is None:
            self.world.network.carry(server, self.name, self._lose, request, False)
            return
        if self.world.tracing:
            self.world.say(f"{self.name} -> n{server} {method} {args}")
        if method == KEEP_ALIVE:
            self._keepalives[request] = args
        process.receive_request((self, request, method, args))

    def answers(self, request: int) -> None:
        """A server answers it, well; perhaps nobody waits for that."""
        if request in self._keepalives:
            self.world.checks.leases.renewed(self._keepalives.pop(request)[0])

    # -- what becomes of its requests ------------------------------------------------------------------------

    def carry_reply(self, process: Process, request: int, ok: bool, result: Any) -> None:
        """A server sends an answer."""
        if ok:
            self.answers(request)
        self.world.network.carry(process.id, self.name, self.receive, request, ok, result)

    def receive(self, request: int, ok: bool, result: Any) -> None:
        """An answer arrived. One that comes after the session gave the attempt up is as good."""
        if request not in self._pending:
            return
        command, attempt, server = self._pending.pop(request)
        if self.world.tracing:
            self.world.say(f"n{server} -> {self.name} {'' if ok else 'refused: '}{result}")
        now = self.world.now
        if ok:
            self._perform(self._session.answered(command, attempt, result, now))
        else:
            code, message, detail = result
            self.world.count["refusals"] += 1
            self._perform(self._session.refused(command, attempt, code, message, detail, now))

    def _time_out(self, request: int) -> None:
        pending = self._pending.get(request)
        if pending is None:
            return
        if pending[0].done:
            del self._pending[request]
        else:
            self._perform(self._session.timed_out(pending[0], pending[1], True, self.world.now))

    def _lose(self, request: int, sent: bool) -> None:
        pending = self._pending.pop(request, None)
        if pending is not None:
            reason = "the connection was lost" if sent else "connection refused"
            self._perform(self._session.lost(pending[0], pending[1], sent, reason, self.world.now))

    def server_gone(self, server: int, within_s: float | None) -> None:
        """The process there ended. `within_s`: its machine says so; None: it does not."""
        if within_s is None:
            return
        for request, (_, _, to) in list(self._pending.items()):
            if to == server:
                self.world.schedule(self._rng.uniform(0, within_s), self._lose, request, True)

    # -- outcomes --------------------------------------------------------------------------------------------

    def _done(self, done: Done) -> None:
        command = done.command
        work: Work = command.context
        outcome = self._outcome(command)
        if self.world.tracing:
            said = (
                command.result
                if command.error is None
                else f"{type(command.error).__name__}: {command.error}"
            )
            self.world.say(f"{self.name}.{work.slot} {outcome}: {work.method} {said}")
        self.world.count[f"operations that ended {outcome}"] += 1
        if work.token is not None:
            self.tokens[work.token] = outcome
        self._record(work, outcome, command.result)
        if outcome == "ok" and command.is_write:
            self._acknowledge(command)
            if self._plan.late_requests:
                self._late.after(command)
        del self.under_way[work.slot]
        self.world.schedule(self._rng.random() * 2 * self._plan.think_s, self._begin, work.slot)

    def _outcome(self, command: Command) -> str:
        error = command.error
        if error is None:
            return "ok"
        if isinstance(error, RefusedError):
            return "fail"
        assert not isinstance(error, InvalidRequestError), (
            f"{self.name}: {command.method} {command.args}: {error}"
        )
        assert isinstance(error, UnavailableError), f"{self.name}: {command.method}: {error!r}"
        if self.world.calm and (
            isinstance(error, NoSpaceError) or "no room on" in str(error)
        ):  # or in doubt, too
            late_s = self.world.now - self.world.calm_since
            assert late_s < ROOM_S, f"{self.name}: no room {late_s:.1f} s after the faults: {error}"
            self._last += 1  # once more
        elif self.world.calm and not isinstance(error, SessionExpiredError):
            assert command.deadline < self.world.now + 1, f"{self.name}: failed in peace: {error!r}"
        return "fail" if isinstance(error, NotApplied) or not command.is_write else "info"

    def _record(self, work: Work, outcome: str, result: Any) -> None:
        record: Record = self.world.record
        record.answer(work.asked, outcome, result)
        if outcome == "ok" and work.sent is not None:
            self.world.checks.leases.answered(work.method, work.args, result, work.sent)
        results: list[Any] = [None] * len(work.open)
        if outcome == "ok":
            results = self._results(work, result)
        for at, result_, (f, key, value) in zip(work.open, results, work.operations):
            record.end(at, outcome, result_)
            if outcome == "ok":
                self._seen[key] = result_ if f == "get" else value if f == "put" else self._seen.get(key)

    def _results(self, work: Work, result: Any) -> list[Any]:
        """The result of each of the operations, as the history wants it."""
        if work.method == "get":
            return [_value(result[1])]
        if work.method == "gets":
            return [_value(item) for item in result[1]]
        if work.method == "range":
            values = {row[0].decode(): row[1].decode() for row in result[1]}
            return [values.get(key) for _, key, _ in work.operations]
        if work.method in ("cas", "delete") and work.operations:
            return [bool(result[1])]
        return [None] * len(work.operations)

    def _acknowledge(self, command: Command) -> None:
        numbering = command.numbering
        assert numbering is not None, f"{command.method} was answered without ever having had a number"
        self._acknowledged.append((command.method, (numbering.name, command.seq), command.result))

    def check_acknowledged(self, outcomes: dict[tuple[str, int], Any]) -> None:
        """Every write that it was told of is in the log, and it was told the truth. `outcomes`: what became of each numbered
        command."""
        for method, number, result in self._acknowledged:
            assert number in outcomes, f"{self.name}: the acknowledged {method} {number} is not in the log"
            assert outcomes[number] == (True, result), (
                f"{self.name}: its {method} {number} has the outcome {outcomes[number]}, but it was told {result}"
            )


def _value(item: Any) -> str | None:
    return None if item is None else item[0].decode()
