"""Mutants of the core and of the node that drives it."""

from __future__ import annotations

from raftkv.node import node
from raftkv.raft import core, following, leadership, progress, reads

from tests.mutants.mutant import Mutant
from tests.sim.patch import Sabotage

MUTANTS: list[Mutant] = [
    Mutant(
        Sabotage(
            "own vote counted before it is durable",
            core.Raft,
            "_become_candidate",
            "self._votes = {}",
            "self._votes = {self.id: True}",
        ),
        "1",
        "a candidate counts its vote for itself at once",
        "tests/raft/test_durability.py::test_a_candidate_counts_its_own_vote_only_once_durable",
    ),
    Mutant(
        Sabotage(
            "check-quorum off",
            leadership.Leadership,
            "quorum_is_active",
            "return quorum_value(",
            "return True or quorum_value(",
        ),
        "4 11",
        "a leader that nobody hears goes on leading",
        "tests/raft/test_election.py::test_a_leader_steps_down_without_a_majority",
    ),
    Mutant(
        Sabotage(
            "no pre-vote",
            core.Raft,
            "_become_pre_candidate",
            "self._count_votes()",
            "self._become_candidate()",
        ),
        "",
        "a node that cannot win begins terms",
        "tests/raft/test_election.py::test_a_pre_vote_costs_no_term_and_no_write",
    ),
    Mutant(
        Sabotage(
            "votes while a leader is alive",
            core.Raft,
            "step",
            "elif isinstance(message, RequestVote) and self._leader_is_alive():",
            "elif False:",
        ),
        "",
        "a server that was cut off deposes a leader that works",
        "tests/raft/test_election.py::test_a_vote_request_is_ignored_while_a_leader_is_alive",
    ),
    Mutant(
        Sabotage(
            "timeouts not random",
            core.Raft,
            "_reset_election_timer",
            "self._rng.uniform(timeout, 2 * timeout)",
            "1.5 * timeout",
        ),
        "",
        "all campaign at the same moment",
        "tests/raft/test_paper.py::test_randomness_keeps_timeouts_apart",
    ),
    Mutant(
        Sabotage("reads outlive a leadership", leadership.Leadership, "end", "self.reads.clear()", "pass"),
        "4",
        "who waits for a read of a deposed leader is told nothing",
        "tests/raft/test_read_index.py::test_a_deposed_leader_answers_nothing",
    ),
    Mutant(
        Sabotage(
            "a read is answered twice",
            reads.ReadQueue,
            "take_confirmed",
            "confirmed, self.confirmed = self.confirmed, []",
            "confirmed = self.confirmed",
        ),
        "4",
        "a read's context is handed out again and again",
        "tests/unit/test_reads.py::test_a_read_waits_for_a_round_that_began_after_it_came",
    ),
    Mutant(
        Sabotage(
            "two installs at once",
            following.Following,
            "_step_install_snapshot",
            "elif self.installing is None and self._output.chunk is None:",
            "else:",
        ),
        "7",
        "a chunk takes the place of one that is on its way to the disk",
        "tests/raft/test_snapshots.py::test_a_doubled_last_chunk_is_installed_once",
    ),
    Mutant(
        Sabotage(
            "latest snapshot goes back",
            core.Raft,
            "compact",
            "if self.latest_snapshot is not None and snapshot.index < self.latest_snapshot.index:",
            "if False:",
        ),
        "7",
        "an own snapshot, written slowly, takes the place of a newer one that was received",
        "tests/raft/test_snapshots.py::test_an_older_snapshot_written_late_does_not_take_the_place_of_a_newer_one",
    ),
    Mutant(
        Sabotage(
            "a lost window is not sent again",
            leadership.Leadership,
            "_step_heartbeat_reply",
            "elif overdue:",
            "elif False:",
        ),
        "",
        "when all messages under way are lost, nothing is asked",
        "tests/raft/test_replication.py::test_a_whole_window_lost_is_sent_again_after_a_heartbeat",
    ),
    Mutant(
        Sabotage(
            "a silent follower is asked for ever",
            leadership.Leadership,
            "tick",
            "late = under_way and under_way == self._round_at_tick and len(self._prompt) < len(self.progress)",
            "late = False",
        ),
        "",
        "reads wait for a heartbeat interval when the follower that was asked is dead",
        "tests/raft/test_read_index.py::test_all_are_asked_when_a_round_is_not_answered_from_one_tick_to_the_next",
    ),
    Mutant(
        Sabotage(
            "who was quick once is asked for ever",
            leadership.Leadership,
            "_ask_all",
            "self._prompt = list(self.progress)",
            "pass",
        ),
        "",
        "a follower that has become slow makes all reads slow",
        "tests/raft/test_read_index.py::test_with_each_periodic_heartbeat_all_get_a_chance_to_be_asked_again",
    ),
    Mutant(
        Sabotage(
            "reads put off the others' heartbeats",
            leadership.Leadership,
            "_send_heartbeats",
            "for peer in peers:",
            "self._heartbeat_due = self._raft.now + self._options.heartbeat_interval_s\n    for peer in peers:",
        ),
        "",
        "a follower that no round asks hears nothing while there are reads, and campaigns",
        "tests/raft/test_read_index.py::test_reads_without_end_keep_no_heartbeat_from_those_who_are_not_asked",
    ),
    Mutant(
        Sabotage(
            "reads wait for a follower that is known to be gone",
            leadership.Leadership,
            "lost_contact",
            "if peer in self._prompt:",
            "if False:",
        ),
        "11",
        "the connection to the follower that was asked is lost, and nobody else is asked",
        "tests/raft/test_read_index.py::test_all_are_asked_when_the_connection_from_one_of_the_asked_is_lost",
    ),
    Mutant(
        Sabotage(
            "reject and probe without end",
            progress.Progress,
            "rejected",
            "if prev_index <= self.match:",
            "if False:",
        ),
        "",
        "a rejection of what was accepted is asked about at once, and again",
        "tests/raft/test_replication.py::test_a_follower_that_lost_what_it_acknowledged_does_not_keep_the_leader_busy",
    ),
    Mutant(
        Sabotage(
            "no bound on what is proposed",
            leadership.Leadership,
            "propose",
            "if self._unsettled_bytes > self._options.max_uncommitted_bytes:",
            "if False:",
        ),
        "13",
        "a leader without a majority takes commands until its memory is full",
        "tests/raft/test_replication.py::test_what_cannot_be_committed_queues_to_a_bound",
    ),
    Mutant(
        Sabotage(
            "heartbeats wait for the disk",
            following.Following,
            "_step_heartbeat",
            "self._output.send(HeartbeatReply",
            "self._output.promise(HeartbeatReply",
        ),
        "",
        "a slow disk makes a live follower look dead",
        "tests/unit/test_node.py::test_the_answer_to_a_heartbeat_waits_for_no_disk",
    ),
    Mutant(
        Sabotage(
            "a whole log is applied by the one who reads",
            node.RaftNode,
            "_apply_queued",
            "if len(work.entries) > MANY_ENTRIES:",
            "if False:",
        ),
        "12",
        "after a restart the rpc thread hears nothing while it applies",
        "tests/unit/test_node.py::test_a_whole_log_is_applied_on_a_thread_of_its_own_and_in_order",
    ),
    Mutant(
        Sabotage(
            "the log-writer is not woken",
            node.RaftNode,
            "_write_or_wake",
            "self._disk_work.notify()",
            "pass",
        ),
        "15",
        "lost wakeup: what waits for the disk waits for ever",
        "tests/unit/test_node.py::test_the_log_writer_is_woken_for_what_waits",
    ),
    Mutant(
        Sabotage(
            "who has written wakes nobody",
            node.RaftNode,
            "_end_write",
            "self._disk_work.notify()",
            "pass",
        ),
        "15",
        "lost wakeup: what came while another thread wrote waits for ever",
        "tests/unit/test_node.py::test_the_log_writer_is_woken_for_what_came_while_another_thread_wrote",
    ),
    Mutant(
        Sabotage(
            "applied once, not looked at again",
            node.RaftNode,
            "_work",
            "while self._apply_queue and self._apply_lock.acquire(blocking=False):",
            "if self._apply_queue and self._apply_lock.acquire(blocking=False):",
        ),
        "15",
        "lost wakeup: what is queued just before the lock is let go is not applied",
        "tests/unit/test_node.py::test_what_comes_in_the_last_moment_is_applied_too",
    ),
    Mutant(
        Sabotage("a dead thread is not noticed", node.RaftNode, "_run", "self.fail(error)", "pass"),
        "14",
        "a thread that cannot go on leaves a node that looks alive",
        "tests/unit/test_node.py::test_a_failed_write_lets_no_promise_leave",
    ),
]
