"""The client's commands: words to outcomes, texts, JSON and exit statuses. Clerk is a dict here."""

from __future__ import annotations

import io
import json
import sys

import pytest
from raftkv import errors
from raftkv.cli.call import execute, help_text
from raftkv.cli.commands import COMMANDS
from raftkv.cli.console import Console
from raftkv.cli.outcome import (
    BAD_INPUT,
    DONE,
    INTERRUPTED,
    NO,
    NOT_AUTHORISED,
    NOT_WRITTEN,
    UNAVAILABLE,
    Outcome,
    OutputError,
    exit_status,
)
from raftkv.cli.rows import row_line
from raftkv.cli.words import split_line
from raftkv.kvdb.limits import MAX_VALUE_BYTES


class FakeClerk:
    """Clerk's methods on a dict. `failure`: an exception that every method raises instead."""

    def __init__(self, data=None, failure=None, servers=()):
        self.data = {key: (value, 1) for key, value in (data or {}).items()}
        self.failure = failure
        self.servers = list(servers)
        self.revision = 1

    def _write(self, key, value):
        if self.failure:
            raise self.failure
        self.revision += 1
        self.data[key] = (value, self.revision)
        return self.revision

    def get_with_revision(self, key):
        if self.failure:
            raise self.failure
        return self.data.get(key)

    def put(self, key, value):
        return self._write(key, value)

    def append(self, key, value):
        return self._write(key, self.data.get(key, ("", 0))[0] + value)

    def delete(self, key):
        return self.data.pop(key, None) is not None

    def cas(self, key, expected, value):
        if self.data.get(key, (None, 0))[0] != expected:
            return False
        self._write(key, value)
        return True

    def scan(self, prefix="", start="", limit=None):
        start = start if isinstance(start, bytes) else start.encode("utf-8", "surrogateescape")
        by = {key.encode("utf-8", "surrogateescape"): key for key in self.data}
        found = [by[key] for key in sorted(by) if by[key].startswith(prefix) and key >= start]
        return [(key, *self.data[key]) for key in found[:limit]]

    def status(self):
        return self.servers

    def pipeline(self):
        return FakePipeline(self)


class FakePipeline:
    """Deletions only."""

    def __init__(self, clerk):
        self.clerk, self.keys = clerk, []

    def delete(self, key):
        self.keys.append(key)

    def execute(self):
        return [self.clerk.delete(key) for key in self.keys]


def run(clerk, line, as_json=False, console=None):
    return execute(COMMANDS, clerk, split_line(line), as_json, console)


@pytest.mark.parametrize(
    "line, status, text",
    [
        ("get a", DONE, "one"),
        ("get none", NO, "(nil)"),
        ("get a none 'a key'", NO, "one\n(nil)\n"),
        ("get a 'a key'", DONE, "one\n"),
        ("put b 'two words'", DONE, "OK"),
        ("append a +", DONE, "OK"),
        ("delete a", DONE, "OK"),
        ("delete none", NO, "(nil)"),
        ("delete a none", NO, "OK\n(nil)"),
        ("cas a one two", DONE, "OK"),
        ("cas a other two", NO, "(the key does not hold that value)"),
        ("cas --absent -- b x", DONE, "OK"),
        ("cas --absent -- a x", NO, "(the key exists)"),
        ("scan", DONE, "a one\n'a key' ''"),
        ("scan 'a '", DONE, "'a key' ''"),
        ("scan --start 'a ' a", DONE, "'a key' ''"),
        ("scan a --start='a '", DONE, "'a key' ''"),
        ("scan --limit 1", DONE, "a one"),
        ("scan -- a --limit", BAD_INPUT, None),
        ("scan x", DONE, None),
    ],
)
def test_outcomes(line, status, text):
    assert run(FakeClerk({"a": "one", "a key": ""}), line)[:2] == (status, text)


def test_an_empty_scan_says_so_to_people_only():
    assert run(FakeClerk(), "scan").remark == "(empty)"


@pytest.mark.parametrize(
    "line, key, value",
    [
        ("put k -x", "k", "-x"),
        ("put k -1", "k", "-1"),
        ("put -- k --json", "k", "--json"),
        ("put k --json -- --json", "k", "--json"),
        ("put -- --absent -", "--absent", "-"),
        ("put - -h", "-", "-h"),
        ("put -- -- --", "--", "--"),
        ("put k @@file", "k", "@file"),
        ("put -- k @file", "k", "@file"),
        ("append -- k @file", "k", "old@file"),
        ("cas k old @@new --json", "k", "@new"),
        ("cas --absent -- --absent x", "--absent", "x"),
        ("put k a\\ b", "k", "a b"),
        ("put k ''", "k", ""),
    ],
)
def test_any_word_can_be_a_key_or_a_value(line, key, value):
    clerk = FakeClerk({"k": "old"})
    assert run(clerk, line).status == DONE
    assert clerk.data[key][0] == value


