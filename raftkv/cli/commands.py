"""What a client can be told to do: one table of commands for the prompt, one-shot and piped forms.

A command gets words (already split and unquoted) and returns an Outcome; it neither prints nor exits.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Callable, NamedTuple, NoReturn

from raftkv import errors
from raftkv.cli.status import status_plain, status_table

# Exit statuses of kvclient. Scripts rely on them.
DONE = 0
NO = 1  # no such key, or the comparison failed
BAD_INPUT = 2
UNAVAILABLE = 3  # no cluster, or timed out: the outcome of a write is unknown
NOT_AUTHORISED = 4


class UsageError(errors.RaftKVError):
    """A command that cannot be understood. The message says how to write it."""


class Outcome(NamedTuple):
    """What came of a command: `text` for people, `plain` (JSON-able) for programs, or `error`, a sentence."""

    status: int
    text: str = ""
    plain: Any = None
    error: str = ""


class Command(NamedTuple):
    """`usage` is its words after the name. `run` gets a Clerk and between min_words and max_words words."""

    usage: str
    summary: str
    run: Callable[[Any, list[str]], Outcome]
    min_words: int
    max_words: int
    takes_key: bool = False  # its first word is completed to a key


def execute(
    commands: Mapping[str, Command], clerk: Any, words: Sequence[str], as_json: bool = False
) -> Outcome:
    """Run one command; whatever a user can cause becomes an Outcome. `words` is not empty.

    With `as_json`, or a `--json` after the command's own words, the text is one line of JSON.
    """
    name, rest = words[0], list(words[1:])
    command = commands.get(name)
    if command is None:
        return Outcome(BAD_INPUT, error=f"unknown command {name!r}; `help` lists the commands")
    if rest[-1:] == ["--json"] and (len(rest) > command.max_words or name == "scan"):
        rest.pop()
        as_json = True
    try:
        if not command.min_words <= len(rest) <= command.max_words:
            raise UsageError(f"usage: {name} {command.usage}".rstrip())
        outcome = command.run(clerk, rest)
    except errors.RaftKVError as error:
        return Outcome(exit_status(error), error=str(error))
    return outcome._replace(text=json.dumps(outcome.plain)) if as_json else outcome


def exit_status(error: errors.RaftKVError) -> int:
    """The exit status that tells a script what kind of failure `error` is."""
    if isinstance(error, errors.AuthenticationError):
        return NOT_AUTHORISED
    if isinstance(error, (errors.InvalidRequestError, errors.ConfigError, UsageError)):
        return BAD_INPUT
    if isinstance(error, errors.RemoteError) and error.code == errors.BAD_REQUEST:
        return BAD_INPUT
    return UNAVAILABLE


# White space, plain characters, '...', "...", or an escaped character.
_PIECE = re.compile(r"""([ \t\r\n]+)|([^ \t\r\n'"\\]+)|'([^']*)'|"((?:[^"\\]+|\\.)*)"|\\(.)""", re.DOTALL)


def split_line(line: str) -> list[str]:
    """The words of a line by shell rules, as shlex.split() finds them. Raises UsageError.

    Not by shlex.split() itself, which needs a time quadratic in the longest word: minutes for a megabyte.
    """
    words: list[str] = []
    pieces: list[str] | None = None  # of the word that has begun
    at = 0
    while at < len(line):
        piece = _PIECE.match(line, at)
        if piece is None:
            what = "escaped character" if line[at] == "\\" else "closing quotation"
            raise UsageError(f"no {what}: quote a value by shell rules, like 'two words'")
        at = piece.end()
        if piece[1] is None:
            assert piece.lastindex, "every alternative is a group"
            text = piece[piece.lastindex]
            pieces = pieces or []
            pieces.append(re.sub(r'\\(["\\])', r"\1", text) if piece[4] is not None else text)
        elif pieces is not None:
            words.append("".join(pieces))
            pieces = None
    return words if pieces is None else [*words, "".join(pieces)]


