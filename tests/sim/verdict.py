"""The last word on what the clients saw: was it linearizable?"""

from __future__ import annotations

from collections.abc import Mapping

from tests.linearizability import revisions
from tests.linearizability.checker import check
from tests.linearizability.history import Operation
from tests.linearizability.revisions import Asked
from tests.linearizability.search import OK
from tests.linearizability.store_model import Changes

TIME_LIMIT_S = 30.0  # real time; a history of a run takes some milliseconds


def check_revisions(asked: list[Asked], events: Mapping[int, Changes]) -> None:
    """The same by revisions: of all operations, those on many keys among them."""
    result = revisions.check(asked, events)
    assert not result.problems, str(result)


def check_history(operations: list[Operation]) -> None:
    """Raises AssertionError with the offending part of the history. One that cannot be decided is a failure,
    too."""
    result = check(operations, TIME_LIMIT_S)
    assert result.verdict == OK, str(result)