@pytest.mark.parametrize(
    "line",
    [
        "cas --absent v1 v2",
        "cas v1 --absent v2",
        "cas v1 v2 --absent",
        "cas v1 --absent -- v2",
        "cas v1 v2",
        "cas --absent -- v1",
        "put --json v1",
        "put v1 --json",
        "append --help v1",
        "put v1 --help",
    ],
)
def test_a_word_that_is_named_like_an_option_changes_nothing(line):
    clerk = FakeClerk()
    assert run(clerk, line).status == BAD_INPUT
    assert clerk.data == {}


@pytest.mark.parametrize(
    "line, status, plain",
    [
        ("get a", DONE, {"key": "a", "value": "one", "revision": 1}),
        ("get none", NO, {"key": "none", "value": None, "revision": None}),
        ("get a a", DONE, {"items": [{"key": "a", "value": "one", "revision": 1}] * 2}),
        ("put a x", DONE, {"key": "a", "revision": 2}),
        ("append a x", DONE, {"key": "a", "revision": 2}),
        ("delete a", DONE, {"key": "a", "deleted": True}),
        ("delete none", NO, {"key": "none", "deleted": False}),
        ("cas a one two", DONE, {"key": "a", "swapped": True}),
        ("cas a no two", NO, {"key": "a", "swapped": False}),
        ("scan", DONE, {"items": [{"key": "a", "value": "one", "revision": 1}]}),
        ("scan none", DONE, {"items": []}),
    ],
)
def test_json(line, status, plain):
    for outcome in (
        run(FakeClerk({"a": "one"}), line, as_json=True),
        run(FakeClerk({"a": "one"}), line + " --json"),
        run(FakeClerk({"a": "one"}), line.replace(" ", " --json ", 1) if " " in line else line + " --json"),
    ):
        assert outcome.status == status
        assert json.loads(outcome.shown) == plain
        assert "\n" not in outcome.shown


@pytest.mark.parametrize(
    "line, message",
    [
        ("got a", "unknown command 'got'; did you mean get?; `help` lists the commands"),
        ("GET a", "unknown command 'GET'; did you mean get?"),
        ("set a b", "unknown command 'set'; did you mean put?"),
        ("xyzzy", "unknown command 'xyzzy'; `help` lists"),
        ("get", "get: KEY is missing; usage: get KEY..."),
        ("put a", "put: VALUE is missing; usage: put KEY VALUE"),
        ("append a b c", "append: 'c' is one word too many: quote what has spaces; usage: append KEY VALUE"),
        ("status now", "status: 'now' is one word too many"),
        ("scan --limit x", "scan: --limit must be 1 or more, not 'x'; usage: scan"),
        ("scan --limit=0", "scan: --limit must be 1 or more, not '0'"),
        ("scan --limit", "scan: --limit needs a value"),
        ("scan --json=1", "scan: --json takes no value"),
        ("scan --limt 3", "scan: there is no option --limt; did you mean --limit?"),
        ("help me", "unknown command 'me'"),
        ("put k -", "standard input is where the commands come from: name a file"),
        ("put k @", "cannot read the file ''"),
        ("put k @/nowhere/x", "cannot read the file '/nowhere/x': No such file"),
        ("append k @/", "cannot read the file '/': Is a directory"),
    ],
)
def test_bad_usage_names_what_is_wrong(line, message):
    for as_json in (False, True):
        outcome = run(FakeClerk({"a": "one"}), line, as_json)
        assert (outcome.status, outcome.shown) == (BAD_INPUT, None)
        assert outcome.error.startswith(message)


@pytest.mark.parametrize("line", ["help", "--help", "-h", "help --json"])
def test_help_lists_all_commands(line):
    outcome = run(None, line)
    assert (outcome.status, outcome.text) == (DONE, help_text(COMMANDS))
    assert all(f"{name} {command.usage}".rstrip() in outcome.text for name, command in COMMANDS.items())


@pytest.mark.parametrize("line", ["help put", "put --help", "put -h", "--help put", "put --json -h"])
def test_help_of_one_command(line):
    outcome = run(None, line)
    assert outcome.status == DONE
    assert outcome.text.startswith("put KEY VALUE [--lease ID]\n    set the key's value\n")


