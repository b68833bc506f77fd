"""Exchange: one request and its answer, for whoever answers it; and what that must be able to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from raftkv.http.web import answers
from raftkv.http.web.head import Head

if TYPE_CHECKING:
    from raftkv.http.web.connection import Connection


class Handler(Protocol):
    """Of one request. Its methods are called on the thread of the server; what they raise, but for HttpError before the answer
    has begun, is a bug, and ends the connection."""

    #: Whether it takes the body in pieces as they come; else it is given the whole of it, at most `max_body` bytes.
    takes_pieces: bool
    max_body: int

    def receive(self, data: bytes, is_last: bool) -> None:
        """(More of) the body; called at least once. May answer at once, or later."""

    def gone(self) -> None:
        """The client is gone, or sends nothing more, before the end of the answer. May be called twice."""

    def drained(self) -> None:
        """The client has taken all that was sent so far of a stream."""


class WholeBody:
    """The base of handlers that are given the whole of a small body, and then answer at once or soon."""

    takes_pieces = False
    max_body = 64 << 10

    def gone(self) -> None:
        """See Handler."""

    def drained(self) -> None:
        """See Handler."""


class App(Protocol):
    """What a server serves."""

    def open(self, exchange: Exchange) -> Handler:
        """The handler of a request of which the head is there. Raises HttpError."""


class Exchange:
    """Only for the thread of the server. Once it is over, or the client gone, its methods do nothing."""

    def __init__(self, connection: Connection, head: Head) -> None:
        self.head = head
        self.handler: Handler | None = None
        self.is_streaming = False
        self.is_over = False
        self._connection = connection
        self._is_chunked = not head.is_http_10

    @property
    def local_host(self) -> str:
        """The address that the client has connected to."""
        return self._connection.local_host

    @property
    def unsent(self) -> int:
        """The bytes that wait for the client to take them."""
        return self._connection.unsent

    def hold(self, size: int) -> None:
        """For who takes pieces: so many bytes of them are kept. Raises HttpError."""
        if not self.is_over:
            self._connection.hold(size)

    def reply(
        self,
        status: int,
        body: bytes,
        kind: str = answers.JSON,
        fields: answers.Fields = (),
        *,
        closes: bool = False,
    ) -> None:
        """The whole answer. `closes`: the connection, too."""
        if not self.is_over:
            closes = closes or not self.head.keeps_alive
            is_head = self.head.method == "HEAD"
            if self.head.is_http_10 and not closes:
                fields = [*fields, ("Connection", "keep-alive")]  # which is not the rule there
            self._connection.count(status)
            self._connection.write(answers.whole(status, kind, body, closes, fields, no_body=is_head))
            self._finish(closes)

    def start(self, kind: str = answers.JSON, fields: answers.Fields = ()) -> None:
        """Begin an answer that is sent in pieces. It leaves with the first of them."""
        if not self.is_over:
            closes = not self._is_chunked or not self.head.keeps_alive
            self._connection.count(200)
            self._connection.write(
                answers.stream_head(200, kind, closes, self._is_chunked, fields), more=True
            )
            self.is_streaming = True
            if self.head.method == "HEAD":
                self._finish(closes)

    def send(self, data: bytes) -> None:
        """One piece, which is not empty."""
        if not self.is_over:
            self._connection.write(answers.chunk(data) if self._is_chunked else data)

    def end(self) -> None:
        """The stream is complete."""
        if not self.is_over:
            if self._is_chunked:
                self._connection.write(answers.LAST_CHUNK)
            self._finish(not self._is_chunked or not self.head.keeps_alive)

    def abort(self) -> None:
        """End the connection, so that the client does not take what it has for the whole."""
        if not self.is_over:
            self._connection.close()

    def _finish(self, closes: bool) -> None:
        self.is_over = True
        self.handler = None  # no cycle for the garbage collector
        self._connection.answered(self, closes)
