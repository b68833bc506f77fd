"""Connection: one client. One request at a time is answered; those that came after it wait, in bounded number."""

from __future__ import annotations

import logging
import socket
import time
from collections import Counter
from typing import Protocol

from raftkv.http.web import answers
from raftkv.http.web.exchange import App, Exchange
from raftkv.http.web.head import Head, HttpError
from raftkv.http.web.limits import (
    BODY_BYTES_PER_S,
    BODY_S,
    HEAD_S,
    IDLE_S,
    LINGER_S,
    MAX_BODIES,
    MAX_HEAD,
    MAX_IGNORED_BODY,
    MAX_UNSENT,
    RECV,
    STALLED_S,
)
from raftkv.http.web.outbox import Outbox
from raftkv.http.web.reader import RequestReader

log = logging.getLogger("raftkv.http")


class Owner(Protocol):
    """The server, as its connections know it. `bodies` and `unsent`: bytes that are held for all of them. `answers`: how many
    had which status."""

    app: App
    bodies: int
    unsent: int
    answers: Counter[int]

    def watch(self, connection: Connection, reads: bool, writes: bool) -> None:
        """Which of both to wait for."""

    def forget(self, connection: Connection) -> None:
        """It is closed."""


class Connection:
    """Only for the thread of the server."""

    def __init__(self, owner: Owner, sock: socket.socket) -> None:
        self._owner = owner
        self.sock = sock
        self.local_host: str = sock.getsockname()[0]
        self._reader = RequestReader()
        self._exchange: Exchange | None = None
        self._refusal: HttpError | None = None  # the answer, once the body has been read
        self._body: list[bytes] = []
        self._body_bytes = self._body_counted = 0  # received, and kept
        self._awaits_body = False
        self._is_advancing = False
        self._outbox = Outbox(sock)
        self._is_closing = False  # when all is sent
        self._is_lingering = False  # only waits for the client to close
        self.is_closed = False
        self._is_read = True  # until the client sends no more
        self._watched = True, False  # whether the server waits for something to read, and for room to write
        self.since = time.monotonic()  # of what is_overdue() counts

    @property
    def unsent(self) -> int:
        """How many bytes the client has not taken yet."""
        return self._outbox.unsent

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way of which the head is there."""
        return self._exchange is None and not self.unsent

    # -- events ----------------------------------------------------------------------------------------------

    def readable(self) -> None:
        """There is something to read."""
        try:
            data = self.sock.recv(RECV)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._ended()
        elif not self._is_lingering and not self._is_closing:
            if self._exchange is None and not len(self._reader):
                self.since = time.monotonic()
            self._reader.feed(data)
            self._advance()

    def _ended(self) -> None:
        """The client sends no more. It may wait for the answer to what is complete."""
        exchange = self._exchange
        if exchange is None or exchange.is_streaming or not self._reader.is_complete:
            if self.unsent and exchange is None and not self._is_lingering:
                self._is_closing = True  # it may read on
                self._watch()
            else:
                self.close()
        else:
            self._is_read = False
            self._watch()
            if exchange.handler is not None:
                exchange.handler.gone()  # as far as can be known: it is answered nevertheless

    def writable(self) -> None:
        """There is room to write."""
        self._flush()
        exchange = self._exchange
        if (
            not self.unsent
            and exchange is not None
            and exchange.is_streaming
            and exchange.handler is not None
        ):
            exchange.handler.drained()

    def is_overdue(self, now: float) -> bool:
        """Whether the client takes too long."""
        if self._is_lingering:
            return now > self.since + LINGER_S
        if self.unsent:
            return now > self._outbox.taken_at + STALLED_S
        if self._exchange is None:
            return now > self.since + (HEAD_S if len(self._reader) else IDLE_S)
        if not self._awaits_body or self._exchange.is_streaming:
            return False
        return now > self.since + BODY_S + self._body_bytes / BODY_BYTES_PER_S

    def expire(self) -> None:
        """It is overdue."""
        is_waiting = not self._is_closing and not self.unsent
        if is_waiting and (self._exchange is not None or len(self._reader)):
            self._refuse_at_once(HttpError(408, "the request did not come in time"))
        else:
            self.close()

    def close(self) -> None:
        """At once. May be called twice."""
        if self.is_closed:
            return
        self.is_closed = True
        self._owner.unsent -= self.unsent
        self._outbox.clear()  # at once: this object is in cycles, which live until they are collected
        self._release_body()
        exchange, self._exchange = self._exchange, None
        self._owner.forget(self)
        self.sock.close()
        if exchange is not None:
            exchange.is_over = True
            if exchange.handler is not None:
                exchange.handler.gone()

    # -- requests --------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Go on as far as what has come allows."""
        if self._is_advancing:
            return
        self._is_advancing = True
        try:
            while not self.is_closed and not self._is_closing and self._step():
                pass
        except HttpError as error:
            self._refuse_at_once(error)
        except Exception:
            log.exception("a request was not answered because of a bug")
            self.close()
        finally:
            self._is_advancing = False
        if not self._is_read and not self.is_closed:
            self._ended()  # what came before that has been looked at
        self._flush()

    def _step(self) -> bool:
        if self._exchange is None:
            head = self._reader.head()
            if head is None:
                return False
            self._begin(head)
            return True
        if self._reader.is_complete and not self._awaits_body:
            return False
        data = self._reader.body()
        is_last = self._reader.is_complete
        if not data and not is_last:
            return False
        self._received(self._exchange, data, is_last)
        return True

    def _begin(self, head: Head) -> None:
        exchange = self._exchange = Exchange(self, head)
        self.since = time.monotonic()
        self._awaits_body, self._body_bytes, self._refusal = True, 0, None
        try:
            exchange.handler = self._owner.app.open(exchange)
            if not exchange.handler.takes_pieces and (head.length or 0) > exchange.handler.max_body:
                raise HttpError(413, f"the body is larger than {exchange.handler.max_body} bytes")
        except HttpError as error:
            if head.expects_continue or head.length is None or head.length > MAX_IGNORED_BODY:
                raise
            self._refusal = error
        if head.expects_continue and not len(self._reader):
            self.write(answers.CONTINUE)

    def _received(self, exchange: Exchange, data: bytes, is_last: bool) -> None:
        self._awaits_body = not is_last
        self._body_bytes += len(data)
        handler = exchange.handler
        if self._refusal is not None:
            if is_last:
                self._reply(exchange, self._refusal)
        elif handler is not None and handler.takes_pieces:
            handler.receive(data, is_last)
        elif handler is not None:
            self._collect(data, handler.max_body)
            if is_last:
                body = b"".join(self._body)
                self._release_body()
                try:
                    handler.receive(body, True)
                except HttpError as error:
                    self._reply(exchange, error)

    def _collect(self, data: bytes, most: int) -> None:
        self._body.append(data)
        self.hold(self._body_counted + len(data))
        if self._body_counted > most:
            raise HttpError(413, f"the body is larger than {most} bytes")

    def count(self, status: int) -> None:
        """An answer begins."""
        self._owner.answers[status] += 1

    def hold(self, size: int) -> None:
        """So many bytes of the body are kept. Raises HttpError if that is too much of all connections together."""
        self._owner.bodies += size - self._body_counted
        self._body_counted = size
        if self._owner.bodies > MAX_BODIES:
            raise HttpError(503, "too many large requests are being received at the moment")

    def _release_body(self) -> None:
        self._owner.bodies -= self._body_counted
        self._body, self._body_counted = [], 0

    @staticmethod
    def _reply(exchange: Exchange, error: HttpError) -> None:
        exchange.reply(error.status, f"{error}\n".encode(), answers.TEXT)

    def _refuse_at_once(self, error: HttpError) -> None:
        """What comes after on this connection means nothing, or is not worth reading."""
        exchange = self._exchange
        self._release_body()
        if exchange is not None and exchange.is_streaming:
            self.close()
            return
        text = f"{error}\n".encode()
        if exchange is not None:
            exchange.reply(error.status, text, answers.TEXT, closes=True)
        else:
            self.count(error.status)
            self.write(answers.whole(error.status, answers.TEXT, text, True))
            self._is_closing = True
        self._flush()

    def answered(self, exchange: Exchange, closes: bool) -> None:
        """Its answer has been written; the next request may come."""
        self._exchange = None
        self._release_body()
        if closes or not self._reader.is_complete:
            self._is_closing = True
        self.since = time.monotonic()
        self._advance()

    # -- writing ---------------------------------------------------------------------------------------------

    def write(self, data: bytes, *, more: bool = False) -> None:
        """Have it sent. What is written while a request is looked at goes out together; so does what is written before `more`
        that follows at once."""
        if self.is_closed:
            return
        self._outbox.add(data)
        self._owner.unsent += len(data)
        if self._owner.unsent > MAX_UNSENT:
            log.warning("clients read too slowly: a connection is closed")
            self.close()
        elif not self._is_advancing and not more:
            self._flush()

    def _flush(self) -> None:
        """Send what can be sent now."""
        if self.is_closed:
            return
        before = self._outbox.unsent
        if before:
            try:
                self._outbox.flush()
            except OSError:
                self._owner.unsent -= before - self.unsent
                self.close()
                return
            self._owner.unsent -= before - self.unsent
        if self._is_closing and not self.unsent and not self._is_lingering:
            self._linger()
        else:
            self._watch()

    def _linger(self) -> None:
        """Closing a connection with unread bytes would take the answer away from the client."""
        self._is_lingering = True
        self.since = time.monotonic()
        if not self._is_read:
            self.close()
            return
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()
            return
        self._watch()

    def _watch(self) -> None:
        has_room = self._exchange is None or not self._reader.is_complete or len(self._reader) <= MAX_HEAD
        events = self._is_read and has_room, bool(self.unsent)
        if events != self._watched:
            self._watched = events
            self._owner.watch(self, *events)
