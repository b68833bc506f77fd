"""Claim: a place in the queue of those who want the same thing; what locks and elections share.

Whoever wants the thing NAME puts a key NAME/LEASE, with the lease's id in hexadecimal, that hangs on a lease of its own: as
etcd's concurrency package does, so that both can queue for the same lock. The keys' create_revisions are the order. Whose is
the lowest has it. Each of the others watches the key before its own, so that who goes wakes only one.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Callable, ClassVar

from raftkv import errors
from raftkv.client.encoding import Text

if TYPE_CHECKING:
    from raftkv.client.clerk import Clerk
    from raftkv.client.leases import Lease

_LOOK_S = 0.25  # how often it is looked, while waiting, whether our lease is lost


def never() -> bool:
    """It goes on."""
    return False


class Claim:
    """In the queue from its making on, until end(). For one thread. `key`: bytes. `token`: the key's create_revision, greater than that
    of all who had the thing before: a fencing token."""

    def __init__(self, clerk: Clerk, name: bytes, ttl: int, value: Text, on_lost: Callable[[], None]) -> None:
        """Raises what commands of a Clerk raise."""
        self._clerk, self._name = clerk, name
        self._lease: Lease = clerk.lease(ttl, lambda _lease: on_lost())
        self.key = name + b"/%x" % self._lease.id
        try:
            t = clerk.transactions
            _, (revision,) = clerk.transaction(success=[t.put(self.key, value, lease=self._lease.id)])
        except BaseException:
            self.end()
            raise
        self.token: int = revision

    def wait(self, deadline: float, is_over: Callable[[], bool]) -> bool:
        """Waits until it is the first, at most until `deadline` (time.monotonic()) or is_over(). Returns whether it is. Raises
        LeaseLostError."""
        while True:
            self.check()
            found = self._clerk.range(
                prefix=self._name + b"/",
                max_create_revision=self.token,
                order="descend",
                target="create",
                limit=2,
            )
            if not found.kvs or found.kvs[0].create_revision != self.token:
                raise errors.LeaseLostError(f"{self._what()} is lost: its key is gone")
            if len(found.kvs) == 1:
                self.check()
                return True
            if not self._wait_for_end_of(found.kvs[1].key, found.revision, deadline, is_over):
                return False

    def _wait_for_end_of(
        self, key: Text, revision: int, deadline: float, is_over: Callable[[], bool]
    ) -> bool:
        """False: it is still there when the time is over."""
        with self._clerk.watch(key, start_revision=revision + 1, filters=["noput"]) as watch:
            while True:
                left_s = deadline - time.monotonic()
                try:
                    response = watch.get(max(0.0, min(_LOOK_S, left_s)))
                except errors.CompactedError:
                    return True  # look again
                if response is not None and response.events:
                    return True
                self.check()
                if left_s <= 0 or is_over():
                    return False

    @property
    def lost(self) -> bool:
        """Whether its holder must assume that somebody else has the thing."""
        return self._lease.lost

    @property
    def lease(self) -> int:
        """The id of its lease."""
        return self._lease.id

    def check(self) -> None:
        """Raises LeaseLostError if it is lost."""
        try:
            self._lease.check()
        except errors.LeaseLostError as error:
            raise errors.LeaseLostError(f"{self._what()} is lost: {error}") from None

    def end(self, *, quietly: bool = True) -> None:
        """Leaves the queue, or gives the thing up. If the cluster cannot be reached that happens by itself, within the lease's time.
        Unless `quietly`, raises LeaseLostError if it was lost before."""
        try:
            self._lease.revoke()
        except errors.UnavailableError:
            pass  # it ends by itself
        except (errors.LeaseLostError, errors.ClosedError):
            if not quietly:
                raise

    def _what(self) -> str:
        return self.key.decode("utf-8", "backslashreplace")


class Holder:
    """What Lock and Election have in common: a Claim, while it is the first. A context manager, the end of which gives it up, and
    raises LeaseLostError if it was lost and nothing else went wrong."""

    _is_none: ClassVar[str]  # what is said to who asks without one

    def __init__(self, clerk: Clerk, name: bytes, ttl: int, on_lost: Callable[[Any], object] | None) -> None:
        self._clerk, self._name, self._ttl, self._on_lost = clerk, name, ttl, on_lost
        self._claim: Claim | None = None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._give_up(quietly=kind is not None)

    @property
    def lost(self) -> bool:
        """Whether it had it, and somebody else may have it now."""
        return self._claim is not None and self._claim.lost

    def check(self) -> None:
        """Raises LeaseLostError if it does not have it, or not any more."""
        self._first_claim().check()

    @property
    def token(self) -> int:
        """The fencing token: the create_revision of `key`. Raises LeaseLostError if it does not have it."""
        return self._first_claim().token

    @property
    def key(self) -> bytes:
        """Our key, which is there as long as we have it. Raises LeaseLostError if it does not have it."""
        return self._first_claim().key

    @property
    def _has_it(self) -> bool:
        return self._claim is not None and not self._claim.lost

    def _wait(self, value: Text, timeout: float | None, is_over: Callable[[], bool]) -> bool:
        """Waits until it has it, at most `timeout` seconds (None: as long as it takes). Returns whether it has; else it is not in the
        queue any more."""
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        claim = Claim(self._clerk, self._name, self._ttl, value, self._tell)
        try:
            if claim.wait(deadline, is_over):
                self._claim = claim
        finally:
            if self._claim is None:
                claim.end()
        return self._claim is not None

    def _give_up(self, *, quietly: bool = False) -> None:
        claim, self._claim = self._claim, None
        if claim is not None:
            claim.end(quietly=quietly)

    def _first_claim(self) -> Claim:
        if self._claim is None:
            raise errors.LeaseLostError(self._is_none)
        return self._claim

    def _tell(self) -> None:
        if self._claim is not None and self._on_lost is not None:
            self._on_lost(self)
