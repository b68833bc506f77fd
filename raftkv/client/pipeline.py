"""Pipeline: many operations in few requests."""

from __future__ import annotations

from typing import Any, Callable, Union

from raftkv import errors
from raftkv.kvdb.limits import MAX_BATCH_OPS, MAX_REQUEST_BYTES
from raftkv.kvdb.operations import Append, Batch, Cas, Delete, Get, Gets, Put, Write

Run = Union[Batch, Gets]


class Pipeline:
    """Operations that are collected, and sent together by execute().

        results = clerk.pipeline().put("a", "1").append("a", "2").get("a").execute()  # [17, 17, "12"]

    Each run of writes is one entry of the log: all of it takes effect at one moment, in its order, and has
    one revision; nobody sees a part of it. Each run of gets is one read of one moment. Between runs, others
    may write. A run has at most MAX_BATCH_OPS operations, and MAX_REQUEST_BYTES of keys and values; the
    values that a run of gets returns must fit in 64 MiB.

    Made by Clerk.pipeline(). For one thread.
    """

    def __init__(self, run: Callable[[Run], Any]) -> None:
        self._run = run  # what was checked
        self._runs: list[Run] = []
        self._run_bytes = 0  # of the last run

    def put(self, key: str, value: str) -> Pipeline:
        """Its result is the revision."""
        return self._write(Put(key, value))

    def append(self, key: str, value: str) -> Pipeline:
        """Its result is the revision."""
        return self._write(Append(key, value))

    def delete(self, key: str) -> Pipeline:
        """Its result is whether the key existed."""
        return self._write(Delete(key))

    def cas(self, key: str, expected: str | None, value: str) -> Pipeline:
        """Its result is whether the key had the expected value. The writes after it take effect in any
        case."""
        return self._write(Cas(key, expected, value))

    def get(self, key: str) -> Pipeline:
        """Its result is the value, or None when there is no such key."""
        self._add(Gets, key, Get(key).check())
        return self

    def __len__(self) -> int:
        """How many operations wait for execute()."""
        return sum(len(run[0]) for run in self._runs)

    def execute(self) -> list[Any]:
        """Send all operations; the pipeline is empty then. Returns their results, in order.

        Raises what Clerk's commands raise; the message says which operations had taken effect before. Raises
        errors.PipelineError when operations were refused.
        """
        runs, self._runs = self._runs, []
        results: list[Any] = []
        for run in runs:
            try:
                answers = self._run(run)
            except errors.UnavailableError as error:
                if not results:
                    raise
                raise type(error)(
                    f"after the first {len(results)} operations, which are done: {error}"
                ) from None
            if type(run) is Gets:
                results += [answer and answer[0] for answer in answers]
            else:
                results += [result if ok else errors.InvalidRequestError(result[1]) for ok, result in answers]
        refused = [at for at, result in enumerate(results) if isinstance(result, errors.InvalidRequestError)]
        if refused:
            at = refused[0]
            raise errors.PipelineError(
                f"{len(refused)} of {len(results)} operations were refused, the first is number {at + 1}: "
                f"{results[at]}; all others took effect",
                results,
            )
        return results

    def _write(self, write: Write) -> Pipeline:
        self._add(Batch, write, write.check())
        return self

    def _add(self, kind: type[Run], item: Any, size: int) -> None:
        if not self._runs or type(self._runs[-1]) is not kind:
            self._runs.append(kind([]))
            self._run_bytes = 0
        items = self._runs[-1][0]
        if len(items) == MAX_BATCH_OPS or self._run_bytes + size > MAX_REQUEST_BYTES:
            what = "writes" if kind is Batch else "gets"
            raise errors.InvalidRequestError(
                f"too many {what} in a row (at most {MAX_BATCH_OPS} operations, {MAX_REQUEST_BYTES} bytes): "
                "execute() the pipeline first"
            )
        items.append(item)
        self._run_bytes += size
