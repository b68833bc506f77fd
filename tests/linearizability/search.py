"""The search for an order: Wing and Gong's algorithm with Lowe's memoisation.

Wing and Gong, "Testing and verifying concurrent objects" (1993): take any operation that was invoked before
the next answer, let it take effect if its answer allows that, go on with the rest; go back when nothing is
left to take. Lowe, "Testing for linearizability" (2017): remember each configuration (which operations took
effect, state) and never search on from one twice. A history is linearizable if and only if some order gets
past its last answer.

What is added, each without changing a verdict:

* An operation that never changes the state (a get, a failed cas) takes effect as soon as its answer fits.
  Nothing is gained by waiting: whatever comes after it is the same.
* A frontier and a small mask stand for the set of operations that took effect (problem.py).
* Values that no later answer tells apart are one state (model.py); lost puts do not branch (problem.py).
* Unanswered operations are set aside until the answered ones got nowhere for a while (PATIENCE), and then
  tried first where the search is furthest. They could be used almost everywhere, mostly to save an order that
  is wrong already. unanswered.py says what else keeps them in bounds.
"""

from __future__ import annotations

import heapq
import time

from tests.linearizability.model import ILLEGAL, OTHER
from tests.linearizability.problem import Problem

OK = "ok"
VIOLATION = "violation"
UNKNOWN = "unknown"

MAX_CONFIGURATIONS = 2_000_000  # a search; each is remembered in some 300 bytes
PATIENCE = 100  # configurations without getting further, after which an unanswered operation is tried


#: How far one order got: frontier, mask, state, used (see unanswered.py), and the state before its last step
#: if that was an unanswered operation, otherwise ILLEGAL. A plain tuple, because a million of them are made.
Configuration = tuple[int, int, int, int, int]


class Search:
    """The search of one key's history for an order. `run` may be called again to go on where it stopped.

    `furthest` is how many of `answered` (in the order of their answers) the best order got past,
    `configurations` how many configurations were searched from. Not thread-safe.
    """

    def __init__(self, problem: Problem) -> None:
        self.answered = problem.answered
        self.furthest = 0
        self.configurations = 0
        self._windows = problem.windows
        self._bits = problem.bits
        self._expiry = problem.values.expiry
        self._other_until = problem.other_until
        self._unanswered = problem.unanswered
        self._seen: dict[
            int, tuple[int, ...]
        ] = {}  # configuration without `used` -> each `used` it was seen with
        self._stack: list[Configuration] = [(0, 0, state, 0, ILLEGAL) for state in problem.starts]
        self._aside: list[tuple[int, int, Configuration]] = []  # a heap, the furthest first
        self._tried_aside = 0

    def run(self, patience: int, deadline: float) -> str:
        """OK, VIOLATION, or UNKNOWN: after `patience` configurations without getting further, after
        MAX_CONFIGURATIONS in all, or at `deadline` (time.monotonic())."""
        end = len(self.answered)
        progress = self.configurations
        while self._stack or self._aside:
            if self._aside and (not self._stack or self.configurations >= self._tried_aside + PATIENCE):
                self._tried_aside = self.configurations
                self._use_unanswered(*heapq.heappop(self._aside)[2])
                continue
            configuration = self._settled(*self._stack.pop())
            frontier = configuration[0]
            if frontier == end:
                return OK
            if not self._is_new(*configuration):
                continue
            self.configurations += 1
            if frontier > self.furthest:
                self.furthest = frontier
                self._tried_aside = progress = self.configurations
            if self._unanswered.count:
                heapq.heappush(self._aside, (-frontier, -self.configurations, configuration))
            self._use_answered(*configuration)
            if self.configurations >= min(progress + patience, MAX_CONFIGURATIONS):
                return UNKNOWN
            if self.configurations % 256 == 0 and time.monotonic() >= deadline:
                return UNKNOWN
        return VIOLATION

    def _settled(self, frontier: int, mask: int, state: int, used: int, before: int) -> Configuration:
        """After all that can be done without a choice."""
        start = frontier
        bit, readers, _, _ = self._windows[frontier]
        moved = True
        while moved:
            if self._expiry[state] <= frontier:
                state = OTHER
            for reader, effect in readers:
                if not mask & reader and effect[state] == state:
                    mask |= reader
                    before = ILLEGAL
            moved = mask & bit != 0
            while mask & bit:
                mask ^= bit
                frontier += 1
                bit, readers, _, _ = self._windows[frontier]
        if used and frontier != start:
            used = self._unanswered.canonical(used, frontier)
        return frontier, mask, state, used, before

    def _is_new(self, frontier: int, mask: int, state: int, used: int, before: int) -> bool:
        """It was not seen before, nor one that differs in nothing but that it used fewer unanswered
        operations."""
        key = (state << self._bits | mask) * len(self._windows) + frontier
        seen = self._seen.get(key, ())
        for other in seen:
            if other & used == other:
                return False
        self._seen[key] = (*[other for other in seen if other & used != used], used) if seen else (used,)
        return True

    def _use_answered(self, frontier: int, mask: int, state: int, used: int, before: int) -> None:
        for bit, after, bits, effect in self._windows[frontier].writers:
            if not mask & bit and mask & after == after:
                next_state = effect[state]
                # An unanswered operation must make a difference to what comes next, see unanswered.py.
                if next_state != ILLEGAL and (before == ILLEGAL or effect[before] != next_state):
                    self._stack.append((frontier, mask | bits, next_state, used, ILLEGAL))

    def _use_unanswered(self, frontier: int, mask: int, state: int, used: int, before: int) -> None:
        unanswered, lost = self._unanswered, self._windows[frontier].lost & ~mask
        other_matters = frontier < self._other_until
        # After an unanswered operation no other one is tried that leads to the same state with and without
        # it.
        overwriting = (
            unanswered.overwriting(frontier, state, used, other_matters) if before == ILLEGAL else ()
        )
        for next_state, next_used in overwriting:
            if lost:
                self._stack.append((frontier, mask | lost, next_state, next_used, ILLEGAL))
            elif next_state != state:
                self._stack.append((frontier, mask, next_state, next_used, state))
        for next_state, next_used in unanswered.building(frontier, state, used, before, other_matters):
            self._stack.append((frontier, mask, next_state, next_used, state))
