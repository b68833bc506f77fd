"""The operations on the whole: compact, leases, status, and dumps."""

from __future__ import annotations

from typing import NamedTuple

from raftkv.errors import FUTURE_REVISION, LEASE_EXISTS, InvalidRequestError
from raftkv.kvdb.keyspace import Keyspace
from raftkv.kvdb.limits import MAX_NUMBER, MAX_TTL_S, check_flag, check_number
from raftkv.kvdb.operation import Operation, Read, Write
from raftkv.kvdb.outcomes import Outcome, ok, refused
from raftkv.kvdb.reads import compacted
from raftkv.kvdb.writes import NO_SUCH_LEASE


class Compact(NamedTuple("Compact", [("revision", int)]), Write):
    """Drops the history before a revision. The result is the newest revision."""

    __slots__ = ()
    name = "compact"
    grows = False

    def check(self) -> int:
        check_number("revision", self.revision, 1)
        return 0

    def change(self, data: Keyspace) -> Outcome:
        if self.revision > data.revision:
            return refused(
                FUTURE_REVISION, f"revision {self.revision} is not there yet: the newest is {data.revision}"
            )
        if self.revision <= data.compact_revision:
            return compacted(data.compact_revision)
        data.compact(self.revision)
        return ok(data.revision)


class DropHistory(NamedTuple("DropHistory", []), Write):
    """What a leader proposes while a disk has no room: all events go, also those of the newest revision. Not a request of
    clients."""

    __slots__ = ()
    name = "drop_history"
    numbered = grows = False

    def apply(self, data: Keyspace, index: int) -> Outcome:
        data.history.drop_all()
        return ok(None)


class LeaseGrant(NamedTuple("LeaseGrant", [("lease", int), ("ttl", int)]), Write):
    """A new lease of `ttl` seconds. The result is the newest revision."""

    __slots__ = ()
    name = "lease_grant"

    def check(self) -> int:
        check_number("id of a lease", self.lease, 1)
        check_number("time to live", self.ttl, 1, MAX_TTL_S)
        return 0

    def apply(self, data: Keyspace, index: int) -> Outcome:
        if self.lease in data.leases:
            return refused(LEASE_EXISTS, f"there is a lease {self.lease:x} already")
        data.leases.grant(self.lease, self.ttl, index)
        return ok(data.revision)


class LeaseRevoke(NamedTuple("LeaseRevoke", [("lease", int)]), Write):
    """Ends a lease, and deletes its keys. The result is (revision, how many keys it had)."""

    __slots__ = ()
    name = "lease_revoke"
    grows = False

    def check(self) -> int:
        check_number("id of a lease", self.lease, 1)
        return 0

    def work(self, data: Keyspace) -> int:
        lease = data.leases.get(self.lease)
        return 1 if lease is None else len(lease.keys)

    def change(self, data: Keyspace) -> Outcome:
        lease = data.leases.get(self.lease)
        if lease is None:
            return NO_SUCH_LEASE
        keys = lease.sorted_keys()
        data.leases.end(self.lease)  # first, so that no key need be taken from it
        count = data.delete_all(keys)
        return ok((data.now, count))


class LeaseExpire(NamedTuple("LeaseExpire", [("leases", "list[tuple[int, int]]")]), Write):
    """What a leader proposes when leases have come to their end: each, (id, index of its grant), ends as by LeaseRevoke,
    with a revision of its own. One that was granted anew since goes on. Not a request of clients."""

    __slots__ = ()
    name = "lease_expire"
    numbered = grows = False

    def work(self, data: Keyspace) -> int:
        return sum([LeaseRevoke(id).work(data) for id, _ in self.leases])

    def apply(self, data: Keyspace, index: int) -> Outcome:
        for id, granted_at in self.leases:
            lease = data.leases.get(id)
            if lease is not None and lease.granted_at == granted_at:
                LeaseRevoke(id).apply(data, index)
        return ok(None)


class Leases(NamedTuple("Leases", []), Read):
    """The result is (revision, the ids of all leases)."""

    __slots__ = ()
    name = "leases"

    def read(self, data: Keyspace) -> Outcome:
        return ok((data.revision, [lease.id for lease in data.leases.all()]))


class LeaseKeepAlive(NamedTuple("LeaseKeepAlive", [("lease", int)]), Operation):
    """Gives a lease its whole time again; see lease_clock.py. The result is (revision, its time to live in seconds, or None
    if there is no such lease)."""

    __slots__ = ()
    name = "lease_keep_alive"

    def check(self) -> int:
        check_number("id of a lease", self.lease, 1)
        return 0


class _LeaseTimeToLive(NamedTuple):
    lease: int
    keys: bool = False


class LeaseTimeToLive(_LeaseTimeToLive, Operation):
    """The result is (revision, the seconds that are left, those of the grant, its keys if they are asked for); the seconds
    are None if there is no such lease."""

    __slots__ = ()
    name = "lease_time_to_live"

    def check(self) -> int:
        check_number("id of a lease", self.lease, 1)
        check_flag("keys", self.keys)
        return 0


class Status(NamedTuple("Status", []), Operation):
    __slots__ = ()
    name = "status"


class Dump(NamedTuple("Dump", []), Operation):
    """See dumps.py."""

    __slots__ = ()
    name = "dump"


class DumpPiece(NamedTuple("DumpPiece", [("dump", int), ("piece", int)]), Operation):
    __slots__ = ()
    name = "dump_piece"

    def check(self) -> int:
        if not all(type(number) is int and 0 <= number <= MAX_NUMBER for number in self):
            raise InvalidRequestError("a piece of a dump is asked for by two whole numbers")
        return 0


class DumpEnd(NamedTuple("DumpEnd", [("dump", int)]), Operation):
    __slots__ = ()
    name = "dump_end"

    def check(self) -> int:
        if type(self.dump) is not int or not 0 <= self.dump <= MAX_NUMBER:
            raise InvalidRequestError("a dump is ended by its whole number")
        return 0
