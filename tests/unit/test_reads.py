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


def test_reads_gather_while_a_round_is_under_way() -> None:
    reads = ReadQueue()
    reads.add("a")
    reads.begin_round(1)
    reads.add("b")
    reads.add("c")
    assert not reads.begin_round(2), "one round at a time"
    reads.confirm(1)
    assert reads.begin_round(3) and reads.round == 2
    reads.confirm(1)
    assert reads.take_confirmed() == [("a", 1)]
    reads.confirm(2)
    assert reads.take_confirmed() == [("b", 3), ("c", 3)]
    assert reads.empty


def test_no_round_without_a_read() -> None:
    reads = ReadQueue()
    assert reads.empty and not reads.begin_round(1) and reads.round == 0


def test_when_leadership_ends_every_read_is_lost_once() -> None:
    reads = ReadQueue()
    for context in "abc":
        reads.add(context)
        reads.begin_round(1)
        if context == "a":
            reads.confirm(1)
    reads.clear()
    assert reads.empty and sorted(reads.take_lost()) == ["a", "b", "c"]
    assert reads.take_lost() == [] and reads.take_confirmed() == []


def test_a_later_leadership_does_not_use_an_earlier_ones_round_numbers() -> None:
    """Otherwise an answer that was given to the former leader could confirm a read of the present one."""
    reads = ReadQueue()
    reads.add("old")
    reads.begin_round(1)
    reads.clear()
    reads.add("new")
    reads.begin_round(2)
    reads.confirm(1)
    assert reads.round == 2 and reads.take_confirmed() == []
