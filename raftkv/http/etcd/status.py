"""What calls end with that do not succeed, in etcd's words: Status, CallError, and the statuses of a Clerk's errors."""

from __future__ import annotations

from typing import NamedTuple

from raftkv import errors
from raftkv.http.etcd.json_codec import JsonError

# gRPC's codes
CANCELLED, UNKNOWN, INVALID_ARGUMENT = 1, 2, 3
NOT_FOUND, PERMISSION_DENIED, RESOURCE_EXHAUSTED = 5, 7, 8
FAILED_PRECONDITION, ABORTED, OUT_OF_RANGE, UNIMPLEMENTED = 9, 10, 11, 12
INTERNAL, UNAVAILABLE, UNAUTHENTICATED = 13, 14, 16

#: The status of HTTP for each, as the gateway of etcd has it.
HTTP = {
    CANCELLED: 408, UNKNOWN: 500, INVALID_ARGUMENT: 400, NOT_FOUND: 404, PERMISSION_DENIED: 403,
    RESOURCE_EXHAUSTED: 429, FAILED_PRECONDITION: 400, ABORTED: 409, OUT_OF_RANGE: 400, UNIMPLEMENTED: 501,
    INTERNAL: 500, UNAVAILABLE: 503, UNAUTHENTICATED: 401,
}  # fmt: skip


class Status(NamedTuple):
    """`code`: gRPC's. The message is for the client. Not an exception: one that is raised again and again keeps all that was on
    the stack each time."""

    code: int
    message: str

    def __str__(self) -> str:
        return self.message

    @property
    def http(self) -> int:
        return HTTP[self.code]


class CallError(Exception):
    """A call ends with a status."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.message)
        self.status = status


NO_KEY = Status(INVALID_ARGUMENT, "etcdserver: key is not provided")
VALUE_GIVEN = Status(INVALID_ARGUMENT, "etcdserver: value is provided")
LEASE_GIVEN = Status(INVALID_ARGUMENT, "etcdserver: lease is provided")
BAD_SORT = Status(INVALID_ARGUMENT, "etcdserver: invalid sort option")
NO_SUCH_KEY = Status(INVALID_ARGUMENT, "etcdserver: key not found")
DUPLICATE_KEY = Status(INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request")
TOO_MANY_OPS = Status(INVALID_ARGUMENT, "etcdserver: too many operations in txn request")
TOO_LARGE = Status(INVALID_ARGUMENT, "etcdserver: request is too large")
COMPACTED = Status(OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted")
FUTURE_REVISION = Status(OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision")
NO_SUCH_LEASE = Status(NOT_FOUND, "etcdserver: requested lease not found")
LEASE_EXISTS = Status(FAILED_PRECONDITION, "etcdserver: lease already exists")
TTL_TOO_LARGE = Status(OUT_OF_RANGE, "etcdserver: too large lease TTL")
NO_SPACE = Status(RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")
TOO_MANY = Status(RESOURCE_EXHAUSTED, "etcdserver: too many requests")
NO_LEADER = Status(UNAVAILABLE, "etcdserver: no leader")
TIMED_OUT = Status(UNAVAILABLE, "etcdserver: request timed out")
STOPPED = Status(UNAVAILABLE, "etcdserver: server stopped")

_OF_CODE = {
    errors.DUPLICATE_KEY: DUPLICATE_KEY,
    errors.TOO_MANY_OPERATIONS: TOO_MANY_OPS,
}
_OF_KIND: list[tuple[type[Exception], Status]] = [  # the first that fits
    (errors.CompactedError, COMPACTED),
    (errors.FutureRevisionError, FUTURE_REVISION),
    (errors.LeaseNotFoundError, NO_SUCH_LEASE),
    (errors.LeaseExistsError, LEASE_EXISTS),
    (errors.KeyNotFoundError, NO_SUCH_KEY),
    (errors.NoSpaceError, NO_SPACE),
    (errors.NotApplied, NO_LEADER),
    (errors.UnavailableError, TIMED_OUT),
    (errors.ClosedError, STOPPED),
    (errors.ResourceError, TOO_MANY),
]


def status_of(error: BaseException) -> Status:
    """The status with which an error ends a call. What nobody expected is one without details."""
    if isinstance(error, CallError):
        return error.status
    if isinstance(error, JsonError):
        return Status(INVALID_ARGUMENT, str(error))
    if isinstance(error, errors.InvalidRequestError):
        return _OF_CODE.get(error.code) or _of_message(str(error))
    for kind, status in _OF_KIND:
        if isinstance(error, kind):
            return status
    if isinstance(error, errors.RangeTooLargeError):
        return Status(RESOURCE_EXHAUSTED, f"etcdserver: {error}")
    if isinstance(error, errors.RaftKVError):
        return Status(UNKNOWN, f"etcdserver: {error}")
    return Status(INTERNAL, "etcdserver: internal error")


def _of_message(message: str) -> Status:
    return TOO_LARGE if "too large" in message else Status(INVALID_ARGUMENT, f"etcdserver: {message}")
