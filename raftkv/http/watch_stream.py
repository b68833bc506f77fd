"""WatchStream: the handler of /v3/watch: any number of watches on one stream, made and cancelled while it goes on.

A watch is a cursor in the history of the servers. When the client does not take what it was sent, no more is taken from the
watches; they go on from where they are.
"""

from __future__ import annotations

import logging
from collections import deque
from functools import partial
from typing import Any

from raftkv import errors
from raftkv.client.watch import DELETE as DELETED
from raftkv.client.watch import Event as ClientEvent
from raftkv.client.watch import Watch
from raftkv.http.etcd import json_codec
from raftkv.http.etcd.calls import Context
from raftkv.http.etcd.documents import Documents
from raftkv.http.etcd.json_codec import JsonError
from raftkv.http.etcd.kv_messages import KeyValue
from raftkv.http.etcd.status import TOO_MANY, UNKNOWN, Status, status_of
from raftkv.http.etcd.watch_messages import (
    DELETE,
    NODELETE,
    NOPUT,
    PUT,
    Event,
    WatchCancelRequest,
    WatchCreateRequest,
    WatchRequest,
    WatchResponse,
)
from raftkv.http.handlers import MAX_WAITING, fail_stream, refuse, send_result
from raftkv.http.web.exchange import Exchange
from raftkv.http.web.limits import MAX_UNSENT_STREAM
from raftkv.kvdb.reads import Range

log = logging.getLogger("raftkv.http")

MAX_WATCHES = 10_000  # of one stream
_NO_ID = -1
_NOW = Range(b"\0", count_only=True)


