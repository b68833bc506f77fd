"""Handlers: calls over HTTP, with their messages in JSON."""

from __future__ import annotations

import logging
from collections import deque
from typing import Any, Callable

from raftkv.http.etcd import json_codec
from raftkv.http.etcd.calls import Call, Context, Interrupted, Next, Pause, Send, Steps
from raftkv.http.etcd.documents import Documents
from raftkv.http.etcd.fields import Message
from raftkv.http.etcd.json_codec import JsonError
from raftkv.http.etcd.status import CANCELLED, INTERNAL, TOO_MANY, UNKNOWN, Status, status_of
from raftkv.http.web.answers import PHRASES
from raftkv.http.web.exchange import Exchange, WholeBody
from raftkv.http.web.limits import MAX_BODY, MAX_UNSENT_STREAM

log = logging.getLogger("raftkv.http")

MAX_WAITING = 1000  # messages of one stream


Done = Callable[["Message | None", "Status | None"], None]


class Run:
    """Carries a call out; then `done` is called with its answer, or with what it ended with. `send` takes what it sends
    before, and returns whether it takes more now; else drained() says when it does."""

    def __init__(
        self, context: Context, steps: Steps, done: Done, send: Callable[[Message], bool] | None = None
    ) -> None:
        self._context, self._steps, self._done, self._send = context, steps, done, send
        self._end_early: Callable[[], None] | None = None
        self._is_interrupted = self._is_paused = False
        self._go_on(None, None)

    def interrupt(self) -> None:
        """The client is gone: a wait without end ends now, or when it comes to it. What the call does then is carried out."""
        self._is_interrupted = True
        self.drained()
        if self._end_early is not None:
            end_early, self._end_early = self._end_early, None
            end_early()
            self._go_on(None, Interrupted())

    def drained(self) -> None:
        """More is taken now."""
        if self._is_paused:
            self._is_paused = False
            self._go_on(None, Interrupted() if self._is_interrupted else None)

    def _go_on(self, result: Any, error: BaseException | None) -> None:
        self._end_early = None
        while True:
            try:
                step = self._steps.send(result) if error is None else self._steps.throw(error)
            except StopIteration as stop:
                self._done(stop.value, None)
                return
            except Exception as failure:
                self._done(None, _status(failure))
                return
            result = error = None
            if isinstance(step, (Next, Send)) and self._is_interrupted:
                error = Interrupted()
                continue
            if isinstance(step, Send):
                assert self._send is not None, "a call that is answered once has sent something before"
                if self._send(step.message):
                    continue
                self._is_paused = True
                return
            try:
                self._end_early = self._context.carry_out(step, self._go_on)
                return
            except Exception as failure:
                error = failure


def _status(error: Exception) -> Status:
    if isinstance(error, Interrupted):
        return Status(CANCELLED, "context canceled")
    status = status_of(error)
    if status.code == INTERNAL:
        log.error("a call ended with a bug", exc_info=error)
    return status


class OneCall(WholeBody):
    """Asked and answered once."""

    max_body = MAX_BODY

    def __init__(self, context: Context, exchange: Exchange, call: Call) -> None:
        self._context, self._exchange, self._call = context, exchange, call
        self._run: Run | None = None

    def receive(self, data: bytes, is_last: bool) -> None:
        """See Handler."""
        try:
            request = json_codec.from_text(self._call.request, data)
        except JsonError as error:
            self._done(None, status_of(error))
        else:
            self._run = Run(self._context, self._call.run(self._context, request), self._done)

    def _done(self, answer: Message | None, status: Status | None) -> None:
        self._run = None
        if answer is not None:
            self._exchange.reply(200, json_codec.to_text(answer).encode("utf-8", "replace"))
        elif status is not None:
            refuse(self._exchange, status)

    def gone(self) -> None:
        """See Handler."""
        if self._run is not None:
            self._run.interrupt()


