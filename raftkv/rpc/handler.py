"""What a listener needs of whoever answers its requests."""

from __future__ import annotations

from typing import Any, NamedTuple, Optional, Protocol

from raftkv.rpc.channel import Channel

#: A request as a handler gets it: (channel, id, method, args). Id None: no reply is expected.
Request = tuple[Channel, Optional[int], str, tuple[Any, ...]]


class Handler(Protocol):
    """What a listener needs of whoever answers its requests. Both methods are called on the loop thread and
    must not block (on_requests may, for a while, if relieve() is called then); one that raises is a bug, and
    ends the server by `on_fatal`."""

    def on_requests(self, batch: list[Request]) -> None:
        """All requests of this listener that came in during one turn of the loop, in order for each channel.

        Nothing of `method` and `args` has been checked, except that they are a string and a tuple of plain
        data. Replies may be sent by send_replies() from any thread, at any time and in any order.
        """

    def on_close(self, channel: Channel) -> None:
        """The channel is gone. Called once for every channel, also for one that never sent a request."""


class Occupancy(NamedTuple):
    """Of a listener: its connections, how many it may have, how many it has refused for that since its start,
    and what else it refuses at present, as "HOST: REASON"."""

    connections: int
    max_connections: int
    refused: int
    complaints: list[str]
