"""Breadth first: the first violation that is found is one of the shortest."""

from __future__ import annotations

import time
from array import array
from typing import NamedTuple

from tests.explore.election import Election
from tests.explore.history import Violation
from tests.explore.scenario import Scenario
from tests.explore.script import prepared
from tests.explore.space import Space, State, fingerprint


class Limits(NamedTuple):
    states: int = 1_000_000
    seconds: float = 600.0


class Result(NamedTuple):
    states: int
    transitions: int
    depth: int  # of the longest path that was begun; without those of the script
    is_complete: bool  # within the bounds
    seconds: float
    servers: int  # distinct states of single servers
    violation: str  # or ""
    path: tuple[int, ...]  # to the violation: for each step, which of the events that were possible


class Search:
    def __init__(self, scenario: Scenario) -> None:
        self.space = Space(scenario)
        self._election = Election(self.space) if scenario.elects else None
        self._seen: set[bytes] = set()
        self._parents, self._choices = array("q"), array("i")  # of each state, in the order of finding
        self._transitions = 0

    def run(self, limits: Limits) -> Result:
        began = time.monotonic()
        violation, path, depth, is_complete = "", (), 0, True
        try:
            level = [self._first()]
            while level:
                following: list[tuple[int, State]] = []
                for at, (number, state) in enumerate(level):
                    following += self._followers(number, state)
                    if len(self._seen) >= limits.states or (
                        at % 64 == 0 and time.monotonic() - began > limits.seconds
                    ):
                        is_complete = False
                        break
                level, depth = (following, depth + 1) if following and is_complete else ([], depth)
        except _Found as found:
            violation, path = str(found), found.path
            depth, is_complete = len(path), False
        return Result(
            len(self._seen), self._transitions, depth, is_complete, time.monotonic() - began,
            len(self.space.servers), violation, path,
        )  # fmt: skip

    def _first(self) -> tuple[int, State]:
        try:
            state = prepared(self.space)
        except Violation as error:
            raise _Found(str(error), ()) from None
        return self._add(state, -1, 0), state

    def _add(self, state: State, parent: int, choice: int) -> int:
        self._seen.add(fingerprint(state, self.space.scenario.ordered))
        self._parents.append(parent)
        self._choices.append(choice)
        return len(self._parents) - 1

    def _followers(self, number: int, state: State) -> list[tuple[int, State]]:
        """The states that follow and were not seen before."""
        space, seen, found = self.space, self._seen, []
        for choice, event in enumerate(space.events(state)):
            try:
                after = space.after(state, event)
                if after is None:
                    continue
                self._transitions += 1
                key = fingerprint(after, space.scenario.ordered)
                if key in seen:
                    continue
                seen.add(key)
                self._parents.append(number)
                self._choices.append(choice)
                if self._election is not None:
                    self._election.check(after)
            except Violation as error:
                raise _Found(str(error), (*self._path(number), choice)) from None
            found.append((len(self._parents) - 1, after))
        return found

    def _path(self, number: int) -> tuple[int, ...]:
        choices: list[int] = []
        while self._parents[number] >= 0:
            choices.append(self._choices[number])
            number = self._parents[number]
        return tuple(reversed(choices))


class _Found(Exception):
    def __init__(self, text: str, path: tuple[int, ...]) -> None:
        super().__init__(text)
        self.path = path
