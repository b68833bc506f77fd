"""WatchSession: the client's half of "each event once, in order", without I/O.

The server's half is in kvdb/watches.py. As with ClerkSession, events go in, with the time as a number of seconds, and
actions come out. The rules:

1. `next_revision` is the first revision that the program was not told of. Each attempt asks a server for the events from
   there on, and carries a number that no other has; what comes of an older attempt is ignored.
2. A message names a revision up to which all was told with it. `next_revision` moves there when the message is *whole*. The
   parts of a revision that is too large for one message are kept until the last one is here; with the attempt they are
   dropped.
3. When an attempt ends (no connection, a member without a leader, a stopped server) the next server is asked: first the one
   that is believed to lead, since it has each change first. When all were asked in vain, there is a pause.
4. A server sends on while less than WINDOW bytes of whole messages are not taken by the program. `taken` says so when it
   matters. So an unread watch takes a bounded buffer.
5. It ends by itself only when no server could help it: compacted, refused as a bad request, no server has our key, or those
   that can be reached belong to another cluster.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Callable, NamedTuple, Union

from raftkv import errors
from raftkv.client.command import ANOTHER_CLUSTER, refusal_error
from raftkv.kvdb.history import Event
from raftkv.kvdb.watch_requests import WINDOW, Watch, WatchCancel, WatchTaken, events_of

_PAUSES_S = (0.1, 1.0)  # after a round in which nobody could serve it: the first, and the longest
_LASTING_S = 1.0  # an attempt that lasted so long counts as a success

_ELSEWHERE = (
    errors.NO_LEADER,
    errors.OVERLOADED,
    errors.SHUTTING_DOWN,
    errors.TOO_MANY_CONNECTIONS,
    errors.NOT_LEADER,
)


class Told(NamedTuple):
    """What a program is told: all `events` up to `revision`; without events a mark of progress. Or, with a negative
    `position`, the end: by `error`, or by itself if that is None."""

    position: int
    revision: int
    events: Sequence[Event]
    error: errors.RaftKVError | None


class Open(NamedTuple):
    """Send it to `server`, and report what comes of it with `attempt`. Whatever is under way is of no use any more."""

    server: int
    attempt: int
    request: Watch


class Say(NamedTuple):
    """Send it to `server`; nothing comes of it."""

    server: int
    request: WatchTaken | WatchCancel


Action = Union[Open, Say, Told]
Actions = list[Action]


class WatchSession:
    """One watch. Not thread-safe. `request`: what is to be watched, from `request.start` on (0: from now, as the server sees
    it). `servers()`: those that are known; `leader()`: the one that is believed to lead; `number()`: one that no other attempt of this
    client has; `is_foreign(server)`: whether it said, when it was connected with last, that it is of another cluster.

    `done`: no more actions. `problem`: why nobody serves it now. `wake_at`: call wake() then, or a little later.
    """

    def __init__(
        self,
        request: Watch,
        servers: Callable[[], Sequence[int]],
        rng: random.Random,
        leader: Callable[[], int | None],
        number: Callable[[], int],
        is_foreign: Callable[[int], bool] = lambda server: False,
    ) -> None:
        self._request = request
        self._servers = servers
        self._rng = rng
        self._leader, self._draw_number, self._is_foreign = leader, number, is_foreign
        self.next_revision = request.start
        self.server: int | None = None  # that serves it, or was asked to
        self._attempt = 0  # its number
        self._opened_at = 0.0
        self._is_open = False
        self._parts: list[Event] = []  # of a revision, the last part of which is not here yet
        self._base = self._position = self._taken = self._said = 0  # see taken()
        self._untried: list[int] = []  # in this round
        self._complaints: dict[int, errors.RaftKVError] = {}  # of this round
        self._pause_s = 0.0
        self.problem = "no server has answered yet"
        self.done = False
        self.wake_at: float | None = None

    # -- events: the program ---------------------------------------------------------------------------------

    def start(self, now: float) -> Actions:
        return self._begin_round(now)

    def taken(self, position: int) -> Actions:
        """The program has taken all up to `position`. Positions count over all attempts; a server's count from what was taken
        when its attempt began."""
        self._taken = max(self._taken, position)
        if self.done or not self._is_open or position - self._said < WINDOW // 2 or self.server is None:
            return []
        self._said = position
        return [Say(self.server, WatchTaken(self._attempt, position - self._base))]

    def cancel(self) -> Actions:
        """The program wants no more of it."""
        if self.done:
            return []
        self.done, self.wake_at = True, None
        return [] if self.server is None else [Say(self.server, WatchCancel(self._attempt))]

    def fail(self, error: errors.RaftKVError) -> Actions:
        """It cannot go on."""
        if self.done:
            return []
        self.done, self.wake_at = True, None
        return [Told(-1, 0, [], error)]

    # -- events: the servers ---------------------------------------------------------------------------------

    def received(self, attempt: int, message: Any, now: float) -> Actions:
        """A message of the stream of `attempt`."""
        if self.done or attempt != self._attempt:
            return []
        position, revision, is_whole, plain = message
        self._is_open, self.problem = True, ""
        self._parts += events_of(plain)
        if not is_whole:
            return []
        events, self._parts = self._parts, []
        if events and events[0][0] < self.next_revision:
            return self.fail(errors.ProtocolError(f"the server told of revision {events[0][0]} again"))
        self.next_revision = revision + 1
        self._position = self._base + position
        return [Told(self._position, revision, events, None)]

    def refused(self, attempt: int, refusal: errors.RemoteError, now: float) -> Actions:
        """The server ends the stream of `attempt`."""
        if self.done or attempt != self._attempt:
            return []
        if refusal.code not in _ELSEWHERE:
            return self.fail(refusal_error(refusal))
        return self._go_on(refusal, now)

    def lost(self, attempt: int, error: errors.RaftKVError, now: float) -> Actions:
        """The connection to the server ended, or could not be made."""
        if self.done or attempt != self._attempt:
            return []
        return self._go_on(error, now)

    def wake(self, now: float) -> Actions:
        """`wake_at` has come."""
        if self.done or self.wake_at is None or now < self.wake_at:
            return []
        self.wake_at = None
        return self._begin_round(now)

    # -- inside ----------------------------------------------------------------------------------------------

    def _go_on(self, error: errors.RaftKVError, now: float) -> Actions:
        """Elsewhere, or later."""
        server, self.server, self._attempt = self.server, None, 0  # what still comes of it is too late
        assert server is not None, "an attempt without a server"
        self.problem = f"server {server}: {error}"
        if self._is_open and now - self._opened_at >= _LASTING_S:
            self._pause_s = 0.0
            return self._begin_round(now, avoid=server)
        self._complaints[server] = error
        if self._untried:
            return self._open(now)
        said = self._complaints.values()
        if all(isinstance(each, errors.AuthenticationError) for each in said):
            return self.fail(errors.AuthenticationError(str(error)))
        if any(map(self._is_foreign, self._complaints)) and not any(
            isinstance(each, errors.RemoteError) for each in said
        ):
            return self.fail(errors.ClusterChangedError(f"the watch has ended: {ANOTHER_CLUSTER}"))
        self._pause_s = min(max(_PAUSES_S[0], 2 * self._pause_s), _PAUSES_S[1])
        self.wake_at = now + self._pause_s * self._rng.uniform(0.5, 1.0)
        return []

    def _begin_round(self, now: float, avoid: int | None = None) -> Actions:
        leader = self._leader()
        self._untried = list(self._servers())
        self._rng.shuffle(self._untried)
        self._untried.sort(key=lambda server: (server != avoid) + (server == leader != avoid))
        self._complaints = {}
        return self._open(now)

    def _open(self, now: float) -> Actions:
        server = self.server = self._untried.pop()
        self._attempt, self._opened_at, self._is_open = self._draw_number(), now, False
        self._parts = []
        self._base = self._said = self._taken
        unread = self._position - self._taken
        request = self._request._replace(number=self._attempt, start=self.next_revision, unread=unread)
        return [Open(server, self._attempt, request)]
