"""Every exception a caller of raftkv can meet.

Two families matter to a caller who wants to know what happened to a write:

* :class:`NotApplied`: the command did not take effect and never will. Repeating it is safe.
* :class:`OutcomeUnknown`: the command may or may not have taken effect, now or a little later.

Every message is one sentence or two that say what to do; none needs a traceback to be understood.
"""

from __future__ import annotations

from typing import Any


class RaftKVError(Exception):
    """The base of every exception that raftkv raises on purpose."""


class InvariantError(AssertionError):
    """A rule of safety does not hold: a bug. An assertion that `python -O` does not take away."""


# -- starting up ---------------------------------------------------------------------------------------------


class ConfigError(RaftKVError):
    """An ini file is missing, unreadable or wrong. The message names file, section and option."""


class StorageError(RaftKVError):
    """A data folder cannot be used: locked, foreign, damaged, or the disk failed or is full."""


class LockedError(StorageError):
    """Another process holds the data folder."""


class ForeignDataError(StorageError):
    """The data folder belongs to another node, another cluster, or an unknown format version."""


class NoRoomError(StorageError):
    """The disk is full. What was to be written is not promised, and can be written later."""


class DamagedDataError(StorageError):
    """Stored data does not match its checksum (or is missing) where it cannot be a torn last write."""


class ResourceError(RaftKVError):
    """The system has no thread for this process at the moment."""


class CorruptEntryError(RaftKVError):
    """A log entry's bytes do not match their CRC-32, or are no entry at all."""


class UnknownEntryError(CorruptEntryError):
    """A log entry's bytes match their CRC-32, but this version knows no such entry."""


class InvalidChangeError(RaftKVError):
    """A change of the cluster's members that is refused. The message says why. `may_pass`: only for now, and nobody
    need do anything but start a server."""

    def __init__(self, message: str, may_pass: bool = False) -> None:
        super().__init__(message)
        self.may_pass = may_pass


# -- talking -------------------------------------------------------------------------------------------------


class RpcError(RaftKVError):
    """A remote call did not return a result."""


class ConnectionLostError(RpcError):
    """No connection, or it ended before the answer came.

    If `sent` is False the request certainly never left; else it may or may not have been carried out.
    """

    sent: bool = True


class CallTimeoutError(RpcError):
    """No answer within the call's deadline. `sent`: as in ConnectionLostError."""

    sent: bool = True


class AuthenticationError(RpcError):
    """The other side does not hold the same key."""


class ProtocolError(RpcError):
    """The other side sent what no correct peer sends: an oversized frame, a pickle of more than plain data,
    …"""


