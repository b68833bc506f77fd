"""One command of a client, the actions that move it, and what its failures are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable, NamedTuple, Union

from raftkv import errors
from raftkv.client.numbering import Numbering
from raftkv.kvdb.operation import Operation, Write


class Command:
    """One operation of a client's from its start to its end.

    `deadline` is on the clock that the session's events are told in. When `done`, its outcome is `error`, or
    `result` if that is None. `context` belongs to whoever drives the session, as does `convert`, which makes of the
    result what a Future gets; all else to the session.
    """

    __slots__ = (
        "args",
        "attempt",
        "context",
        "convert",
        "deadline",
        "done",
        "error",
        "in_doubt",
        "is_write",
        "method",
        "numbered",
        "numbering",
        "order",
        "result",
        "sent_at",
        "seq",
        "server",
        "timeouts",
    )  # fmt: skip

    def __init__(self, operation: Operation, deadline: float, context: Any = None) -> None:
        self.method = operation.name
        self.args = operation.plain()  # without the session's numbers
        self.is_write = isinstance(operation, Write)
        self.numbered = operation.numbered
        self.deadline = deadline
        self.context = context
        self.convert: Callable[[Any], Any] | None = None
        self.done = False
        self.result: Any = None
        self.error: errors.RaftKVError | None = None
        self.order = 0  # place among the commands of this client
        self.numbering: Numbering | None = None  # of the session that `seq` belongs to
        self.seq = 0
        self.attempt = 0  # the number of the latest attempt, from 1
        self.server = 0  # that it went to,
        self.sent_at = 0.0  # and when
        self.timeouts = 0  # of its attempts
        self.in_doubt = False  # see session.py

    def __lt__(self, other: Command) -> bool:
        """Whether this one is sent first."""
        return (self.timeouts, self.order) < (other.timeouts, other.order)


class Send(NamedTuple):
    """Send `method` and `args` to `server`, and report what comes of it with `command` and `attempt`.

    When nothing comes within `timeout_s` seconds, report timed_out().
    """

    command: Command
    attempt: int
    server: int
    method: str
    args: tuple[Any, ...]
    timeout_s: float


class Done(NamedTuple):
    """`command` has its outcome."""

    command: Command


Action = Union[Send, Done]
Actions = list[Action]


def error_of(command: Command, cause: errors.RaftKVError) -> errors.RaftKVError:
    """What a caller is told when `cause` ends `command`: the truth about one in doubt is that nobody knows.

    An InvalidRequestError is true even then: what a server finds invalid now, it found so before. A RefusedError is
    remembered as any outcome.
    """
    if not command.in_doubt or not command.is_write:
        return cause
    if isinstance(cause, (errors.OutcomeUnknown, errors.InvalidRequestError, errors.RefusedError)):
        return cause
    return errors.OutcomeUnknown(f"the {command.method} may or may not have taken effect: {cause}")


def refusal_error(refusal: errors.RemoteError) -> errors.RaftKVError:
    """What a server means that will not carry out a command, ever."""
    message = str(refusal)
    if refusal.code in (errors.BAD_REQUEST, errors.DUPLICATE_KEY, errors.TOO_MANY_OPERATIONS):
        return errors.InvalidRequestError(message, refusal.code)
    if refusal.code == errors.COMPACTED and isinstance(refusal.detail, int):
        return errors.CompactedError(message, refusal.detail)
    kind = _REFUSED.get(refusal.code)
    return kind(message) if kind else refusal


_REFUSED: dict[str, type[errors.RefusedError]] = {
    errors.FUTURE_REVISION: errors.FutureRevisionError,
    errors.LEASE_NOT_FOUND: errors.LeaseNotFoundError,
    errors.LEASE_EXISTS: errors.LeaseExistsError,
    errors.KEY_NOT_FOUND: errors.KeyNotFoundError,
    errors.RANGE_TOO_LARGE: errors.RangeTooLargeError,
}


def too_late(command: Command, complaints: Mapping[str, str]) -> errors.UnavailableError:
    """The deadline of `command` is over. `complaints` is what each server last said instead of answering."""
    why = "no leader answered in time"
    if complaints:
        said = (f"server {server}: {complaint}" for server, complaint in complaints.items())
        why += f" ({'; '.join(said)})"
    if not command.is_write:
        return errors.UnavailableError(why)
    if command.in_doubt:
        return errors.OutcomeUnknown(
            f"the {command.method} may or may not take effect: {why}; read before you repeat it"
        )
    return errors.NotApplied(f"the {command.method} was not applied: {why}")


def expired(command: Command) -> errors.SessionExpiredError:
    """The session of `command`, which is in doubt, is gone."""
    return errors.SessionExpiredError(
        f"the servers forgot this client between two attempts of the {command.method}: it may or may not "
        "have taken effect, once at most; read before you repeat it"
    )


ANOTHER_CLUSTER = (
    "the servers belong to another cluster than before, which was recovered from one disk, or made anew; begin with a new "
    "client"
)


def cluster_changed(command: Command) -> errors.ClusterChangedError:
    """All servers that can be reached are of another cluster."""
    return errors.ClusterChangedError(f"the {command.method} was not carried out: {ANOTHER_CLUSTER}")


def not_begun(command: Command, why: str) -> errors.RaftKVError:
    """Nobody has sent any of `command`, and nobody will."""
    if command.is_write:
        return errors.NotApplied(f"the {command.method} was not begun: {why}")
    return errors.UnavailableError(f"the {command.method} was not begun: {why}")


def never_ended(command: Command, why: str) -> errors.RaftKVError:
    """Its caller waits no longer for `command`, of which nothing is known."""
    if command.is_write:
        return errors.OutcomeUnknown(
            f"the {command.method} may or may not take effect: {why}; read before you repeat it"
        )
    return errors.UnavailableError(f"the {command.method} has no answer: {why}")
