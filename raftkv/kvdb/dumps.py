"""Dumps: the views that clients read, piece by piece, of all keys as they are at one moment.

A dump begins as any read does, on the leader, so that it holds all that was acknowledged before it was asked
for. Its pieces come from the same server, whoever leads then. What a view keeps is at most what the store held
when it began; and there are MAX_DUMPS at most, each dropped when its client gives it up, went away, or has
not asked for a piece in IDLE_S seconds.
"""

from __future__ import annotations

from typing import Any, Callable

from raftkv.errors import BAD_REQUEST, OVERLOADED
from raftkv.kvdb.outcomes import Outcome, ok, refused
from raftkv.kvdb.snapshot_view import KeysView

MAX_DUMPS = 4
IDLE_S = 60.0
PIECE_KEYS = 500  # about a millisecond of work

_WHY_GONE = (
    f"the server has dropped this dump: {IDLE_S:.0f} s passed without a request, or its connection broke, or the "
    "server began anew from a snapshot; begin another one"
)
_GONE = refused(BAD_REQUEST, _WHY_GONE)
_TOO_MANY = refused(OVERLOADED, f"{MAX_DUMPS} dumps are under way on this server", {"proposed": False})


class _Dump:
    """`piece`: the number of the piece that comes next. `asked_at`: when one was asked for last."""

    def __init__(self, channel: Any, view: KeysView, asked_at: float) -> None:
        self.channel, self.view, self.asked_at = channel, view, asked_at
        self.piece = 0


class Dumps:
    """The dumps of one server. Called under the lock that guards its store, but for closed().

    `clock()` tells the time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._dumps: dict[int, _Dump] = {}
        self._closed: list[Any] = []  # channels
        self._last_id = 0

    def __len__(self) -> int:
        """How many are under way, as far as is known."""
        return len(self._dumps)

    def begin(self, channel: Any, view: Callable[[], KeysView]) -> Outcome:
        """The id of a new dump of what view() returns."""
        self.tidy_up()
        if len(self._dumps) == MAX_DUMPS:
            return _TOO_MANY
        self._last_id += 1
        self._dumps[self._last_id] = _Dump(channel, view(), self._clock())
        if channel.closing:  # while the read waited; else closed() is yet to come
            self._drop(self._last_id)
        return ok(self._last_id)

    def next_piece(self, channel: Any, id: int, piece: int) -> Outcome:
        """The rows of the piece of that number, the next one, which may be none; None after the last."""
        self.tidy_up()
        dump = self._dumps.get(id)
        if dump is None or dump.channel is not channel or dump.piece != piece:
            return _GONE
        dump.piece, dump.asked_at = piece + 1, self._clock()
        rows = dump.view.next_rows(PIECE_KEYS)
        if rows is None:
            self._drop(id)
        return ok(rows)

    def end(self, channel: Any, id: int) -> Outcome:
        """Its client wants no more of it."""
        if id in self._dumps and self._dumps[id].channel is channel:
            self._drop(id)
        return ok(None)

    def closed(self, channel: Any) -> None:
        """A client went away. Called by any thread."""
        if self._dumps:
            self._closed.append(channel)

    def tidy_up(self) -> None:
        """Drop those that nobody reads any more. To be called before the store changes."""
        closed, self._closed = self._closed, []
        now = self._clock()
        for id, dump in list(self._dumps.items()):
            if now - dump.asked_at > IDLE_S or dump.channel in closed:
                self._drop(id)

    def drop_all(self) -> None:
        """The store that they are of is no more."""
        for id in list(self._dumps):
            self._drop(id)

    def _drop(self, id: int) -> None:
        self._dumps.pop(id).view.close()
