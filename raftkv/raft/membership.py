"""Membership: the leader's part in a change of the configuration (paper section 6, thesis 4.2.1).

One change at a time, and none before the leader's own no-op is committed: else two leaders could each commit
a change that the other does not know (Ongaro, "bug in single-server membership changes", 2015).

A learner is promoted when it has caught up. What it lacks is sent in rounds: a round ends when the learner
holds what the log held at its beginning. One that takes no longer than an election timeout shows that the
learner will not hold up the others when it votes.
"""

from __future__ import annotations

from raftkv.errors import InvalidChangeError
from raftkv.raft.changes import Change, change, leave_joint
from raftkv.raft.configuration import Configuration
from raftkv.raft.log import RaftLog


class Membership:
    """Of one leadership. Not thread-safe. `term_start`: the index of the leader's no-op. `longest_round_s`:
    seconds."""

    def __init__(self, id: int, log: RaftLog, term_start: int, longest_round_s: float) -> None:
        self._id, self._log, self._term_start, self._longest_round_s = id, log, term_start, longest_round_s
        self._rounds: dict[int, tuple[int, float]] = {}  # of each learner: its target, and when it began
        self._caught_up: set[int] = set()

    @property
    def is_changing(self) -> bool:
        """Is a change under way, or can that not be said yet?"""
        log = self._log
        return log.configuration.is_joint or log.commit < max(self._term_start, log.configuration_index)

    @property
    def has_left(self) -> bool:
        """Is the leader no voter any more, and is that committed? Until then it leads, and does not count
        itself (paper section 6)."""
        return self._id not in self._log.configuration.voters and not self.is_changing

    @property
    def caught_up(self) -> frozenset[int]:
        """The learners that have."""
        return frozenset(self._caught_up)

    def begin(self, wanted: Change) -> Configuration:
        """What is to be appended for `wanted`. Raises InvalidChangeError."""
        if self._log.commit < self._term_start:
            raise InvalidChangeError(
                "the leader is new, and does not know yet what is committed: try again", True
            )
        if self.is_changing:
            raise InvalidChangeError("another change of the members is under way: try again when it is done")
        return change(self._log.configuration, wanted)

    def next_step(self) -> Configuration | None:
        """What is to be appended now, since what was before is committed: the end of a change, or learners
        that have caught up become voters."""
        log, configuration = self._log, self._log.configuration
        if not (configuration.outgoing or self._caught_up):
            return None  # as nearly always
        if log.commit < max(self._term_start, log.configuration_index):
            return None
        if configuration.is_joint:
            return leave_joint(configuration)
        self._caught_up &= set(configuration.learners)
        ready = [uid for uid in sorted(self._caught_up) if not self._is_held(uid)]
        return change(configuration, Change(promote=tuple(ready))) if ready else None

    def learner_holds(self, uid: int, match: int, now: float) -> None:
        """The learner `uid` has acknowledged all up to `match`, at `now` (seconds)."""
        last = self._log.last_index
        target, began = self._rounds.setdefault(uid, (last, now))
        if match == last or (match >= target and now - began <= self._longest_round_s):
            self._caught_up.add(uid)
        if match >= target:
            self._rounds[uid] = (last, now)

    def _is_held(self, uid: int) -> bool:
        record = self._log.configuration.record(uid)
        return record is not None and record.held