class RemoteError(RpcError):
    """The server refused the call. `code` is one of the codes below, `detail` plain data that belongs to
    it."""

    def __init__(self, code: str, message: str, detail: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.detail = detail


#: The codes of a refusal on the wire, `(id, False, (code, message, detail))`.
NOT_LEADER = "not_leader"  # detail: {"leader": its id, or None; "proposed": bool; and what `hello` answers}
NO_SPACE = "no_space"  # a disk is full, or the data as large as it may be; nothing was proposed
OVERLOADED = "overloaded"  # the proposal queue is full; nothing was proposed
SESSION_EXPIRED = (
    "session_expired"  # the client is not (or no longer) known; this attempt was not applied; detail: a birth
)
STALE_SEQUENCE = "stale_sequence"  # the client said before that it no longer waits for this sequence number
TOO_MANY_IN_FLIGHT = (
    "too_many_in_flight"  # sequence number too far above the lowest unanswered one; not applied
)
BAD_REQUEST = "bad_request"  # malformed, too large, unknown method; nothing was proposed
TOO_MANY_CONNECTIONS = "too_many_connections"  # the server has as many as it may; nothing was proposed
INVALID_CHANGE = "invalid_change"  # of the members. detail: {"may_pass": …}, see InvalidChangeError
REMOVED = "removed"  # a server's disk has left the cluster
SHUTTING_DOWN = "shutting_down"  # the server is stopping
NO_LEADER = "no_leader"  # this member has known no leader for long: watch at another one
CANCELLED = "cancelled"  # a stream ends as its client wanted

#: What the state machine refuses: nothing of the command took effect.
COMPACTED = "compacted"  # detail: the compact revision
FUTURE_REVISION = "future_revision"  # detail: the newest revision
LEASE_NOT_FOUND = "lease_not_found"
LEASE_EXISTS = "lease_exists"
KEY_NOT_FOUND = "key_not_found"  # of a put that was to keep its value or lease
DUPLICATE_KEY = "duplicate_key"  # a transaction would write it twice
TOO_MANY_OPERATIONS = "too_many_operations"  # in a transaction
RANGE_TOO_LARGE = "range_too_large"  # to be sorted, filtered or answered in one piece: read it in pages


# -- using the database --------------------------------------------------------------------------------------


class InvalidRequestError(RaftKVError, ValueError):
    """A key, value or limit that no server would take (wrong type, too large, not valid Unicode). `code`: what a server
    says with the message."""

    def __init__(self, message: str, code: str = BAD_REQUEST) -> None:
        super().__init__(message)
        self.code = code


class RefusedError(RaftKVError):
    """The database refused the command, and nothing of it took effect."""


class CompactedError(RefusedError):
    """The revision is too old: its history was compacted. `compact_revision` is the oldest one that is left."""

    def __init__(self, message: str, compact_revision: int) -> None:
        super().__init__(message)
        self.compact_revision = compact_revision


class FutureRevisionError(RefusedError):
    """No command has had that revision yet."""


class LeaseNotFoundError(RefusedError):
    """The lease has ended, or was never granted."""


class LeaseLostError(RaftKVError):
    """A lease that was held has ended, or may have: what it protected is no longer ours."""


class LeaseExistsError(RefusedError):
    """A lease of that id exists already."""


class RangeTooLargeError(RefusedError):
    """There are too many keys to answer, sort or filter them in one piece."""


class KeyNotFoundError(RefusedError):
    """A put that was to keep the value or the lease of a key found no such key."""


class PipelineError(InvalidRequestError):
    """The database refused operations of a pipeline: appends that would make a value too large.

    All others took effect. `results` is what execute() would have returned, with an InvalidRequestError in
    place of the result of each that was refused.
    """

    def __init__(self, message: str, results: list[Any]) -> None:
        super().__init__(message)
        self.results = results


class UnavailableError(RaftKVError):
    """No leader answered within the timeout."""


class NotApplied(UnavailableError):
    """The cluster was not available and the command certainly did not take effect: repeating it is safe."""


class NoSpaceError(NotApplied):
    """A disk of the cluster is full, or the data has the largest size that is allowed. Writes that make it
    larger are refused; deletes and reads go on. Delete something, or make room, then repeat it."""


class OutcomeUnknown(UnavailableError):
    """The cluster did not answer in time: the command may or may not take effect. Read before repeating
    it."""


class ClusterChangedError(NotApplied):
    """The servers belong to another cluster than this Clerk was connected with: it was recovered from one disk, or made
    anew. What the Clerk knew of the old one is void: make a new one."""


class SessionExpiredError(OutcomeUnknown):
    """The server forgot this client's session between two attempts of one command, so that it can no longer
    tell whether the first attempt took effect. Nothing was applied twice."""


class ClosedError(RaftKVError):
    """The object was closed, or its server is shutting down."""


# -- inside a server -----------------------------------------------------------------------------------------


class NotLeaderError(RaftKVError):
    """Only the leader can do this. `leader` is the id of the node believed to lead, or None."""

    def __init__(self, leader: int | None = None) -> None:
        super().__init__("this node is not the leader" + (f"; node {leader} is" if leader else ""))
        self.leader = leader


class OverloadedError(RaftKVError):
    """More uncommitted proposals are waiting than the configured bound; this one was not queued."""
