"""Sabotages: small changes that break the product, to see that the simulator finds them.

    python -m tests.sim --sabotages            each of them: after how many seeds it is caught
    python -m tests.sim --sabotage "figure 8"  like any run, but of the broken product

A sabotage replaces a piece of one function's source while it is in force. If the piece is not there any more, because the
product was changed, that is an error: no sabotage silently does nothing.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, NamedTuple

from raftkv.kvdb import client_command, numbering, session, sessions, store
from raftkv.raft import core, joining, log, node, persister, progress, proposals, reads, replay, sealed, segments
from raftkv.raft import snapshots as snapshot_store


class Sabotage(NamedTuple):
    """In the source of `owner.function`, `old` becomes `new`."""

    name: str
    owner: Any  # a class or a module
    function: str
    old: str
    new: str

    @contextmanager
    def applied(self) -> Iterator[None]:
        original = inspect.getattr_static(self.owner, self.function)
        function = getattr(original, "fget", None) or getattr(original, "__func__", original)
        source = textwrap.dedent(inspect.getsource(function))
        assert source.count(self.old) == 1, f"{self.name}: {self.function} has not exactly one {self.old!r}"
        space: Dict[str, Any] = {}
        code = compile(source.replace(self.old, self.new), f"<sabotage: {self.name}>", "exec", flags=_ANNOTATIONS)
        exec(code, function.__globals__, space)
        changed = space[self.function]
        _replace(self.owner, self.function, original, changed)
        try:
            yield
        finally:
            _replace(self.owner, self.function, changed, original)


_ANNOTATIONS = 1 << 24  # from __future__ import annotations


def _replace(owner: Any, name: str, old: Any, new: Any) -> None:
    """Set the attribute, and all that stands for it in the product's modules and their tables."""
    setattr(owner, name, new)
    for module in [module for name, module in list(sys.modules.items()) if name.startswith("raftkv")]:
        names = vars(module)
        for table in [names, *(value for value in names.values() if isinstance(value, dict))]:
            for key in [key for key, value in table.items() if value is old]:
                table[key] = new


SABOTAGES: List[Sabotage] = [
    # durability
    Sabotage("vote not durable", persister.Persister, "save", "self._save_hard_state(hard_state)", "self._save_hard_state(hard_state._replace(vote=None))"),
    Sabotage("acknowledged before the fsync", node.RaftNode, "_sort_ready", "if ready.needs_disk or", "self._network.enqueue(ready.promises); ready.promises.clear()\n    if ready.needs_disk or"),
    Sabotage("log not fsynced", segments.SegmentedLog, "append", "    file.sync()\n", ""),
    Sabotage("folder not fsynced after a rename", sealed, "replace_file", "    disk.sync_folder(os.path.dirname(path))\n", ""),
    Sabotage("promises do not wait for the write before", node.RaftNode, "_sort_ready", " or (ready.promises and (self._disk_busy or self._disk_queue))", ""),
    Sabotage("damage taken for a torn tail", replay.Replay, "read", "if is_last and is_torn(data, position):", "if is_last:"),
    Sabotage("torn tail taken for damage", replay.Replay, "read", "if is_last and is_torn(data, position):", "if False:"),
    Sabotage("log of another history kept after an install", segments.SegmentedLog, "follow", "if self._terms.at(snapshot.index) != snapshot.term:", "if False:"),
    Sabotage("snapshot published before its fsync", snapshot_store.SnapshotStore, "write", "writer.sync()", "pass"),
    # elections
    Sabotage("no election restriction", log.RaftLog, "is_up_to_date", "return", "return True or"),
    Sabotage("two votes in a term", core.Raft, "_step_request_vote", "free = self.vote == m.sender or", "free = True or"),
    Sabotage("a member without its disk votes", core.Raft, "may_vote", " and (not self.rejoin_term or", " and (True or"),
    Sabotage("a member without its disk begins anew", joining.Joining, "decide", "if any(reply.knows_you is False for reply in replies):", "if False:"),
    # replication
    Sabotage("figure 8", core.Raft, "_maybe_commit", " and self.log.term(index) == self.term", ""),
    Sabotage("commit beyond what was verified", core.Raft, "_step_append_entries", "min(m.commit, verified)", "min(m.commit, log.last_index)"),
    Sabotage("truncation without a conflict", core.Raft, "_step_append_entries", "else log.find_conflict(entries)", "else (entries[0].index if entries else 0)"),
    Sabotage("answers of an earlier term count", core.Raft, "step", "self._answer_stale(message)\n        return", "self._answer_stale(message)"),
    Sabotage("previous entry not compared", core.Raft, "_step_append_entries", "elif log.term(m.prev_index) == m.prev_term:", "elif log.term(m.prev_index) is not None:"),
    Sabotage("leader counts itself before its fsync", core.Raft, "_maybe_commit", "self.log.stable", "self.log.last_index"),
    Sabotage("stable though replaced meanwhile", log.RaftLog, "stable_to", " and self.entries[offset] is entry", ""),
    # snapshots
    Sabotage("snapshot over newer state", core.Raft, "_step_install_snapshot", "if m.snapshot.index <= self.log.commit:", "if False:"),
    Sabotage("appends while a snapshot is installed", core.Raft, "_step_append_entries", "if self._installing is not None:", "if False:"),
    Sabotage("session table not in the snapshot", store.SnapshotView, "next_chunk", "self._next_sessions(n) or", ""),
    Sabotage("snapshot sees writes of later", store.SnapshotView, "keep", "if key > self._position and key not in self._kept:", "if False:"),
    Sabotage("applied again after a restore", node.RaftNode, "_apply", "if work.entries and work.entries[0].index > self._applied:", "if work.entries:"),
    # reads
    Sabotage("read without a round", core.Raft, "_advance_reads", "self._reads.confirm(int(quorum_value(self.voters, rounds)))", "self._reads.confirm(self._reads.round)"),
    Sabotage("read before the no-op", core.Raft, "_advance_reads", "if self._reads.empty or self.log.commit < self._term_start:", "if self._reads.empty:"),
    Sabotage("read confirmed by an earlier round", reads.ReadQueue, "confirm", "round >= self.round", "round >= self.round - 1"),
    # clients
    Sabotage("duplicates applied again", sessions.Sessions, "recall", "if outcome is not None:", "if False:"),
    Sabotage("expired sessions served", sessions.Sessions, "recall", "        return _EXPIRED\n", "        self.register(client); session = self._sessions[client]\n"),
    Sabotage("answer for another's entry", proposals.Proposals, "committed", "if entry.term != self._term or not self._contexts:", "if not self._contexts:"),
    Sabotage("a retry gets a new number", session.ClerkSession, "_send", "if numbering is None:", "if True:"),
    Sabotage("in doubt, reported as not applied", client_command, "too_late", "if command.in_doubt:", "if False:"),
    Sabotage("acknowledged too far", numbering.Numbering, "answered", "if seq == self.acked:", "if seq >= self.acked:"),
    # flow
    Sabotage("match goes back", progress.Progress, "accepted", "news = match > self.match", "news = match != self.match"),
]  # fmt: skip

BY_NAME = {sabotage.name: sabotage for sabotage in SABOTAGES}
