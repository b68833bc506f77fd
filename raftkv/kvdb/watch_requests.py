"""What clients and servers say about watches: the requests, and the messages of a stream.

A stream is the replies to one request Watch, each (position, revision, is it whole?, events):

- all events of the range up to `revision` were told with it, if it is *whole*; else more of that revision comes;
- `position` counts the bytes of whole messages with events. A server sends on while the client has not yet taken less than
  WINDOW bytes of them, which WatchTaken says;
- without events it is a mark of progress. The first one comes at once.

It ends with a refusal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from raftkv.errors import InvalidRequestError, ProtocolError
from raftkv.kvdb.history import Event
from raftkv.kvdb.limits import check_number, check_range
from raftkv.kvdb.operation import Operation
from raftkv.rpc.wire import dumps, loads

WINDOW = 256 << 10

# The options of Watch, to be added up.
WITH_PREVIOUS, NO_PUTS, NO_DELETES, WITHOUT_LEADER = 1, 2, 4, 8


class _Watch(NamedTuple):
    number: int
    key: bytes
    end: bytes = b""
    start: int = 0
    options: int = 0
    unread: int = 0


class Watch(_Watch, Operation):
    """See ranges.py for `key` and `end`. `number`: one that no other watch of the connection has. `start`: the first revision
    to tell of; 0 is the one after the server's newest. WITHOUT_LEADER: also while this member knows no leader. `unread`: bytes that the
    client has not taken yet of what another stream brought, where positions begin."""

    __slots__ = ()
    name = "watch"

    def check(self) -> int:
        check_number("number of a watch", self.number)
        check_number("start_revision", self.start)
        check_number("options", self.options, 0, 15)
        check_number("number of unread bytes", self.unread)
        if self.options & NO_PUTS and self.options & NO_DELETES:
            raise InvalidRequestError("a watch without puts and without deletions tells of nothing")
        return check_range(self.key, self.end)


class WatchTaken(NamedTuple("WatchTaken", [("number", int), ("position", int)]), Operation):
    """The client has taken all messages up to `position`. Has no reply."""

    __slots__ = ()
    name = "watch_taken"

    def check(self) -> int:
        check_number("number of a watch", self.number)
        check_number("position", self.position)
        return 0


class WatchCancel(NamedTuple("WatchCancel", [("number", int)]), Operation):
    """The client wants no more of it: the stream ends. Has no reply."""

    __slots__ = ()
    name = "watch_cancel"

    def check(self) -> int:
        check_number("number of a watch", self.number)
        return 0


def plain_events(events: Sequence[Event]) -> bytes:
    """For a message. One of these serves all that watch the same."""
    return dumps(events) if events else b""


def events_of(plain: bytes) -> list[Event]:
    """The events that plain_events() made this of. Raises ProtocolError."""
    if type(plain) is not bytes:
        raise ProtocolError("a watch was sent something else than events")
    return loads(plain) if plain else []
