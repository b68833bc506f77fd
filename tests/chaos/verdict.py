"""What histories and logs must show: linearizability, exactly once, one leader a term.

A counter is a key to which clients append the words `<client>.<session>.<number>;`. In the end an
acknowledged word is there once, one that certainly failed is not there, and one of unknown outcome is there
once or not at all. The words of one client and session are in the order of their numbers (not if the
session is shared: there the Clerk has other commands under way, and only promises that none takes effect
twice).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable, NamedTuple

from tests.chaos.client import SHARED_SESSION
from tests.chaos.recorder import by_key
from tests.linearizability.checker import check
from tests.linearizability.history import operations_of, write_history
from tests.linearizability.search import OK

COUNTER = "count-"
TIME_LIMIT_S = 60.0  # for the history of one key

Events = list[dict[str, Any]]


class Judged(NamedTuple):
    """How many keys were checked, and what was found wrong, a sentence each."""

    keys: int
    problems: list[str]


def check_histories(events: Events, folder: Path, say: Callable[[str], None]) -> Judged:
    """Check the keys that are no counters. The history of each bad one is written to `folder`."""
    problems: list[str] = []
    keys = {key: found for key, found in by_key(events).items() if not key.startswith(COUNTER)}
    for key, found in keys.items():
        verdict, text = check_key(found, TIME_LIMIT_S)
        if verdict != OK:
            path = folder / f"violation-{key}.jsonl"
            write_history(str(path), found)
            say(text)
            problems.append(f"the history of {key} is {verdict}: see {path}")
    return Judged(len(keys), problems)


def check_counters(events: Events, values: Mapping[str, str | None]) -> Judged:
    """`values`: what each counter holds in the end (None: nothing)."""
    problems: list[str] = []
    counters = {key: found for key, found in by_key(events).items() if key.startswith(COUNTER)}
    for key, found in counters.items():
        words = (values.get(key) or "").split(";")[:-1]
        problems += [f"{key}: {problem}" for problem in _wrong_words(found, words)]
    return Judged(len(counters), problems)


def _wrong_words(events: Events, words: list[str]) -> list[str]:
    problems, outcome = [], {}
    open_words: dict[Any, str] = {}  # by process
    for event in events:
        if event["type"] == "invoke":
            open_words[event["process"]] = word = event["value"][:-1]
            outcome[word] = "info"
        else:
            outcome[open_words[event["process"]]] = event["type"]
    counts = Counter(words)
    allowed = {"ok": (1,), "fail": (0,), "info": (0, 1)}
    for word in {**outcome, **dict.fromkeys(words)}:
        count = counts[word]
        if word not in outcome:
            problems.append(f"nobody ever appended {word!r}")
        elif count not in allowed[outcome[word]]:
            problems.append(f"{word!r}, whose outcome was {outcome[word]}, is there {count} times")
    last: dict[str, int] = {}
    for word in words:
        client, _, number = word.rpartition(".")
        if not client.endswith(SHARED_SESSION) and int(number) < last.get(client, -1):
            problems.append(f"{word!r} comes after number {last[client]} of the same client")
        last[client] = int(number)
    return problems


def check_terms(logs: Mapping[int, str]) -> Judged:
    """From the logs of all nodes: at most one leader a term (paper 5.2). `keys`: the elections."""
    leaders: dict[str, int] = {}
    problems: list[str] = []
    for node, log in logs.items():
        for term in re.findall(r"INFO leader in term (\d+)", log):
            if term in leaders:
                problems.append(f"nodes {leaders[term]} and {node} led term {term}")
            leaders[term] = node
    return Judged(len(leaders), problems)


def check_logs(logs: Mapping[int, str]) -> list[str]:
    """No node may have printed a traceback, nor found an invariant broken."""
    problems: list[str] = []
    for node, log in logs.items():
        for sign in ("Traceback", "AssertionError", "Fatal Python error"):
            if sign in log:
                at = log.index(sign)
                problems.append(f"node {node} printed a traceback:\n{log[at : at + 3000]}")
                break
    return problems


def check_key(events: Events, time_limit_s: float) -> tuple[str, str]:
    """(ok, violation or unknown; a text for people) of the history of one key."""
    result = check(operations_of(events), time_limit_s)
    return result.verdict, str(result)
