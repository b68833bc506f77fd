"""CheckedLock: a node's mutex that checks the paper's invariants at each release (RAFTKV_CHECK=1)."""

from __future__ import annotations

from raftkv.node.threads import Lock
from raftkv.raft.core import Raft
from raftkv.raft.invariants import check_delta, check_state, observe


class CheckedLock:
    """`lock`, checking the core's invariants whenever it is released."""

    def __init__(self, raft: Raft, lock: Lock) -> None:
        self._lock, self._raft = lock, raft
        self._seen = observe(raft)

    def acquire(self, blocking: bool = True) -> bool:
        return self._lock.acquire(blocking)

    def release(self) -> None:
        try:
            check_state(self._raft)
            self._seen = check_delta(self._seen, self._raft)
        finally:
            self._lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()
