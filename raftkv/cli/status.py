"""The `status` command's two forms: a table for people, plain data for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from raftkv.client.clerk import STATUS_FIELDS

_HEADINGS = ("server", "address", "role", "term", "commit", "applied", "log", "lag", "alive")


def status_plain(servers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """`servers` as Clerk.status() returns them; what a dead server cannot say is None."""
    return {"servers": [{field: server.get(field) for field in STATUS_FIELDS} for server in servers]}


def status_table(servers: Sequence[dict[str, Any]]) -> str:
    """A line a server. `lag`: how many committed entries it has yet to apply, by the leader's count."""
    leader_commit = _leader_commit(servers)
    rows = [list(_HEADINGS)] + [_row(server, leader_commit) for server in servers]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def _leader_commit(servers: Sequence[dict[str, Any]]) -> int | None:
    """The commit index of the leader of the highest term: a deposed one may not know yet that it is."""
    leaders = [server for server in servers if server["alive"] and server["role"] == "leader"]
    return max(leaders, key=lambda server: server["term"])["commit_index"] if leaders else None


def _row(server: dict[str, Any], leader_commit: int | None) -> list[str]:
    if not server["alive"]:
        unknown = ["-"] * (len(_HEADINGS) - 3)
        return [
            str(server["id"]),
            str(server["address"]),
            *unknown,
            f"no: {server.get('error', 'no answer')}",
        ]
    # The servers answered at slightly different moments, so that one may seem to be ahead of the leader.
    lag = "-" if leader_commit is None else str(max(0, leader_commit - server["applied_index"]))
    entries = server["log_last_index"] - server["log_first_index"] + 1
    return [
        str(server["id"]),
        str(server["address"]),
        str(server["role"]),
        str(server["term"]),
        str(server["commit_index"]),
        str(server["applied_index"]),
        f"{format_bytes(server['log_bytes'])} ({entries})",
        lag,
        "yes",
    ]


def format_bytes(count: int) -> str:
    """A size for people: 17 B, 4.2 KiB, 31.0 MiB."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size /= 1024
    return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
