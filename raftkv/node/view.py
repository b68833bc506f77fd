"""View: what a node knows of the members at one moment."""

from __future__ import annotations

from typing import NamedTuple

from raftkv.raft.configuration import Configuration
from raftkv.raft.core import Raft


class View(NamedTuple):
    """`leader` is a uid; `silent`: uid -> for how many seconds a leader has not heard that member; `lost`: see Raft.lost.
    `match`: up to where a leader knows that others hold the log; `caught_up`: the learners that have."""

    configuration: Configuration
    committed: Configuration
    leader: int | None
    leads: bool
    is_changing: bool
    silent: dict[int, float]
    lost: str | None
    last_index: int
    match: dict[int, int]
    caught_up: frozenset[int]

    def silent_s(self, uid: int) -> float:
        return self.silent.get(uid, 0.0)


def view_of(raft: Raft) -> View:
    """With the node's mutex held."""
    log, leadership = raft.log, raft.leadership
    return View(
        log.configuration,
        log.configuration_at(log.commit),
        raft.leader,
        leadership is not None,
        leadership is not None and leadership.is_changing,
        {uid: raft.now - progress.last_heard for uid, progress in raft.progress.items()},
        raft.lost,
        log.last_index,
        {uid: progress.match for uid, progress in raft.progress.items()},
        leadership.caught_up if leadership is not None else frozenset(),
    )


def role_of(raft: Raft) -> str:
    """As `status` has it. With the node's mutex held."""
    if raft.is_removed:
        return "removed"
    if not raft.configuration.voters:
        return "joining"
    return "learner" if raft.id in raft.configuration.learners else raft.role.value
