"""What became of an operation: ok with a result, or refused with the reason.

An outcome is plain data: a session remembers it, a snapshot holds it and a reply carries it as it is. So it is
small, shared where many have the same one, and never changed once made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

#: (True, result), or (False, (code, message, detail)) as RemoteError takes it. Of writes, only a batch has a
#: list as its result: the outcomes of its operations.
Outcome = tuple[bool, Any]


def ok(result: Any) -> Outcome:
    """It was carried out. `result`: plain data."""
    return True, result


def refused(code: str, message: str, detail: Any = None) -> Outcome:
    """It was not carried out. `code`: one of errors.py."""
    return False, (code, message, detail)


YES, NO = ok(True), ok(False)


def from_plain(plain: Sequence[Any]) -> Outcome:
    """The outcome that JSON made a list of."""
    is_ok, result = plain
    if not is_ok:
        return refused(*result)
    return ok([from_plain(each) for each in result] if type(result) is list else result)


def results_in(outcome: Outcome) -> int:
    """How many results there are to remember."""
    result = outcome[1]
    return len(result) if type(result) is list else 1
