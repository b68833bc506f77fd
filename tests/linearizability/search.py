"""The search for an order: Wing and Gong's algorithm with Lowe's memoisation.

Wing and Gong, "Testing and verifying concurrent objects" (1993): take any operation that was invoked before the next
answer, let it take effect if its answer allows that, go on with the rest; go back when nothing is left to take.
Lowe, "Testing for linearizability" (2017): remember each configuration (which operations took effect, state) and
never search on from one twice. A history is linearizable if and only if some order gets past its last answer.

What is added, each without changing a verdict:

* An operation that never changes the state (a get, a failed cas) takes effect as soon as its answer fits. Nothing is
  gained by waiting: whatever comes after it is the same.
* A frontier and a small mask stand for the set of operations that took effect (problem.py).
* Values that no later answer tells apart are one state (model.py); lost puts do not branch (problem.py).
* Unanswered operations are set aside until the answered ones got nowhere for a while (PATIENCE), and then tried first
  where the search is furthest. They could be used almost everywhere, mostly to save an order that is wrong already.
  unanswered.py says what else keeps them in bounds.
"""
from __future__ import annotations

import heapq
import time
from typing import Dict, List, NamedTuple, Tuple

from tests.linearizability.model import ILLEGAL, OTHER
from tests.linearizability.problem import Problem

OK = "ok"
VIOLATION = "violation"
UNKNOWN = "unknown"

MAX_CONFIGURATIONS = 2_000_000  # a search; each is remembered in some 300 bytes
PATIENCE = 100  # configurations without getting further, after which an unanswered operation is tried


class Configuration(NamedTuple):
    """How far one order got."""

    frontier: int
    mask: int
    state: int
    used: int  # unanswered operations, see unanswered.py
    before: int  # the state before the last step if that was an unanswered operation, otherwise ILLEGAL


class Search:
    """The search of one key's history for an order. `run` may be called again to go on where it stopped.

    `furthest` is how many of `answered` (in the order of their answers) the best order got past, `configurations` how
    many configurations were searched from.
    Not thread-safe.
    """

    def __init__(self, problem: Problem) -> None:
        self.furthest = 0
        self.configurations = 0
        self.answered = problem.answered
        self._problem = problem
        self._seen: Dict[int, Tuple[int, ...]] = {}  # configuration without `used` -> each `used` it was seen with
        self._stack = [Configuration(0, 0, state, 0, ILLEGAL) for state in problem.starts]
        self._aside: List[Tuple[int, int, Configuration]] = []  # a heap, the furthest first
        self._progress_at = 0

    def run(self, patience: int, deadline: float) -> str:
        """OK, VIOLATION, or UNKNOWN: after `patience` configurations without getting further, after
        MAX_CONFIGURATIONS in all, or at `deadline` (time.monotonic())."""
        last_progress = self.configurations
        end = len(self._problem.windows)
        while self._stack or self._aside:
            if self._aside and (not self._stack or self.configurations - self._progress_at >= PATIENCE):
                self._progress_at = self.configurations
                self._use_unanswered(heapq.heappop(self._aside)[2])
                continue
            configuration = self._settled(self._stack.pop())
            if configuration.frontier == end:
                return OK
            if self._is_new(configuration):
                self.configurations += 1
                if configuration.frontier > self.furthest:
                    self.furthest = configuration.frontier
                    self._progress_at = last_progress = self.configurations
                self._search_from(configuration)
                if self.configurations >= min(last_progress + patience, MAX_CONFIGURATIONS):
                    return UNKNOWN
                if self.configurations % 256 == 0 and time.monotonic() >= deadline:
                    return UNKNOWN
        return VIOLATION

    def _settled(self, configuration: Configuration) -> Configuration:
        """After all that can be done without a choice."""
        frontier, mask, state, used, before = configuration
        windows, expiry = self._problem.windows, self._problem.values.expiry
        moved = True
        while moved and frontier < len(windows):
            moved = False
            if expiry[state] <= frontier:
                state = OTHER
            for bit, effect in windows[frontier].readers:
                if not mask & bit and effect[state] == state:
                    mask |= bit
                    before = ILLEGAL
            while frontier < len(windows) and mask & windows[frontier].bit:
                mask ^= windows[frontier].bit
                frontier += 1
                moved = True
        if used:
            used = self._problem.unanswered.canonical(used, frontier)
        return Configuration(frontier, mask, state, used, before)

    def _is_new(self, configuration: Configuration) -> bool:
        """It was not seen before, nor one that differs in nothing but that it used fewer unanswered operations."""
        frontier, mask, state, used, _ = configuration
        key = (state << self._problem.bits | mask) * len(self._problem.windows) + frontier
        seen = self._seen.get(key)
        if seen is None:
            self._seen[key] = (used,)
            return True
        if any(other & used == other for other in seen):
            return False
        self._seen[key] = (*[other for other in seen if other & used != used], used)
        return True

    def _search_from(self, configuration: Configuration) -> None:
        frontier, mask, state, used, before = configuration
        if self._problem.unanswered.count:
            heapq.heappush(self._aside, (-frontier, -self.configurations, configuration))
        for bit, bits, effect in reversed(self._problem.windows[frontier].writers):
            if not mask & bit:
                next_state = effect[state]
                # An unanswered operation must make a difference to what comes next, see unanswered.py.
                if next_state != ILLEGAL and (before == ILLEGAL or effect[before] != next_state):
                    self._stack.append(Configuration(frontier, mask | bits, next_state, used, ILLEGAL))

    def _use_unanswered(self, configuration: Configuration) -> None:
        frontier, mask, state, used, before = configuration
        unanswered, lost = self._problem.unanswered, self._problem.windows[frontier].lost & ~mask
        other_matters = frontier < self._problem.other_until
        # After an unanswered operation there is no other one that leads to the same state with and without it.
        overwriting = unanswered.overwriting(frontier, state, used, other_matters) if before == ILLEGAL else ()
        for next_state, next_used in overwriting:
            if lost:
                self._stack.append(Configuration(frontier, mask | lost, next_state, next_used, ILLEGAL))
            elif next_state != state:
                self._stack.append(Configuration(frontier, mask, next_state, next_used, state))
        for next_state, next_used in unanswered.building(frontier, state, used, before, other_matters):
            self._stack.append(Configuration(frontier, mask, next_state, next_used, state))