class WatchStream:
    """Handler of one stream."""

    takes_pieces = True
    max_body = 0

    def __init__(self, context: Context, exchange: Exchange) -> None:
        self._context, self._exchange = context, exchange
        self._documents = Documents()
        self._requests: deque[WatchRequest] = deque()
        self._is_busy = False  # with a request
        self._is_deaf = False  # to what the client may still send
        self._watches: dict[int, Watch] = {}
        self._ready: dict[int, None] = {}  # the watches that may have something to tell, in turn
        self._next_id = 0

    def receive(self, data: bytes, is_last: bool) -> None:
        """See Handler."""
        if self._is_deaf:
            return
        try:
            for plain in self._documents.feed(data, is_last):
                self._requests.append(json_codec.from_plain(WatchRequest, plain))
            self._exchange.hold(len(self._documents))
            if len(self._requests) > MAX_WAITING:
                self.gone()
                fail_stream(self._exchange, TOO_MANY)
        except JsonError as error:
            self._is_deaf = True  # as etcd then is, while its watches go on
            if not self._exchange.is_streaming and not self._requests and not self._is_busy:
                refuse(self._exchange, Status(UNKNOWN, str(error)))
                return
        self._next()

    def gone(self) -> None:
        """See Handler."""
        self._requests.clear()
        for watch in self._watches.values():
            watch.cancel()
        self._watches.clear()

    def drained(self) -> None:
        """See Handler."""
        self._pump()

    # -- requests --------------------------------------------------------------------------------------------

    def _next(self) -> None:
        while self._requests and not self._is_busy and not self._exchange.is_over:
            request = self._requests.popleft()
            if request.cancel_request is not None:
                self._cancel(request.cancel_request)
            elif request.create_request is not None or request.progress_request is not None:
                self._is_busy = True
                self._context.carry_out(_NOW, partial(self._begin, request))

    def _begin(self, request: WatchRequest, result: Any, error: BaseException | None) -> None:
        """It is known now how far the store is."""
        self._is_busy = False
        if self._exchange.is_over:
            return
        if error is not None:
            self.gone()
            fail_stream(self._exchange, status_of(error))
            return
        if request.create_request is not None:
            self._create(request.create_request, result[0])
        else:
            told = min([watch.revision for watch in self._watches.values()], default=result[0])
            self._send(told, _NO_ID)
        self._next()

    def _create(self, request: WatchCreateRequest, revision: int) -> None:
        id, key, end = request.watch_id or self._free_id(), request.key or b"\0", request.range_end
        reason = self._why_not(id, key, end)
        if reason:
            self._send(revision, _NO_ID, created=True, canceled=True, cancel_reason=reason)
            return
        if request.start_revision < 0:
            self._send(revision, id, created=True)
            self._send(0, id, canceled=True, compact_revision=1)
            return
        try:
            watch = self._open(request, id, key, end, request.start_revision or revision + 1)
        except errors.InvalidRequestError as error:
            reason = str(status_of(error))
            self._send(revision, _NO_ID, created=True, canceled=True, cancel_reason=reason)
            return
        self._send(revision, id, created=True)
        if watch is not None:
            self._watches[id] = watch
            self._notified(id)

    def _why_not(self, id: int, key: bytes, end: bytes) -> str:
        if id in self._watches:
            return "mvcc: duplicate watch ID provided on the WatchStream"
        if end and end != b"\0" and end <= key:
            return "mvcc: watcher range is empty"
        if len(self._watches) >= MAX_WATCHES:
            return f"etcdserver: there are {MAX_WATCHES} watches on this stream"
        return ""

    def _open(self, request: WatchCreateRequest, id: int, key: bytes, end: bytes, start: int) -> Watch | None:
        """None for one that will never tell anything."""
        filters = [
            name for number, name in ((NOPUT, "noput"), (NODELETE, "nodelete")) if number in request.filters
        ]
        if len(filters) == 2:
            return None
        return self._context.clerk.watch(
            key,
            end or None,
            start_revision=start,
            prev_kv=request.prev_kv,
            filters=filters,
            progress_notify=request.progress_notify,
            notify=lambda: self._context.call_soon(lambda: self._notified(id)),
        )

    def _free_id(self) -> int:
        while self._next_id in self._watches:
            self._next_id += 1
        id, self._next_id = self._next_id, self._next_id + 1
        return id

    def _cancel(self, request: WatchCancelRequest) -> None:
        watch = self._watches.pop(request.watch_id, None)
        if watch is not None:
            watch.cancel()
            self._send(watch.revision, request.watch_id, canceled=True)

    # -- what happens ----------------------------------------------------------------------------------------

    def _notified(self, id: int) -> None:
        self._ready[id] = None
        self._pump()

    def _pump(self) -> None:
        """Send what the watches have to tell, as long as the client takes it."""
        while self._ready and not self._exchange.is_over and self._exchange.unsent < MAX_UNSENT_STREAM:
            id = next(iter(self._ready))
            del self._ready[id]
            watch = self._watches.get(id)
            if watch is not None and self._tell(id, watch):
                self._ready[id] = None  # it may have more, after the others

    def _tell(self, id: int, watch: Watch) -> bool:
        try:
            response = watch.get(timeout=0)
        except errors.CompactedError as error:
            del self._watches[id]
            self._send(0, id, canceled=True, compact_revision=error.compact_revision)
            return False
        except errors.RaftKVError as error:
            self.gone()
            fail_stream(self._exchange, status_of(error))
            return False
        if response is None:
            return False
        self._send(response.revision, id, events=[_event(event) for event in response.events])
        return True

    def _send(self, revision: int, id: int, **fields: Any) -> None:
        send_result(self._exchange, WatchResponse(self._context.header(revision), id, **fields))


def _event(event: ClientEvent) -> Event:
    key, value, create, mod, version, lease = event.kv
    before = event.prev_kv
    return Event(
        DELETE if event.type == DELETED else PUT,
        KeyValue(key, create, mod, version, value, lease),
        None
        if before is None
        else KeyValue(
            before.key,
            before.create_revision,
            before.mod_revision,
            before.version,
            before.value,
            before.lease,
        ),
    )