class OneStream(OneCall):
    """Asked once, and answered by a stream."""

    def receive(self, data: bytes, is_last: bool) -> None:
        """See Handler."""
        try:
            request = json_codec.from_text(self._call.request, data)
        except JsonError as error:
            refuse(self._exchange, status_of(error))
            return
        steps = self._call.run(self._context, request)
        self._run = Run(self._context, steps, self._done, self._send)

    def _done(self, answer: Message | None, status: Status | None) -> None:
        if status is not None:
            fail_stream(self._exchange, status)
        else:
            self._exchange.end()

    def _send(self, message: Message) -> bool:
        send_result(self._exchange, message)
        return self._exchange.is_over or self._exchange.unsent < MAX_UNSENT_STREAM

    def drained(self) -> None:
        """See Handler."""
        if self._run is not None:
            self._run.drained()


class CallForEach:
    """A stream of messages, each of which is a call and answered in its turn."""

    takes_pieces = True
    max_body = 0

    def __init__(self, context: Context, exchange: Exchange, call: Call) -> None:
        self._context, self._exchange, self._call = context, exchange, call
        self._documents = Documents()
        self._waiting: deque[Any] = deque()
        self._is_busy = self._is_last = False
        self._failure: Status | None = None

    def receive(self, data: bytes, is_last: bool) -> None:
        """See Handler."""
        self._is_last = is_last
        if self._failure is not None:
            return
        try:
            self._waiting.extend(self._documents.feed(data, is_last))
        except JsonError as error:
            self._failure = Status(UNKNOWN, str(error))
        self._exchange.hold(len(self._documents))
        if len(self._waiting) > MAX_WAITING:
            self._waiting.clear()
            self._failure = TOO_MANY
        self._next()

    def _next(self) -> None:
        if self._is_busy:
            return
        if self._waiting:
            self._is_busy = True
            try:
                request = json_codec.from_plain(self._call.request, self._waiting.popleft())
            except JsonError as error:
                self._is_busy, self._failure = False, Status(UNKNOWN, str(error))
                self._waiting.clear()
                self._next()
            else:
                Run(self._context, self._call.run(self._context, request), self._done)
        elif self._failure is not None and not self._exchange.is_streaming:
            refuse(self._exchange, self._failure)
        elif self._failure is not None or self._is_last:
            if not self._exchange.is_streaming:
                self._exchange.start()
            self._exchange.end()

    def _done(self, answer: Message | None, status: Status | None) -> None:
        self._is_busy = False
        if answer is not None:
            send_result(self._exchange, answer)
            self._next()
        elif status is not None:
            fail_stream(self._exchange, status)

    def gone(self) -> None:
        """See Handler."""
        self._waiting.clear()

    def drained(self) -> None:
        """See Handler."""


class Refusal(WholeBody):
    """One that is not carried out; of its body only what has come is read."""

    takes_pieces = True

    def __init__(self, context: Context, exchange: Exchange, status: Status, pause_s: float = 0.0) -> None:
        """`pause_s`: how long the client waits for the answer, in seconds."""
        self._context, self._exchange, self._status, self._pause_s = context, exchange, status, pause_s
        self._is_refused = False

    def receive(self, data: bytes, is_last: bool) -> None:
        """See Handler."""
        if self._is_refused:
            return
        self._is_refused = True
        if self._pause_s:
            self._context.carry_out(Pause(self._pause_s), lambda *_: refuse(self._exchange, self._status))
        else:
            refuse(self._exchange, self._status)


# -- what is sent --------------------------------------------------------------------------------------------


def refuse(exchange: Exchange, status: Status) -> None:
    """Answer with what a call ended with."""
    text = json_codec.encode_text({"error": str(status), "code": status.code, "message": str(status)})
    exchange.reply(status.http, text.encode())


def send_result(exchange: Exchange, answer: Message) -> None:
    """One message of a stream, as one chunk."""
    if not exchange.is_streaming:
        exchange.start()
    exchange.send(b'{"result":%b}\n' % json_codec.to_text(answer).encode("utf-8", "replace"))


def fail_stream(exchange: Exchange, status: Status) -> None:
    """End a stream with what it ended with."""
    error = {
        "grpc_code": status.code,
        "http_code": status.http,
        "message": str(status),
        "http_status": PHRASES.get(status.http, ""),
    }
    text = json_codec.encode_text({"error": error}).encode()
    if exchange.is_streaming:
        exchange.send(text + b"\n")
        exchange.end()
    else:
        exchange.reply(status.http, text)
