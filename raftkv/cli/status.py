"""The `status` command: a table and sentences for people, plain data for programs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Callable

from raftkv.cli.outcome import DONE, UNAVAILABLE, Outcome
from raftkv.cli.printable import one_line, pad, width
from raftkv.client.poll import STATUS_FIELDS

MUCH_LAG = 10_000  # entries: a server so far behind is said to lag

SILENCE_MS = 250  # heartbeats are answered much more often
MOST_DOUBT_MS = 1500  # a leader stops leading within an election timeout
ASK_AGAIN_S = 0.05

_HEADINGS = ("server", "address", "role", "term", "commit", "applied", "log", "lag", "version", "alive")

Server = dict[str, Any]


def run_status(clerk: Any, clock: Callable[[], float] = time.monotonic) -> Outcome:
    """What `clerk` is told of the servers. Without a leader nothing works: then that is an error.

    A leader whose followers died does not know it at once. So one is asked again as long as no majority answers us:
    it leads no more if it has heard from none either since we asked first.
    """
    began = clock()
    servers = clerk.status()
    while True:
        leader, took_ms = leader_of(servers), (clock() - began) * 1000
        if leader is None or _majority_answers(servers) or took_ms >= MOST_DOUBT_MS:
            return status_outcome(servers)
        if SILENCE_MS <= took_ms <= (leader.get("quorum_silent_ms") or 0):
            return status_outcome(servers, cut_off=leader)
        time.sleep(ASK_AGAIN_S)
        servers = clerk.status()


def status_outcome(servers: Sequence[Server], cut_off: Server | None = None) -> Outcome:
    """`servers` as Clerk.status() returns them. `cut_off`: the leader, if no majority hears it."""
    text = "\n".join([status_table(servers), *problems_of(servers)])
    if cut_off is None and leader_of(servers) is not None:
        return Outcome(DONE, text, status_plain(servers))
    why = "there is no leader"
    if cut_off is not None:
        why += f" that a majority hears (server {cut_off['id']}: for {cut_off['quorum_silent_ms']} ms)"
    voters = len(_voters(servers))
    error = (
        f"{why}: reads and writes wait until {voters // 2 + 1} of the {voters} servers can talk to each other"
    )
    return Outcome(UNAVAILABLE, text, status_plain(servers), error)


def _voters(servers: Sequence[Server]) -> list[Server]:
    """Those whose votes count, as far as is known; all, while nobody is a member."""
    told = (leader_of(servers) or {}).get("members") or []
    others = {row["id"] for row in told if row["role"] in ("learner", "waiting")}
    no_voters = ("joining", "learner", "removed")
    voters = [each for each in servers if each["id"] not in others and each.get("role") not in no_voters]
    return voters or list(servers)


def _majority_answers(servers: Sequence[Server]) -> bool:
    voters = _voters(servers)
    return 2 * sum(bool(server["alive"]) for server in voters) > len(voters)


def leader_of(servers: Sequence[Server]) -> Server | None:
    """The server that leads in the highest term of all that answered: a deposed one may not know it yet."""
    answered = [server for server in servers if server["alive"]]
    newest = max((server["term"] for server in answered), default=0)
    leads = (server for server in answered if server["role"] == "leader" and server["term"] == newest)
    return next(leads, None)


def status_plain(servers: Sequence[Server]) -> dict[str, Any]:
    """All that is known of each server; what a dead one cannot say is None."""
    every: Server = {"error": None, "problems": [], "alarms": []}
    return {"servers": [{**dict.fromkeys(STATUS_FIELDS), **every, **server} for server in servers]}


# -- for people ----------------------------------------------------------------------------------------------


def status_table(servers: Sequence[Server]) -> str:
    """A line a server. `lag`: how many committed entries it has yet to apply, by the leader's count."""
    leader = leader_of(servers)
    rows = [list(_HEADINGS)] + [_row(server, leader) for server in servers]
    widths = [max(width(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    return "\n".join("  ".join(map(pad, row, widths)).rstrip() for row in rows)


def problems_of(servers: Sequence[Server]) -> list[str]:
    """Why each server that does not take part as it should does not: a sentence a line."""
    leader = leader_of(servers)
    return [
        f"server {server['id']}: {one_line(problem)}"
        for server in servers
        for problem in [*_seen_from_here(server, leader), *(server.get("problems") or [])]
    ]


def _seen_from_here(server: Server, leader: Server | None) -> list[str]:
    if not server["alive"]:
        return []  # the table says so
    if server["role"] == "joining":
        return ["it takes no part yet: its disk is empty, and it waits to be a member"]
    if server["role"] == "removed":
        return [
            "its disk was removed from the cluster: stop it; with an empty data folder it can be added again"
        ]
    if server["role"] == "learner":
        return [f"it does not vote yet: {_how_far(server, leader)}"]
    if server["leader"] is None:
        return ["it knows no leader: it hears from none"]
    if leader is None or server is leader:
        return []
    if server["leader"] != leader["id"] or server["term"] != leader["term"]:
        follows = f"it follows server {server['leader']} in term {server['term']}"
        return [f"{follows}, while server {leader['id']} leads in term {leader['term']}"]
    lag = _lag(server, leader)
    return [f"it lags: {lag} entries behind the leader"] if lag >= MUCH_LAG else []


def _how_far(server: Server, leader: Server | None) -> str:
    """How far a learner has caught up, by the leader's count."""
    members = (leader or {}).get("members") or []
    row = next((row for row in members if row["id"] == server["id"]), None)
    if row is None or row["lacks"] is None:
        return "it is catching up, or waits to be promoted"
    if row["caught_up"]:
        return f"it has caught up; `member promote {server['id']}` lets it vote"
    return f"it is catching up, and lacks {row['lacks']} entries"


def _lag(server: Server, leader: Server) -> int:
    # The servers answered at slightly different moments, so that one may seem to be ahead of the leader.
    return max(0, int(leader["commit_index"]) - int(server["applied_index"]))


def _row(server: Server, leader: Server | None) -> list[str]:
    name = [str(server["id"]), one_line(str(server["address"]))]
    if not server["alive"]:
        return [*name, *["-"] * (len(_HEADINGS) - 3), f"no: {one_line(server.get('error') or 'no answer')}"]
    entries = server["log_last_index"] - server["log_first_index"] + 1
    return [
        *name,
        one_line(str(server["role"])),
        str(server["term"]),
        str(server["commit_index"]),
        str(server["applied_index"]),
        f"{format_bytes(server['log_bytes'])} ({entries})",
        "-" if leader is None else str(_lag(server, leader)),
        one_line(str(server["version"])),
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
