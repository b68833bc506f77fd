"""What can go wrong with a measurement, besides what Clerk raises."""

from __future__ import annotations

from raftkv.errors import RaftKVError


class BenchError(RaftKVError):
    """A run could not be done, and has no result."""


class WrongAnswerError(RaftKVError):
    """The database answered what cannot be right: a key that was written is not there, or holds another
    value."""
