"""Loans: the connection to the leader and the next numbers, lent to a caller who is alone.

Such a caller makes its commands itself (see callers.py and rpc/lane.py). When another command comes, or anything
goes wrong, the loan ends, and the command that is under way on it becomes one of the others.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from raftkv.client.command import Command
from raftkv.client.session import ClerkSession
from raftkv.rpc.client import ClientEnd
from raftkv.rpc.lane import Lane

_ALONE = 2  # so many commands, each alone from beginning to end, and the next ones are made by their caller
GRACE_S = 0.18  # between a command's deadline and the moment when it must have ended


class Loans:
    """One at a time. `slot` holds the Lane while nobody uses it; whoever takes it out, in a single step, makes a
    command. All else is guarded by the lock of the Driver."""

    def __init__(self, session: ClerkSession, ends: Mapping[int, ClientEnd]) -> None:
        self.slot: list[Lane] = []
        self._session = session
        self._ends = ends
        self._alone = 0  # commands in a row that were alone
        self.lane: Lane | None = None  # while it is lent
        # Were under way on a Lane, and how long: their callers say what became of them.
        self._orphans: list[tuple[Command, float]] = []

    def count(self, alone: bool) -> None:
        """A command begins; `alone`: while there was no other."""
        self._alone = self._alone + 1 if alone else 0

    def lend(self) -> None:
        """No command is under way: the next one may be made by its caller, if it is likely to be alone."""
        if self._alone >= _ALONE:
            loan = self._session.lend()
            if loan is not None:
                self.lane = self._ends[loan.leader].lend(self.slot, loan)

    def take_back(self) -> Command | None:
        """Ends the loan, if there is one. Returns the command that is under way on it, which is one of the
        others now."""
        lane, self.lane = self.lane, None
        if lane is None:
            return None
        lane.close()
        command: Command | None = lane.note
        if command is not None:
            self._orphans.append((command, command.sent_at + lane.context.timeout_s + GRACE_S))
        self._session.take_back(lane.context, command, time.monotonic())
        return command

    def next_overdue_at(self) -> float:
        """When to ask for overdue()."""
        return min(due_at for _, due_at in self._orphans) if self._orphans else float("inf")

    def overdue(self, now: float) -> list[Command]:
        """Commands whose callers were interrupted, and could not even say that."""
        found = []
        for orphan in self._orphans[:]:
            command, due_at = orphan
            if command.done or command.attempt > 1:
                self._orphans.remove(orphan)
            elif now >= min(command.deadline + GRACE_S, due_at):
                self._orphans.remove(orphan)
                found.append(command)
        return found
