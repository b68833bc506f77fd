"""Election: one leader among the programs that campaign, which the others can see and follow.

    election = clerk.election("primary", ttl=10)
    with election.campaign("10.0.0.7:5432"):
        serve()

A leader is the holder of a lock whose value others can read, and no more: what lock.py says of locks is true of it. Whoever
acts for a leader compares its `token` with the highest one that it has seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Callable

from raftkv import errors
from raftkv.client.answers import KeyValue
from raftkv.client.claim import Holder, never
from raftkv.client.encoding import Text
from raftkv.client.watch import DELETE, Event

_LOOK_S = 0.25


class Election(Holder):
    """Use Clerk.election(). Each campaign has a lease of its own of `ttl` seconds. For one thread at a time. A context manager, the
    end of which resigns. `on_lost(election)` is called once, on another thread, when a leader has to assume that it is none."""

    _is_none = "it does not lead"

    def __enter__(self) -> Election:
        return self

    # -- for who wants to lead -------------------------------------------------------------------------------

    def campaign(
        self, value: Text, timeout: float | None = None, is_over: Callable[[], bool] = never
    ) -> Election:
        """Waits until it leads, and others can read `value`. Raises TimeoutError if that is not so within `timeout` seconds, or is_over(),
        InvalidRequestError if it leads already, LeaseLostError if the place in the queue was lost, and what commands of a Clerk
        raise; then it is no candidate any more. Returns itself."""
        if self._claim is not None:
            raise errors.InvalidRequestError("it leads already: proclaim() another value, or resign() first")
        if not self._wait(value, timeout, is_over):
            raise TimeoutError("another one leads")
        return self

    def proclaim(self, value: Text) -> None:
        """The leader's value is another one now. Raises LeaseLostError if it does not lead any more."""
        claim = self._first_claim()
        claim.check()
        t = self._clerk.transactions
        led, _ = self._clerk.transaction(
            [t.create(claim.key) == claim.token], [t.put(claim.key, value, lease=claim.lease)]
        )
        if not led:
            raise errors.LeaseLostError("it does not lead any more")

    def resign(self) -> None:
        """Does not lead any more, so that the next one does. Does nothing if it does not lead. Raises LeaseLostError if that
        was lost before."""
        self._give_up()

    @property
    def leads(self) -> bool:
        """Whether it may assume that it leads."""
        return self._has_it

    # -- for who wants to know -------------------------------------------------------------------------------

    def leader(self) -> KeyValue | None:
        """The key of the leader, with its value; None if there is none. `create_revision` is its fencing token."""
        return self._first()[0]

    def observe(self, is_over: Callable[[], bool] = never) -> Iterator[KeyValue]:
        """The leader's key, then again whenever the leader or its value is another one, until is_over(). What lasts only for a
        moment may be left out."""
        while not is_over():
            kv, revision = self._first()
            if kv is None:
                for event in self._events(self._name + b"/", True, revision, is_over):
                    if event.type != DELETE:
                        break
                continue
            yield kv
            for event in self._events(kv.key, False, revision, is_over):
                if event.type == DELETE:
                    break
                yield event.kv

    def _first(self) -> tuple[KeyValue | None, int]:
        found = self._clerk.range(prefix=self._name + b"/", order="ascend", target="create", limit=1)
        return (found.kvs[0] if found.kvs else None), found.revision

    def _events(self, key: Text, prefix: bool, revision: int, is_over: Callable[[], bool]) -> Iterator[Event]:
        """What happens after `revision`, up to a compaction."""
        with self._clerk.watch(key, prefix=prefix, start_revision=revision + 1) as watch:
            while not is_over():
                try:
                    response = watch.get(_LOOK_S)
                except errors.CompactedError:
                    return
                yield from () if response is None else response.events
