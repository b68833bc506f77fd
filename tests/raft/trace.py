"""Lines for people: what nodes send, store, apply and become, one event a line.

    n1@3 leader -> n2 Append base=7@2 [8@3 9@3] commit=7
    n2@3 follower saves [8@3 9@3]
    n2@3 follower -> n1 Accepted match=9

`n1@3` is node 1 in term 3, `8@3` the entry 8 of term 3. The lines depend on nothing but what happened:
the same script gives the same trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable

from raftkv.raft.core import Raft
from raftkv.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    Message,
    PreVoteReply,
    RequestPreVote,
    RequestVote,
    Resigned,
    SnapshotReply,
    StaleTerm,
    TimeoutNow,
    VoteReply,
)
from raftkv.raft.progress import Progress, ProgressState
from raftkv.raft.types import Entry, HardState, Role, Snapshot

LONG = 4  # so many entries of one term or more, one after the other, are written first..last@term


def format_node(id: int, term: int, role: Role | None = None) -> str:
    """`n1@3 leader`; without a role `n1@3`."""
    return f"n{id}@{term}" + (f" {role.value}" if role is not None else "")


def format_raft(raft: Raft) -> str:
    """The beginning of each line about `raft`."""
    return format_node(raft.id, raft.term, raft.role)


def format_entries(entries: Sequence[Entry]) -> str:
    """`[8@3 9@3]`, or `[8..107@3]` for a long run of one term."""
    runs: list[list[Entry]] = []
    for entry in entries:
        if runs and runs[-1][-1].term == entry.term and runs[-1][-1].index + 1 == entry.index:
            runs[-1].append(entry)
        else:
            runs.append([entry])
    words: list[str] = []
    for run in runs:
        words += [f"{run[0].index}..{run[-1]}"] if len(run) >= LONG else [str(entry) for entry in run]
    return f"[{' '.join(words)}]"


_BODIES: dict[type, Callable[[Any], str]] = {
    RequestPreVote: lambda m: f"RequestPreVote for={m.term + 1} last={m.last_index}@{m.last_term}",
    RequestVote: lambda m: (
        f"RequestVote last={m.last_index}@{m.last_term}{' transfer' if m.is_transfer else ''}"
    ),
    PreVoteReply: lambda m: f"PreVote {'granted' if m.granted else 'refused'} for={m.campaign_term}",
    VoteReply: lambda m: f"Vote {'granted' if m.granted else 'refused'}",
    AppendEntries: lambda m: (
        f"Append base={m.prev_index}@{m.prev_term} {format_entries(m.entries)} commit={m.commit}"
    ),
    AppendAccepted: lambda m: f"Accepted match={m.match_index}",
    AppendRejected: lambda m: f"Rejected base={m.prev_index} hint={m.hint_index}@{m.hint_term}",
    Heartbeat: lambda m: (
        f"Heartbeat round={m.round} commit={m.commit}" + (f" match={m.match}" if m.match > m.commit else "")
    ),
    HeartbeatReply: lambda m: f"HeartbeatReply round={m.round}",
    InstallSnapshot: lambda m: (
        f"InstallSnapshot {m.snapshot.index}@{m.snapshot.term} offset={m.offset}{' done' if m.done else ''}"
    ),
    SnapshotReply: lambda m: f"SnapshotReply {m.snapshot_index} offset={m.offset}",
    StaleTerm: lambda m: "StaleTerm",
    Resigned: lambda m: "Resigned",
    TimeoutNow: lambda m: "TimeoutNow",
}


def format_body(message: Message) -> str:
    """What `message` says, without who says it to whom."""
    return _BODIES[type(message)](message)


def format_message(message: Message, role: Role | None = None) -> str:
    """`n1@3 leader -> n2 Append …`. `role` is the sender's; the term is that of the message."""
    return f"{format_node(message.sender, message.term, role)} -> n{message.to} {format_body(message)}"


def format_saved(hard_state: HardState | None, entries: Sequence[Entry]) -> str:
    """`saves term=3 vote=1 [8@3]`: what became durable."""
    words = ["saves"]
    if hard_state is not None:
        words += [f"term={hard_state.term}", f"vote={hard_state.vote or '-'}"]
    if entries:
        words.append(format_entries(entries))
    return " ".join(words)


def format_progress(peer: int, progress: Progress) -> str:
    """`n2 replicate match=7 next=9`: what a leader knows of a follower."""
    words = [f"n{peer} {progress.state.value} match={progress.match} next={progress.next}"]
    if progress.state is ProgressState.SNAPSHOT and isinstance(progress.snapshot, Snapshot):
        words.append(f"snapshot={progress.snapshot.index} offset={progress.snapshot_offset}")
    return " ".join(words + (["paused"] if progress.paused else []))


def format_log(raft: Raft) -> str:
    """`snapshot=5@2 [6@2 7@3] commit=6 applied=6`."""
    log = raft.log
    head = f"snapshot={log.snapshot.index}@{log.snapshot.term} " if log.snapshot.index else ""
    return f"{head}{format_entries(log.entries)} commit={log.commit} applied={log.applied}"


def format_configuration(raft: Raft) -> str:
    """` voters=1,2,4 outgoing=1,2,3 learners=5 left=6`, once somebody has come or gone."""
    configuration, words = raft.configuration, []
    if raft.log.configuration_index:
        for name in ("voters", "outgoing", "learners", "left"):
            uids = getattr(configuration, name)
            words += [f" {name}={','.join(map(str, uids))}"] if uids else []
    return "".join(words)
