"""HistoryYield: while a disk of the cluster has no room, the history is what yields first.

Deleted values stay in the history, and it is in snapshots. So on full disks the next snapshot would not fit, the log could
not be let go, and deletes would make no room. The leader, who knows of all disks, has all servers drop the history, by an
entry of the log. Watches that lag are told that it was compacted, as always.

Such an entry needs room, too. So there is none while there is little to drop, nor while the last one is not applied: an
idle cluster writes nothing.
"""

from __future__ import annotations

from typing import Callable

from raftkv.kvdb.history import History

WORTH_BYTES = 64 << 10  # about what must be free for the alarm of a small disk to end
EVERY_S = 1.0


class HistoryYield:
    """`clock`: seconds, monotonic. For one thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._not_before = clock()
        # When one was proposed: the term, and the history's floor, which changes as it is applied.
        self._last = 0, 0

    def is_due(self, term: int, history: History) -> bool:
        """Whether who leads in `term` is to propose it."""
        return (
            history.size >= WORTH_BYTES
            and self._clock() >= self._not_before
            and self._last != (term, history.floor)
        )

    def proposed(self, term: int, floor: int) -> None:
        """It is; `floor` is the history's before it."""
        self._last = term, floor
        self._not_before = self._clock() + EVERY_S