def help_text(commands: Mapping[str, Command], name: str | None = None) -> str:
    """All commands, or one. Raises UsageError for an unknown name."""
    if name is None:
        width = max(len(f"{name} {command.usage}") for name, command in commands.items())
        lines = [
            f"{name} {command.usage}".ljust(width + 2) + command.summary for name, command in commands.items()
        ]
        return "\n".join(
            [*lines, "Words are separated by spaces and quoted by shell rules: put greeting 'hello, world'"]
        )
    if name not in commands:
        raise UsageError(f"no command {name!r}; `help` lists the commands")
    return f"{name} {commands[name].usage}".rstrip() + f"\n    {commands[name].summary}"


# -- the commands --------------------------------------------------------------------------------------------


def _get(clerk: Any, words: list[str]) -> Outcome:
    found = clerk.get_with_revision(words[0])
    if found is None:
        return Outcome(NO, "(nil)", {"key": words[0], "value": None, "revision": None})
    value, revision = found
    return Outcome(DONE, value, {"key": words[0], "value": value, "revision": revision})


def _put(clerk: Any, words: list[str]) -> Outcome:
    return _written(words[0], clerk.put(words[0], words[1]))


def _append(clerk: Any, words: list[str]) -> Outcome:
    return _written(words[0], clerk.append(words[0], words[1]))


def _written(key: str, revision: int) -> Outcome:
    return Outcome(DONE, "OK", {"key": key, "revision": revision})


def _delete(clerk: Any, words: list[str]) -> Outcome:
    existed = clerk.delete(words[0])
    return Outcome(
        DONE if existed else NO, "OK" if existed else "(nil)", {"key": words[0], "deleted": existed}
    )


def _cas(clerk: Any, words: list[str]) -> Outcome:
    if words[0] == "--absent":
        key, expected, value = words[1], None, words[2]
    else:
        key, expected, value = words
    swapped = clerk.cas(key, expected, value)
    text = (
        "OK" if swapped else "(the key exists)" if expected is None else "(the key does not hold that value)"
    )
    return Outcome(DONE if swapped else NO, text, {"key": key, "swapped": swapped})


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; usage: scan {_SCAN_USAGE}")


_SCAN_USAGE = "[PREFIX] [--start KEY] [--limit N]"
_scan_parser = _Parser("scan", add_help=False, allow_abbrev=False)
_scan_parser.add_argument("prefix", nargs="?", default="")
_scan_parser.add_argument("--start", default="")
_scan_parser.add_argument("--limit", type=int)


def _scan(clerk: Any, words: list[str]) -> Outcome:
    options = _scan_parser.parse_args(words)
    if options.limit is not None and options.limit < 1:
        raise UsageError(f"--limit must be 1 or more, not {options.limit}")
    found = clerk.scan(options.prefix, options.start, options.limit)
    # Quoted, a key with spaces is told from its value; and the line can be given back to `put`.
    text = "\n".join(f"{shlex.quote(key)} {shlex.quote(value)}" for key, value, _ in found)
    items = [{"key": key, "value": value, "revision": revision} for key, value, revision in found]
    return Outcome(DONE, text or "(empty)", {"items": items})


def _status(clerk: Any, words: list[str]) -> Outcome:
    servers = clerk.status()
    alive = any(server["alive"] for server in servers)
    return Outcome(DONE if alive else UNAVAILABLE, status_table(servers), status_plain(servers))


COMMANDS: dict[str, Command] = {
    "get": Command("KEY", "the key's value, or (nil)", _get, 1, 1, True),
    "put": Command("KEY VALUE", "set the key's value", _put, 2, 2, True),
    "append": Command("KEY VALUE", "add to the end of the key's value", _append, 2, 2, True),
    "delete": Command("KEY", "remove the key", _delete, 1, 1, True),
    "cas": Command(
        "KEY EXPECTED NEW | --absent KEY NEW",
        "set the key to NEW if it holds EXPECTED, or nothing",
        _cas,
        3,
        3,
        True,
    ),
    "scan": Command(_SCAN_USAGE, "keys and values in the order of the keys", _scan, 0, 6, True),
    "status": Command("", "every server: role, term, progress", _status, 0, 0),
}
