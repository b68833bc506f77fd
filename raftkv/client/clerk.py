"""Clerk: the client of a raftkv cluster."""

from __future__ import annotations

import os
import re
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Union

from raftkv import errors, forks
from raftkv.client.callers import Callers
from raftkv.client.driver import Driver
from raftkv.client.dump import Dump
from raftkv.client.members import MemberCommands
from raftkv.client.pipeline import Pipeline
from raftkv.client.poll import Poll
from raftkv.config import load_client_config
from raftkv.ini import Address, host_problem
from raftkv.keys import load_key
from raftkv.kvdb.operations import Append, Cas, Delete, Get, Operation, Put, Scan
from raftkv.kvdb.requests import of_fields

_SUBMITTED = {kind.name: kind for kind in (Put, Append, Delete, Cas, Get)}

Row = tuple[str, str, int]  # key, value, revision
Servers = Union[Mapping[int, tuple[str, int]], Sequence[str]]


class Clerk(MemberCommands):
    """A client of the cluster. Thread-safe; a context manager.

    `servers` are addresses for clients: {id: (host, port)}, or ["host:port", ...] in any order. One is enough: the
    servers say where the others are, and a Clerk follows them as they come and go. `authkey` is what the client key file holds. `timeout`, in seconds, bounds each command
    with all its retries.

    Keys and values are str. Every command is linearizable, and takes effect exactly once or not at all.
    Commands raise, besides InvalidRequestError for what no server would take:

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

    def __init__(self, servers: Servers, *, authkey: bytes, timeout: float = 10.0) -> None:
        self._addresses, self._are_ids = _addresses(servers), isinstance(servers, Mapping)
        if not isinstance(authkey, bytes) or not authkey:
            raise errors.ConfigError("authkey must be the client key as bytes, such as load_key() returns it")
        self._authkey, self._timeout_s = authkey, _checked_timeout(timeout)
        self._begin_anew()
        forks.register(self)

    def _begin_anew(self) -> None:
        self._driver = Driver(self._addresses, self._authkey, self._are_ids)
        self._callers = Callers(self._driver, self._timeout_s)

    @classmethod
    def from_config(cls, path: str | os.PathLike[str], timeout: float | None = None) -> Clerk:
        """The Clerk of a client's ini file; `timeout` overrides the file's. Raises ConfigError."""
        config = load_client_config(path)
        key = load_key(config.client_key_file, create=False)
        return cls(config.servers, authkey=key, timeout=config.timeout_s if timeout is None else timeout)

    def __enter__(self) -> Clerk:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        driver = getattr(self, "_driver", None)
        if driver is not None and driver.is_running():
            driver.begin_to_close()
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

    def _do(self, operation: Operation) -> Any:
        operation.check()
        return self._callers.run(operation)

    def _run(self, checked: Operation) -> Any:
        return self._callers.run(checked)

    def _ask(self, operation: Operation, deadline: float) -> Any:
        return self._callers.run(operation, max(0.001, deadline - time.monotonic()))

    def _until(self, timeout: float | None) -> float:
        return time.monotonic() + (self._timeout_s if timeout is None else _checked_timeout(timeout))

    # -- commands --------------------------------------------------------------------------------------------

    def get(self, key: str, default: Any = None) -> Any:
        """The value of `key`, or `default` when there is no such key."""
        item = self._do(Get(key))
        return default if item is None else item[0]

    def get_with_revision(self, key: str) -> tuple[str, int] | None:
        """The value of `key` and the revision of its last write, or None when there is no such key."""
        result: tuple[str, int] | None = self._do(Get(key))
        return result

    def put(self, key: str, value: str) -> int:
        """Set `key` to `value`. Returns the new revision; later writes, of any key, have higher ones."""
        result: int = self._do(Put(key, value))
        return result

    def append(self, key: str, value: str) -> int:
        """Add `value` to the end of the value of `key`, or set it if it has none. Returns the revision."""
        result: int = self._do(Append(key, value))
        return result

    def delete(self, key: str) -> bool:
        """Remove `key`. Returns whether it existed."""
        result: bool = self._do(Delete(key))
        return result

    def cas(self, key: str, expected: str | None, value: str) -> bool:
        """Set `key` to `value` if its value is `expected` (None: if it has none). Returns whether it was."""
        result: bool = self._do(Cas(key, expected, value))
        return result

    def scan(self, prefix: str = "", start: str = "", limit: int | None = None) -> list[Row]:
        """[(key, value, revision), ...] of the keys that begin with `prefix`, from `start` on, by code point.

        At most `limit`; None: all. A long result is read in pages: each is linearizable, but between two of
        them others may write.
        """
        page = Scan(prefix, start, limit)
        found: list[Row] = []
        while True:
            rows, more = self._do(page)
            found += rows
            if not more or len(found) == limit:
                return found
            page = Scan(prefix, rows[-1][0] + "\0", None if limit is None else limit - len(found))

    def submit(self, op: str, *args: Any) -> Future[Any]:
        """Begin a command ("put", "append", "delete", "cas" or "get") without waiting for it.

        The Future gets what the method of that name returns or raises. Up to WINDOW commands may be under
        way; then this blocks, and raises NotApplied if there is no room in time. The Future cannot be
        cancelled. Its callbacks run on a thread that reads answers: they must not wait for other commands.
        """
        if not isinstance(op, str) or op not in _SUBMITTED:
            raise errors.InvalidRequestError(f"there is no operation {op!r:.40}: use {', '.join(_SUBMITTED)}")
        operation = of_fields(_SUBMITTED[op], args)
        operation.check()
        return self._callers.submit(operation, self)

    def pipeline(self) -> Pipeline:
        """An empty batch of operations, which takes few requests: see Pipeline."""
        return Pipeline(self._run)

    def dump(self) -> Dump:
        """All keys and values as of one moment, in pieces: see Dump. Linearizable as a read is."""
        return Dump(lambda begin: self._callers.submit(begin, self), self._driver.end_of, self._timeout_s)

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
        certain that they did not take effect. May be called twice; not from a Future's callback."""
        self._driver.close()


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
