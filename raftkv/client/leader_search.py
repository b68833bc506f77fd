"""Which server a client asks next, while it looks for the leader.

Pure: time comes in as a number of seconds, chance as a random.Random.

1. While the leader is known, everything goes to it. The search begins when it refuses, fails or falls silent.
   Whoever uses this class asks one server at a time then (`candidate`), and not before `resume_at`.
2. A server that is not the leader but names one sends us there at once.
3. A server that knows no leader is in the middle of an election, as its neighbours are: pause, then ask the
   next. Pauses are short, since nothing works until the election's end is found, and random, so that a
   thousand clients do not come back together.
4. A server that fails (no connection, or no answer) is left for the next one at once, and then passed over
   for STALE_S, or for as long as it has just cost us if that was more, while there are others to ask.
5. For STALE_S after a server was last tried in vain, nobody's hint to it counts: the others have not noticed
   its end. When it kept us waiting for longer than that, they have; if they still name it, they know better.
6. No more servers are asked without a pause than there are: hints may lead in a circle, and all may be down.
7. A leader that is overloaded is asked again after a pause.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

STALE_S = 1.0  # for how long a hint may outlive its leader: election timeouts are 0.5 to 1 s by default
FIRST_PAUSE_S = 0.040  # at most; at least half of it. Grows
PAUSE_GROWTH = 1.5  # from pause to pause
MAX_PAUSE_S = 0.100  # to at most this


class _Trouble(NamedTuple):
    hints_count_from: float
    in_turn_from: float


class LeaderSearch:
    """What one client believes about who leads. Not thread-safe."""

    def __init__(self, servers: Sequence[int], rng: random.Random) -> None:
        self._servers = tuple(servers)
        self._random = rng
        self._troubles: dict[int, _Trouble] = {}
        self._asked = 0  # servers since the last pause
        self._pauses = 0  # in this search
        self.leader: int | None = None
        self.candidate = rng.choice(self._servers)  # the one to ask, while there is no leader
        self.resume_at = 0.0  # do not ask it before

    def look_among(self, servers: Sequence[int]) -> None:
        """From now on these are the servers; `leader` and `candidate` are among them."""
        self._servers = tuple(servers)
        self._troubles = {server: trouble for server, trouble in self._troubles.items() if server in servers}

    def asked(self) -> None:
        """The candidate is being asked."""
        self._asked += 1

    def found(self, server: int) -> None:
        """`server` has answered as only a leader does."""
        self.leader = server
        self._asked = self._pauses = 0
        self._troubles.pop(server, None)

    def redirected(self, server: int, hint: int | None, now: float) -> None:
        """`server` says that it does not lead, and that `hint` does, if it knows."""
        self.leader = None
        if self._counts(hint, server, now) and self._asked < len(self._servers):
            assert hint is not None, "None cannot count as a hint"
            self.candidate = hint
        else:
            self.candidate = self._next_after(server, now)
            self._pause(now)

    def failed(self, server: int, since: float, now: float) -> None:
        """`server` has been tried from `since` until `now`, in vain."""
        self.leader = None
        self._troubles[server] = _Trouble(since + STALE_S, now + max(STALE_S, now - since))
        self.candidate = self._next_after(server, now)
        if self._asked >= len(self._servers) or not self._in_turn(self.candidate, now):
            self._pause(now)

    def disconnected(self, server: int, since: float, now: float) -> None:
        """The connection to `server` ended after it had been asked, at `since`."""
        if self.leader is None:
            self.failed(server, since, now)
        else:
            self.leader = None
            self.candidate = server

    def overloaded(self, server: int, now: float) -> None:
        """`server` leads, but takes nothing more at the moment."""
        self.leader = None
        self.candidate = server
        self._pause(now)

    def _counts(self, hint: int | None, server: int, now: float) -> bool:
        if hint not in self._servers or hint == server:
            return False
        trouble = self._troubles.get(hint)
        return trouble is None or trouble.hints_count_from <= now

    def _in_turn(self, server: int, now: float) -> bool:
        trouble = self._troubles.get(server)
        return trouble is None or trouble.in_turn_from <= now

    def _next_after(self, server: int, now: float) -> int:
        """The next one that has not just failed, possibly `server` again; or else the one that failed
        first."""
        at = self._servers.index(server) + 1 if server in self._servers else 0
        for other in self._servers[at:] + self._servers[:at]:
            if self._in_turn(other, now):
                return other
        return min(self._servers, key=lambda each: self._troubles[each].in_turn_from)

    def _pause(self, now: float) -> None:
        longest = min(MAX_PAUSE_S, FIRST_PAUSE_S * PAUSE_GROWTH**self._pauses)
        self.resume_at = now + self._random.uniform(longest / 2, longest)
        self._asked = 0
        self._pauses = min(self._pauses + 1, 10)  # the longest is reached long before that
