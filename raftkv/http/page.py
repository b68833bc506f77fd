"""The page for people: GET / is one file, and what it shows live comes as server-sent events."""

from __future__ import annotations

import json
import os
from typing import Any, Protocol

from raftkv.errors import RaftKVError
from raftkv.http.etcd.calls import Blocking, Context
from raftkv.http.view import View
from raftkv.http.web.exchange import Exchange, WholeBody
from raftkv.http.web.head import HttpError

HTML = "text/html; charset=utf-8"
EVENTS = "text/event-stream"
#: Nothing from elsewhere, and no frame of another site round it.
FIELDS = (
    ("Content-Security-Policy", "default-src 'self' 'unsafe-inline'; img-src data:; frame-ancestors 'none'"),
    ("Cache-Control", "no-cache"),
)

_FIELDS_OF_ROW = (
    "id", "address", "alive", "error", "role", "term", "leader", "log_first_index", "commit_index", "applied_index",
    "log_last_index", "log_bytes", "data_bytes", "keys", "watches", "leases", "connections", "writes", "uptime_s",
    "problems",
)  # fmt: skip


def load_page() -> bytes:
    """The page."""
    with open(os.path.join(os.path.dirname(__file__), "page.html"), "rb") as file:
        return file.read()


class Controls(Protocol):
    """What the launcher's page can do to its nodes."""

    def actions(self) -> dict[int, list[str]]:
        """By node, what can be done to it now."""

    def do(self, id: int, action: str) -> None:
        """Do it; may take some seconds. Raises RaftKVError."""


class NodeAction(WholeBody):
    """Handler of a click: {"id": 1, "action": "kill"}."""

    def __init__(self, context: Context, exchange: Exchange, controls: Controls) -> None:
        self._context, self._exchange, self._controls = context, exchange, controls

    def receive(self, data: bytes, is_last: bool) -> None:
        """See Handler."""
        try:
            asked = json.loads(data)
            id, action = asked["id"], asked["action"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise HttpError(400, "an id and an action are asked for") from None
        if type(id) is not int or type(action) is not str:
            raise HttpError(400, "an id and an action are asked for")
        self._context.carry_out(Blocking(lambda: self._controls.do(id, action)), self._done)

    def _done(self, _: Any, error: BaseException | None) -> None:
        if error is None:
            self._exchange.reply(200, b"{}")
        else:
            text = str(error) if isinstance(error, RaftKVError) else "it could not be done"
            self._exchange.reply(409, json.dumps({"error": text}).encode())


class Document(WholeBody):
    """Handler of a request for the page."""

    def __init__(self, exchange: Exchange, page: bytes) -> None:
        self._exchange, self._page = exchange, page

    def receive(self, data: bytes, is_last: bool) -> None:
        """See Handler."""
        self._exchange.reply(200, self._page, HTML, FIELDS)


class PageStream(WholeBody):
    """Handler of one window's events: one each time when the servers have been asked."""

    def __init__(self, pages: Pages, exchange: Exchange) -> None:
        self._pages, self._exchange = pages, exchange

    def receive(self, data: bytes, is_last: bool) -> None:
        """See Handler."""
        self._exchange.start(EVENTS, FIELDS)
        self._exchange.send(b"retry: 1000\n\n")
        self._pages.add(self)

    def tell(self, event: bytes) -> None:
        """Send it, unless what was sent before still waits."""
        if not self._exchange.unsent:
            self._exchange.send(event)

    def gone(self) -> None:
        """See Handler."""
        self._pages.remove(self)


class Pages:
    """The windows that are open. Only for the thread of the server."""

    def __init__(self, view: View, own_id: int, controls: Controls | None = None) -> None:
        self._view, self._own_id, self._controls = view, own_id, controls
        self._streams: set[PageStream] = set()

    def add(self, stream: PageStream) -> None:
        """From now on it is told."""
        self._streams.add(stream)
        self._view.watch(True)

    def remove(self, stream: PageStream) -> None:
        """It is told no more. May be called twice."""
        self._streams.discard(stream)
        self._view.watch(bool(self._streams))

    def tell(self) -> None:
        """The servers have been asked."""
        if self._streams:
            event = b"data: %b\n\n" % json.dumps(self._state(), default=str).encode()
            for stream in list(self._streams):
                stream.tell(event)

    def _state(self) -> dict[str, Any]:
        view = self._view
        return {
            "own": self._own_id,
            "leader": view.leader,
            "at": view.asked_at,
            "cluster_id": view.header(0).cluster_id,
            "actions": {} if self._controls is None else self._controls.actions(),
            "rows": [{name: row.get(name) for name in _FIELDS_OF_ROW} for row in view.rows],
        }
