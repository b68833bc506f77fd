"""ReadQueue: which round confirms which reads."""

from __future__ import annotations

from raftkv.raft.reads import ReadQueue


def test_a_read_waits_for_a_round_that_began_after_it_came() -> None:
    reads = ReadQueue()
    reads.add("a")
    reads.confirm(5)
    assert reads.take_confirmed() == []
    assert reads.begin_round(7) and reads.round == 1
    reads.confirm(0)
    assert reads.take_confirmed() == []
    reads.confirm(1)
    assert reads.take_confirmed() == [("a", 7)]
    assert reads.take_confirmed() == []


def test_no_round_without_a_read() -> None:
    reads = ReadQueue()
    assert reads.empty and not reads.begin_round(1) and reads.round == 0
