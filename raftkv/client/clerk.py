"""Clerk: the client of a raftkv cluster."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import sys
import time
import warnings
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Callable, Union

from raftkv import errors, forks
from raftkv.client.answers import Deleted, KeyValue, RangeResult, deleted, key_value, range_result
from raftkv.client.callers import Callers
from raftkv.client.driver import Driver
from raftkv.client.dump import Dump
from raftkv.client.election import Election
from raftkv.client.encoding import Encoding, Text
from raftkv.client.leases import Lease, Leases
from raftkv.client.local_reads import LocalReads, is_serializable
from raftkv.client.lock import Lock
from raftkv.client.members import MemberCommands
from raftkv.client.pipeline import Pipeline
from raftkv.client.poll import Poll
from raftkv.client.ranges import ORDERS, TARGETS, pages, read_range
from raftkv.client.transaction import Step, Transactions
from raftkv.client.watch import Watch, WatchResponse, call_back, watch_options, watched_range
from raftkv.client.watch_session import Told
from raftkv.client.watching import Watching
from raftkv.config import load_client_config
from raftkv.ini import Address, host_problem
from raftkv.keys import load_key
from raftkv.kvdb.maintenance import Compact
from raftkv.kvdb.operation import Operation, Read
from raftkv.kvdb.ranges import prefix_range
from raftkv.kvdb.reads import Get, Gets, Range
from raftkv.kvdb.restoring import Restore
from raftkv.kvdb.transactions import Compare
from raftkv.kvdb.watch_requests import Watch as WatchRequest
from raftkv.kvdb.writes import IGNORE_LEASE, IGNORE_VALUE, PREV_KV, Append, Cas, Delete, Put

Row = tuple[Any, Any, int]  # key, value, revision
Servers = Union[Mapping[int, tuple[str, int]], Sequence[str]]


class Clerk(MemberCommands):
    """A client of the cluster. Thread-safe; a context manager.

    `servers` are addresses for clients: {id: (host, port)}, or ["host:port", ...] in any order. One is enough: the
    servers say where the others are, and a Clerk follows them as they come and go. `authkey` is what the client key file holds. `timeout`, in seconds, bounds each command
    with all its retries.

    Keys and values are str, in the database as UTF-8 or whatever `encoding` says; with None they are bytes. (Bytes are
    taken in any case.) Every command is linearizable, and takes effect exactly once or not at all. Commands raise,
    besides InvalidRequestError for what no server would take, and RefusedErrors:

    - NotApplied: no leader in time, and the write certainly did not and will not take effect. ClusterChangedError is one
      kind of it, also of a read: the servers are of another cluster now, and this Clerk is of no use any more;
    - OutcomeUnknown: no answer in time; the write may have taken effect, or may still, but never twice. (When
      a Clerk has no other commands under way, and its next write is answered, it no longer can.)
      SessionExpiredError is one kind of it;
    - UnavailableError, of which both are kinds: a read found no leader in time;
    - AuthenticationError: no server that answers has our key;
    - ClosedError: the Clerk was closed.

    Commands of several threads, and those given to submit(), are under way at once, in no certain order.
    """

    def __init__(
        self, servers: Servers, *, authkey: bytes, timeout: float = 10.0, encoding: str | None = "utf-8"
    ) -> None:
        self._addresses, self._are_ids = _addresses(servers), isinstance(servers, Mapping)
        if not isinstance(authkey, bytes) or not authkey:
            raise errors.ConfigError("authkey must be the client key as bytes, such as load_key() returns it")
        self._authkey, self._timeout_s = authkey, _checked_timeout(timeout)
        self._encoding = Encoding(encoding)
        #: Makes of an operation's result what a Future gets, where that is another thing.
        self._converters = {Get: _value_in(self._encoding), Delete: _was_changed, Cas: _was_changed}
        self._begin_anew()
        forks.register(self)

    def _begin_anew(self) -> None:
        self._driver = Driver(self._addresses, self._authkey, self._are_ids)
        self._callers = Callers(self._driver, self._timeout_s)
        self._local_reads = LocalReads(self._driver, self._timeout_s)
        self._watching = Watching(self._driver)

    @classmethod
    def from_config(
        cls, path: str | os.PathLike[str], timeout: float | None = None, *, encoding: str | None = "utf-8"
    ) -> Clerk:
        """The Clerk of a client's ini file; `timeout`, in seconds, overrides the file's. Raises ConfigError."""
        config = load_client_config(path)
        key = load_key(config.client_key_file, create=False)
        timeout = config.timeout_s if timeout is None else timeout
        return cls(config.servers, authkey=key, timeout=timeout, encoding=encoding)

    def __enter__(self) -> Clerk:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        driver = getattr(self, "_driver", None)
        if driver is not None and driver.is_running():
            driver.begin_to_close()
            self._watching.begin_to_close()
            if not sys.is_finalizing():
                warnings.warn("unclosed Clerk: use it in a with block, or close() it", ResourceWarning)

    def __reduce__(self) -> str:
        """Neither pickled, as for another process, nor copied."""
        raise TypeError(
            "a Clerk cannot be copied or pickled: make one in each process, or hand on its config"
        )

    def after_fork_in_child(self) -> None:
        """See forks.py: the child has connections of its own, and is another client to the servers."""
        closed = self._driver.closed
        self._addresses = self._driver.directory.addresses  # those that were listed may be gone by now
        self._begin_anew()
        if closed:
            self._driver.begin_to_close()
            self._watching.begin_to_close()

    def _do(self, operation: Operation) -> Any:
        operation.check()
        return self._callers.run(operation)

    def _run(self, checked: Operation) -> Any:
        return self._callers.run(checked)

    def _reader(self, consistency: str) -> Callable[[Any], Any]:
        """What carries out reads at this level. Raises InvalidRequestError."""
        return self._local_reads.run if is_serializable(consistency) else self._run

    def _read(self, operation: Read, consistency: str) -> Any:
        run = self._reader(consistency)
        operation.check()
        return run(operation)

    def _ask(self, operation: Operation, deadline: float) -> Any:
        return self._callers.run(operation, max(0.001, deadline - time.monotonic()))

    def _until(self, timeout: float | None) -> float:
        return time.monotonic() + (self._timeout_s if timeout is None else _checked_timeout(timeout))

    # -- commands --------------------------------------------------------------------------------------------

    def get(self, key: Text, default: Any = None, *, consistency: str = "linearizable") -> Any:
        """The value of `key`, or `default` when there is no such key.

        With consistency "serializable" any one server answers this and all other reads from its own state: also without a
        leader, and perhaps not with what was acknowledged last.
        """
        if consistency == "linearizable":
            item = self._do(Get(self._key(key)))[1]
        else:
            item = self._read(Get(self._key(key)), consistency)[1]
        return default if item is None else self._encoding.decode(item[0])

    def get_with_revision(self, key: Text, *, consistency: str = "linearizable") -> tuple[Any, int] | None:
        """The value of `key` and the revision of its last write, or None when there is no such key."""
        item = self._read(Get(self._key(key)), consistency)[1]
        return None if item is None else (self._encoding.decode(item[0]), item[2])

    def get_kv(self, key: Text, *, revision: int = 0, consistency: str = "linearizable") -> KeyValue | None:
        """The key with all that the database knows of it, or None when there is no such key; with `revision`, as of
        then. Raises CompactedError or FutureRevisionError."""
        _, rows, _, _ = self._read(Range(self._key(key), revision=revision), consistency)
        return key_value(rows[0], self._encoding) if rows else None

    def put(
        self,
        key: Text,
        value: Text = b"",
        *,
        lease: int = 0,
        prev_kv: bool = False,
        ignore_value: bool = False,
        ignore_lease: bool = False,
    ) -> Any:
        """Set `key` to `value`. Returns the new revision; later writes, of any key, have higher ones. With `prev_kv`
        returns (revision, what the key was before: a KeyValue or None).

        `lease`: the id of the lease that the key hangs on from now on; without one it hangs on none. `ignore_value` and
        `ignore_lease`: the key keeps the one that it has. Raises LeaseNotFoundError; KeyNotFoundError if there is no key
        to keep something of.
        """
        options = PREV_KV * prev_kv + IGNORE_VALUE * ignore_value + IGNORE_LEASE * ignore_lease
        result = self._do(Put(self._key(key), self._value(value), lease, options))
        if not prev_kv:
            return result
        revision, row = result
        return revision, row and key_value(row, self._encoding)

    def append(self, key: Text, value: Text) -> int:
        """Add `value` to the end of the value of `key`, or set it if it has none. Returns the revision."""
        result: int = self._do(Append(self._key(key), self._value(value)))
        return result

    def delete(self, key: Text) -> bool:
        """Remove `key`. Returns whether it existed."""
        return bool(self._do(Delete(self._key(key)))[1])

    def cas(self, key: Text, expected: Text | None, value: Text) -> bool:
        """Set `key` to `value` if its value is `expected` (None: if it has none). Returns whether it was."""
        wanted = self._encoding.encode_if_given(expected, "expected value")
        result: bool = self._do(Cas(self._key(key), wanted, self._value(value)))[1]
        return result

    def scan(
        self,
        prefix: Text = "",
        start: Text = "",
        limit: int | None = None,
        *,
        consistency: str = "linearizable",
    ) -> list[Row]:
        """[(key, value, revision), ...] of the keys that begin with `prefix`, from `start` on, in the order of their
        bytes. At most `limit`; None: all. All of it is as of one revision; raises CompactedError if that is compacted
        before all of a long result is read."""
        if limit is not None and (type(limit) is not int or limit < 1):
            raise errors.InvalidRequestError("the limit must be a whole number from 1 on")
        key, end = prefix_range(self._encoding.encode(prefix, "prefix"))
        first = max(key, self._encoding.encode(start, "start"))
        request = Range(first, end, limit or 0, paged=True)
        request.check()
        decode, run = self._encoding.decode, self._reader(consistency)
        if end != b"\0" and first >= end:
            return []
        return [
            (decode(key), decode(value), mod)
            for _, rows, _ in pages(run, request)
            for key, value, _, mod, _, _ in rows
        ]

    def range(
        self,
        start: Text = "",
        end: Text | None = None,
        *,
        prefix: Text | None = None,
        limit: int = 0,
        revision: int = 0,
        order: str | None = None,
        target: str = "key",
        keys_only: bool = False,
        count_only: bool = False,
        min_mod_revision: int = 0,
        max_mod_revision: int = 0,
        min_create_revision: int = 0,
        max_create_revision: int = 0,
        consistency: str = "linearizable",
    ) -> RangeResult:
        """The keys from `start` on and before `end` (None: to the last one), or those that begin with `prefix`, as of one
        moment, or of `revision`. At most `limit` (0: all).

        `order` is "ascend" or "descend", by `target`: "key", "version", "create", "mod" or "value". The bounds of
        revisions are inclusive; 0 is none. Raises CompactedError or FutureRevisionError.
        """
        if order not in ORDERS or target not in TARGETS:
            raise errors.InvalidRequestError(
                f"order is ascend or descend, and target one of {', '.join(TARGETS)}"
            )
        request = Range(
            *self._bounds(start, end, prefix), limit, revision, ORDERS[order], TARGETS[target], keys_only, count_only,
            min_mod_revision, max_mod_revision, min_create_revision, max_create_revision,
        )  # fmt: skip
        request.check()
        return range_result(read_range(self._reader(consistency), request), self._encoding)

    def delete_range(
        self, start: Text = "", end: Text | None = None, *, prefix: Text | None = None, prev_kvs: bool = False
    ) -> Deleted:
        """Remove the keys of a range, as range() takes it, with one revision. With `prev_kvs`, returns what they held,
        too, which must fit in 2 MiB then."""
        request = Delete(*self._bounds(start, end, prefix), prev_kvs)
        return deleted(self._do(request), self._encoding)

    def compact(self, revision: int) -> None:
        """Forget the history before `revision`: nobody can read what was before, or watch from before. Raises
        CompactedError if it is forgotten already, FutureRevisionError."""
        self._do(Compact(revision))

    @property
    def transactions(self) -> Transactions:
        """What the parts of transactions are made with: see transaction.py."""
        return Transactions(self._encoding)

    def transaction(
        self, compare: Sequence[Compare] = (), success: Sequence[Step] = (), failure: Sequence[Step] = ()
    ) -> tuple[bool, list[Any]]:
        """If all of `compare` holds do `success`, else `failure`, at one moment and with one revision. Returns whether it
        held, and the operations' results. One that only reads writes nothing to the log.

        Raises InvalidRequestError for a key that would be written twice, or too many operations; and what its
        operations raise: then nothing of it took effect.
        """
        step = self.transactions.txn(compare, success, failure)
        result: tuple[bool, list[Any]] = step.convert(self._do(step.operation))
        return result

    def watch(
        self,
        key: Text,
        end: Text | None = None,
        *,
        prefix: bool = False,
        start_revision: int = 0,
        prev_kv: bool = False,
        filters: Collection[str] = (),
        progress_notify: bool = False,
        consistency: str = "linearizable",
        callback: Callable[[WatchResponse], object] | None = None,
        on_end: Callable[[Exception], object] | None = None,
        notify: Callable[[], object] | None = None,
    ) -> Watch:
        """What happens to `key`, from `start_revision` on, as it happens: an iterator of Events, see Watch. Each event once, in
        order, whatever servers and connections do meanwhile.

        With `end`, the keys from `key` on and before `end` ("\\0": to the last one); with `prefix`, those that begin with
        `key`. A `start_revision` may be in the past, as long as it is not compacted, or in the future. 0 is from now on: all
        that is written after this call has begun is told; with consistency "serializable" from where the server is that answers
        first, which may be behind, and which may be cut off from the others.

        `prev_kv`: events say what the key held before. `filters`: "noput", "nodelete". `progress_notify`: a response without
        events says from time to time how far the watch is, if it is told of nothing. With a `callback` it is called with each
        WatchResponse, on a thread of its own, and `on_end(error)` when the watch ends by an error; the watch is then only good
        for cancel(). `notify()` is called on a thread of the Clerk's when there is something to get(); it must not block.

        What the watch raises, now or later, is said at Watch; and UnavailableError if no leader says in time what "now" is.
        """
        bounds = watched_range(self._encoding, key, end, prefix)
        options = watch_options(prev_kv, filters, is_serializable(consistency))
        request = WatchRequest(0, *bounds, start_revision, options)
        request.check()
        if not request.start and consistency == "linearizable":
            request = request._replace(start=self._run(Gets([]))[0] + 1)
        else:  # so that the leader and the members get known, where it can go on
            with contextlib.suppress(errors.UnavailableError):
                self._submit(Gets([]))
        waiting: queue.SimpleQueue[Told] = queue.SimpleQueue()
        number = self._watching.open(request, waiting, notify, progress_notify)
        watch = Watch(self._watching, waiting, number, request.start, self._encoding, self)
        if callback is not None:
            call_back(watch, callback, on_end)
        return watch

    @property
    def leases(self) -> Leases:
        """The commands for leases: see leases.py."""
        return Leases(self._do, self._encoding)

    def lease(self, ttl: int, on_lost: Callable[[Lease], None] | None = None) -> Lease:
        """A new lease of `ttl` seconds, which is kept alive until it is revoked, as by the end of a `with` block: see
        Lease. `on_lost(lease)` is called on a thread of its own when it is lost."""
        return Lease(self.leases, self._submit, ttl, on_lost)

    def lock(self, name: Text, ttl: int = 10, on_lost: Callable[[Lock], object] | None = None) -> Lock:
        """A lock that one program of the whole cluster holds at a time: see Lock, and what it cannot promise in lock.py. Nothing
        happens before its acquire(), or its `with` block. Who dies loses it within `ttl` seconds and one more."""
        return Lock(self, self._key(name), ttl, on_lost)

    def election(
        self, name: Text, ttl: int = 10, on_lost: Callable[[Election], object] | None = None
    ) -> Election:
        """An election of one leader among the programs that campaign in it: see Election. Nothing happens before its campaign().
        A leader that dies is none any more within `ttl` seconds and one more."""
        return Election(self, self._key(name), ttl, on_lost)

    def _submit(self, checked: Operation) -> Future[Any]:
        return self._callers.submit(checked, None, self)

    def submit_operation(self, operation: Operation) -> Future[Any]:
        """The same as submit() for any operation of the database; the Future gets its plain result. For what speaks another
        protocol. Raises InvalidRequestError, too."""
        operation.check()
        return self._submit(operation)

    def run_operation(self, operation: Operation) -> Any:
        """The plain result of any operation. As submit_operation(), and waits."""
        return self._do(operation)

    def read_operation(self, operation: Read, consistency: str = "linearizable") -> Any:
        """The plain result of a read. As submit_operation(), and waits."""
        return self._read(operation, consistency)

    def submit(self, op: str, *args: Any) -> Future[Any]:
        """Begin a command ("put", "append", "delete", "cas", "get" or "transaction") without waiting for it.

        The Future gets what the method of that name returns or raises. Up to WINDOW commands may be under
        way; then this blocks, and raises NotApplied if there is no room in time. The Future cannot be
        cancelled. Its callbacks run on a thread that reads answers: they must not wait for other commands.
        """
        if op == "transaction" and len(args) <= 3:
            step = self.transactions.txn(*args)
            step.operation.check()
            return self._callers.submit(step.operation, step.convert, self)
        if not isinstance(op, str) or op not in _SUBMITTED:
            raise errors.InvalidRequestError(f"there is no operation {op!r:.40}: use {', '.join(_SUBMITTED)}")
        kind, names = _SUBMITTED[op]
        if len(args) != len(names):
            raise errors.InvalidRequestError(f"{op} takes {len(names)} arguments, not {len(args)}")
        encode = self._encoding.encode_if_given if kind is Cas else self._encoding.encode
        operation = kind.of(tuple(map(encode, args, names)))
        operation.check()
        return self._callers.submit(operation, self._converters.get(kind), self)

    def _key(self, key: Text) -> bytes:
        return self._encoding.encode(key, "key")

    def _value(self, value: Text) -> bytes:
        return self._encoding.encode(value, "value")

    def _bounds(self, start: Text, end: Text | None, prefix: Text | None) -> tuple[bytes, bytes]:
        """A range as the operations take it. Raises InvalidRequestError."""
        if prefix is not None:
            if start not in ("", b"") or end is not None:
                raise errors.InvalidRequestError("a range is given by its prefix, or by its start and end")
            return prefix_range(self._encoding.encode(prefix, "prefix"))
        first = self._encoding.encode(start, "start") or b"\0"
        return first, b"\0" if end is None else self._encoding.encode(end, "end") or b"\0"

    def pipeline(self) -> Pipeline:
        """An empty batch of operations, which takes few requests: see Pipeline."""
        return Pipeline(self._run, self._encoding)

    def dump(self) -> Dump:
        """All keys and values as of one moment, in pieces: see Dump. Linearizable as a read is."""
        return Dump(
            self._submit,
            self._driver.end_of,
            self._timeout_s,
            self._encoding,
        )

    def restore(
        self, revision: int, leases: Sequence[tuple[int, int]], kvs: Sequence[KeyValue], *, at: int = 0
    ) -> int:
        """Put a piece of a dump of `revision` back, with the revisions, versions and leases of its keys, into an empty database.
        Returns the database's revision, which the next piece has to give as `at`. See kvdb/restoring.py.

        Raises InvalidRequestError if the database is not empty, or something else was written meanwhile.
        """
        rows: list[Any] = [(self._key(kv.key), self._value(kv.value), *kv[2:]) for kv in kvs]
        result: int = self._do(Restore(revision, at, [(id, ttl) for id, ttl in leases], rows))
        return result

    def status(self, timeout: float = 1.0) -> list[dict[str, Any]]:
        """What each server says of itself: a dict of STATUS_FIELDS, in the order of ids.

        All that are known are asked at once. One that does not answer within `timeout` seconds has "alive" False, and
        "error" says why. Raises AuthenticationError if all that answer hold another key.
        """
        poll = Poll(self._driver.status_end, _checked_timeout(timeout))
        directory = self._driver.directory
        for number, address in directory.addresses.items():
            poll.ask(address, directory.label(number))
        return poll.rows()

    def close(self) -> None:
        """Close all connections. Commands under way fail: with OutcomeUnknown, or with ClosedError if it is
        certain that they did not take effect. Watches end. May be called twice; not from a Future's callback."""
        self._watching.close()
        self._driver.close()


