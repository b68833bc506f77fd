"""Sabotages: small changes that break the product, to see that the simulator finds them.

    python -m tests.sim --sabotages                            each: after how many seeds is it caught?
    python -m tests.sim --seeds 100 --sabotage "figure 8"      like any run, but of the broken product

patch.py says how a sabotage is put in force.
"""

from __future__ import annotations

from raftkv.client import command as client_command
from raftkv.client import numbering, session
from raftkv.kvdb import session_table as sessions
from raftkv.kvdb import store
from raftkv.node import joining, network, node, proposals
from raftkv.raft import core, following, leadership, log, progress, reads
from raftkv.storage import persister, replay, sealed, segments
from raftkv.storage import snapshots as snapshot_store

from tests.sim.patch import Sabotage

SABOTAGES: list[Sabotage] = [
    # durability
    Sabotage(
        "vote not durable",
        persister.Persister,
        "save",
        "self._save_hard_state(hard_state)",
        "self._save_hard_state(hard_state._replace(vote=None))",
    ),
    Sabotage(
        "acknowledged before the fsync",
        node.RaftNode,
        "_sort_ready",
        "if ready.needs_disk or",
        "self._network.enqueue(ready.promises); ready.promises.clear()\n    if ready.needs_disk or",
    ),
    Sabotage("log not fsynced", segments.SegmentedLog, "append", "    file.sync()\n", ""),
    Sabotage(
        "folder not fsynced after a rename",
        sealed,
        "replace_file",
        "    disk.sync_folder(os.path.dirname(path))\n",
        "",
    ),
    Sabotage(
        "promises do not wait for the write before",
        node.RaftNode,
        "_sort_ready",
        " or (ready.promises and (self._disk_busy or self._disk_queue))",
        "",
    ),
    Sabotage(
        "damage taken for a torn tail",
        replay.Replay,
        "read",
        "if is_last and is_torn(data, position):",
        "if is_last:",
    ),
    Sabotage(
        "torn tail taken for damage",
        replay.Replay,
        "read",
        "if is_last and is_torn(data, position):",
        "if False:",
    ),
    Sabotage(
        "log of another history kept after an install",
        segments.SegmentedLog,
        "follow",
        "if self._terms.at(snapshot.index) != snapshot.term:",
        "if False:",
    ),
    Sabotage(
        "snapshot published before its fsync", snapshot_store.SnapshotStore, "write", "writer.sync()", "pass"
    ),
    # elections
    Sabotage("no election restriction", log.RaftLog, "is_up_to_date", "return", "return True or"),
    Sabotage(
        "two votes in a term",
        core.Raft,
        "_step_request_vote",
        "free = self.vote == m.sender or",
        "free = True or",
    ),
    Sabotage(
        "a member without its disk votes",
        core.Raft,
        "may_vote",
        " and (not self.rejoin_term or",
        " and (True or",
    ),
    Sabotage(
        "a member without its disk begins anew",
        joining.Joining,
        "decide",
        "if any(reply.knows_you is False for reply in replies):",
        "if False:",
    ),
    # replication
    Sabotage(
        "figure 8",
        leadership.Leadership,
        "maybe_commit",
        " and log.term(index) == self._term",
        "",
    ),
    Sabotage(
        "commit beyond what was verified",
        following.Following,
        "_step_append_entries",
        "min(m.commit, verified)",
        "min(m.commit, log.last_index)",
    ),
    Sabotage(
        "truncation without a conflict",
        following.Following,
        "_step_append_entries",
        "else log.find_conflict(entries)",
        "else (entries[0].index if entries else 0)",
    ),
    Sabotage(
        "answers of an earlier term count",
        core.Raft,
        "step",
        "self._answer_stale(message)\n        return",
        "self._answer_stale(message)",
    ),
    Sabotage(
        "previous entry not compared",
        following.Following,
        "_step_append_entries",
        "elif log.term(m.prev_index) == m.prev_term:",
        "elif log.term(m.prev_index) is not None:",
    ),
    Sabotage(
        "leader counts itself before its fsync",
        leadership.Leadership,
        "maybe_commit",
        "log.stable",
        "log.last_index",
    ),
    Sabotage(
        "stable though replaced meanwhile", log.RaftLog, "stable_to", " and self.entries[offset] is entry", ""
    ),
    # snapshots
    Sabotage(
        "snapshot over newer state",
        following.Following,
        "_step_install_snapshot",
        "if m.snapshot.index <= self._log.commit:",
        "if False:",
    ),
    Sabotage(
        "appends while a snapshot is installed",
        following.Following,
        "_step_append_entries",
        "if self.installing is not None:",
        "if False:",
    ),
    Sabotage(
        "session table not in the snapshot", store.SnapshotView, "next_chunk", "self._next_sessions(n) or", ""
    ),
    Sabotage(
        "snapshot sees writes of later",
        store.SnapshotView,
        "keep",
        "if key > self._position and key not in self._kept:",
        "if False:",
    ),
    Sabotage(
        "applied again after a restore",
        node.RaftNode,
        "_apply",
        "if work.entries and work.entries[0].index > self._applied:",
        "if work.entries:",
    ),
    # reads
    Sabotage(
        "read without a round",
        leadership.Leadership,
        "_advance_reads",
        "if not self.progress:",
        "if True:",
    ),
    Sabotage(
        "read before the no-op",
        leadership.Leadership,
        "_advance_reads",
        "if reads.empty or self._log.commit < self._term_start:",
        "if reads.empty:",
    ),
    Sabotage(
        "read confirmed by an earlier round",
        reads.ReadQueue,
        "confirm",
        "round < self.round",
        "round < self.round - 1",
    ),
    # clients
    Sabotage("duplicates applied again", sessions.Sessions, "recall", "if outcome is not None:", "if False:"),
    Sabotage(
        "expired sessions served",
        sessions.Sessions,
        "recall",
        "        return _EXPIRED\n",
        "        self.register(client); session = self._sessions[client]\n",
    ),
    Sabotage(
        "answer for another's entry",
        proposals.Proposals,
        "committed",
        "if entry.term != self._term or not self._contexts:",
        "if not self._contexts:",
    ),
    Sabotage("a retry gets a new number", session.ClerkSession, "_send", "if numbering is None:", "if True:"),
    Sabotage(
        "in doubt, reported as not applied", client_command, "too_late", "if command.in_doubt:", "if False:"
    ),
    Sabotage(
        "acknowledged too far",
        numbering.Numbering,
        "answered",
        "if seq == self.acked:",
        "if seq >= self.acked:",
    ),
    Sabotage(
        "a damaged snapshot is sent for ever", network.SnapshotSource, "read", "reader.verify()", "pass"
    ),
    # flow
    Sabotage(
        "heartbeats commit what the follower may lack",
        leadership.Leadership,
        "_send_heartbeats",
        "min(self.progress[peer].match, self._log.commit)",
        "self._log.commit",
    ),
    Sabotage(
        "match goes back",
        progress.Progress,
        "accepted",
        "news = match > self.match",
        "news = match != self.match",
    ),
]

BY_NAME = {sabotage.name: sabotage for sabotage in SABOTAGES}
