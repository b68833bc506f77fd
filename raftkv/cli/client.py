"""kvclient: one command from the command line, commands from standard input, or a prompt on a terminal."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import NamedTuple, NoReturn

from raftkv import Clerk, __version__
from raftkv.cli.arguments import parse_arguments, seconds, text_of, wants_json
from raftkv.cli.call import Call, help_text, parse_call
from raftkv.cli.commands import COMMANDS
from raftkv.cli.console import Console, is_terminal
from raftkv.cli.outcome import (
    DONE,
    INTERRUPTED,
    NOT_WRITTEN,
    STOPS,
    Outcome,
    OutputError,
    Terminated,
    UsageError,
    exit_status,
)
from raftkv.cli.piped import Lines, run_lines
from raftkv.cli.prompt import Prompt
from raftkv.cli.streams import open_standard_streams
from raftkv.errors import ConfigError, RaftKVError

_HELP = f"""\
usage: kvclient [--config FILE] [--timeout S] [--json] [COMMAND ARG...]

Use a raftkv cluster. Without a command: a prompt, or commands from standard input.

options, before the command:
  --config FILE  the cluster's client.ini; default: conf/client.ini, here or beside the program
  --timeout S    how long a command may take, in seconds
  --json         print each result, and each error, as one line of JSON; also after the command
  --version, --help

commands:
{help_text(COMMANDS)}

exit status: 0 done; 1 no such key, comparison failed, or change of members refused; 2 bad usage or input;
3 cluster unavailable, without a leader or timed out (a write's outcome is unknown); 4 not authorised;
5 the output could not be written (also when its reader has closed it, as `| head` does);
6 a lock or a leadership was lost; `lock` and `watch` with a COMMAND that ended otherwise: its own;
130 interrupted, 143 terminated.
Commands from standard input run one a line, up to the first that ends with 3 or more, or
wants to read standard input itself; the exit status is then the highest one."""

_OPTIONS = {"--config": text_of, "--timeout": seconds, "--json": None, "--version": None, "--help": None}


class _Asked(NamedTuple):
    """What the command line asks for. `call`: None without a command."""

    config: str | None
    timeout_s: float | None
    as_json: bool
    call: Call | None
    text: str = ""  # to print, and no more


def main(argv: list[str] | None = None) -> int:
    """Run the client. Returns the exit status, as `kvclient --help` lists them."""
    if argv is not None:
        return _run(argv)
    received = _end_by_signals()
    status = _run(sys.argv[1:])
    with contextlib.suppress(ValueError):  # not in the main thread
        # It is said what happened: only the end of Python is left.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return 128 + received[0] if received else status


def _end_by_signals() -> list[int]:
    """From now on SIGTERM and SIGHUP end the program as Ctrl-C ends a command: it says what is in doubt, and leaves
    no half of a file behind. A second one ends it at once. Returns a list that will hold the first."""
    received: list[int] = []

    def terminate(number: int, _frame: object) -> NoReturn:
        for each in taken:
            signal.signal(each, signal.SIG_DFL)
        received.append(number)
        raise Terminated

    taken = [signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # not under nohup
        taken.append(signal.SIGHUP)
    with contextlib.suppress(ValueError):  # not in the main thread
        for each in taken:
            signal.signal(each, terminate)
    return received


def _run(words: list[str]) -> int:
    closed = open_standard_streams()
    console = Console(input_is_closed="stdin" in closed, output_is_closed="stdout" in closed)
    try:
        return _main(words, console)
    except OutputError as error:
        outcome = Outcome(NOT_WRITTEN, error=f"the output could not be written ({error})")
    except RaftKVError as error:
        outcome = Outcome(exit_status(error), error=str(error))
    except STOPS:
        outcome = Outcome(INTERRUPTED, error="interrupted")
    outcome = outcome._replace(as_json=_wants_json(words))
    console.complain(outcome.error_line("kvclient: "))
    return outcome.status


def _main(words: list[str], console: Console) -> int:
    asked = _parse(words)
    if asked.text:
        return _finish(Outcome(DONE, asked.text, as_json=asked.as_json), "the help", console)
    call = asked.call
    console.input_is_free = call is not None
    if call is not None and not call.needs_clerk:
        return _finish(call.run(None, console), call.name, console)
    with Clerk.from_config(
        _default_config() if asked.config is None else asked.config, timeout=asked.timeout_s
    ) as clerk:
        if call is not None:
            return _finish(call.run(clerk, console), call.name, console)
        if not is_terminal(sys.stdin):
            return run_lines(clerk, COMMANDS, Lines(sys.stdin), asked.as_json, console)
        console.write(f"raftkv {__version__}; `help` lists the commands\n")
        Prompt(clerk, COMMANDS, as_json=asked.as_json).run()
        return DONE


def _parse(words: list[str]) -> _Asked:
    """Raises UsageError."""
    if words[:1] == ["-h"]:
        return _Asked(None, None, False, None, _HELP)
    options = parse_arguments(words, _OPTIONS, leading=True)
    as_json = "--json" in options.options
    if "--help" in options.options:
        return _Asked(None, None, as_json, None, _HELP)
    if "--version" in options.options:
        return _Asked(None, None, as_json, None, f"raftkv {__version__}")
    call = parse_call(COMMANDS, options.words, as_json) if options.words else None
    return _Asked(options.options.get("--config"), options.options.get("--timeout"), as_json, call)


def _wants_json(words: list[str]) -> bool:
    """Whether errors are to be JSON, also that the words make no sense."""
    try:
        asked = parse_arguments(words, _OPTIONS, leading=True)
    except UsageError:
        return wants_json(words)
    return "--json" in asked.options or wants_json(asked.words[1:])


def _finish(outcome: Outcome, name: str, console: Console) -> int:
    """Show the one outcome there is. Returns the exit status."""
    try:
        console.show(outcome, "kvclient: ")
        return outcome.status
    except OutputError as error:
        sentence = f"{name} was carried out, but its result could not be written ({error})"
        outcome = Outcome(NOT_WRITTEN, error=sentence, as_json=outcome.as_json)
        console.complain(outcome.error_line("kvclient: "))
        return NOT_WRITTEN


def _default_config() -> str:
    """conf/client.ini of the current folder, or else of the folder that raftkv/ is in. Raises ConfigError."""
    package_parent = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    for folder in ("", package_parent):
        path = os.path.join(folder, "conf", "client.ini")
        if os.path.exists(path):
            return path
    raise ConfigError("there is no conf/client.ini here: name the cluster's client.ini with --config FILE")


if __name__ == "__main__":
    sys.exit(main())
