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

from typing import Callable

from raftkv import errors
from raftkv.client.claim import Holder, never


class Lock(Holder):
    """Use Clerk.lock(). Each acquire() takes a lease of its own of `ttl` seconds, which a thread keeps alive: never two locks on
    one. For one thread at a time; not reentrant. A context manager.

    A lock that is *lost* (see Lease) stays so until it is released. Its holder learns that from check(), from `lost`, from the
    end of the `with` block, which raises LeaseLostError, and from `on_lost(lock)`, which is called once, on another thread.
    """

    _is_none = "this lock is not held"

    def __enter__(self) -> Lock:
        self.acquire()
        return self

    def acquire(self, timeout: float | None = None, is_over: Callable[[], bool] = never) -> bool:
        """Waits for the lock, at most `timeout` seconds (None: as long as it takes), and until is_over(). Returns whether it was got. Raises
        InvalidRequestError if we have it already, LeaseLostError if the place in the queue was lost, and what commands of a
        Clerk raise; then we do not wait for it any more."""
        if self._claim is not None:
            raise errors.InvalidRequestError("this lock is held already: it is not reentrant")
        return self._wait(b"", timeout, is_over)

    def release(self) -> None:
        """Gives it back. Does nothing if it is not held. Raises LeaseLostError if it was lost before."""
        self._give_up()

    @property
    def held(self) -> bool:
        """Whether it was acquired, and neither released nor lost."""
        return self._has_it
