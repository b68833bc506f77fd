"""The checker's verdicts on histories that people can check."""

from __future__ import annotations

import re
import time

import pytest

from tests.linearizability.checker import check
from tests.linearizability.history import Operation
from tests.linearizability.script import history
from tests.linearizability.search import OK, VIOLATION
from tests.linearizability.shrink import contradiction

GOOD = {
    "nothing": "",
    "a key begins absent": "a get\na ok -",
    "one after the other": "a put 1\na ok\nb get\nb ok 1\na append 2\na ok\nb get\nb ok 12",
    "append makes a key": "a append 1\na ok\na get\na ok 1",
    "delete": "a delete\na ok no\na put 1\na ok\nb delete\nb ok yes\na get\na ok -",
    "cas": "a cas - 1\na ok yes\na cas - 2\na ok no\nb cas 1 2\nb ok yes\na get\na ok 2",
    "writes at the same time, in one order": "a put 1\nb put 2\na ok\nb ok\na get\na ok 1",
    "writes at the same time, in the other": "a put 1\nb put 2\na ok\nb ok\na get\na ok 2",
    "a read during a write sees it": "a put 1\nb get\nb ok 1\na ok",
    "a read during a write does not see it": "a put 1\nb get\nb ok -\na ok",
    "reads during a write go forwards": "a put 1\nb get\nb ok -\nc get\nc ok 1\na ok",
    "appends at the same time": "a append 1\nb append 2\na ok\nb ok\nc get\nc ok 21",
    "a write without an answer was seen": "a put 1\na info\nb get\nb ok 1",
    "a write without an answer never took effect": "a put 1\na info\nb get\nb ok -\nb get\nb ok -",
    "a write without an answer came late": "a put 1\na info\nb get\nb ok -\nb put 2\nb ok\nb get\nb ok 1",
    "its process went on": "a put 1\na info\na put 2\na ok\nb get\nb ok 1",
    "a write that is still under way": "a put 1\nb get\nb ok 1",
    "a cas without an answer": "a put 1\na ok\nb cas 1 2\nb info\na get\na ok 1\na get\na ok 2",
    "a write that failed was not seen": "a put 1\na fail\nb get\nb ok -",
    "one of two cas wins": "a cas - 1\nb cas - 2\na ok no\nb ok yes\nc get\nc ok 2",
    "a delete whose answer nobody knows": "a put 1\na ok\nb delete\nb ok\nc get\nc ok -",
    "the same value with one unanswered write less": (
        "a put 1\na info\nb append 1\nb info\nc get\nd append 1\nc ok 111\nd ok"
    ),
}

BAD = {
    "a stale read": "a put 1\na ok\na put 2\na ok\nb get\nb ok 1",
    "a read before any write": "a get\na ok 1\na put 1\na ok",
    "a lost write": "a put 1\na ok\nb get\nb ok -",
    "a lost append": "a append 1\na ok\nb append 2\nb ok\na get\na ok 2",
    "an append that took effect twice": "a append 1\na ok\nb get\nb ok 11",
    "appends in the wrong order": "a append 1\na ok\nb append 2\nb ok\na get\na ok 21",
    "an append without an answer took effect twice": "a append 1\na info\nb get\nb ok 11",
    "reads that go backwards": "a put 1\nb get\nb ok 1\nc get\nc ok -\na ok",
    "two orders at once": "a put 1\nb put 2\na ok\nb ok\nc get\nc ok 1\nd get\nd ok 2\nc get\nc ok 1",
    "a cas that should have failed": "a put 1\na ok\nb cas 2 3\nb ok yes",
    "a cas that should have succeeded": "a put 1\na ok\nb cas 1 2\nb ok no",
    "two cas that both won": "a cas - 1\nb cas - 2\na ok yes\nb ok yes",
    "a delete that found nothing": "a put 1\na ok\nb delete\nb ok no",
    "a delete that found what was never there": "a delete\na ok yes",
    "a deleted value that came back": "a put 1\na ok\na delete\na ok yes\nb get\nb ok 1",
    "a write that failed was seen": "a put 1\na fail\nb get\nb ok 1",
    "a write was seen before it was asked for": "b get\nb ok 1\na put 1\na info",
    "a value that nobody wrote": "a put 1\na ok\nb get\nb ok 7",
    "a put that vanished under a cas": ("a put 1\na ok\nb put 7\nc cas 1 2\nc ok yes\nb ok\nd get\nd ok 2"),
}


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_good(text: str) -> None:
    assert check(history(text)).verdict == OK


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_bad(text: str) -> None:
    operations = history(text)
    result = check(operations)
    assert result.verdict == VIOLATION
    assert "have no order that explains" in str(result)
    assert result.violation is not None
    _assert_shortest(operations, result.violation.contradiction.kept)


def _assert_shortest(operations: list[Operation], kept: list[Operation]) -> None:
    """They contradict each other, and without any one of them the rest does not."""
    deadline = time.monotonic() + 60
    assert contradiction(operations, kept, deadline)
    for one in kept:
        rest = [operation for operation in kept if operation != one]
        assert not rest or not contradiction(operations, rest, deadline), f"{one} is not needed"


def test_the_report_is_a_timeline_of_what_contradicts() -> None:
    noise = "\n".join(f"n put old{i}\nn ok\nn get\nn ok old{i}" for i in range(30))
    result = check(history(f"{noise}\na put new\na ok\nb get\nb ok old7\nb get\nb ok old7"))
    assert result.violation is not None
    assert len(result.violation.contradiction.kept) <= 4
    assert re.search(r"put.*new", str(result)) and re.search(r"get.*old7", str(result))


def test_a_value_that_nobody_wrote_is_reported() -> None:
    assert "Nobody wrote 'seven'." in str(check(history("a put 1\na ok\nb get\nb ok seven"))).replace(
        '"', "'"
    )


def test_keys_are_independent() -> None:
    good, bad = history(GOOD["cas"], "good"), history(BAD["a stale read"], "bad")
    result = check(good + bad)
    assert (result.verdict, result.keys) == (VIOLATION, 2)
    assert result.violation is not None and result.violation.key == "bad"
