"""/metrics: what a server says of itself, for Prometheus. Under etcd's names where it is the same thing, so that its dashboards
show it, and else under raftkv_."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Callable

from raftkv.histogram import DISK_S, LOCK_S, NETWORK_S
from raftkv.http.etcd.maintenance_calls import VERSION
from raftkv.http.view import Row

METRICS = "text/plain; version=0.0.4; charset=utf-8"

Samples = Iterable[tuple[str, float]]  # labels, such as {a="b"}, and the value


def _one(name: str) -> Callable[[Row], Samples]:
    return lambda own: [("", own[name])]


def _flag(of: Callable[[Row], Any]) -> Callable[[Row], Samples]:
    return lambda own: [("", 1 if of(own) else 0)]


def _if_told(name: str) -> Callable[[Row], Samples]:
    return lambda own: [("", own[name])] if own.get(name) is not None else []


def _of_peers(name: str) -> Callable[[Row], Samples]:
    return lambda own: [(f'{{To="{peer["id"]}"}}', peer[name]) for peer in own["peers"]]


def _lags(own: Row) -> Samples:
    return [(f'{{member="{row["id"]}"}}', row["lacks"]) for row in own["members"] if row["lacks"] is not None]


#: (name, type, help, samples). What etcd calls a total but may fall is untyped.
_METRICS: list[tuple[str, str, str, Callable[[Row], Samples]]] = [
    ("etcd_server_has_leader", "gauge", "Whether this server knows a leader.", _flag(lambda own: own["leader"])),
    ("etcd_server_is_leader", "gauge", "Whether this server leads.", _flag(lambda own: own["role"] == "leader")),
    ("etcd_server_is_learner", "gauge", "Whether this server is a learner.",
     _flag(lambda own: any(row["id"] == own["id"] and row["role"] == "learner" for row in own["members"]))),
    ("etcd_server_leader_changes_seen_total", "counter", "Leaders seen since the start.", _one("leader_changes")),
    ("etcd_server_proposals_committed_total", "counter", "The index of the last committed entry.", _one("commit_index")),
    ("etcd_server_proposals_applied_total", "counter", "The index of the last applied entry.", _one("applied_index")),
    ("etcd_server_proposals_pending", "gauge", "Entries that are not committed yet.",
     lambda own: [("", own["log_last_index"] - own["commit_index"])]),
    ("etcd_server_proposals_failed_total", "counter", "Proposals that lost their leader.", _one("failed_proposals")),
    ("etcd_server_lease_expired_total", "counter", "Leases that this server has ended.", _one("expired_leases")),
    ("etcd_server_version", "gauge", "The version of etcd whose API this is.",
     lambda _own: [(f'{{server_version="{VERSION}"}}', 1)]),
    ("etcd_debugging_mvcc_keys_total", "untyped", "Keys.", _one("keys")),
    ("etcd_debugging_mvcc_watcher_total", "untyped", "Watches of this server.", _one("watches")),
    ("etcd_debugging_mvcc_current_revision", "gauge", "The newest revision.", _one("revision")),
    ("etcd_mvcc_db_total_size_in_bytes", "gauge", "Memory of the data.", _one("data_bytes")),
    ("etcd_mvcc_db_total_size_in_use_in_bytes", "gauge", "Memory of the data.", _one("data_bytes")),
    ("etcd_server_quota_backend_bytes", "gauge", "What the data may have; 0: there is no limit.", _one("max_data_bytes")),
    ("etcd_network_peer_sent_bytes_total", "counter", "Raft messages to a peer, but for snapshots.",
     _of_peers("sent_bytes")),
    ("process_resident_memory_bytes", "gauge", "Memory of the server.", _if_told("resident_bytes")),
    ("process_cpu_seconds_total", "counter", "Processor time of the server.", _one("cpu_s")),
    ("process_open_fds", "gauge", "Open files of the server.", _if_told("open_files")),
    ("raftkv_uptime_seconds", "gauge", "Since the start of the server.", _one("uptime_s")),
    ("raftkv_term", "gauge", "The term.", _one("term")),
    ("raftkv_log_bytes", "gauge", "The log on the disk.", _one("log_bytes")),
    ("raftkv_log_entries", "gauge", "Entries in the log.",
     lambda own: [("", own["log_last_index"] - own["log_first_index"] + 1)]),
    ("raftkv_snapshot_lag_entries", "gauge", "Entries since the last snapshot.",
     lambda own: [("", own["applied_index"] - own["snapshot_index"])]),
    ("raftkv_snapshot_age_seconds", "gauge", "Since the last snapshot was written, if there is one.",
     _if_told("snapshot_age_s")),
    ("raftkv_queue_bytes", "gauge", "What waits for the disk, and for the network to peers.",
     lambda own: [('{queue="disk"}', own["unwritten_bytes"]),
                  ('{queue="peers"}', sum([peer["waiting_bytes"] for peer in own["peers"]]))]),
    ("raftkv_follower_lag_entries", "gauge", "Entries that a follower is not known to hold, by the leader.", _lags),
    ("raftkv_leases", "gauge", "Leases.", _one("leases")),
    ("raftkv_sessions", "gauge", "Sessions of clients.", _one("sessions")),
    ("raftkv_connections", "gauge", "Connections of clients.", _one("connections")),
    ("raftkv_refused_connections_total", "counter", "Connections that were refused.", _one("refused_connections")),
    ("raftkv_alarm_no_space", "gauge", "Whether writes are refused for want of room.", _flag(lambda own: own["alarms"])),
]  # fmt: skip


def metrics_of(own: Row, connections: int, answers: Mapping[int, int]) -> str:
    """The text for what a server says in its status, and for its front's `connections` and answers by status."""
    lines = [
        *_head("raftkv_http_connections", "gauge", "HTTP connections."),
        f"raftkv_http_connections {connections}",
    ]
    lines += _head("raftkv_http_answers_total", "counter", "HTTP answers.")
    lines += [
        f'raftkv_http_answers_total{{status="{status}"}} {count}' for status, count in sorted(answers.items())
    ]
    for name, kind, help, samples in _METRICS:
        lines += _head(name, kind, help)
        lines += [f"{name}{labels} {value}" for labels, value in samples(own)]
    for name, help, bounds_s, labelled in _histograms(own):
        lines += _head(name, "histogram", help)
        for labels, observed in labelled:
            lines += _histogram(name, bounds_s, labels, *observed)
    return "\n".join([*lines, ""])


