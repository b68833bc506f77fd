"""A command, and how it is called: with words, checked, and run to an Outcome; and the texts of `help`.

A command gets a Clerk, its arguments and a Console, and returns an Outcome. Only those that stream (dump,
load) use the console to write; none exits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable, NamedTuple

from raftkv import errors
from raftkv.cli.arguments import Arguments, Convert, did_you_mean, parse_arguments, wants_json
from raftkv.cli.console import Console
from raftkv.cli.outcome import (
    BAD_INPUT,
    DONE,
    INTERRUPTED,
    STOPS,
    InputInUseError,
    Outcome,
    UsageError,
    exit_status,
)
from raftkv.cli.printable import one_line

Run = Callable[[Any, Arguments, Console], Outcome]


class Command(NamedTuple):
    """`usage` is its words after the name. `run` gets at least `min_words` and at most `max_words` words.

    `takes_keys`: its words up to this one are completed to keys. `writes`: it changes the database, so that
    an interrupted one is in doubt. `offline`: it can do without a Clerk, and is then given None. `takes_files`: its
    words are names of files, which need not be text.
    """

    usage: str
    summary: str
    run: Run
    min_words: int
    max_words: int | None
    options: Mapping[str, Convert] = {}
    takes_keys: int = 0
    writes: bool = False
    offline: Callable[[Arguments], bool] = lambda _arguments: False
    takes_files: bool = False
    notes: str = ""


class Call(NamedTuple):
    """A command with the arguments that it was given."""

    name: str
    command: Command
    arguments: Arguments
    as_json: bool

    @property
    def needs_clerk(self) -> bool:
        return not self.command.offline(self.arguments)

    def run(self, clerk: Any, console: Console) -> Outcome:
        """Do it; whatever a user can cause becomes an Outcome."""
        console.as_json = self.as_json
        try:
            outcome = self.command.run(clerk, self.arguments, console)
        except errors.RaftKVError as error:
            ends_input = isinstance(error, InputInUseError)
            outcome = Outcome(exit_status(error), error=str(error), ends_input=ends_input)
        except STOPS:
            outcome = Outcome(INTERRUPTED, error="interrupted" + self.doubt)
        return outcome._replace(as_json=self.as_json)

    @property
    def doubt(self) -> str:
        """What to add when nobody waited for the end of it."""
        if not self.command.writes:
            return ""
        return f": the {self.name} may or may not take effect; read before you repeat it"


HELP_WORDS = ("help", "--help", "-h", "?")


def parse_call(commands: Mapping[str, Command], words: Sequence[str], as_json: bool = False) -> Call:
    """Which command `words`, which are not empty, call for. Raises UsageError."""
    takes_files = words[0] in commands and commands[words[0]].takes_files
    words = words if takes_files else [_as_text(word) for word in words]
    name, rest = words[0], list(words[1:])
    asks_for_help = [word for word in rest if word != "--json"]
    if name in HELP_WORDS:
        command, name = help_command(commands), "help"
    elif name in commands and len(asks_for_help) == 1 and asks_for_help[0] in ("--help", "-h"):
        command, rest, name = help_command(commands), [name, *(w for w in rest if w == "--json")], "help"
    elif name in commands:
        command = commands[name]
    else:
        raise UsageError(_unknown(commands, name))
    try:
        arguments = parse_arguments(rest, {**command.options, "--json": None})
        _check_count(command, arguments.words)
        if command.takes_files and "" in (*arguments.words, *arguments.options.values()):
            raise UsageError("the name of a file is empty")
    except UsageError as error:
        raise UsageError(f"{name}: {error}; usage: {name} {command.usage}".rstrip()) from None
    return Call(name, command, arguments, as_json or arguments.options.pop("--json", False))


def execute(
    commands: Mapping[str, Command],
    clerk: Any,
    words: Sequence[str],
    as_json: bool = False,
    console: Console | None = None,
) -> Outcome:
    """Run one command. `words` is not empty."""
    try:
        call = parse_call(commands, words, as_json)
    except UsageError as error:
        return Outcome(BAD_INPUT, error=str(error), as_json=as_json or wants_json(words[1:]))
    return call.run(clerk, console or Console())


def _check_count(command: Command, words: Sequence[str]) -> None:
    if len(words) < command.min_words:
        missing = [name for name in command.usage.split() if name[0] not in "[-"][len(words)]
        raise UsageError(f"{missing.rstrip('.')} is missing")
    if command.max_words is not None and len(words) > command.max_words:
        extra = one_line(words[command.max_words])[:40]
        raise UsageError(f"{extra!r} is one word too many: quote what has spaces")


def _as_text(word: str) -> str:
    """The word, whose bytes Python kept where the locale knows ASCII only. Raises UsageError."""
    try:
        return word.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    except UnicodeError:
        raise UsageError(f"{one_line(word)[:80]} has half a character: neither text nor bytes") from None


# -- help ----------------------------------------------------------------------------------------------------

#: What people type who come from elsewhere.
_ELSEWHERE = {"set": "put", "del": "delete", "rm": "delete", "remove": "delete", "ls": "scan", "list": "scan",
              "keys": "scan", "export": "dump", "import": "load", "info": "status"}  # fmt: skip


def _unknown(commands: Mapping[str, Command], name: str) -> str:
    known = _ELSEWHERE.get(name.lower())
    hint = f"; did you mean {known}?" if known in commands else did_you_mean(name, commands)
    return f"unknown command {one_line(name)[:40]!r}{hint}; `help` lists the commands"


def help_text(commands: Mapping[str, Command], name: str | None = None) -> str:
    """All commands, or one. Raises UsageError for an unknown name."""
    if name is None:
        usages = {f"{name} {command.usage}".rstrip(): command.summary for name, command in commands.items()}
        width = max(map(len, usages))
        return "\n".join(
            [
                *(f"{usage.ljust(width)}  {summary}" for usage, summary in usages.items()),
                "Words are separated by spaces and quoted by shell rules: put greeting 'hello, world'.",
                "`--json` prints a result as JSON. `--` ends the options: put -- --key -value",
            ]
        )
    if name not in commands:
        raise UsageError(_unknown(commands, name))
    command = commands[name]
    notes = f"\n    {command.notes}" if command.notes else ""
    return f"{name} {command.usage}".rstrip() + f"\n    {command.summary}{notes}"


def help_command(commands: Mapping[str, Command]) -> Command:
    def run(_clerk: Any, arguments: Arguments, _console: Console) -> Outcome:
        text = help_text(commands, *arguments.words)
        return Outcome(DONE, text, {"help": text})

    return Command("[COMMAND]", "this list, or one command", run, 0, 1, offline=lambda _arguments: True)
