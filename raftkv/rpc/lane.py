"""Lane: a connection lent to a caller who is alone, so that its calls pass through no other thread.

A ClientEnd that has nothing under way may put a Lane into a list, the slot. Who takes it out makes one call at
a time on the connection, sending and reading in its own thread, and puts it back. list.pop() and append() are
single steps, and what a Lane holds belongs to the one who took it: an exception out of a signal handler, at
whatever place, leaves nothing half done that others need. At worst the Lane is not put back, and then its
connection is given up.

When somebody else has a call to make, the Lane is closed: its holder ends the call that is under way (replies
to others that it reads meanwhile it passes on), sends nothing more, and gives the reading back.
"""

from __future__ import annotations

import itertools
import threading
import time
from typing import Any, Callable

from raftkv.errors import CallTimeoutError, ConnectionLostError, RpcError
from raftkv.rpc.calls import timed_out
from raftkv.rpc.dial import check_reply
from raftkv.rpc.link import Link
from raftkv.rpc.wire import dumps, frame, loads

Reply = tuple[int, bool, Any]

#: A holder that was told to give the Lane back, and does not take bytes that have come for so long, is no more.
PATIENCE_S = 0.25
_MAX_REQUEST_BYTES = 16 << 10  # what a socket without a backlog takes at once


class Lane:
    """See above. `note` is what the holder says of the call that is under way, None without one."""

    __slots__ = (
        "_gate",
        "_ids",
        "_link",
        "_pass_on",
        "_request_id",
        "_slot",
        "closed",
        "closed_at",
        "context",
        "note",
        "returned",
    )

    def __init__(
        self,
        link: Link,
        ids: itertools.count[int],
        slot: list[Lane],
        pass_on: Callable[[list[Reply]], None],
        context: Any,
    ) -> None:
        self._link = link
        self._ids = ids
        self._slot = slot
        self._pass_on = pass_on  # replies to others; an empty list says that the Lane was given back
        self._gate = threading.Lock()  # sending, and ending a call, or closing
        self._request_id = 0
        self.context = context
        self.note: Any = None
        self.closed = False
        self.closed_at = 0.0
        self.returned = False

    # -- for the holder --------------------------------------------------------------------------------------

    def send(self, note: Any, method: str, args: tuple[Any, ...]) -> bool:
        """Sends a request. False: the Lane is closed or of no use, or the request is large: nothing was
        sent."""
        request_id = next(self._ids)
        data = frame(dumps((request_id, method, args)))
        link = self._link
        with self._gate:
            if self.closed or link.lost is not None or len(data) > _MAX_REQUEST_BYTES:
                return False
            self._request_id = request_id
            self.note = note
            link.transmit(data)
        return True

    def receive(self, deadline: float, timeout_s: float) -> tuple[bool, Any]:
        """The reply to what was sent: (ok, result). Raises ConnectionLostError or CallTimeoutError."""
        link = self._link
        if link.backlog or link.broken is not None:
            raise ConnectionLostError(link.broken or "the connection took only a part of a request")
        while timeout_s > 0:
            data = link.receive(timeout_s)
            if data is not None:
                found = self._look_into(link.frames.feed(data))
                if found is not None:
                    return found
            timeout_s = deadline - time.monotonic()
        raise timed_out("no answer in time", sent=True)

    def _look_into(self, payloads: list[bytes]) -> tuple[bool, Any] | None:
        found = None
        others = []
        for payload in payloads:
            reply = check_reply(loads(payload))
            if reply[0] == self._request_id:
                found = reply[1], reply[2]
            else:
                others.append(reply)
        if others:
            self._pass_on(others)
        return found

    def finish(self) -> bool:
        """The call is over. True: the Lane is back in its slot. False: it was closed; give_back() comes next."""
        with self._gate:
            if self.closed:
                return False
            self.note = None
        self._slot.append(self)
        return True

    def give_back(self, error: RpcError | None = None) -> None:
        """The holder reads no more. After an `error` other than that the time was over the connection is worth
        nothing."""
        if error is not None and not isinstance(error, CallTimeoutError):
            self._link.break_off(str(error))
        self.closed = True
        self.returned = True
        self._pass_on([])

    def spoil(self) -> None:
        """The holder was interrupted: what is on the connection is not known any more. May be called more than
        once."""
        self._link.interrupted = True
        self._link.break_off("a call was interrupted")

    # -- for the others --------------------------------------------------------------------------------------

    def close(self) -> None:
        """No request is sent any more. Afterwards `note` is what the holder had under way."""
        if self._gate.acquire(timeout=PATIENCE_S):
            self._mark_closed()
            self._gate.release()
        else:  # its holder was interrupted in a bad moment
            self.spoil()
            self._mark_closed()
        self.take_home()

    def take_home(self) -> bool:
        """Takes the Lane out of its slot, if it is there: nobody uses it then."""
        try:
            self._slot.remove(self)
        except ValueError:
            return False
        self.closed = self.returned = True
        return True

    def is_idle(self) -> bool:
        return self in self._slot

    def _mark_closed(self) -> None:
        if not self.closed:
            self.closed = True
            self.closed_at = time.monotonic()
