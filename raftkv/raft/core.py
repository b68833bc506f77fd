"""Raft: the consensus algorithm of one node, as a deterministic state machine.

What goes in: `step(message)`, `tick(now)`, `propose(batch)`, `read_index(context)`. What comes out: `ready()`
hands over everything there is to do, in a Ready; whoever drives the core does it, in the order that Ready
describes, and calls `advance(ready)` when the disk part is done; how long that takes says how the disk is.
There is no I/O here, no clock (time comes in as a number of seconds), no thread, and chance is the
random.Random that is handed in. The same inputs give the same outputs, which is what lets a simulator run
years of faults in minutes.

In here: terms and elections (5.1, 5.2, 5.4.1). What a leader does is in leadership.py, what a follower does
in following.py. Section numbers are those of the Raft paper (extended version) and, where so said, of
Ongaro's thesis.
Not thread-safe: RaftNode holds its mutex round every call.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, Callable

from raftkv.errors import InvariantError, NotLeaderError, ProtocolError
from raftkv.raft.changes import Change
from raftkv.raft.configuration import Configuration
from raftkv.raft.following import FROM_LEADER, Following
from raftkv.raft.leadership import Leadership
from raftkv.raft.log import RaftLog
from raftkv.raft.messages import (
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Message,
    PreVoteReply,
    RequestPreVote,
    RequestVote,
    Resigned,
    StaleTerm,
    TimeoutNow,
    VoteReply,
)
from raftkv.raft.output import Output
from raftkv.raft.progress import Progress
from raftkv.raft.quorum import VoteResult, vote_result
from raftkv.raft.ready import Ready
from raftkv.raft.types import CONFIG, MAX_TERM_LEAP, Entry, HardState, Options, Role, Snapshot


class Raft:
    """One node's part in the consensus. Create it from what its disk holds."""

    def __init__(
        self,
        id: int,
        log: RaftLog,
        hard_state: HardState = HardState(),  # noqa: B008 (immutable)
        *,
        rng: random.Random,
        now: float = 0.0,
        options: Options = Options(),  # noqa: B008 (immutable)
    ) -> None:
        self.id = id
        self.log = log
        self.options = options
        self.now = now
        self.term = hard_state.term
        self.vote = hard_state.vote
        self.role = Role.FOLLOWER
        self.role_reason = "started"
        self.leader: int | None = None
        self.latest_snapshot: Snapshot | None = log.snapshot if log.snapshot.index else None
        self.leadership: Leadership | None = None  # not None exactly while `role` is LEADER
        self._rng = rng
        self._votes: dict[int, bool] = {}
        self._leader_heard = float("-inf")  # when a message of the current leader last arrived
        self._writes = 0  # what was handed out for the disk and is not durable
        self._disk_moved = now  # when the oldest of these came to be the oldest
        self._overtaken_since: float | None = None  # see _is_overtaken()
        self.is_removed = False  # it was told that its removal is committed, see note_removal()
        self.lost: str | None = None  # what shows that the disk has lost something that was acknowledged
        self._output = Output(log, hard_state)
        self._send, self._promise = self._output.send, self._output.promise
        self.following = Following(id, log, self._output)
        self._election_deadline = 0.0
        self._reset_election_timer()
        if set(self.configuration.all_voters) == {id}:
            self._election_deadline = now  # there is nobody to be heard, nor to be collided with

    # -- what others may ask ---------------------------------------------------------------------------------

    @property
    def configuration(self) -> Configuration:
        """The newest one in the log, committed or not: it is in force (thesis 4.1)."""
        return self.log.configuration

    @property
    def progress(self) -> Mapping[int, Progress]:
        """What this node, while it leads, knows of each follower."""
        return {} if self.leadership is None else self.leadership.progress

    @property
    def hard_state(self) -> HardState:
        return HardState(self.term, self.vote)

    @property
    def leader_id(self) -> int | None:
        """The label of the leader; None if there is none, or one that this node has no record of."""
        return self.configuration.label(self.leader) if self.leader in self.configuration.members else None

    @property
    def may_campaign(self) -> bool:
        """Only a removal that is committed ends that: another one may be undone by the next leader, or may need this
        node's log to be committed (thesis 4.2.2). A node that has just started does not know that anything is."""
        if self.is_removed:
            return False
        configurations = self.log.configurations_from(self.log.commit)
        return any(self.id in configuration.all_voters for configuration in configurations)

    @property
    def disk_hangs(self) -> bool:
        """Has the disk finished nothing for an election timeout, though it was given something to write?"""
        return self._writes > 0 and self.now >= self._disk_moved + self.options.election_timeout_s

    def get_state(self) -> tuple[int, bool]:
        """(current term, whether this node believes it is the leader): the original's GetState."""
        return self.term, self.role is Role.LEADER

    # -- input: time -----------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Time is now `now` seconds (of a clock that never goes back). Call it several times a heartbeat
        interval."""
        self.now = max(self.now, now)
        if self.lost is not None:
            return
        if self.leadership is not None:
            if self._is_overtaken():
                self._step_aside()
                return
            reason = self.leadership.tick(self.now)
            if reason is not None:
                self._become_follower(self.term, None, reason)
        elif self.now >= self._election_deadline and not self.disk_hangs:
            if self.may_campaign:
                self._become_pre_candidate()
            else:
                self._reset_election_timer()

    def lost_contact(self, peer: int) -> None:
        """The connection from `peer` broke: a hint, never proof. A leader's death is noticed without the
        timeout.

        Safe whatever the truth is: the other voters are still asked, and refuse while they hear the leader.
        All followers learn it at the same moment, so they take turns, by id: who wins has won before the next
        one begins, and votes are not split.
        """
        if peer == self.leader and self.role is Role.FOLLOWER:
            self._leader_heard = float("-inf")
            self._stand_in_turn(0.2, [voter for voter in self.configuration.all_voters if voter != peer])
        elif self.leadership is not None:
            self.leadership.lost_contact(peer)

    def gathered(self) -> None:
        """This node has started, and is now connected with a majority of the voters: a hint, as a lost contact is. If
        all were stopped, none of them leads, and the timeout is waited for in vain. A leader is heard before."""
        if self.leader is None and self.role is Role.FOLLOWER:
            self._stand_in_turn(1.2, self.configuration.all_voters)

    def _stand_in_turn(self, after: float, voters: Sequence[int]) -> None:
        """Begin an election `after` heartbeat intervals, or later if voters with lower ids come before."""
        turn = sum(self._label(voter) < self._label(self.id) for voter in voters)
        wait = after + 0.5 * turn + self._rng.uniform(0.0, 0.2)
        soon = self.now + wait * self.options.heartbeat_interval_s
        self._election_deadline = min(self._election_deadline, soon)

    def _reset_election_timer(self) -> None:
        timeout = self.options.election_timeout_s
        self._election_deadline = self.now + self._rng.uniform(timeout, 2 * timeout)

    def _leader_is_alive(self) -> bool:
        """Has this node heard from a leader within the least election timeout? Then it helps nobody to depose
        it (paper section 6, thesis 4.2.3)."""
        if self.role is Role.LEADER:
            return True  # tick() would have ended that had a majority gone
        return self.leader is not None and self.now < self._leader_heard + self.options.election_timeout_s

    # -- input: what this node's member learns beside the messages --------------------------------------------

    def found(self, configuration: Configuration) -> None:
        """Begin a cluster that is this server alone. Its disk is empty; `configuration` becomes the first entry.

        Raises InvariantError if it has a log already, or is not the one voter.
        """
        if self.log.last_index or self.role is not Role.FOLLOWER or configuration.voters != (self.id,):
            raise InvariantError(f"{configuration} cannot be founded at entry {self.log.last_index}")
        # It has won when its vote is durable, and the entry.
        self._become_candidate("it founds a new cluster")
        self.log.append([Entry.create(1, self.term, CONFIG, configuration.to_plain())])

    def note_removal(self) -> None:
        """A member says that the removal of this one is committed; it is not in this node's log, perhaps."""
        self.is_removed = True
        if self.role in (Role.PRE_CANDIDATE, Role.CANDIDATE):
            self._become_follower(self.term, None, "it was removed from the cluster")

    def note_room(self, is_short: bool) -> None:
        """Is this node's disk full, but for what is kept for deletes and votes? Its leader is told: at once, and not
        with the answer to the next heartbeat, until which it would send more."""
        was_short, self.following.is_short_of_room = self.following.is_short_of_room, is_short
        if is_short and not was_short and self.leader is not None and self.leader != self.id:
            self._send(HeartbeatReply(self.id, self.leader, self.term, 0, True))

    @property
    def short_of_room(self) -> tuple[int, ...]:
        """The live voters, by id, that have no room for data to grow, as far as this leader knows; () if it
        does not lead."""
        if self.leadership is None:
            return ()
        own = [self.id] if self.following.is_short_of_room else []
        return tuple(sorted(map(self._label, own + self.leadership.short_of_room)))

    # -- input: clients --------------------------------------------------------------------------------------

    def start(self, command: Any) -> tuple[int, int]:
        """Propose one command: the original's Start. Returns (index, term), as propose() does."""
        return self.propose([command])

    def propose(self, batch: Sequence[Any]) -> tuple[int, int]:
        """Append one entry for each command (plain JSON data) and begin to replicate them.

        Returns (index of the first, term); the others follow it without a gap. That is no promise: each is
        committed only when an entry of that index and that term is handed out in Ready.committed.
        Raises NotLeaderError, or OverloadedError when too much is waiting; then nothing was appended.
        """
        if self.leadership is None:
            raise NotLeaderError(self.leader_id)
        return self.leadership.propose(batch), self.term

    def propose_configuration(self, wanted: Change) -> int:
        """Begin to change the members. Returns the index of the first entry of the change.

        The change is done when the newest configuration is not joint and is committed; the steps to there are
        this leader's, or those of the next ones. Raises NotLeaderError, or InvalidChangeError with the reason.
        """
        if self.leadership is None:
            raise NotLeaderError(self.leader_id)
        return self.leadership.propose_configuration(wanted)

    def transfer_leadership(self, to: int | None = None) -> int:
        """Hand the leadership to the voter `to`, or to the one that holds most (thesis 3.10). Returns its uid.

        No proposal is taken meanwhile. It is given up after an election timeout. Raises NotLeaderError, or
        InvalidChangeError if there is no such voter.
        """
        if self.leadership is None:
            raise NotLeaderError(self.leader_id)
        return self.leadership.transfer(to)

    def read_index(self, context: Any) -> None:
        """Ask for the right to read: `context` comes back in Ready.reads with the index that must be applied
        first.

        Linearizable without a log entry: the commit index of now, once a majority has confirmed, in a round
        of heartbeats begun after this call, that this node still leads (thesis 6.4). Reads that arrive during
        a round share the next one. When leadership ends, the context comes back in Ready.lost_reads. Raises
        NotLeaderError.
        """
        if self.leadership is None:
            raise NotLeaderError(self.leader_id)
        self.leadership.read_index(context)

    # -- input: messages -------------------------------------------------------------------------------------

    def step(self, message: Message) -> None:
        """Take in a message of another node.

        Raises ProtocolError for one that no correct node can have sent; nothing of it is taken in then, but
        its term.
        """
        if message.to != self.id or self.lost is not None:
            return
        if message.term > self.term:
            if message.term - self.term > MAX_TERM_LEAP:
                raise ProtocolError(f"it is at term {message.term}, and this node only at {self.term}")
            if isinstance(message, RequestPreVote):
                pass  # asks about a term that nobody has begun
            elif isinstance(message, RequestVote) and self._leader_is_alive() and not message.is_transfer:
                return  # a server that was removed or cut off must not depose a working leader (thesis 4.2.3)
            else:
                leader = message.sender if isinstance(message, FROM_LEADER) else None
                self._become_follower(
                    message.term, leader, f"{self._name(message.sender)} is at term {message.term}"
                )
        elif message.term < self.term and not isinstance(
            message, PreVoteReply
        ):  # which names the term it is about
            self._answer_stale(message)
            return
        if isinstance(message, FROM_LEADER):
            self._check_leader(message.sender)
            self.following.check(message)
            self._hear_leader(message.sender)
            if type(message) is Heartbeat:
                self.lost = self.following.what_is_lost(message)
                if self.lost is not None:
                    return
            self.following.step(message)
            return
        if self.leadership is not None:
            self.leadership.step(message)
            self._leave_if_removed()
        if type(message) in _STEP:
            _STEP[type(message)](self, message)

    def _answer_stale(self, message: Message) -> None:
        """Tell a sender that lives in the past; its answers, though, are answers to nobody."""
        if isinstance(message, RequestVote):
            self._promise(VoteReply(self.id, message.sender, self.term, False))
        elif isinstance(message, RequestPreVote):
            self._promise(PreVoteReply(self.id, message.sender, self.term, message.term + 1, False))
        elif isinstance(message, FROM_LEADER):
            self._promise(StaleTerm(self.id, message.sender, self.term))

    # -- elections (5.2, 5.4.1; thesis 4.2.3, 9.6) -----------------------------------------------------------

    def _become_follower(self, term: int, leader: int | None, reason: str) -> None:
        if term < self.term:
            raise InvariantError(f"term would go back from {self.term} to {term}")
        if term > self.term:
            self.term, self.vote = term, None
        if self.role is not Role.FOLLOWER:
            self._set_role(Role.FOLLOWER, reason)
        self.leader = leader
        self._votes = {}
        if self.leadership is not None:
            self._output.lost_reads += self.leadership.end()
            self.leadership = None
        self._reset_election_timer()

    def _is_overtaken(self) -> bool:
        """Have the others, for an election timeout, made up a majority without this leader's disk, which has
        finished nothing meanwhile? Were it the same with their disks, they would have committed nothing; so
        leadership does not circle when all disks hang together."""
        if self.log.commit <= self.log.stable:
            self._overtaken_since = None
        elif self._overtaken_since is None:
            self._overtaken_since = self.now
        since = self._overtaken_since
        return since is not None and self.now >= since + self.options.election_timeout_s

    def _step_aside(self) -> None:
        """One of the others should lead. Until its disk moves, this node does not stand again: see tick()."""
        for peer in self._others():
            self._send(Resigned(self.id, peer, self.term))
        self._become_follower(self.term, None, "its disk hangs, and those of a majority do not")

    def _leave_if_removed(self) -> None:
        """A leader that is no member any more ends its leadership when that is committed (paper section 6)."""
        if self.leadership is not None and self.leadership.has_left:
            self.leadership.resign()
            self._become_follower(self.term, None, "it was removed from the cluster")

    def _become_pre_candidate(self) -> None:
        """Ask who would vote for this node, before a term is spent on it: a node that cannot win must not
        disturb those that can (thesis 9.6)."""
        self._set_role(Role.PRE_CANDIDATE, "no leader was heard in time")
        self.leader = None
        self._reset_election_timer()
        self._votes = {self.id: True}
        for peer in self._others():
            self._send(RequestPreVote(self.id, peer, self.term, self.log.last_index, self.log.last_term))
        self._count_votes()

    def _become_candidate(self, reason: str, is_transfer: bool = False) -> None:
        """5.2. The vote for itself counts when it is durable, see advance(). The requests wait for that, too; those
        of a transfer, for which clients wait, only if what they say of the log is not durable yet. One that is sent
        and forgotten in a crash harms nobody: nobody leads before its own vote is durable, so this node has written
        nothing in that term, and whom it votes for when it is back needs the votes of others."""
        self.term, self.vote = self.term + 1, self.id
        self._set_role(Role.CANDIDATE, reason)
        self.leader = None
        self._reset_election_timer()
        self._votes = {}
        last_index, last_term = self.log.last_index, self.log.last_term
        send = self._send if is_transfer and self.log.stable == last_index else self._promise
        for peer in self._others():
            send(RequestVote(self.id, peer, self.term, last_index, last_term, is_transfer))

    def _become_leader(self) -> None:
        self._set_role(
            Role.LEADER,
            f"elected by {sorted(self._label(v) for v, granted in self._votes.items() if granted)}",
        )
        self.leader, self._overtaken_since = self.id, None
        self.leadership = Leadership(
            self.id, self.term, self.log, self.options, self._send, self.latest_snapshot, self.now
        )

    def _set_role(self, role: Role, reason: str) -> None:
        self.role, self.role_reason = role, reason

    def _others(self) -> list[int]:
        return [voter for voter in self.configuration.all_voters if voter != self.id]

    def _label(self, uid: int) -> int:
        return self.configuration.label(uid)

    def _name(self, uid: int) -> str:
        return f"node {self._label(uid)}"

    def _count_votes(self) -> None:
        result = vote_result(self.configuration, self._votes)
        if result is VoteResult.LOST:
            self._become_follower(self.term, None, "a majority refused its vote")
        elif result is VoteResult.WON:
            if self.role is Role.PRE_CANDIDATE:
                self._become_candidate(f"a majority would vote for it in term {self.term + 1}")
            elif self.id in self._votes:  # so its term is durable: after a crash it could lead it again
                self._become_leader()

    def _step_request_pre_vote(self, m: RequestPreVote) -> None:
        """Not asked is whether this node is a voter, here or below: who counts is decided by the configuration of
        who counts. A learner that was promoted may not know it yet; were it to refuse, two of three might elect
        nobody."""
        granted = not self._leader_is_alive() and self.log.is_up_to_date(m.last_index, m.last_term)
        self._promise(PreVoteReply(self.id, m.sender, self.term, m.term + 1, granted))

    def _step_pre_vote_reply(self, m: PreVoteReply) -> None:
        if self.role is Role.PRE_CANDIDATE and m.campaign_term == self.term + 1:
            self._votes[m.sender] = m.granted
            self._count_votes()

    def _step_request_vote(self, m: RequestVote) -> None:
        """One vote a term, first come first served, for a log at least as complete (5.2, 5.4.1)."""
        free = self.vote == m.sender or (self.vote is None and self.leader is None)
        granted = free and self.log.is_up_to_date(m.last_index, m.last_term)
        if granted:
            self.vote = m.sender
            self._reset_election_timer()
        self._promise(VoteReply(self.id, m.sender, self.term, granted))

    def _step_timeout_now(self, m: TimeoutNow) -> None:
        """The leader wants this node to lead, which holds all that it does (thesis 3.10)."""
        if self.role is Role.FOLLOWER and self.may_campaign and not self.disk_hangs:
            self._become_candidate(f"{self._name(m.sender)} hands the leadership to it", is_transfer=True)

    def _step_vote_reply(self, m: VoteReply) -> None:
        if self.role is Role.CANDIDATE:
            self._votes[m.sender] = m.granted
            self._count_votes()

    def _check_leader(self, leader: int) -> None:
        """There is at most one leader a term (5.2). Raises ProtocolError if `leader` would be another one."""
        if self.leader is not None and self.leader != leader:
            one, other = self._label(self.leader), self._label(leader)
            raise ProtocolError(f"nodes {one} and {other} both lead term {self.term}")

    def _step_resigned(self, m: Resigned) -> None:
        self.lost_contact(m.sender)  # it is as good as gone

    def _hear_leader(self, leader: int) -> None:
        """A message of this term's leader: whoever campaigned in this term has lost (5.2)."""
        if self.role is not Role.FOLLOWER:
            self._become_follower(self.term, leader, f"{self._name(leader)} leads term {self.term}")
        self.leader, self._leader_heard = leader, self.now
        self._reset_election_timer()

    # -- snapshots (section 7) -------------------------------------------------------------------------------

    def chunk_stored(self, chunk: InstallSnapshot, offset: int, installed: bool) -> None:
        """`offset` bytes of the chunk's snapshot are held now. `installed`: it is complete, its checksum is
        right, and it is this node's durable snapshot."""
        if self.following.chunk_stored(chunk, offset, installed, self.term):
            self.latest_snapshot = chunk.snapshot

    def compact(self, snapshot: Snapshot, most: int | None = None) -> bool:
        """A snapshot of this node's own state machine is durable: the entries up to it are let go of, but for
        those that a leader keeps for its followers.

        Not more than `most` at a time: to free a million entries takes long. Returns whether there are more.
        """
        if self.latest_snapshot is not None and snapshot.index < self.latest_snapshot.index:
            return False  # it was written so slowly that a newer one was received meanwhile
        self.latest_snapshot = snapshot
        index = snapshot.index
        if self.leadership is not None:
            index = self.leadership.compacted(snapshot)
        end = index if most is None else min(index, self.log.first_index - 1 + most)
        self.log.compact(end)
        return end < index

    def snapshot_unreadable(self, peer: int, snapshot: Snapshot) -> None:
        """The snapshot being sent to `peer` is not there any more: begin again with the latest."""
        if self.leadership is not None:
            self.leadership.snapshot_unreadable(peer, snapshot)

    # -- output ----------------------------------------------------------------------------------------------

    @property
    def has_ready(self) -> bool:
        leadership = self.leadership
        return (
            self._output.is_waiting
            or (leadership is not None and bool(leadership.reads.confirmed))
            or self._hard_state_is_new
        )

    @property
    def _hard_state_is_new(self) -> bool:
        return (self.term, self.vote) != self._output.hard_state

    def ready(self) -> Ready:
        """Take out everything there is to do. Each thing is handed out once."""
        reads = [] if self.leadership is None else self.leadership.reads.take_confirmed()
        ready = self._output.take(self.hard_state if self._hard_state_is_new else None, reads)
        if ready.needs_disk:
            if not self._writes:
                self._disk_moved = self.now
            self._writes += 1
        return ready

    def advance(self, ready: Ready) -> None:
        """The disk part of `ready` is durable (and of every Ready before it)."""
        if ready.needs_disk:
            self._writes, self._disk_moved = self._writes - 1, self.now
            self._overtaken_since = None
        if ready.entries:
            self.log.stable_to(ready.entries[-1])
            if self.leadership is not None:
                self.leadership.maybe_commit()
                self._leave_if_removed()
        if (
            ready.hard_state is not None
            and self.role is Role.CANDIDATE
            and ready.hard_state.term == self.term
        ):
            self._votes[self.id] = True  # its own vote counts now that it cannot be forgotten
            self._count_votes()

    def applied_to(self, index: int) -> None:
        """The state machine has applied everything up to `index`."""
        self.log.applied_to(max(index, self.log.applied))


_STEP: dict[type, Callable[[Raft, Any], None]] = {
    RequestPreVote: Raft._step_request_pre_vote,
    PreVoteReply: Raft._step_pre_vote_reply,
    RequestVote: Raft._step_request_vote,
    VoteReply: Raft._step_vote_reply,
    TimeoutNow: Raft._step_timeout_now,
    Resigned: Raft._step_resigned,
}  # StaleTerm has done its work through its term
