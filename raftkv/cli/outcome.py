"""What comes of a command: an exit status, a text for people, plain data for programs, or an error."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from raftkv import errors

# Exit statuses of kvclient. Scripts rely on them.
DONE = 0
NO = 1  # no such key, the comparison failed, or a change of members is refused
BAD_INPUT = 2
UNAVAILABLE = 3  # no cluster or no leader, or timed out: the outcome of a write is unknown
NOT_AUTHORISED = 4
NOT_WRITTEN = 5  # the output could not be written
LOST = 6  # a lock or a leadership
INTERRUPTED = 130  # what shells make of a program that Ctrl-C ended


class UsageError(errors.RaftKVError):
    """A command that cannot be understood. The message says what is wrong, and how to write it."""


class InputInUseError(UsageError):
    """A command wants to read standard input, which commands come from: the lines after it may be meant as data."""


class OutputError(errors.RaftKVError):
    """Standard output cannot be written. The message is the system's reason."""


class Interrupted(errors.RaftKVError):
    """Ctrl-C, in the middle of a command that can say how far it came."""


class Terminated(BaseException):
    """A signal that asks the program to end, such as SIGTERM. Not an Exception, nor a KeyboardInterrupt, which ends
    one command at the prompt: only who has something to say or to tidy up catches it."""


#: What stops a command in the main thread.
STOPS = (KeyboardInterrupt, Terminated)


class Outcome(NamedTuple):
    """What came of a command: `text` for people (None: nothing is shown), `plain` (JSON-able) for programs;
    `error` is a sentence.

    `remark` is shown in place of no text, but only to a person at a terminal. With `as_json`, `plain` and the
    error are shown, as JSON. `ends_input`: the lines that come after the command may be no commands.
    """

    status: int
    text: str | None = None
    plain: Any = None
    error: str = ""
    remark: str = ""
    as_json: bool = False
    ends_input: bool = False

    @property
    def shown(self) -> str | None:
        """What goes to standard output, without the remark; None: nothing."""
        if self.as_json and self.plain is not None:
            return json.dumps(self.plain)
        return self.text

    def error_line(self, prefix: str, place: str = "", **details: Any) -> str:
        """What goes to standard error: `prefix`, `place` and the sentence, or one JSON object."""
        if not self.as_json:
            return f"{prefix}{place}{self.error}"
        return json.dumps({"error": self.error, "status": self.status, **details})


def exit_status(error: errors.RaftKVError) -> int:
    """The exit status that tells a script what kind of failure `error` is."""
    if isinstance(error, errors.AuthenticationError):
        return NOT_AUTHORISED
    if isinstance(error, OutputError):
        return NOT_WRITTEN
    if isinstance(error, errors.InvalidChangeError):
        return NO
    if isinstance(error, Interrupted):
        return INTERRUPTED
    if isinstance(
        error, (errors.InvalidRequestError, errors.ConfigError, errors.ForeignDataError, UsageError)
    ):
        return BAD_INPUT
    if isinstance(error, errors.LeaseLostError):
        return LOST
    if isinstance(error, (errors.LeaseNotFoundError, errors.KeyNotFoundError, errors.LeaseExistsError)):
        return NO
    if isinstance(error, errors.RefusedError):
        return BAD_INPUT
    if isinstance(error, errors.RemoteError) and error.code == errors.BAD_REQUEST:
        return BAD_INPUT
    return UNAVAILABLE
