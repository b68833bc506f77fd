"""A disk that hangs, or is only slow: who leads. The whole course of it is in testdata/hung_disk.txt."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from raftkv.raft.core import Raft
from raftkv.raft.types import Role

from tests.raft.script import Script

BEAT_S = 0.2  # the election timeout is 0.5


def led(nodes: int) -> Script:
    """A cluster of so many that n1 leads."""
    script = Script()
    for command in (f"nodes {nodes}", "timeout n1", "stabilize"):
        script.command(command)
    return script


def pass_time(script: Script, beats: int, each: Sequence[str] = ()) -> Raft:
    """So many times BEAT_S pass. Returns the node that led."""
    for _ in range(beats):
        for command in each:
            script.command(command)
        script.command(f"elapse {BEAT_S}")
        script.command("stabilize")
    return script.cluster.members[1].raft


def test_a_leader_whose_disk_hangs_steps_aside_and_another_one_commits() -> None:
    script = led(3)
    script.command("slow n1")
    script.command("propose n1 a")
    old = pass_time(script, 20)
    assert old.role is Role.FOLLOWER and old.leader in (2, 3)
    script.command(f"propose n{old.leader} b")
    script.command("stabilize")
    new = script.cluster.members[old.leader].raft
    assert new.role is Role.LEADER and new.log.commit == new.log.last_index


def test_a_stall_below_the_election_timeout_changes_nothing() -> None:
    script = led(3)
    script.command("slow n1")
    script.command("propose n1 a")
    pass_time(script, 2)
    script.command("fast n1")
    raft = pass_time(script, 10)
    assert (raft.role, raft.term) == (Role.LEADER, 1)


def test_a_slow_disk_that_moves_ends_no_leadership() -> None:
    script = led(3)
    script.command("slow n1")
    script.command("propose n1 a")
    raft = pass_time(script, 20, ("propose n1 b", "stabilize", "write n1"))
    assert (raft.role, raft.term) == (Role.LEADER, 1) and raft.log.commit > raft.log.stable


@pytest.mark.parametrize(("nodes", "slow"), [(3, 2), (3, 3), (5, 3), (5, 5)])
def test_leadership_stays_where_it_is_when_the_others_make_up_no_majority(nodes: int, slow: int) -> None:
    script = led(nodes)
    for id in range(1, slow + 1):
        script.command(f"slow n{id}")
    script.command("propose n1 a")
    raft = pass_time(script, 10)
    assert (raft.role, raft.term) == (Role.LEADER, 1)
    script.command("read n1 x")
    script.command("stabilize")


def test_leadership_stays_when_all_disks_hang_and_the_leaders_moves_a_little_later() -> None:
    script = led(3)
    for id in (1, 2, 3):
        script.command(f"slow n{id}")
    script.command("propose n1 a")
    pass_time(script, 10)
    script.command("fast n2")
    script.command("fast n3")
    raft = pass_time(script, 2)
    assert raft.log.commit > raft.log.stable
    script.command("fast n1")
    pass_time(script, 10)
    assert (raft.role, raft.term) == (Role.LEADER, 1)


def test_a_follower_whose_disk_hangs_does_not_stand_until_it_moves() -> None:
    script = led(3)
    script.command("slow n2")
    script.command("propose n1 a")
    script.command("stabilize")
    script.command("cut n2")
    pass_time(script, 5)
    raft = script.cluster.members[2].raft
    assert raft.role is Role.FOLLOWER
    script.command("fast n2")
    pass_time(script, 1)
    assert raft.role is Role.PRE_CANDIDATE


def test_a_follower_that_did_not_hear_the_resignation_waits_for_its_timeout() -> None:
    script = led(3)
    script.command("slow n1")
    script.command("propose n1 a")
    pass_time(script, 2)
    script.command("elapse 0.2 n1")
    script.command("lose n2")
    script.command("lose n3")
    old = pass_time(script, 10)
    assert old.leader in (2, 3)
