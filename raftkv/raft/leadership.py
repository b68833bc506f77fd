"""Leadership: what a node does while it leads, and all that it knows only then.

    replication   each follower is sent what it lacks; its answers move its Progress        5.3, section 7
    commitment    what a majority holds durably is committed, if it is of this term         5.3, 5.4.2
    heartbeats    they keep the followers from campaigning; check-quorum counts answers     5.2, thesis 6.2
    reads         they wait for a majority to confirm that this node still leads            thesis 6.4
    members       changes of the configuration, one step after the other (membership.py)    section 6
    transfer      a follower that holds everything is told to stand for election            thesis 3.10

It is made when an election is won and dropped when the leadership ends, whatever ends it. So nothing in here
can be of another term; terms and elections (core.py) need not know what is in here, nor this of them.

Section numbers are those of the Raft paper (extended version) and, where so said, of Ongaro's thesis.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Callable

from raftkv.errors import (
    InvalidChangeError,
    InvariantError,
    NotLeaderError,
    OverloadedError,
    ProtocolError,
)
from raftkv.raft.changes import Change
from raftkv.raft.configuration import Configuration
from raftkv.raft.log import RaftLog
from raftkv.raft.membership import Membership
from raftkv.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Message,
    SnapshotReply,
    TimeoutNow,
)
from raftkv.raft.progress import Progress, ProgressState
from raftkv.raft.quorum import quorum_value
from raftkv.raft.reads import ReadQueue
from raftkv.raft.types import COMMAND, CONFIG, NOOP, Entry, Options, Snapshot


class Leadership:
    """One node's leadership of one term. Not thread-safe."""

    def __init__(
        self,
        id: int,
        term: int,
        log: RaftLog,
        options: Options,
        send: Callable[[Message], None],
        snapshot: Snapshot | None,
        now: float,
    ) -> None:
        """Begin to lead `term`, with a no-op as its first entry (section 8). Messages go to `send`.
        `snapshot`: the newest that is durable here. `now`: seconds."""
        self._id, self._term, self._log, self._options, self._send = id, term, log, options, send
        self._now, self._snapshot = now, snapshot
        self.reads = ReadQueue()
        self._term_start = log.last_index + 1  # the index of the no-op
        self.progress: dict[int, Progress] = {}  # of each other member
        self.membership = Membership(id, log, self._term_start, options.election_timeout_s)
        self._transfer: tuple[int, float] | None = None  # to whom, and when it is given up
        self._is_founding = False
        self._heartbeat_due = now + options.heartbeat_interval_s
        self._prompt: list[int] = []  # the followers that a round of reads asks; see _ask_all()
        self._follow_configuration()
        self._round_at_tick = 0  # the round that was under way at the last tick
        self._append([Entry.create(self._term_start, term, NOOP, None)])

    def end(self) -> list[Any]:
        """Returns the contexts of the reads that nobody will answer now."""
        self.reads.clear()
        return self.reads.take_lost()

    # -- input: time, connections, clients -------------------------------------------------------------------

    def tick(self, now: float) -> str | None:
        """Time is now `now`. Returns why this node should lead no more, if it should not."""
        self._now = now
        if self._transfer is not None and now >= self._transfer[1]:
            self._transfer = None
        if not self.quorum_is_active:
            return "heard from no majority within the election timeout"
        under_way = self.reads.under_way
        late = under_way and under_way == self._round_at_tick and len(self._prompt) < len(self.progress)
        self._round_at_tick = under_way
        if late or now >= self._heartbeat_due:
            self._ask_all()
        return None

    @property
    def quorum_is_active(self) -> bool:
        """Has a majority been heard from within an election timeout? (thesis 6.2)"""
        return self.quorum_silent_s < self._options.election_timeout_s

    @property
    def quorum_silent_s(self) -> float:
        """For how many seconds no majority has been heard from."""
        heard = {peer: progress.last_heard for peer, progress in self.progress.items()}
        heard[self._id] = self._now
        return self._now - quorum_value(self._log.configuration, heard)

    @property
    def short_of_room(self) -> list[int]:
        """The followers that said so. One that is not heard must not hold up the others: it cannot say that it
        has room again."""
        alive_since = self._now - self._options.election_timeout_s
        return [
            peer
            for peer, progress in self.progress.items()
            if progress.is_short_of_room and progress.last_heard > alive_since
        ]

    def lost_contact(self, peer: int) -> None:
        """The connection from `peer` broke: what was under way to it may be lost."""
        progress = self.progress.get(peer)
        if progress is not None and progress.state is ProgressState.REPLICATE:
            progress.become_probe()
        if peer in self._prompt:
            self._prompt = list(self.progress)
            if self.reads.under_way:
                self._ask_all()

    def propose(self, batch: Sequence[Any]) -> int:
        """See Raft.propose(). Returns the index of the first."""
        if self._transfer is not None or self._is_founding:
            self._refuse()
        log = self._log
        # Either alone would not do: what is committed by others while this node's disk hangs piles up on its way
        # to the disk.
        pending_bytes = log.bytes_of(min(log.commit, log.stable) + 1, log.last_index)
        if pending_bytes > self._options.max_uncommitted_bytes:
            raise OverloadedError(
                f"{pending_bytes} bytes of proposals are waiting for this node and a majority to "
                "store them; try again later"
            )
        index, term, create = log.last_index + 1, self._term, Entry.create
        self._append([create(index + i, term, COMMAND, command) for i, command in enumerate(batch)])
        return index

    def _refuse(self) -> None:
        if self._is_founding:
            raise NotLeaderError(None)  # what the founder alone holds would be lost with its disk
        raise OverloadedError("the leadership is just being handed to another node; try again")

    def read_index(self, context: Any) -> None:
        """See Raft.read_index()."""
        if self._is_founding:
            self._refuse()
        self.reads.add(context)
        self._advance_reads()

    def propose_configuration(self, wanted: Change) -> int:
        """See Raft.propose_configuration(). Returns the index of the first entry of the change."""
        if self._transfer is not None:
            raise InvalidChangeError("the leadership is just being handed to another node: try again")
        return self._append_configuration(self.membership.begin(wanted))

    # -- input: messages of followers ------------------------------------------------------------------------

    def step(self, message: Message) -> None:
        """Take in an answer of a follower. Of any other message it takes note that its sender is alive."""
        progress = self.progress.get(message.sender)
        if progress is not None:
            progress.last_heard = self._now
            answer = _STEP.get(type(message))
            if answer is not None:
                answer(self, message, progress)

    def _step_append_accepted(self, m: AppendAccepted, progress: Progress) -> None:
        if m.match_index > self._log.last_index:
            raise ProtocolError(
                f"it acknowledges entry {m.match_index}, and the last one here is {self._log.last_index}"
            )
        if progress.accepted(m.match_index):
            self._give_time(progress)
            if m.match_index > self._log.commit:
                self.maybe_commit()
            if m.sender in self._log.configuration.learners:
                self.membership.learner_holds(m.sender, m.match_index, self._now)
                self._go_on_changing()
        self._replicate(m.sender, progress)
        if self._transfer is not None and self._transfer[0] == m.sender:
            self._hand_over(progress)

    def _step_append_rejected(self, m: AppendRejected, progress: Progress) -> None:
        retry_index, _ = self._log.find_conflict_by_term(m.hint_index, m.hint_term)
        if progress.rejected(m.prev_index, retry_index):
            self._replicate(m.sender, progress)

    def _step_heartbeat_reply(self, m: HeartbeatReply, progress: Progress) -> None:
        if m.round > self.reads.round:
            raise ProtocolError(f"it answers heartbeat round {m.round} before it was asked")
        # Not at each heartbeat's answer: rounds for reads come by the thousand, and a disk takes its time.
        overdue = self._now >= progress.answer_due
        progress.heartbeat_answered(m.round, overdue)
        progress.is_short_of_room = m.is_short_of_room
        self._replicate(m.sender, progress)
        if progress.state is ProgressState.REPLICATE and progress.match < self._log.last_index:
            if progress.next < self._log.first_index:  # the window is full, what follows it compacted away
                progress.become_probe()
                self._replicate(m.sender, progress)
            elif overdue:  # all is sent, or the window is full: is any of it lost?
                self._send_append(m.sender, progress, [])
        self._advance_reads()

    def _step_snapshot_reply(self, m: SnapshotReply, progress: Progress) -> None:
        if progress.received_chunk(m.snapshot_index, m.offset):
            self._replicate(m.sender, progress)

    # -- replication (5.3) -----------------------------------------------------------------------------------

    def _append(self, entries: list[Entry]) -> None:
        self._log.append(entries)
        for peer, progress in self.progress.items():
            self._replicate(peer, progress)

    def _replicate(self, peer: int, progress: Progress) -> None:
        """Send what `peer` lacks, as far as its window allows."""
        log = self._log
        while progress.state is not ProgressState.REPLICATE or progress.next <= log.last_index:
            if progress.paused:
                return
            if progress.state is ProgressState.SNAPSHOT:
                self._send_chunk(peer, progress)
            elif progress.next < log.first_index:
                snapshot = self._snapshot
                if snapshot is None:
                    raise InvariantError("entries are compacted away, but there is no snapshot")
                progress.become_snapshot(snapshot)
            else:
                most = self._options.max_append_bytes
                self._send_append(peer, progress, log.slice(progress.next, log.last_index, most))

    def _send_append(self, peer: int, progress: Progress, entries: list[Entry]) -> None:
        """An AppendEntries with `entries`, which begin at `progress.next`; without any it asks whether the
        logs agree there."""
        prev, log = progress.next - 1, self._log
        prev_term = log.term(prev)
        if prev_term is None:
            raise InvariantError(f"the term of entry {prev} is not known")
        self._send(AppendEntries(self._id, peer, self._term, prev, prev_term, tuple(entries), log.commit))
        progress.sent_entries(entries)
        if not entries or progress.state is ProgressState.PROBE:
            self._give_time(progress)

    def _send_chunk(self, peer: int, progress: Progress) -> None:
        if progress.snapshot is None:
            raise InvariantError(f"node {peer} is sent a snapshot, but which?")
        offset = progress.snapshot_offset
        self._send(InstallSnapshot(self._id, peer, self._term, progress.snapshot, offset, b"", False))
        progress.sent_chunk()
        self._give_time(progress)

    def _give_time(self, progress: Progress) -> None:
        """From now on it has a heartbeat interval for its next answer."""
        progress.answer_due = self._now + self._options.heartbeat_interval_s

    def _send_heartbeats(self, peers: Iterable[int]) -> None:
        for peer in peers:
            match = self.progress[peer].match
            commit = min(match, self._log.commit)  # never beyond what it is known to hold
            self._send(Heartbeat(self._id, peer, self._term, commit, self.reads.round, match))

    # -- snapshots (section 7) -------------------------------------------------------------------------------

    def compacted(self, snapshot: Snapshot) -> int:
        """`snapshot` is durable here. Returns up to which index the log may go, of the entries that it stands
        for.

        What a live follower still lacks is kept: one that lags a little would be sent the whole snapshot
        instead, and one that is just being sent a snapshot would need the next one at once. Not more than
        `max_kept_bytes`, though, however far behind a follower is.
        """
        self._snapshot = snapshot
        log, index = self._log, snapshot.index
        keep_after = index
        for held in sorted([progress.will_hold for progress in self._live_followers()], reverse=True):
            if held < log.snapshot.index:
                break  # what it and all that lag more need is gone already
            if held < keep_after:
                if log.bytes_of(held + 1, index) > self._options.max_kept_bytes:
                    break
                keep_after = held
        return keep_after

    def _live_followers(self) -> list[Progress]:
        """Those that were heard within an election timeout, and of which it is known what they need."""
        alive_since = self._now - self._options.election_timeout_s
        return [
            progress
            for progress in self.progress.values()
            if progress.last_heard > alive_since and progress.state is not ProgressState.PROBE
        ]

    def snapshot_unreadable(self, peer: int, snapshot: Snapshot) -> None:
        """The snapshot being sent to `peer` is not there any more: begin again with the latest."""
        progress, latest = self.progress.get(peer), self._snapshot
        if progress is not None and progress.snapshot == snapshot and latest is not None:
            progress.become_snapshot(latest)

    # -- commitment (5.3, 5.4.2) -----------------------------------------------------------------------------

    def maybe_commit(self) -> None:
        """Commit what a majority holds durably, if it is of this term: older entries are committed only
        through one of this term after them (5.4.2, figure 8)."""
        log = self._log
        held = {peer: progress.match for peer, progress in self.progress.items()}
        held[self._id] = log.stable
        index = int(quorum_value(self._log.configuration, held))
        if index > log.commit and log.term(index) == self._term:
            log.commit_to(index)
            self._advance_reads()
            self._go_on_changing()

    # -- reads (thesis 6.4) ----------------------------------------------------------------------------------

    def _advance_reads(self) -> None:
        """Release the reads whose round a majority has answered; begin the next round if others wait."""
        reads = self.reads
        if reads.empty or self._log.commit < self._term_start:
            return  # before its no-op is committed, a new leader does not know what is (section 8)
        if reads.under_way:
            self._confirm_round()
        if reads.begin_round(self._log.commit):
            self._send_heartbeats(self._prompt)
            if self._log.configuration.voters == (self._id,):
                self._confirm_round()  # it is its own majority

    def _confirm_round(self) -> None:
        """If a majority has answered the round under way, confirm its reads."""
        rounds = {peer: progress.round for peer, progress in self.progress.items()}
        rounds[self._id] = self.reads.round
        if self.reads.confirm(int(quorum_value(self._log.configuration, rounds))):
            self._prompt = [peer for peer in self.progress if rounds[peer] >= self.reads.round]

    def _ask_all(self) -> None:
        """Heartbeats to all, and with them the question of the round under way; the next round goes to all,
        too.

        Other rounds are asked of a bare majority, those whose answers made up the last one: another's answer
        comes too late for the reads, and costs both sides as much. Who is quick may change. So this is called
        at each heartbeat interval, and once when a round is not answered from one tick to the next or when
        the connection from one of the asked breaks. (If it breaks between two rounds, the next goes to all.)
        """
        self._heartbeat_due = self._now + self._options.heartbeat_interval_s
        self._prompt = list(self.progress)
        self._send_heartbeats(self._prompt)

    # -- members (section 6) ---------------------------------------------------------------------------------

    def _append_configuration(self, configuration: Configuration) -> int:
        """It is in force as soon as it is in the log (thesis 4.1)."""
        index = self._log.last_index + 1
        self._append([Entry.create(index, self._term, CONFIG, configuration.to_plain())])
        self._follow_configuration()
        return index

    def _follow_configuration(self) -> None:
        """Send to who has joined, and no more to who has left."""
        members, options = self._log.configuration.members, self._options
        # What is proposed once the change is in the log is committed by the others, too, as it is.
        self._is_founding = self._log.configuration.founding
        for peer in members:
            if peer != self._id and peer not in self.progress:
                self.progress[peer] = progress = Progress(
                    self._log.last_index + 1,
                    self._now,
                    options.max_inflight_appends,
                    options.max_inflight_bytes,
                )
                self._replicate(peer, progress)
        for peer in [peer for peer in self.progress if peer not in members]:
            del self.progress[peer]
        self._prompt = list(self.progress)

    @property
    def has_left(self) -> bool:
        """See Membership.has_left."""
        return self.membership.has_left

    @property
    def caught_up(self) -> frozenset[int]:
        """See Membership.caught_up."""
        return self.membership.caught_up

    @property
    def is_changing(self) -> bool:
        """See Membership.is_changing."""
        return self.membership.is_changing

    def _go_on_changing(self) -> None:
        """Begin the next step of a change as soon as the last one is committed."""
        if self._transfer is None:
            following = self.membership.next_step()
            if following is not None:
                self._append_configuration(following)

    # -- transfer (thesis 3.10) ------------------------------------------------------------------------------

    @property
    def is_transferring(self) -> bool:
        return self._transfer is not None

    def transfer(self, to: int | None) -> int:
        """See Raft.transfer_leadership()."""
        target = self._successor() if to is None else to
        if target is None or target not in self.progress or target not in self._log.configuration.voters:
            raise InvalidChangeError("there is no other voter to hand the leadership to")
        self._transfer = target, self._now + self._options.election_timeout_s
        self._hand_over(self.progress[target])
        return target

    def resign(self) -> None:
        """This leadership ends, since its node was removed: who holds most is to stand at once."""
        successor = self._successor()
        if successor is not None:
            self._send(TimeoutNow(self._id, successor, self._term))

    def _successor(self) -> int | None:
        """Of the other voters that were heard lately, the one that holds most."""
        since = self._now - self._options.election_timeout_s
        voters = [
            (progress.match, peer)
            for peer, progress in self.progress.items()
            if peer in self._log.configuration.voters and progress.last_heard > since
        ]
        return max(voters)[1] if voters else None

    def _hand_over(self, progress: Progress) -> None:
        if self._transfer is not None and progress.match == self._log.last_index:
            self._send(TimeoutNow(self._id, self._transfer[0], self._term))


_STEP: dict[type, Callable[[Leadership, Any, Progress], None]] = {
    AppendAccepted: Leadership._step_append_accepted,
    AppendRejected: Leadership._step_append_rejected,
    HeartbeatReply: Leadership._step_heartbeat_reply,
    SnapshotReply: Leadership._step_snapshot_reply,
}
