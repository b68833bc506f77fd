"""Leases for programs: keys that go away with the program that holds them.

with clerk.lease(10) as lease:
    clerk.put("workers/7", "here", lease=lease.id)
    while work():
        lease.check()

What a lease cannot promise: that nobody else acts while its holder still believes to hold it. A program that stands still
between check() and what it does next, for a page fault or a paused machine, may do it after the lease has ended. What is
done must be refused then by whom it is done to: by the key's create_revision as a fencing token, or by a compare in a
transaction.
"""

from __future__ import annotations

import secrets
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, Callable, NamedTuple

from raftkv import errors, forks
from raftkv.client.encoding import Encoding
from raftkv.kvdb.limits import MAX_NUMBER
from raftkv.kvdb.maintenance import LeaseGrant, LeaseKeepAlive, LeaseRevoke, LeaseTimeToLive
from raftkv.kvdb.maintenance import Leases as AllLeases
from raftkv.kvdb.operation import Operation
from raftkv.threads import start_thread

_KEEPALIVES = 3  # in a lease's time
_RETRY_S = 0.2

NOT_FOUND = "there is no such lease: it has ended, or was never granted"


class LeaseInfo(NamedTuple):
    """A lease. `ttl`: the seconds that are left; `granted_ttl`: those that it was granted for; `keys`: those that hang on it,
    if they were asked for."""

    id: int
    ttl: int
    granted_ttl: int
    keys: list[Any]


class Leases:
    """The commands for leases; `run` carries out an operation. Thread-safe. They raise what commands of a Clerk raise."""

    def __init__(self, run: Callable[[Operation], Any], encoding: Encoding) -> None:
        self._run, self._encoding = run, encoding

    def grant(self, ttl: int, id: int = 0) -> int:
        """A new lease of `ttl` seconds, a whole number. It ends when nobody keeps it alive for so long. Returns its id, which is
        drawn if it is 0. Raises LeaseExistsError."""
        while True:
            lease = id or secrets.randbelow(MAX_NUMBER) + 1
            try:
                self._run(LeaseGrant(lease, ttl))
                return lease
            except errors.LeaseExistsError:
                if id:
                    raise

    def revoke(self, id: int) -> int:
        """End a lease, and delete its keys. Returns how many there were. Raises LeaseNotFoundError."""
        deleted: int = self._run(LeaseRevoke(id))[1]
        return deleted

    def keep_alive(self, id: int) -> int:
        """Give a lease its whole time again, counted from before the call. Returns it, in seconds. Raises
        LeaseNotFoundError."""
        ttl: int | None = self._run(LeaseKeepAlive(id))[1]
        if ttl is None:
            raise errors.LeaseNotFoundError(NOT_FOUND)
        return ttl

    def time_to_live(self, id: int, *, keys: bool = False) -> LeaseInfo:
        """What is left of a lease. Raises LeaseNotFoundError."""
        _, left, granted, its_keys = self._run(LeaseTimeToLive(id, keys))
        if left is None:
            raise errors.LeaseNotFoundError(NOT_FOUND)
        return LeaseInfo(id, left, granted, [self._encoding.decode(key) for key in its_keys])

    def list(self) -> list[int]:
        """The ids of all leases."""
        found: list[int] = self._run(AllLeases())[1]
        return found


class Lease:
    """A lease that a thread of its own keeps alive, until revoke(), the end of the `with` block, or the end of the process. Use
    Clerk.lease(). Thread-safe. `id`: for Clerk.put(lease=…). `ttl`: in seconds.

    It is *lost* when the cluster says that it has ended, and when no keepalive was answered in time: its holder must assume
    then that it has ended. A lost lease stays lost. Whoever holds it learns that from check(), from `lost`, from the end of
    the `with` block, which raises LeaseLostError, and from `on_lost(lease)`, which is called once, on that thread.

    In a forked child it is lost: it is its parent's.
    """

    def __init__(
        self,
        leases: Leases,
        submit: Callable[[Operation], Future[Any]],
        ttl: int,
        on_lost: Callable[[Lease], None] | None = None,
    ) -> None:
        self._leases, self._submit, self._on_lost = leases, submit, on_lost
        self._generation = forks.generation
        sent_at = time.monotonic()
        self.id = leases.grant(ttl)
        self.ttl = ttl
        self._valid_until = sent_at + ttl  # by our clock: the leader counts from later on
        self._why_lost = ""
        self._ended = threading.Event()
        start_thread(self._keep_alive, "lease")

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._generation != forks.generation:
            return
        try:
            self.revoke()
        except errors.UnavailableError:
            pass  # it ends by itself
        except errors.LeaseLostError:
            if kind is None:
                raise

    @property
    def lost(self) -> bool:
        """Whether its holder must assume that it has ended."""
        return bool(self._reason())

    def check(self) -> None:
        """Raises LeaseLostError if it is lost."""
        reason = self._reason()
        if reason:
            raise errors.LeaseLostError(f"the lease {self.id:x} is lost: {reason}")

    def revoke(self) -> None:
        """End it, and delete its keys. Does nothing the second time. Raises LeaseLostError if it had ended before."""
        if self._generation == forks.generation and self._ended.is_set() and not self._why_lost:
            return
        self.check()
        self._ended.set()
        try:
            self._leases.revoke(self.id)
        except errors.LeaseNotFoundError:
            self._why_lost = "it has ended"
            self.check()

    def _reason(self) -> str:
        if self._generation != forks.generation:
            return "it belongs to the process that forked this one"
        if self._why_lost:
            return self._why_lost
        if not self._ended.is_set() and time.monotonic() >= self._valid_until:
            return "no keepalive was answered in time"
        return ""

    # -- on the thread ---------------------------------------------------------------------------------------

    def _keep_alive(self) -> None:
        pause_s = self.ttl / _KEEPALIVES
        while not self._ended.wait(min(pause_s, max(0.0, self._valid_until - time.monotonic()))):
            pause_s = self.ttl / _KEEPALIVES if self._ask() else min(_RETRY_S, self.ttl / 10)
            reason = self._reason()
            if reason:
                self._lose(reason)
                return

    def _ask(self) -> bool:
        """One keepalive. False: it had no answer."""
        sent_at = time.monotonic()
        try:
            ttl = self._submit(LeaseKeepAlive(self.id)).result(max(0.0, self._valid_until - sent_at))[1]
        except errors.ClosedError:
            self._why_lost = "its Clerk was closed"
        except (FutureTimeoutError, errors.RaftKVError):
            return False
        else:
            if ttl is None:
                self._why_lost = "it has ended"
            elif time.monotonic() < self._valid_until:  # else it was lost before
                self._valid_until = sent_at + ttl
        return True

    def _lose(self, reason: str) -> None:
        if self._ended.is_set():
            return  # revoke() was first
        self._why_lost = reason
        self._ended.set()
        if self._on_lost is not None:
            self._on_lost(self)
