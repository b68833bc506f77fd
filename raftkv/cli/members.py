"""The commands `member` and `transfer`: who belongs to the cluster, and who leads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from raftkv.cli.arguments import Arguments, count, did_you_mean
from raftkv.cli.console import Console
from raftkv.cli.outcome import DONE, Outcome, UsageError
from raftkv.cli.printable import one_line, pad, width

KEPT = "-"  # in place of an address: it stays as it is

_HEADINGS = ("server", "address", "peer address", "role", "lacks", "alive")

Row = dict[str, Any]


class _Action(NamedTuple):
    usage: str
    min_words: int
    max_words: int


_ACTIONS = {
    "list": _Action("", 0, 0),
    "add": _Action("ID CLIENT_ADDRESS PEER_ADDRESS [--learner]", 3, 3),
    "remove": _Action("ID", 1, 1),
    "replace": _Action("OLD NEW CLIENT_ADDRESS PEER_ADDRESS", 4, 4),
    "move": _Action("ID CLIENT_ADDRESS [PEER_ADDRESS [HTTP_ADDRESS]]", 2, 4),
    "promote": _Action("ID", 1, 1),
}

MEMBER_HELP = "\n    ".join(
    [
        *(f"member {name} {action.usage}".rstrip() for name, action in _ACTIONS.items()),
        "Each waits until it is done. An added server votes when it has caught up, with --learner when it is promoted.",
        f"A new server is started with [cluster] join = the peer address of any member. {KEPT} keeps an address",
    ]
)


def run_member(clerk: Any, arguments: Arguments, _console: Console) -> Outcome:
    """`member ACTION ...`"""
    name, *words = arguments.words
    action = _ACTIONS.get(name)
    if action is None:
        raise UsageError(
            f"there is no `member {one_line(name)[:40]}`{did_you_mean(name, _ACTIONS)}; use {', '.join(_ACTIONS)}"
        )
    if not action.min_words <= len(words) <= action.max_words:
        raise UsageError(f"usage: member {name} {action.usage}".rstrip())
    learner = "--learner" in arguments.options
    if learner and name != "add":
        raise UsageError("--learner is an option of `member add`")
    rows = _run(clerk, name, words, learner)
    return Outcome(DONE, members_table(rows) if name == "list" else "OK", {"members": rows})


def _run(clerk: Any, name: str, words: Sequence[str], learner: bool) -> list[Row]:
    method = getattr(clerk, f"member_{name}")
    ids = [_id(word) for word in words[: 2 if name == "replace" else 1]]
    addresses = ["" if word == KEPT and name == "move" else word for word in words[len(ids) :]]
    rows: list[Row] = method(*ids, *addresses, learner=True) if learner else method(*ids, *addresses)
    return rows


def run_transfer(clerk: Any, arguments: Arguments, _console: Console) -> Outcome:
    """`transfer [ID]`"""
    leader = clerk.transfer(_id(arguments.words[0]) if arguments.words else None)
    return Outcome(DONE, f"server {leader} leads", {"leader": leader})


def _id(word: str) -> int:
    try:
        return count(word)
    except ValueError as error:
        raise UsageError(f"the id of a server {error}") from None


def members_table(rows: Sequence[Row]) -> str:
    """A line a member. `lacks`: how many entries of the log it is not known to hold."""
    lines = [list(_HEADINGS)]
    for row in rows:
        addresses = [one_line(row[name]) or "-" for name in ("client_address", "peer_address")]
        lacks = "-" if row["lacks"] is None else str(row["lacks"])
        lines.append([str(row["id"]), *addresses, row["role"], lacks, "yes" if row["alive"] else "no"])
    widths = [max(width(line[column]) for line in lines) for column in range(len(_HEADINGS))]
    return "\n".join("  ".join(map(pad, line, widths)).rstrip() for line in lines)
