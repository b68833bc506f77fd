"""Inquiry: who leads, as a client's commands find out: one of them asks, and the others wait for its answer.

Which server is asked next is said by leader_search.py.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Callable

from raftkv.client.command import Command
from raftkv.client.leader_search import LeaderSearch


class Inquiry:
    """Not thread-safe. `complaints` is what each server last said instead of answering."""

    def __init__(self, servers: Sequence[int], rng: random.Random) -> None:
        self._servers = tuple(servers)
        self.search = LeaderSearch(servers, rng)
        self.asking: Command | None = None  # the one that looks for the leader
        self.complaints: dict[int, str] = {}
        self._unauthorised: set[int] = set()  # servers that do not hold our key
        self._authorised: set[int] = set()  # those that refused something else last

    def look_among(self, servers: Sequence[int]) -> None:
        """See LeaderSearch.look_among()."""
        self._servers = tuple(servers)
        self.search.look_among(servers)
        self.complaints = {each: said for each, said in self.complaints.items() if each in servers}
        self._unauthorised.intersection_update(servers)
        self._authorised.intersection_update(servers)

    def ask(self, command: Command) -> int:
        """`command` looks for the leader. Returns which server it goes to."""
        self.asking = command
        self.search.asked()
        return self.search.candidate

    def led(self, command: Command) -> None:
        """`command` was answered as only a leader answers."""
        if command is self.asking:
            self.asking = None
            self.search.found(command.server)
            self.complaints.clear()
            self._unauthorised.clear()
            self._authorised.clear()

    def greeted(self, hello: Command, leader: int | None, now: float) -> None:
        """Its server, which may be any, has answered a hello, and says who leads as far as it knows."""
        if leader == hello.server:
            self.led(hello)
        elif self.guides(hello):
            self.search.redirected(hello.server, leader, now)

    def complained(self, server: int, complaint: str) -> None:
        """`server` said, or is, something else than an answer; but it is not one that holds another key."""
        self.complaints[server] = complaint
        self._unauthorised.discard(server)

    def refused(self, server: int, complaint: str) -> None:
        """`server`, which holds our key, refused a request."""
        self.complained(server, complaint)
        self._authorised.add(server)

    def guides(self, command: Command) -> bool:
        """Whether what has just become of `command` decides where to look next: it was the one that asks, or
        went to the server that we still take for the leader. All others tell what we know already."""
        if command is self.asking:
            self.asking = None
            return True
        return command.server == self.search.leader

    def failed(
        self, command: Command, reason: str, tell: Callable[[int, float, float], None], now: float
    ) -> None:
        """An attempt brought nothing. `tell` is the search's method that should know."""
        self.complained(command.server, reason)
        if self.guides(command):
            tell(command.server, command.sent_at, now)

    @property
    def has_asked_all(self) -> bool:
        """Has no server answered, and each been tried?"""
        return len(self.complaints) == len(self._servers)

    def unauthorised(self, server: int) -> bool:
        """`server` holds another key than we do. Returns whether there is no point in asking on: a majority does,
        and all others cannot be reached."""
        self._unauthorised.add(server)
        self._authorised.discard(server)
        most = 2 * len(self._unauthorised) > len(self._servers)
        return most and self.has_asked_all and self.wrong_key() is not None

    def wrong_key(self) -> str | None:
        """What a server said that holds another key than we do, if all that answer do."""
        if self._authorised or not self._unauthorised:
            return None
        return self.complaints[min(self._unauthorised)]

    def ended(self, command: Command) -> None:
        """`command` has its outcome, and asks no more."""
        if command is self.asking:
            self.asking = None
