"""Dump: all keys and values, as of one moment, however long it takes to read them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, Callable

from raftkv import errors
from raftkv.kvdb.operations import Dump as Begin
from raftkv.kvdb.operations import DumpEnd, DumpPiece, Operation
from raftkv.rpc.client import ClientEnd

Row = tuple[str, str, int]  # key, value, revision


class Dump:
    """What Clerk.dump() returns: an iterator of lists of rows, in no promised order. For one thread.

    `keys`: how many there are. `index`: of the last entry of the log that it shows. The server keeps what it
    needs for the rest until the iterator is closed, as it is when it is dropped, or a minute has passed without
    next(). next() raises UnavailableError if the dump
    cannot go on: when its server stopped, or dropped it.
    """

    def __init__(
        self, run: Callable[[Operation], Any], ends: Mapping[int, ClientEnd], timeout_s: float
    ) -> None:
        server, self._id, self.keys, self.index = run(Begin())
        self._end, self._timeout_s = ends[server], timeout_s
        self._run = run  # keeps the Clerk, and so the connection, alive

    def _ask(self, operation: Operation) -> Future[Any]:
        return self._end.submit(operation.name, operation.plain(), self._timeout_s)

    def __iter__(self) -> Iterator[list[Row]]:
        piece, seen = 0, 0
        rows: list[Row] | None = []
        try:
            answer = self._ask(DumpPiece(self._id, piece))
            while True:
                rows = answer.result(self._timeout_s)
                if rows is None:
                    break
                piece += 1
                answer = self._ask(DumpPiece(self._id, piece))
                seen += len(rows)
                yield rows
        except (errors.RpcError, FutureTimeoutError) as error:
            why = str(error) or f"no answer within {self._timeout_s:g} s"
            raise errors.UnavailableError(
                f"the dump broke off after {seen} of {self.keys} keys: {why}"
            ) from None
        finally:
            if rows is not None:
                self._give_up()
        if seen != self.keys:
            raise errors.ProtocolError(f"the server sent {seen} keys of a dump of {self.keys}")

    def _give_up(self) -> None:
        """Tell the server, so that it need not wait a minute; it may have forgotten the dump itself."""
        with contextlib.suppress(errors.RaftKVError):
            self._ask(DumpEnd(self._id))
