"""Lock: one holder at a time in the whole cluster of programs; and what that cannot mean.

    with clerk.lock("backup", ttl=10) as lock:
        run_backup(lock.token)

What a lock in a distributed system cannot promise: that nobody else acts while its holder believes to hold it. A program that
stands still after it has looked at its lock, for a page fault, a garbage collection or a paused machine, may go on when its
lease has ended and another one holds the lock. No lock can prevent that. What can is the thing that is protected: it
remembers the highest `token` (a *fencing token*) that it has seen, and refuses who comes with a lower one. Keys of the
database itself are protected by a transaction that compares `create(lock.key) == lock.token`.

What it does promise: tokens grow from holder to holder; those who wait get it in the order in which they came; a holder that
dies, or cannot reach the cluster, loses it within its TTL and a second; it is told when it has to assume that.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Callable

from raftkv import errors
from raftkv.client.claim import Claim, never

if TYPE_CHECKING:
    from raftkv.client.clerk import Clerk

_FOREVER = float("inf")


class Lock:
    """Use Clerk.lock(). Each acquire() takes a lease of its own of `ttl` seconds, which a thread keeps alive: never two locks on
    one. For one thread at a time; not reentrant. A context manager.

    A lock that is *lost* (see Lease) stays so until it is released. Its holder learns that from check(), from `lost`, from the
    end of the `with` block, which raises LeaseLostError, and from `on_lost(lock)`, which is called once, on another thread.
    """

    def __init__(
        self, clerk: Clerk, name: bytes, ttl: int, on_lost: Callable[[Lock], object] | None = None
    ) -> None:
        self._clerk, self._name, self._ttl, self._on_lost = clerk, name, ttl, on_lost
        self._claim: Claim | None = None

    def __enter__(self) -> Lock:
        self.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        claim, self._claim = self._claim, None
        if claim is not None:
            claim.end(quietly=kind is not None)

    def acquire(self, timeout: float | None = None, is_over: Callable[[], bool] = never) -> bool:
        """Waits for the lock, at most `timeout` seconds (None: as long as it takes), and until is_over(). Returns whether it was got. Raises
        InvalidRequestError if we have it already, LeaseLostError if the place in the queue was lost, and what commands of a
        Clerk raise; then we do not wait for it any more."""
        if self._claim is not None:
            raise errors.InvalidRequestError("this lock is held already: it is not reentrant")
        deadline = _FOREVER if timeout is None else time.monotonic() + timeout
        claim = Claim(self._clerk, self._name, self._ttl, b"", self._tell)
        try:
            if claim.wait(deadline, is_over):
                self._claim = claim
        finally:
            if self._claim is None:
                claim.end()
        return self._claim is not None

    def release(self) -> None:
        """Gives it back. Does nothing if it is not held. Raises LeaseLostError if it was lost before."""
        claim, self._claim = self._claim, None
        if claim is not None:
            claim.end(quietly=False)

    @property
    def held(self) -> bool:
        """Whether it was acquired, and neither released nor lost."""
        return self._claim is not None and not self._claim.lost

    @property
    def lost(self) -> bool:
        """Whether it was acquired, and somebody else may hold it now."""
        return self._claim is not None and self._claim.lost

    def check(self) -> None:
        """Raises LeaseLostError if it is not held, or not any more."""
        self._held().check()

    @property
    def token(self) -> int:
        """The fencing token: the create_revision of `key`. Raises LeaseLostError if it is not held."""
        return self._held().token

    @property
    def key(self) -> bytes:
        """The key that is there as long as it is held. Raises LeaseLostError if it is not held."""
        return self._held().key

    def _held(self) -> Claim:
        if self._claim is None:
            raise errors.LeaseLostError("this lock is not held")
        return self._claim

    def _tell(self) -> None:
        if self._claim is not None and self._on_lost is not None:
            self._on_lost(self)
