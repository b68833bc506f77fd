"""The paper's properties (figure 3), as checks that can run anywhere: under a node's mutex, in a simulator,
in tests.

check_state() looks at one node at one moment; check_delta() at one node at two moments; ClusterHistory and
check_log_matching() at all nodes of a simulated cluster. Each raises AssertionError with the values that
contradict each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import NamedTuple

from raftkv.errors import InvariantError
from raftkv.raft.changes import leave_joint
from raftkv.raft.configuration import Configuration
from raftkv.raft.core import Raft
from raftkv.raft.leadership import Leadership
from raftkv.raft.log import RaftLog
from raftkv.raft.progress import ProgressState
from raftkv.raft.types import Entry, Role


def check_state(raft: Raft) -> None:
    """What must hold of one node at any moment between two calls of its core."""
    log = raft.log
    if not (log.snapshot.index <= log.applied <= log.commit <= log.last_index):
        raise InvariantError(
            f"snapshot {log.snapshot.index} <= applied {log.applied} <= commit {log.commit} "
            f"<= last {log.last_index}"
        )
    if log.stable > log.last_index:
        raise InvariantError(f"stable {log.stable} <= last {log.last_index}")
    if (log.first_index, log.last_index) != (
        log.snapshot.index + 1,
        log.snapshot.index + len(log.entries),
    ):
        raise InvariantError(
            f"{log.first_index}..{log.last_index} for {len(log.entries)} entries after {log.snapshot}"
        )
    if log.entries:
        first, last = log.entries[0], log.entries[-1]
        if not (first.index == log.first_index and last.index == log.last_index):
            raise InvariantError("the log has a gap")
        if not (log.snapshot.term <= first.term <= last.term <= raft.term):
            raise InvariantError(
                f"terms go back: snapshot {log.snapshot.term}, entries {first.term}..{last.term}, now {raft.term}"
            )
    if raft.role in (Role.CANDIDATE, Role.LEADER) and raft.vote != raft.id:
        raise InvariantError(f"{raft.role.value} of term {raft.term} voted for {raft.vote}")
    known = log.configurations_from(log.commit)
    is_voter = any(raft.id in configuration.all_voters for configuration in known)
    if raft.role in (Role.PRE_CANDIDATE, Role.CANDIDATE) and not is_voter:
        raise InvariantError(f"it stands for election, and votes in none of {known}")
    if raft.role is not Role.LEADER:
        if raft.leader == raft.id:
            raise InvariantError("believes that it leads, but is no leader")
        if raft.leadership is not None:
            raise InvariantError(f"a {raft.role.value} with a leadership")
        return
    if raft.leader != raft.id:
        raise InvariantError(f"leads, but believes that {raft.leader} does")
    if raft.leadership is None:
        raise InvariantError("a leader without a leadership")
    _check_leadership(raft.leadership, raft)


def _check_leadership(leadership: Leadership, raft: Raft) -> None:
    log = raft.log
    if raft.id not in log.configuration.all_voters and log.configuration_index <= log.commit:
        raise InvariantError("it leads, though its removal is committed")
    others = {uid for uid in log.configuration.members if uid != raft.id}
    if set(leadership.progress) != others:
        raise InvariantError(
            f"it sends to {sorted(leadership.progress)}, and the members are {sorted(others)}"
        )
    for peer, progress in leadership.progress.items():
        if progress.match >= progress.next:
            raise InvariantError(f"node {peer}: match {progress.match} < next {progress.next}")
        if progress.match > log.last_index:
            raise InvariantError(f"node {peer} is said to hold {progress.match} > {log.last_index}")
        if progress.state is ProgressState.SNAPSHOT and progress.snapshot is None:
            raise InvariantError(f"node {peer} is sent a snapshot, but which?")


class Observation(NamedTuple):
    """What check_delta() must remember of a node."""

    term: int
    vote: int | None
    commit: int
    applied: int
    leads: bool
    last_index: int
    committed_term: int | None  # of the entry `commit`
    configuration: Configuration  # in force
    configuration_index: int


def observe(raft: Raft) -> Observation:
    log = raft.log
    return Observation(
        raft.term,
        raft.vote,
        log.commit,
        log.applied,
        raft.role is Role.LEADER,
        log.last_index,
        log.term(log.commit),
        log.configuration,
        log.configuration_index,
    )


def check_delta(before: Observation, raft: Raft, *, changes: bool = True) -> Observation:
    """What must hold from one moment of a node's life to a later one. Returns the later observation. `changes`: the
    rules for changes of the members, too; without them it shows what becomes of a cluster that breaks one."""
    after = observe(raft)
    if after.term < before.term:
        raise InvariantError(f"term went back from {before.term} to {after.term}")
    if after.commit < before.commit:
        raise InvariantError(f"commit went back from {before.commit} to {after.commit}")
    if after.applied < before.applied:
        raise InvariantError(f"applied went back from {before.applied} to {after.applied}")
    if after.term == before.term:
        if before.vote not in (None, after.vote):
            raise InvariantError(f"voted for {before.vote} and {after.vote} in term {after.term}")
        if before.leads and after.leads and after.last_index < before.last_index:
            raise InvariantError(f"a leader's log shrank from {before.last_index} to {after.last_index}")
        if changes and before.leads and after.leads:
            _check_one_change(before, after)
    term = raft.log.term(before.commit)
    if term not in (None, before.committed_term):
        raise InvariantError(f"committed entry {before.commit} changed its term to {term}")
    if changes and after.configuration != before.configuration:
        _check_change(raft.log)
    return after


def _check_one_change(before: Observation, after: Observation) -> None:
    """A leader goes on to the next configuration only when the one before is committed, and an entry of its own
    term (Ongaro, 2015)."""
    if before.configuration_index >= after.configuration_index:
        return
    if after.configuration_index > after.commit and (after.committed_term or 0) < after.term:
        raise InvariantError(
            f"entry {after.configuration_index} changes the members, and nothing of term {after.term} is committed"
        )
    if after.commit < before.configuration_index:
        raise InvariantError(
            f"entry {after.configuration_index} changes the members, and entry {before.configuration_index}, which "
            f"changed them, is not committed: commit is {after.commit}"
        )


def _check_change(log: RaftLog) -> None:
    """The voters change by way of a joint configuration (paper section 6). Looks at the newest change in the log."""
    at, new = log.configuration_index, log.configuration
    if at <= log.snapshot.index:
        return  # what was before is in no log
    old = log.configuration_at(at - 1)
    if not old.voters or new.recovered != old.recovered:
        return  # the first one of a cluster
    if old.is_joint:
        expected = leave_joint(old)
        if (new.voters, new.outgoing) != (expected.voters, ()):
            raise InvariantError(f"{old} is followed by {new}, and not by {expected}")
    elif new.voters != old.voters and new.outgoing != old.voters:
        raise InvariantError(f"{old} is followed by {new}, which is not joint")


class ClusterHistory:
    """Election safety, log matching, leader completeness and state-machine safety over a cluster's whole
    life.

    It remembers every leader, every entry and every committed entry that it was ever shown.
    """

    def __init__(self) -> None:
        self.leaders: dict[int, int] = {}  # term -> node
        self.committed: dict[int, tuple[int, bytes]] = {}  # index -> (term, line)
        self._committed_in: dict[int, int] = {}  # index -> term of the leader that committed it
        self._checked: dict[int, int] = {}  # node -> committed entries seen up to here
        self._entries: dict[
            tuple[int, int], tuple[int | None, bytes]
        ] = {}  # index, term -> term before, line
        self._logs: dict[int, tuple[int, dict[int, Entry]]] = {}  # node -> its log when seen: last index, all

    def check(self, rafts: Iterable[Raft]) -> None:
        """Look at the live nodes of the cluster, of which those that lead or commit are remembered."""
        for raft in rafts:
            if raft.role is Role.LEADER:
                other = self.leaders.setdefault(raft.term, raft.id)
                if other != raft.id:
                    raise InvariantError(f"nodes {other} and {raft.id} both led term {raft.term}")
            self._check_entries(raft)
            self._check_committed(raft)

    def restarted(self, node: int) -> None:
        """`node` begins again from its disk: its log is looked at from its beginning."""
        self._checked.pop(node, None)
        self._logs.pop(node, None)

    def check_leader_completeness(self, raft: Raft) -> None:
        """A leader holds every entry that was committed in an earlier term (which need not be the entry's: a
        candidate may win an old term late, when a later one has committed entries of a still older one).
        Costly; call it at each election."""
        for index, (term, line) in self.committed.items():
            if self._committed_in[index] < raft.term and index >= raft.log.first_index:
                entry = (
                    raft.log.entries[index - raft.log.first_index] if index <= raft.log.last_index else None
                )
                if not (entry is not None and entry.line == line):
                    raise InvariantError(
                        f"the leader of term {raft.term}, node {raft.id}, lacks the committed entry "
                        f"{index}@{term}"
                    )

    def _check_entries(self, raft: Raft) -> None:
        """Log matching: an index and a term stand for one entry, after one of one term. So two logs that
        agree at an index and a term agree in all before it. Looks at what is new in this log."""
        log = raft.log
        last, seen = self._logs.get(raft.id, (0, {}))
        self._logs[raft.id] = log.last_index, seen
        for index in range(log.last_index + 1, last + 1):
            seen.pop(index, None)
        for index in range(log.last_index, log.snapshot.index, -1):
            entry = log.entries[index - log.first_index]
            if seen.get(index) is entry:
                break
            seen[index] = entry
            found = (log.term(index - 1), entry.line)
            known = self._entries.setdefault((index, entry.term), found)
            if known != found:
                raise InvariantError(
                    f"node {raft.id} has {entry} {entry.line!r} after an entry of term {found[0]}, where another "
                    f"log had {known[1]!r} after one of term {known[0]}"
                )

    def _check_committed(self, raft: Raft) -> None:
        """State-machine safety: no two nodes ever commit different entries at one index."""
        log = raft.log
        start = max(self._checked.get(raft.id, 0) + 1, log.first_index)
        for entry in log.slice(start, log.commit) if start <= log.commit else ():
            known = self.committed.setdefault(entry.index, (entry.term, entry.line))
            self._committed_in.setdefault(entry.index, raft.term)  # whoever commits it first leads
            if known != (entry.term, entry.line):
                raise InvariantError(
                    f"node {raft.id} committed {entry} where another committed {entry.index}@{known[0]}"
                )
        self._checked[raft.id] = max(log.commit, self._checked.get(raft.id, 0))


def check_log_matching(rafts: list[Raft]) -> None:
    """If two logs hold an entry of the same index and term, they are equal up to it. Costly; a spot check."""
    for one, other in combinations(rafts, 2):
        low = max(one.log.first_index, other.log.first_index)
        high = min(one.log.last_index, other.log.last_index)
        agreed = False
        for index in range(high, low - 1, -1):
            a = one.log.entries[index - one.log.first_index]
            b = other.log.entries[index - other.log.first_index]
            agreed = agreed or a.term == b.term
            if not (not agreed or a.line == b.line):
                raise InvariantError(f"nodes {one.id} and {other.id} differ at {a} / {b}, but agree after it")