@pytest.mark.parametrize(
    "failure, status",
    [
        (errors.NotApplied("no leader"), UNAVAILABLE),
        (errors.OutcomeUnknown("no answer"), UNAVAILABLE),
        (errors.SessionExpiredError("too long"), UNAVAILABLE),
        (errors.UnavailableError("no leader"), UNAVAILABLE),
        (errors.ClosedError("closed"), UNAVAILABLE),
        (errors.ConnectionLostError("gone"), UNAVAILABLE),
        (errors.RemoteError(errors.OVERLOADED, "too much"), UNAVAILABLE),
        (errors.RemoteError(errors.BAD_REQUEST, "too large"), BAD_INPUT),
        (errors.InvalidRequestError("too large"), BAD_INPUT),
        (errors.ConfigError("bad file"), BAD_INPUT),
        (errors.AuthenticationError("wrong key"), NOT_AUTHORISED),
    ],
)
def test_a_failure_has_its_status_and_its_sentence(failure, status):
    assert run(FakeClerk(failure=failure), "put a b") == Outcome(status, error=str(failure))
    as_json = run(FakeClerk(failure=failure), "put a b --json").error_line("kvclient: ", line=3)
    assert json.loads(as_json) == {"error": str(failure), "status": status, "line": 3}


def test_output_errors_and_interruptions_have_statuses_of_their_own():
    assert exit_status(OutputError("full")) == NOT_WRITTEN
    outcome = run(FakeClerk(failure=KeyboardInterrupt()), "put a b")
    assert (outcome.status, outcome.error[:43]) == (
        INTERRUPTED,
        "interrupted: the put may or may not take ef",
    )
    assert run(FakeClerk(failure=KeyboardInterrupt()), "get a").error == "interrupted"


# -- values from elsewhere -----------------------------------------------------------------------------------


class Input:
    """Standard input with this content."""

    def __init__(self, data):
        self.buffer = io.BytesIO(data)


@pytest.mark.parametrize("text", ["", "x\n\n", "\ufeff\r\n\0", "@x", "ä" * 1000])
def test_a_value_is_read_as_it_is(text, tmp_path, monkeypatch):
    clerk, file = FakeClerk({"k": "old"}), tmp_path / "value"
    file.write_bytes(text.encode())
    monkeypatch.setattr(sys, "stdin", Input(text.encode()))
    assert run(clerk, "put k -", console=Console(input_is_free=True)).status == DONE
    assert clerk.data["k"][0] == text
    assert run(clerk, f"append k @{file}").status == DONE
    assert clerk.data["k"][0] == text * 2
    (tmp_path / "twice").write_bytes(text.encode() * 2)
    assert run(clerk, f"cas k @{tmp_path}/twice @{file}").status == DONE
    assert clerk.data["k"][0] == text


@pytest.mark.parametrize(
    "data, why",
    [(b"x" * (MAX_VALUE_BYTES + 1), "is too large")],
)
def test_a_value_that_cannot_be_one_is_refused(data, why, tmp_path):
    (tmp_path / "value").write_bytes(data)
    outcome = run(FakeClerk(), f"put k @{tmp_path}/value")
    assert outcome.status == BAD_INPUT
    assert why in outcome.error


def test_bytes_that_are_no_text_are_kept_as_they_are(tmp_path):
    (tmp_path / "value").write_bytes(b"ab\xff")
    clerk = FakeClerk()
    assert run(clerk, f"put $'\\xfe' @{tmp_path}/value").status == DONE
    assert clerk.data == {"\udcfe": ("ab\udcff", 2)}
    assert run(clerk, "scan").text == "$'\\xfe' $'ab\\xff'"


def test_words_are_utf8_also_where_the_locale_knows_ascii_only():
    clerk = FakeClerk()
    words = [word.encode().decode("ascii", "surrogateescape") for word in ("put", "é", "日本😀")]
    assert execute(COMMANDS, clerk, words).status == DONE
    assert clerk.data["é"][0] == "日本😀"


def test_no_value_is_read_from_an_input_that_is_closed():
    clerk = FakeClerk({"k": "old"})
    outcome = run(clerk, "put k -", console=Console(input_is_free=True, input_is_closed=True))
    assert (outcome.status, outcome.error) == (BAD_INPUT, "standard input is closed: name a file")
    assert clerk.data["k"][0] == "old"


# -- what scan prints ----------------------------------------------------------------------------------------

AWKWARD = [
    "plain", "two words", "", "'", "it's", '"', "\\", "a\\", "$x", "$'", "`id`", "!", "#", "# no comment", "~", "*",
    "-", "--", "-x", "--json", "--absent", "--help", "-h", "@", "@file", "@@", "help", "exit", ";", "&", "(empty)",
    "a\nput other x", "\n", "a\r\nb", "\t", "\0", "\x1b[2J", "\x7f", "\x85", "\u2028", "\u202e", "\u200b", "\ufeff",
    "ä", "日本", "\U0001f600", "\xa0", "x" * 3000,
]  # fmt: skip


@pytest.mark.parametrize("text", AWKWARD)
def test_a_line_of_scan_is_one_put_of_the_same(text):
    for key, value in ((text or "empty", "v"), ("k", text), (text or "empty", text)):
        clerk = FakeClerk()
        line = row_line(key, value)
        assert line.splitlines() == [line]
        assert run(clerk, f"put {line}").status == DONE
        assert {key: value for key, (value, _) in clerk.data.items()} == {key: value}
