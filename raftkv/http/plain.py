"""Plain pages, for those who watch a server and not its data: /version, /health, /livez, /readyz."""

from __future__ import annotations

import json
from typing import Callable, NamedTuple, Protocol

from raftkv.http.etcd.calls import Blocking, Context, Pause
from raftkv.http.etcd.maintenance_calls import VERSION
from raftkv.http.metrics import METRICS, metrics_of
from raftkv.http.password import WRONG_S
from raftkv.http.view import REFRESH_S
from raftkv.http.web.answers import JSON, TEXT
from raftkv.http.web.exchange import Exchange, WholeBody
from raftkv.http.web.server import HttpServer
from raftkv.kvdb.reads import Range

_CLUSTER_VERSION = "3.5.0"
_HEALTH_S = 2.0

Answer = tuple[int, str, str]  # status, kind, text


class Front(Context, Protocol):
    """What pages have at hand."""

    server: HttpServer


class Page(NamedTuple):
    """`make(front, query, problem)`; `problem` is why the database does not answer, "" if it does: that is looked at only if
    `asks`. `refreshes`: the view is as new as the request."""

    make: Callable[[Front, str, str], Answer]
    asks: bool = False
    refreshes: bool = False
    needs_password: bool = False


class PlainPage(WholeBody):
    """Handler of one request."""

    def __init__(self, context: Front, exchange: Exchange, page: Page) -> None:
        self._context, self._exchange, self._page = context, exchange, page

    def receive(self, data: bytes, is_last: bool) -> None:
        """See Handler."""
        query = self._exchange.head.query
        if self._page.asks and "serializable=true" not in query:
            self._context.carry_out(Blocking(self._read, is_brief=True), self._done)
        elif self._page.refreshes:
            view = self._context.view
            self._context.carry_out(
                Blocking(lambda: view.refresh(REFRESH_S), is_brief=True), lambda *_: self._answer("")
            )
        else:
            self._answer("")

    def _read(self) -> None:
        """Who asks for health does not wait as long as others do."""
        self._context.clerk.submit_operation(Range(b"\0", count_only=True)).result(_HEALTH_S)

    def _done(self, _: object, error: BaseException | None) -> None:
        if error is None:
            self._answer("")
        elif self._context.view.leader is None:
            self._answer("RAFT NO LEADER")
        else:
            self._answer("QGET ERROR:" + type(error).__name__)

    def _answer(self, problem: str) -> None:
        self._context.view.touch()
        status, kind, text = self._page.make(self._context, self._exchange.head.query, problem)
        self._exchange.reply(status, text.encode(), kind)


class Options(WholeBody):
    """Handler of OPTIONS, of any path. It tells a browser nothing that would let other sites in."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def receive(self, data: bytes, is_last: bool) -> None:
        """See Handler."""
        self._exchange.reply(200, b"", TEXT, [("Allow", "GET, HEAD, POST, OPTIONS")])


class AskPassword(WholeBody):
    """Handler of a request of a browser, or of Prometheus, that lacks the password."""

    def __init__(self, context: Context, exchange: Exchange) -> None:
        self._context, self._exchange = context, exchange

    def receive(self, data: bytes, is_last: bool) -> None:
        """See Handler."""
        if "authorization" in self._exchange.head.fields:
            self._context.carry_out(Pause(WRONG_S), self._ask)
        else:
            self._ask()

    def _ask(self, *_: object) -> None:
        fields = [("WWW-Authenticate", 'Basic realm="raftkv", charset="UTF-8"')]
        self._exchange.reply(401, b"the password of root is asked for\n", TEXT, fields)


def _version(_front: Front, _query: str, _problem: str) -> Answer:
    return (
        200,
        JSON,
        json.dumps({"etcdserver": VERSION, "etcdcluster": _CLUSTER_VERSION}, separators=(",", ":")),
    )


def _health(front: Front, query: str, problem: str) -> Answer:
    own = front.view.own
    if not problem and own is not None and own["alarms"] and "exclude=NOSPACE" not in query:
        problem = "ALARM NOSPACE"
    health = {"health": "false" if problem else "true", "reason": problem}
    return 503 if problem else 200, JSON, json.dumps(health, separators=(",", ":"))


def _live(_front: Front, query: str, _problem: str) -> Answer:
    return 200, TEXT, _checks("serializable_read", query, "")


def _ready(_front: Front, query: str, problem: str) -> Answer:
    return 503 if problem else 200, TEXT, _checks("linearizable_read", query, problem)


def _checks(name: str, query: str, problem: str) -> str:
    if problem:
        return f"[-]{name} failed: {problem}\n"
    return f"[+]{name} ok\nok\n" if "verbose" in query else "ok\n"


def _metrics(front: Front, _query: str, _problem: str) -> Answer:
    own, server = front.view.own, front.server
    return (
        (200, METRICS, metrics_of(own, len(server), server.answers))
        if own is not None
        else (503, TEXT, "the server does not answer\n")
    )


PAGES: dict[str, Page] = {
    "/version": Page(_version),
    "/health": Page(_health, asks=True),
    "/livez": Page(_live),
    "/readyz": Page(_ready, asks=True),
    "/metrics": Page(_metrics, refreshes=True, needs_password=True),
}
