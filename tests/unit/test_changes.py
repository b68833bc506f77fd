"""From one configuration to the next."""

from __future__ import annotations

import json
from typing import Any

import pytest
from raftkv.errors import InvalidChangeError
from raftkv.raft.changes import Change, change, leave_joint
from raftkv.raft.configuration import Configuration, MemberRecord


def record(uid: int, id: int | None = None, **more: Any) -> MemberRecord:
    return MemberRecord(uid, id or uid, f"c{uid}:1", f"p{uid}:1", **more)


def cluster(*voters: int, learners: tuple[int, ...] = (), left: tuple[int, ...] = ()) -> Configuration:
    return Configuration(voters, (), learners, tuple(map(record, (*voters, *learners))), left)


def test_a_change_of_voters_is_joint_and_then_left() -> None:
    joint = change(cluster(1, 2, 3), Change(add=(record(4),), promote=(4,), remove=(1,)))
    assert (joint.voters, joint.outgoing, joint.left) == ((2, 3, 4), (1, 2, 3), ())
    assert joint.members == (1, 2, 3, 4)
    after = leave_joint(joint)
    assert (after.voters, after.outgoing, after.left) == ((2, 3, 4), (), (1,))
    assert [known.uid for known in after.records] == [2, 3, 4]


def test_learners_come_and_go_in_one_step() -> None:
    with_learner = change(cluster(1), Change(add=(record(2),)))
    assert (with_learner.voters, with_learner.outgoing, with_learner.learners) == ((1,), (), (2,))
    assert change(with_learner, Change(remove=(2,))) == cluster(1, left=(2,))


def test_a_lost_disk_and_its_successor_share_an_id_while_joint() -> None:
    joint = change(cluster(1, 2, 3), Change(add=(record(13, 3),), remove=(3,)))
    assert (joint.voters, joint.outgoing, joint.learners) == ((1, 2), (1, 2, 3), (13,))
    assert (joint.label(3), joint.label(13), joint.with_id(3)) == (3, 3, record(13, 3))
    assert Configuration.from_plain(json.loads(json.dumps(joint.to_plain()))) == joint
    promoted = leave_joint(change(leave_joint(joint), Change(promote=(13,))))
    assert (promoted.voters, promoted.left) == ((1, 2, 13), (3,))


def test_a_promoted_learner_is_not_held_any_more() -> None:
    waiting = change(cluster(1), Change(add=(record(2, held=True),)))
    assert waiting.record(2) == record(2, held=True)
    assert change(waiting, Change(promote=(2,))).record(2) == record(2)


def test_an_address_changes_at_once() -> None:
    moved = record(2)._replace(peer_address="elsewhere:2")
    assert change(cluster(1, 2), Change(update=(moved,))).record(2) == moved


@pytest.mark.parametrize(
    ("old", "wanted", "reason"),
    [
        (Configuration((1, 2), (1,)), Change(remove=(1,)), "another change is under way"),
        (cluster(1, 2), Change(remove=(3,)), "uid 3 is no member"),
        (cluster(1), Change(remove=(1,)), "nobody would be left to vote"),
        (cluster(1), Change(add=(record(1),)), "member 1 is a member already"),
        (cluster(1), Change(add=(record(2, 1),)), "there is a member 1 already"),
        (cluster(1, left=(2,)), Change(add=(record(2),)), "the disk of member 2 has left"),
        (cluster(1), Change(promote=(1,)), "member 1 is no learner"),
        (cluster(1), Change(update=(record(2),)), "member 2 is no member"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(old: Configuration, wanted: Change, reason: str) -> None:
    with pytest.raises(InvalidChangeError, match=reason):
        change(old, wanted)


def test_only_the_last_thousand_that_left_are_remembered() -> None:
    configuration = cluster(1, left=tuple(range(2, 1002)))
    after = change(change(configuration, Change(add=(record(5000),))), Change(remove=(5000,)))
    assert (len(after.left), after.left[0], after.left[-1]) == (1000, 3, 5000)


PLAIN = cluster(1, 2, learners=(3,), left=(9,)).to_plain()


@pytest.mark.parametrize(
    "damage",
    [
        None, 7, [], {}, {**PLAIN, "voters": None}, {**PLAIN, "voters": [1, 1]}, {**PLAIN, "voters": [0, 2]},
        {**PLAIN, "voters": [True, 2]}, {**PLAIN, "voters": [2**53, 2]}, {**PLAIN, "learners": [2]},
        {**PLAIN, "left": [3]}, {**PLAIN, "voters": [1]}, {**PLAIN, "records": [{}]},
        {**PLAIN, "records": [{**PLAIN["records"][0], "id": "1"}, *PLAIN["records"][1:]]},
        {**PLAIN, "records": [{**PLAIN["records"][0], "id": 2}, *PLAIN["records"][1:]]},
        {**PLAIN, "unknown": 1}, {"voters": []}, {"voters": [], "learners": [1]},
    ],
)  # fmt: skip
def test_plain_data_that_is_no_configuration_is_refused(damage: Any) -> None:
    with pytest.raises(ValueError):
        Configuration.from_plain(damage)


@pytest.mark.parametrize("configuration", [Configuration((1, 2)), cluster(1, 2, learners=(3,))])
def test_a_configuration_comes_back_from_json(configuration: Configuration) -> None:
    assert Configuration.from_plain(json.loads(json.dumps(configuration.to_plain()))) == configuration
