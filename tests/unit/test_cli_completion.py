"""Completion: what a Tab makes of a line. The keys are in a dict."""

from __future__ import annotations

import pytest
from raftkv.cli.commands import COMMANDS
from raftkv.cli.completion import MOST_KEYS, complete, find_keys

from tests.unit.test_cli_commands import FakeClerk


def tab(line, *keys):
    """The line after a Tab; if there is a choice, the candidates."""
    begin = max(line.rfind(" "), line.rfind("\t")) + 1  # where readline begins
    found = complete(COMMANDS, FakeClerk(dict.fromkeys(keys, "v")), line, begin)
    return line[:begin] + found[0] if len(found) == 1 else found


@pytest.mark.parametrize(
    "line, keys, result",
    [
        ("s", [], ["scan ", "status "]),
        ("st", [], "status "),
        ("help p", [], "help put "),
        ("scan --l", [], "scan --limit "),
        ("cas --", [], "cas --absent "),
        ("get ap", ["apple"], "get apple "),
        ("-- get ap", ["apple"], "-- get apple "),
        ("get apple ap", ["apple"], "get apple apple "),
        ("put ap", ["apple", "apricot"], ["apple ", "apricot "]),
        ("put a", ["apple", "apricot"], "put ap"),
        ("scan --limit 3 a", ["apple"], "scan --limit 3 apple "),
        ("scan --start a", ["apple"], "scan --start apple "),
        ("cas --absent -- a", ["apple"], "cas --absent -- apple "),
        ("put apple ap", ["apple"], []),
        ("status a", ["apple"], []),
        ("got a", ["apple"], []),
        ("get x", ["apple"], []),
        ("get a", ["a key"], "get 'a key' "),
        ("get a", ["a key", "a kit"], "get 'a k"),
        ("get 'a k", ["a key"], "get 'a key' "),
        ('get "a k', ["a key"], 'get "a key" '),
        ("get a\\ k", ["a key"], "get a\\ key "),
        ("get a", ["a\nb"], "get $'a\\nb' "),
        ("get a", ["a\nb", "a\nc"], "get $'a\\n"),
        ("get $'a\\n", ["a\nb", "a\nc"], ["$'a\\nb' ", "$'a\\nc' "]),
        ("get 'a k", ["a key", "a kit's"], ["key' ", "kit'\"'\"'s' "]),
        ("get 'a k", ["a\nk", "a k\n"], []),  # what is typed already would have to be another quotation
        ("get 'it", ["it's"], "get 'it'\"'\"'s' "),
        ("get \x1b", ["\x1b[2J"], "get $'\\e[2J' "),
        ("get ", ["--json", "a"], ["-- --json ", "a "]),
        ("get -- -", ["--json"], "get -- --json "),
        ("get $'\\U110000' a", ["apple"], []),
    ],
)
def test_a_tab(line, keys, result):
    assert tab(line, *keys) == result


@pytest.mark.parametrize(
    "last, common", [("aab", "aa"), ("ab", "a"), ("aa\U0010ffff", "aa"), ("aa0x", "aa0")]
)
def test_beyond_what_is_listed_only_what_all_keys_share_is_completed(last, common):
    keys = [f"aa0{number:03}" for number in range(MOST_KEYS * 2)]
    clerk = FakeClerk(dict.fromkeys([*keys, last, "b"], "v"))
    assert find_keys(clerk, "a").common == common
    if common == "a":
        assert tab("get a", *keys, last, "b")[:-1] == [f"{key} " for key in keys[: MOST_KEYS - 1]]
        assert tab("get a", *keys, last, "b")[-1] == f"{last} "
    else:
        assert tab("get a", *keys, last, "b") == f"get {common}"
