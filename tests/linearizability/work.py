"""What clients ask for that use all of the database: transactions, ranges, the past, and leases."""

from __future__ import annotations

import random
from typing import Any

from raftkv.kvdb.ranges import prefix_range

KEYS = [b"m0", b"m1", b"m2"]
PREFIX = b"m"
LEASES = 3
TTLS_S = (1, 1, 2)
ALL = prefix_range(PREFIX)


class DataWork:
    """Of the client `name`, who writes no value twice. `newest`: a revision that it has been told."""

    def __init__(self, name: str, rng: random.Random) -> None:
        self._name, self._rng = name.encode(), rng
        self._written = 0
        self.newest = 1

    def next(self, leases: bool = True, compacts: bool = True) -> tuple[str, tuple[Any, ...]]:
        """An operation and its plain arguments; with `leases`, perhaps one about those; with `compacts`, rarely a compact."""
        kinds = [self._put, self._range, self._delete, self._txn, self._txn, self._batch, self._get]
        if leases:
            kinds += [
                self._leased_put,
                self._leased_put,
                self._grant,
                self._keep_alive,
                self._keep_alive,
                self._revoke,
            ]
        if self._rng.random() < 0.01 and compacts:
            return "compact", (max(1, self.newest - self._rng.randint(0, 20)),)
        method, *args = self._rng.choice(kinds)()
        return method, tuple(args)

    def told(self, result: Any) -> None:
        """The answer to one of them."""
        revision = result if type(result) is int else result[0]
        if type(revision) is int:
            self.newest = max(self.newest, revision)

    def _key(self) -> bytes:
        return self._rng.choice(KEYS)

    def _value(self) -> bytes:
        self._written += 1
        return b"%s-%d;" % (self._name, self._written)

    def _lease(self) -> int:
        return self._rng.randint(1, LEASES)

    def _put(self) -> tuple[Any, ...]:
        options = self._rng.choice([0, 0, 1, 2, 4])
        return "put", self._key(), b"" if options & 2 else self._value(), 0, options

    def _leased_put(self) -> tuple[Any, ...]:
        return "put", self._key(), self._value(), self._lease()

    def _get(self) -> tuple[Any, ...]:
        return self._rng.choice([("get", self._key()), ("gets", KEYS)])

    def _bounds(self) -> tuple[bytes, bytes]:
        return self._rng.choice([ALL, (b"m1", b"n"), (self._key(), b""), (b"m0", b"m2")])

    def _range(self) -> tuple[Any, ...]:
        past = self._rng.choice([0, 0, max(1, self.newest - self._rng.randint(0, 20))])
        flags = (self._rng.random() < 0.2, self._rng.random() < 0.2)
        return ("range", *self._bounds(), self._rng.choice([0, 0, 1]), past, *self._order(), *flags)

    def _order(self) -> tuple[int, int]:
        return self._rng.randint(0, 2), self._rng.randint(0, 4)

    def _delete(self) -> tuple[Any, ...]:
        return ("delete", *self._bounds(), self._rng.random() < 0.5)

    def _batch(self) -> tuple[Any, ...]:
        writes = [("put", key, self._value()) for key in self._rng.sample(KEYS, self._rng.randint(1, 3))]
        return "batch", [*writes, ("delete", self._key()), ("append", self._key(), b"+")]

    def _txn(self) -> tuple[Any, ...]:
        draw = self._rng
        first, second, third = draw.sample(KEYS, 3)
        compare = (draw.randint(1, 3), draw.randint(0, 3), *self._bounds(), draw.choice([0, 1, self.newest]))
        inner = (
            "txn",
            [(1, 1, first, b"", 2)],
            [("delete", third, b"", True)],
            [("append", third, self._value())],
        )
        then = draw.choice(
            [
                [("put", first, self._value(), 0, 1), ("delete", second), inner],
                [("put", first, self._value()), ("range", *ALL), ("get", first)],
                [("range", *ALL), ("range", *ALL, 0, max(1, self.newest - 3)), ("append", second, b"+")],
            ]
        )
        return "txn", [compare], then, [("get", first)]

    # -- leases ----------------------------------------------------------------------------------------------

    def _grant(self) -> tuple[Any, ...]:
        return "lease_grant", self._lease(), self._rng.choice(TTLS_S)

    def _keep_alive(self) -> tuple[Any, ...]:
        return "lease_keep_alive", self._lease()

    def _revoke(self) -> tuple[Any, ...]:
        return self._rng.choice(
            [("lease_revoke", self._lease()), ("lease_time_to_live", self._lease(), True)]
        )