def _histograms(own: Row) -> list[tuple[str, str, Sequence[float], list[tuple[str, Any]]]]:
    """(name, help, bounds, [(labels, what was observed)])."""
    return [
        (
            "etcd_disk_wal_fsync_duration_seconds",
            "Writes to the log with their fsyncs.",
            DISK_S,
            [("", own["writes"])],
        ),
        (
            "etcd_network_peer_round_trip_time_seconds",
            "From a ping to its answer.",
            NETWORK_S,
            [(f'To="{peer["id"]}"', peer["round_trips"]) for peer in own["peers"]],
        ),
        (
            "raftkv_mutex_wait_seconds",
            "Waiting for the node's mutex, by the thread that tells the time: a sample.",
            LOCK_S,
            [("", own["mutex_waits"])],
        ),
    ]


def _head(name: str, kind: str, help: str) -> list[str]:
    return [f"# HELP {name} {help}", f"# TYPE {name} {kind}"]


def _histogram(
    name: str, bounds_s: Sequence[float], labels: str, counts: list[int], sum_s: float
) -> Iterator[str]:
    totals = list(accumulate(counts))
    own, comma = (f"{{{labels}}}", ",") if labels else ("", "")
    for bound, total in zip([*bounds_s, "+Inf"], totals):
        le = bound if isinstance(bound, str) else f"{bound:g}"
        yield f'{name}_bucket{{{labels}{comma}le="{le}"}} {total}'
    yield f"{name}_sum{own} {sum_s:.6f}"
    yield f"{name}_count{own} {totals[-1]}"
