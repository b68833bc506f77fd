"""Changes of the configuration, as pure functions: what comes after what.

    C_old ──change()──▶ C_old,new (joint) ──leave_joint()──▶ C_new          if the voters change
    C_old ──change()──▶ C_new                                               if they do not
    C_old ──alone()──▶ C_new of another cluster                             when the majority is lost for good

A joint configuration is needed for each change of voters, also for that of one: it is as safe, and one way for
all changes is simpler than two (paper section 6). One that only adds, removes or renames learners takes effect
at once, since learners are in no majority.
"""

from __future__ import annotations

from typing import NamedTuple

from raftkv.errors import InvalidChangeError
from raftkv.raft.configuration import MAX_LEFT, Configuration, MemberRecord


class Change(NamedTuple):
    """What is to be different; all of it takes effect together. Others than `add` and `update` are uids."""

    add: tuple[MemberRecord, ...] = ()  # new members, as learners
    promote: tuple[int, ...] = ()  # learners, also new ones, that are to vote
    remove: tuple[int, ...] = ()
    update: tuple[MemberRecord, ...] = ()  # members with other addresses, or another `held`


def change(old: Configuration, wanted: Change) -> Configuration:
    """The configuration that begins `wanted`. Raises InvalidChangeError, with a sentence."""
    if old.is_joint:
        raise InvalidChangeError("another change is under way")
    records = {record.uid: record for record in old.records}
    voters, learners = set(old.voters), set(old.learners)
    for uid in wanted.remove:
        if uid not in voters | learners:
            raise InvalidChangeError(f"{_name(old, uid)} is no member")
        voters.discard(uid)
        learners.discard(uid)
    for record in wanted.add:
        _check_new(old, wanted, record)
        learners.add(record.uid)
        records[record.uid] = record
    for uid in wanted.promote:
        if uid not in learners:
            raise InvalidChangeError(f"{_name(old, uid)} is no learner")
        learners.discard(uid)
        voters.add(uid)
        if uid in records:
            records[uid] = records[uid]._replace(held=False)
    for record in wanted.update:
        if record.uid not in voters | learners:
            raise InvalidChangeError(f"member {record.id} is no member")
        records[record.uid] = record
    if not voters:
        raise InvalidChangeError("nobody would be left to vote")
    staying = voters | learners
    outgoing = old.voters if set(old.voters) != voters else ()
    known = {*staying, *outgoing}
    return Configuration(
        tuple(sorted(voters)),
        outgoing,
        tuple(sorted(learners)),
        tuple(record for record in records.values() if record.uid in known),
        _and_left(old, set(old.members) - known),
        old.cluster_id,
        recovered=old.recovered,
    )


def leave_joint(joint: Configuration) -> Configuration:
    """C_new: what `joint` leads to."""
    staying = {*joint.voters, *joint.learners}
    records = tuple(record for record in joint.records if record.uid in staying)
    left = _and_left(joint, set(joint.outgoing) - staying)
    return joint._replace(outgoing=(), records=records, left=left)


def alone(old: Configuration, survivor: MemberRecord, cluster_id: int, index: int) -> Configuration:
    """A cluster of one, from the disk of `survivor`, whatever it was in `old`. All the others have left: their disks
    do not come back. `index`: of the first entry that is not the old cluster's."""
    gone = set(old.members) - {survivor.uid}
    left = tuple(uid for uid in _and_left(old, gone) if uid != survivor.uid)
    return Configuration((survivor.uid,), (), (), (survivor,), left, cluster_id, recovered=index)


def _and_left(configuration: Configuration, gone: set[int]) -> tuple[int, ...]:
    return (*configuration.left, *sorted(gone))[-MAX_LEFT:]


def _check_new(old: Configuration, wanted: Change, record: MemberRecord) -> None:
    if record.uid in old.members:
        raise InvalidChangeError(f"member {record.id} is a member already")
    if record.uid in old.left:
        raise InvalidChangeError(
            f"the disk of member {record.id} has left this cluster: give it an empty one"
        )
    holder = old.with_id(record.id)
    if holder is not None and holder.uid not in wanted.remove:
        raise InvalidChangeError(f"there is a member {record.id} already")


def _name(configuration: Configuration, uid: int) -> str:
    record = configuration.record(uid)
    return f"uid {uid}" if record is None else f"member {record.id}"