#: What submit() takes, and what its arguments are called.
_SUBMITTED: dict[str, tuple[type[Operation], tuple[str, ...]]] = {
    "put": (Put, ("key", "value")),
    "append": (Append, ("key", "value")),
    "delete": (Delete, ("key",)),
    "cas": (Cas, ("key", "expected value", "value")),
    "get": (Get, ("key",)),
}


def _value_in(encoding: Encoding) -> Callable[[Any], Any]:
    """What a get returns, of its result."""
    decode = encoding.decode
    return lambda result: result[1] and decode(result[1][0])


def _was_changed(result: Any) -> bool:
    return bool(result[1])


def _addresses(servers: Servers) -> dict[int, Address]:
    """Raises ConfigError."""
    if isinstance(servers, Mapping):
        given = dict(servers)
    elif isinstance(servers, (str, bytes)):
        raise errors.ConfigError(f"servers: must be a list of host:port, or a dict, not {servers!r}")
    else:
        given = {server: _parsed(text) for server, text in enumerate(servers, 1)}
    if not given:
        raise errors.ConfigError("servers: name at least one")
    for server in given:
        if type(server) is not int or server < 1:
            raise errors.ConfigError(
                f"servers: the id of a server is a whole number from 1 on, not {server!r}"
            )
    return {server: _checked_address(server, given[server]) for server in sorted(given)}


def _parsed(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":") if isinstance(text, str) else ("", "", "")
    if not host or not re.fullmatch("[0-9]{1,5}", port):
        raise errors.ConfigError(f"servers: must be host:port, such as 127.0.0.1:7001, not {text!r}")
    return host, int(port)


def _checked_address(server: int, address: tuple[str, int]) -> Address:
    try:
        host, port = address
    except (TypeError, ValueError):
        host, port = "", 0
    if not isinstance(host, str) or not isinstance(port, int) or not 0 < port < 65_536:
        raise errors.ConfigError(f"servers: {server}: must be (host, port), not {address!r}")
    problem = host_problem(host)
    if problem:
        raise errors.ConfigError(f"servers: {server}: {host} {problem}")
    return Address(host, port)


def _checked_timeout(timeout: float) -> float:
    """Raises ConfigError."""
    if not isinstance(timeout, (int, float)) or not 0 < timeout <= 86_400:
        raise errors.ConfigError(
            f"timeout must be a number of seconds above 0, at most 86400, not {timeout!r}"
        )
    return float(timeout)
