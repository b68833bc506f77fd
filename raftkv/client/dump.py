"""Dump: all keys and values, as of one moment, however long it takes to read them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, Callable

from raftkv import errors
from raftkv.client.answers import KeyValue, key_value
from raftkv.client.encoding import Encoding
from raftkv.client.loans import GRACE_S
from raftkv.kvdb.maintenance import Dump as Begin
from raftkv.kvdb.maintenance import DumpEnd, DumpPiece
from raftkv.kvdb.operation import Operation
from raftkv.kvdb.ranges import Row
from raftkv.rpc.client import ClientEnd


class Dump:
    """What Clerk.dump() returns: an iterator of lists of KeyValues, in no promised order. For one thread.

    `keys`: how many there are. `revision`: of the moment that it shows. `leases`: those of then, as (id, time to live in seconds). The server keeps what it
    needs for the rest until this or the iterator is closed, as it is when it is dropped, or a minute has passed
    without next(). next() raises UnavailableError if the dump cannot go on: when its server stopped, or dropped
    it.
    """

    def __init__(
        self,
        submit: Callable[[Operation], Future[Any]],
        end_of: Callable[[int], ClientEnd | None],
        timeout_s: float,
        encoding: Encoding,
    ) -> None:
        """`end_of(id)`: the end of the server with that id."""
        self._encoding = encoding
        self._timeout_s = timeout_s
        self._submit = submit  # keeps the Clerk, and so the connection, alive
        begun = submit(Begin())
        try:
            server, self._id, self.keys, self.revision, self.leases = begun.result(timeout_s + GRACE_S)
        except BaseException as error:
            # Out of a signal handler, perhaps: then the server begins it all the same.
            begun.add_done_callback(lambda late: _end_late_one(end_of, late, timeout_s))
            if isinstance(error, FutureTimeoutError):
                raise errors.UnavailableError(f"no dump: no answer within {timeout_s:g} s") from None
            raise
        end = end_of(server)
        if end is None:
            raise errors.UnavailableError(f"no dump: server {server}, which began it, is gone")
        self._end = end
        self._is_over = False

    def _ask(self, piece: int) -> Future[Any]:
        operation = DumpPiece(self._id, piece)
        return self._end.submit(operation.name, operation.plain(), self._timeout_s)

    def __iter__(self) -> Iterator[list[KeyValue]]:
        piece, seen = 0, 0
        rows: list[Row] | None = []
        try:
            answer = self._ask(piece)
            while True:
                rows = answer.result(self._timeout_s)
                if rows is None:
                    break
                piece += 1
                answer = self._ask(piece)
                seen += len(rows)
                yield [key_value(row, self._encoding) for row in rows]
        except (errors.RpcError, FutureTimeoutError) as error:
            why = str(error) or f"no answer within {self._timeout_s:g} s"
            raise errors.UnavailableError(
                f"the dump broke off after {seen} of {self.keys} keys: {why}"
            ) from None
        finally:
            if rows is None:
                self._is_over = True
            else:
                self.close()
        if seen != self.keys:
            raise errors.ProtocolError(f"the server sent {seen} keys of a dump of {self.keys}")

    def close(self) -> None:
        """No more of it is wanted. May be called twice."""
        if not self._is_over:
            self._is_over = True
            _end_dump(self._end, self._id, self._timeout_s)

    def __del__(self) -> None:
        if hasattr(self, "_is_over"):
            self.close()


def _end_late_one(end_of: Callable[[int], ClientEnd | None], begun: Future[Any], timeout_s: float) -> None:
    """The dump of a caller that was interrupted has its answer."""
    if begun.exception() is None:
        server, id, *_ = begun.result()
        end = end_of(server)
        if end is not None:
            _end_dump(end, id, timeout_s)


def _end_dump(end: ClientEnd, id: int, timeout_s: float) -> None:
    """Tell the server, so that it need not wait a minute; it may have forgotten the dump itself."""
    with contextlib.suppress(errors.RaftKVError):
        end.submit(DumpEnd.name, DumpEnd(id).plain(), timeout_s)
