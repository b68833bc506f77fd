"""Front: the HTTP server of a cluster, wired together: who is let in, what is at which path, and who carries it out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any, Callable

from raftkv import Clerk
from raftkv.http.etcd.calls import Resume, Step
from raftkv.http.etcd.kv_messages import Header
from raftkv.http.etcd.service import CALLS, EACH, STREAMS
from raftkv.http.etcd.status import INVALID_ARGUMENT, UNAUTHENTICATED, Status
from raftkv.http.guard import Guard
from raftkv.http.handlers import CallForEach, OneCall, OneStream, Refusal
from raftkv.http.page import Controls, Document, NodeAction, Pages, PageStream, load_page
from raftkv.http.password import WRONG_S, Password, load_password
from raftkv.http.plain import PAGES, AskPassword, Options, PlainPage
from raftkv.http.requests import Requests
from raftkv.http.view import View
from raftkv.http.watch_stream import WatchStream
from raftkv.http.web.exchange import Exchange, Handler
from raftkv.http.web.head import HttpError
from raftkv.http.web.limits import MAX_CONNECTIONS
from raftkv.http.web.open_files import allowed_connections
from raftkv.http.web.server import HttpServer
from raftkv.http_config import HttpConfig
from raftkv.ini import Address
from raftkv.kvdb.operation import Operation

log = logging.getLogger("raftkv.http")

PREFIXES = ("/v3", "/v3beta", "/v3alpha")
TIMEOUT_S = 7.0  # of one operation with all its retries, as in etcd: 5 s and two election timeouts
_WITHOUT_PASSWORD = frozenset({"/auth/authenticate"})

_NO_TOKEN = Status(INVALID_ARGUMENT, "etcdserver: user name is empty")
_BAD_TOKEN = Status(UNAUTHENTICATED, "etcdserver: invalid auth token")

Open = Callable[["Front", Exchange], Handler]


class Front:
    """`own_id`: of the server that it is the front of; 0: of none. `controls`: what the page can do to the nodes. run() serves until stop(), which any thread and a signal
    handler may call. Raises ConfigError or ResourceError."""

    def __init__(
        self,
        config: HttpConfig,
        servers: Mapping[int, Address],
        client_key: bytes,
        own_id: int = 0,
        controls: Controls | None = None,
    ) -> None:
        self.password: Password | None = None
        if config.password_file:
            self.password = Password(load_password(config.password_file), client_key)
        self.server = HttpServer(config.listen, self, allowed_connections(MAX_CONNECTIONS))
        self.clerk = Clerk(
            {id: (address.host, address.port) for id, address in servers.items()},
            authkey=client_key,
            timeout=TIMEOUT_S,
            encoding=None,
        )
        self.view = View(self.clerk, own_id)
        self._unknown: list[Callable[[], None]] = []
        self.view.on_known = lambda: self.server.call_soon(self._release)
        self._pages = Pages(self.view, own_id, controls)
        self._controls = controls
        self._page = load_page()
        self.view.on_round = lambda: self.server.call_soon(self._pages.tell)
        self._guard = Guard(config.listen, config.hosts)
        self._requests = Requests(self.clerk, self.server)

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self.server.address

    def run(self) -> None:
        """Serve until stop()."""
        self.view.start()
        try:
            self.server.run()
        finally:
            self.view.close()
            self.clerk.close()

    def stop(self) -> None:
        """run() returns soon."""
        self.server.stop()

    # -- what handlers have at hand --------------------------------------------------------------------------

    def header(self, revision: int) -> Header:
        """Of an answer that was given at `revision`."""
        return self.view.header(revision)

    def carry_out(self, step: Step, resume: Resume) -> Callable[[], None] | None:
        """See Context."""
        if isinstance(step, Operation) and not self.view.is_known:
            resume = partial(self._when_known, resume)
        return self._requests.carry_out(step, resume)

    def _when_known(self, resume: Resume, result: Any, error: BaseException | None) -> None:
        """An answer whose header cannot be written yet waits for that."""
        if error is None and not self.view.is_known:
            self._unknown.append(partial(resume, result, error))
        else:
            resume(result, error)

    def _release(self) -> None:
        waiting, self._unknown = self._unknown, []
        for call in waiting:
            call()

    def call_soon(self, call: Callable[[], None]) -> None:
        """See Context."""
        self.server.call_soon(call)

    # -- requests --------------------------------------------------------------------------------------------

    def open(self, exchange: Exchange) -> Handler:
        """See App."""
        head = exchange.head
        self._guard.check(head, exchange.local_host)
        if head.method == "OPTIONS":
            return Options(exchange)
        if head.path in ("/", "/page/events"):
            return self._open_page(exchange)
        page = PAGES.get(head.path)
        if page is not None:
            if head.method not in ("GET", "HEAD"):
                raise HttpError(405, "Method Not Allowed")
            if page.needs_password and self._refusal(exchange):
                return AskPassword(self, exchange)
            return PlainPage(self, exchange, page)
        if head.path == "/page/node" and self._controls is not None:
            return self._open_controls(exchange, self._controls)
        path = _without_prefix(head.path)
        make = _HANDLERS.get(path)
        if make is None:
            raise HttpError(404, "404 page not found")
        if head.method != "POST":
            raise HttpError(405, "Method Not Allowed")
        refusal = None if path in _WITHOUT_PASSWORD else self._refusal(exchange)
        return self._refuse(exchange, refusal) if refusal else make(self, exchange)

    def _refuse(self, exchange: Exchange, status: Status) -> Handler:
        return Refusal(self, exchange, status, WRONG_S if status is _BAD_TOKEN else 0.0)

    def _open_page(self, exchange: Exchange) -> Handler:
        if exchange.head.method not in ("GET", "HEAD"):
            raise HttpError(405, "Method Not Allowed")
        if self._refusal(exchange):
            return AskPassword(self, exchange)
        if exchange.head.path == "/":
            return Document(exchange, self._page)
        return PageStream(self._pages, exchange)

    def _open_controls(self, exchange: Exchange, controls: Controls) -> Handler:
        if exchange.head.method != "POST":
            raise HttpError(405, "Method Not Allowed")
        refusal = self._refusal(exchange)
        return self._refuse(exchange, refusal) if refusal else NodeAction(self, exchange, controls)

    def _refusal(self, exchange: Exchange) -> Status | None:
        if self.password is None:
            return None
        authorization = exchange.head.fields.get("authorization")
        if authorization is None:
            return _NO_TOKEN
        return None if self.password.admits(authorization) else _BAD_TOKEN


def _without_prefix(path: str) -> str:
    first, slash, rest = path[1:].partition("/")
    return slash + rest if "/" + first in PREFIXES else ""


def _handlers() -> dict[str, Open]:
    made: dict[str, Open] = {}
    for path, call in CALLS.items():
        made[path] = lambda front, exchange, call=call: OneCall(front, exchange, call)  # type: ignore[misc]
    for path, call in EACH.items():
        made[path] = lambda front, exchange, call=call: CallForEach(front, exchange, call)  # type: ignore[misc]
    for path, call in STREAMS.items():
        made[path] = lambda front, exchange, call=call: OneStream(front, exchange, call)  # type: ignore[misc]
    made["/watch"] = lambda front, exchange: WatchStream(front, exchange)
    return made


_HANDLERS: dict[str, Open] = _handlers()
