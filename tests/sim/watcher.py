"""SimWatcher: a client's real WatchSession on the simulated network, and what its program was told.

A connection is a Stream: what leaves first arrives first, or the connection ends, as with TCP. The program takes what it is
told when it likes, gives its watch up at times and begins anew where it was, and when its watch was compacted it goes on at what
is left.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from raftkv.client.watch_session import Open, Say, Told, WatchSession
from raftkv.errors import CompactedError, ConnectionLostError, RemoteError
from raftkv.kvdb.history import Event
from raftkv.kvdb.ranges import ALL, end_of, prefix_range
from raftkv.kvdb.watch_requests import NO_DELETES, NO_PUTS, WITH_PREVIOUS, WITHOUT_LEADER, Watch

if TYPE_CHECKING:
    from tests.sim.process import Process
    from tests.sim.world import World

PING_TIMEOUT_S = 3.0  # until it is noticed at the latest that a connection brings nothing any more
REFUSED_S = 0.002
LOOK_S = 1.0


class Stream:
    """A connection to one process, for one attempt; the channel that the server knows."""

    def __init__(self, watcher: SimWatcher, process: Process, attempt: int) -> None:
        self.watcher, self.process, self.attempt = watcher, process, attempt
        self.backlog, self.closing = b"", False
        self.broken = False
        self._paused = 0  # how often it was looked in vain
        self._sent = {"there": 0, "back": 0}
        self._arrived = {"there": 0, "back": 0}
        self._early: dict[tuple[str, int], tuple[Any, ...]] = {}

    def request(self, method: str, args: tuple[Any, ...]) -> None:
        self._carry("there", method, args)

    def carry_reply(self, process: Process, *reply: Any) -> None:
        self._carry("back", *reply)

    def _carry(self, way: str, *cargo: Any) -> None:
        if self.broken:
            return
        world, server = self.watcher.world, self.process.id
        self._sent[way] += 1
        ends = (self.watcher.name, server) if way == "there" else (server, self.watcher.name)
        if not world.network.carry(*ends, self._arrive, way, self._sent[way], cargo):
            self.end(world.network_rng.uniform(0, PING_TIMEOUT_S))

    def _arrive(self, way: str, number: int, cargo: tuple[Any, ...]) -> None:
        self._early[way, number] = cargo
        while (way, self._arrived[way] + 1) in self._early:
            self._arrived[way] += 1
            cargo = self._early.pop((way, self._arrived[way]))
            if way == "back":
                self.watcher.receive(self.attempt, *cargo)
            elif not self.process.dead:
                self.process.receive_request((self, self.attempt if cargo[0] == "watch" else None, *cargo))

    def end(self, within_s: float) -> None:
        """It brings nothing any more; each side notices, at some time."""
        if not self.broken:
            self.broken = True
            world = self.watcher.world
            world.count["connections of watchers lost"] += 1
            world.schedule(within_s, self.watcher.lost, self.attempt)
            world.schedule(world.network_rng.uniform(0, PING_TIMEOUT_S), self._close)

    def _close(self) -> None:
        self.closing = True
        if not self.process.dead:
            self.process.arrives(self.process.machine.on_close, self)

    def look(self) -> None:
        """Pings that a paused process does not answer end it."""
        self._paused = self._paused + 1 if self.process.paused else 0
        if self._paused * LOOK_S >= PING_TIMEOUT_S:
            self.end(0.0)


class Episode:
    """One watch from its beginning to its end. `reached`: all up to here was told."""

    def __init__(self, request: Watch) -> None:
        self.request, self.events, self.reached = request, [], request.start - 1  # type: ignore[var-annotated]

    def check(self, name: str, history: list[Event]) -> None:
        """Raises AssertionError if it was not told exactly what happened. `history`: all that did."""
        end, options = end_of(self.request.key, self.request.end), self.request.options
        expected = [
            (revision, key, item, before if options & WITH_PREVIOUS and type(before) is tuple else None)
            for revision, key, item, before in history
            if self.request.start <= revision <= self.reached
            and self.request.key <= key
            and (end is None or key < end)
            and not options & (NO_DELETES if item is None else NO_PUTS)
        ]
        missed = [event for event in expected if event not in self.events]
        invented = [event for event in self.events if event not in expected]
        assert self.events == expected, (
            f"{name} watched {self.request} up to {self.reached}, missed {missed[:3]}, was wrongly told {invented[:3]}, "
            f"or was told in another order: {[event[0] for event in self.events]}"
        )


class SimWatcher:
    def __init__(self, world: World, number: int) -> None:
        self.world, self.name = world, f"w{number}"
        self._rng = random.Random(f"{world.plan.seed}/watcher/{number}")
        self._numbers = 0
        self._stream: Stream | None = None
        self._waiting: list[Told] = []
        self._wakes_at: float | None = None
        self.episodes: list[Episode] = []
        self._session: WatchSession
        world.schedule(self._rng.random(), self._begin, 1)
        world.schedule(LOOK_S, self._look)

    def is_up_to(self, revision: int) -> bool:
        return bool(self.episodes) and self.episodes[-1].reached >= revision

    def check(self, history: list[Event]) -> None:
        for episode in self.episodes:
            episode.check(self.name, history)

    # -- the program -----------------------------------------------------------------------------------------

    def _begin(self, start: int) -> None:
        rng = self._rng
        bounds = rng.choice([prefix_range(b"k"), (b"k0", b""), (b"k1", b"l"), ALL])
        options = rng.choice([0, 0, WITH_PREVIOUS, NO_PUTS, NO_DELETES]) + WITHOUT_LEADER * (
            rng.random() < 0.1
        )
        request = Watch(0, *bounds, start, options)
        self.episodes.append(Episode(request))
        self._waiting.clear()
        self._session = WatchSession(
            request, lambda: list(self.world.hosts), rng, lambda: None, self._draw_number
        )
        self._perform(self._session.start(self.world.now))
        self.world.schedule(self._think_s(), self._take, self._session)

    def _draw_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _think_s(self) -> float:
        return 0.05 if self.world.calm else self._rng.choice([0.01, 0.1, 2.0])

    def _take(self, session: WatchSession) -> None:
        """Takes what there is; and at times gives up then."""
        if session is not self._session:
            return
        episode = self.episodes[-1]
        while self._waiting:
            told = self._waiting.pop(0)
            if told.position < 0:
                self._ended(told.error)
                return
            episode.events += told.events
            episode.reached = told.revision
            self._perform(session.taken(told.position))
        if not self.world.calm and self._rng.random() < 0.02:
            self.world.count["watches begun anew"] += 1
            self._perform(session.cancel())
            self._begin(episode.reached + 1)
        else:
            self.world.schedule(self._think_s(), self._take, session)

    def _ended(self, error: Any) -> None:
        assert isinstance(error, CompactedError), f"{self.name}: {error!r}"
        assert error.compact_revision > self._session.next_revision, (
            f"{self.name} was told of nothing, and {error}"
        )
        self.world.count["watches that were compacted"] += 1
        self._begin(error.compact_revision)

    # -- what the session wants ------------------------------------------------------------------------------

    def _perform(self, actions: list[Any]) -> None:
        for action in actions:
            if isinstance(action, Open):
                self._open(action)
            elif isinstance(action, Say):
                if self._stream is not None:
                    self._stream.request(action.request.name, action.request.plain())
            else:
                self._waiting.append(action)
        wake_at = self._session.wake_at
        if wake_at is not None and wake_at != self._wakes_at:
            self._wakes_at = wake_at
            self.world.schedule(max(0.0, wake_at - self.world.now), self._wake, wake_at)

    def _open(self, action: Open) -> None:
        process = self.world.hosts[action.server].process
        if process is None:
            self._stream = None
            self.world.schedule(REFUSED_S, self.lost, action.attempt)
            return
        self._stream = Stream(self, process, action.attempt)
        self._stream.request(action.request.name, action.request.plain())

    def _wake(self, planned: float) -> None:
        if planned == self._wakes_at:
            self._wakes_at = None
            self._perform(self._session.wake(self.world.now))

    def receive(self, attempt: int, id: int, ok: bool, result: Any) -> None:
        """A reply has arrived."""
        if ok:
            self.world.count["messages to watchers"] += 1
            self._perform(self._session.received(attempt, result, self.world.now))
        else:
            self._perform(self._session.refused(attempt, RemoteError(*result), self.world.now))

    def lost(self, attempt: int) -> None:
        """A connection ended, or could not be made."""
        error = ConnectionLostError("the connection was lost")
        self._perform(self._session.lost(attempt, error, self.world.now))

    def server_gone(self, server: int, within_s: float | None) -> None:
        """The process there ended. `within_s`: its machine says so; None: it does not."""
        stream = self._stream
        if stream is not None and stream.process.id == server:
            stream.end(self._rng.uniform(0, PING_TIMEOUT_S if within_s is None else within_s))

    def _look(self) -> None:
        if self._stream is not None:
            self._stream.look()
        self.world.schedule(LOOK_S, self._look)
