"""Pipeline: many operations in few requests."""

from __future__ import annotations

from typing import Any, Callable, Union

from raftkv import errors
from raftkv.client.encoding import Encoding, Text
from raftkv.kvdb.limits import MAX_BATCH_OPS, MAX_REQUEST_BYTES
from raftkv.kvdb.operation import Write
from raftkv.kvdb.reads import Get, Gets
from raftkv.kvdb.writes import Append, Batch, Cas, Delete, Put, Puts, batch_of

Run = Union[Batch, Puts, Gets]


class Pipeline:
    """Operations that are collected, and sent together by execute().

        results = clerk.pipeline().put("a", "1").append("a", "2").get("a").execute()  # [17, 18, "12"]

    Each run of writes is one entry of the log: all of it takes effect at one moment, in its order, each write with a
    revision of its own; nobody sees a part of it. Each run of gets is one read of one moment. Between runs, others
    may write. A run has at most MAX_BATCH_OPS operations, and MAX_REQUEST_BYTES of keys and values; the
    values that a run of gets returns must fit in 64 MiB.

    Made by Clerk.pipeline(). For one thread.
    """

    def __init__(self, run: Callable[[Run], Any], encoding: Encoding) -> None:
        self._run = run  # what was checked
        self._encoding = encoding
        self._runs: list[Batch | Gets] = []
        self._run_bytes = 0  # of the last run

    def put(self, key: Text, value: Text) -> Pipeline:
        """Its result is the revision."""
        return self._write(Put(self._key(key), self._value(value)))

    def append(self, key: Text, value: Text) -> Pipeline:
        """Its result is the revision."""
        return self._write(Append(self._key(key), self._value(value)))

    def delete(self, key: Text) -> Pipeline:
        """Its result is whether the key existed."""
        return self._write(Delete(self._key(key)))

    def cas(self, key: Text, expected: Text | None, value: Text) -> Pipeline:
        """Its result is whether the key had the expected value. The writes after it take effect in any
        case."""
        wanted = self._encoding.encode_if_given(expected, "expected value")
        return self._write(Cas(self._key(key), wanted, self._value(value)))

    def get(self, key: Text) -> Pipeline:
        """Its result is the value, or None when there is no such key."""
        get = Get(self._key(key))
        self._add(Gets, get.key, get.check())
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
            operation = run if isinstance(run, Gets) else batch_of(run.writes)
            try:
                answer = self._run(operation)
            except errors.UnavailableError as error:
                if not results:
                    raise
                raise type(error)(
                    f"after the first {len(results)} operations, which are done: {error}"
                ) from None
            if isinstance(operation, Gets):
                results += [item and self._encoding.decode(item[0]) for item in answer[1]]
            elif isinstance(operation, Puts):
                results += range(answer, answer + len(operation.keys))
            else:
                results += map(_result_of, operation.writes, answer)
        refused = [at for at, result in enumerate(results) if isinstance(result, errors.InvalidRequestError)]
        if refused:
            at = refused[0]
            raise errors.PipelineError(
                f"{len(refused)} of {len(results)} operations were refused, the first is number {at + 1}: "
                f"{results[at]}; all others took effect",
                results,
            )
        return results

    def _key(self, key: Text) -> bytes:
        return self._encoding.encode(key, "key")

    def _value(self, value: Text) -> bytes:
        return self._encoding.encode(value, "value")

    def _write(self, write: Write) -> Pipeline:
        self._add(Batch, write, write.check())
        return self

    def _add(self, kind: type[Batch | Gets], item: Any, size: int) -> None:
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


def _result_of(write: Write, outcome: Any) -> Any:
    ok, result = outcome
    if not ok:
        return errors.InvalidRequestError(result[1])
    return bool(result[1]) if type(write) is Delete or type(write) is Cas else result
