"""Reading: who reads a connection, its keeper or a caller who has been lent it (see lane.py)."""

from __future__ import annotations

import itertools
from typing import Any, Callable

from raftkv.errors import ConnectionLostError
from raftkv.rpc.lane import PATIENCE_S, Lane, Reply
from raftkv.rpc.link import Link

_IDLE_S = 0.1  # after so long without a call on a lent connection, the keeper watches it again
_FOREVER = float("inf")


class Reading:
    """Of one Link. Guarded by the lock of its Exchange."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self._lane: Lane | None = None  # while the connection is lent

    @property
    def is_lent(self) -> bool:
        """Or was, and has not been given back."""
        return self._lane is not None

    def lend(
        self,
        ids: itertools.count[int],
        slot: list[Lane],
        pass_on: Callable[[list[Reply]], None],
        context: Any,
    ) -> Lane:
        """Puts a Lane into `slot`."""
        self._lane = lane = Lane(self.link, ids, slot, pass_on, context)
        slot.append(lane)
        return lane

    def recall(self) -> bool:
        """Others have something to send. Returns whether that ended a loan: the keeper must see to it."""
        if self._lane is None or self._lane.closed:
            return False
        self._lane.close()
        return True

    def settle(self) -> None:
        """If the Lane has been given back, the keeper reads again."""
        if self._lane is not None and self._lane.returned:
            self._lane = None

    def is_to_watch(self, now: float) -> bool:
        """Whether the keeper is to look what comes: not while somebody uses the Lane."""
        lane = self._lane
        if lane is None:
            return True
        if lane.closed:
            return lane.returned or now >= lane.closed_at + PATIENCE_S
        return lane.is_idle() and now - self.link.heard_at >= _IDLE_S

    def changes_at(self, now: float) -> float:
        """When to ask is_to_watch() again, if it says no."""
        if self._lane is None:
            return _FOREVER
        return self._lane.closed_at + PATIENCE_S if self._lane.closed else now + _IDLE_S

    def is_keepers(self, now: float) -> bool:
        """Something has come: whether it is for the keeper, which ends a loan that nobody uses.

        Raises ConnectionLostError when whoever should have read it went away.
        """
        lane = self._lane
        if lane is None or lane.returned or (not lane.closed and lane.take_home()):
            self._lane = None
            return True
        if lane.closed and now >= lane.closed_at + PATIENCE_S:
            raise ConnectionLostError("the thread that was to read it went away")
        return False

    def end(self) -> None:
        """The connection is lost: closes it, if nobody else reads; else its last reader does, by letting go."""
        if self._lane is None or self._lane.take_home() or self._lane.returned:
            self.link.close()
        self._lane = None
