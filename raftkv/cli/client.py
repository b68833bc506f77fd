"""kvclient: one command from the command line, commands from standard input, or a prompt on a terminal."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Iterable
from typing import Any

from raftkv import Clerk, __version__
from raftkv.cli.commands import (
    BAD_INPUT,
    COMMANDS,
    DONE,
    UNAVAILABLE,
    Outcome,
    UsageError,
    execute,
    exit_status,
    help_text,
    split_line,
)
from raftkv.cli.prompt import Prompt
from raftkv.cli.streams import open_standard_streams
from raftkv.errors import ConfigError, RaftKVError

INTERRUPTED = 130  # what shells make of a program that Ctrl-C ended

_EPILOG = f"""\
commands:
{help_text(COMMANDS)}

exit status: 0 done; 1 no such key, or comparison failed; 2 bad usage or input;
3 cluster unavailable or timed out (a write's outcome is unknown); 4 not authorised.
Commands from standard input run one a line, up to the first that ends with 3 or 4;
the exit status is then the highest one."""


def main(argv: list[str] | None = None) -> int:
    """Run the client. Returns the exit status, as `kvclient --help` lists them."""
    open_standard_streams()
    args = _parser().parse_args(argv)
    _be_strict_about_text()
    if args.command[:1] == ["help"]:
        return _help(args.command[1:])
    try:
        with Clerk.from_config(args.config or _default_config(), timeout=args.timeout) as clerk:
            return _run(clerk, args)
    except RaftKVError as error:
        print(f"kvclient: {error}", file=sys.stderr)
        return exit_status(error)
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has had enough, as in `kvclient scan | head`. Nothing more can be printed,
        # not even by the flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def _run(clerk: Any, args: argparse.Namespace) -> int:
    if args.command:
        return _show(execute(COMMANDS, clerk, args.command, args.json))
    if not sys.stdin.isatty():
        return _run_lines(clerk, sys.stdin, args.json)
    print(f"raftkv {__version__}; `help` lists the commands")
    Prompt(clerk, COMMANDS, as_json=args.json).run()
    return DONE


def _run_lines(clerk: Any, lines: Iterable[str], as_json: bool) -> int:
    """One command a line; empty lines and lines that begin with # are skipped."""
    status = DONE
    for number, line in enumerate(lines, 1):
        try:
            words = split_line(line) if not line.startswith("#") else []
            if not words:
                continue
            if words[0] in ("exit", "quit"):
                break
            outcome = execute(COMMANDS, clerk, words, as_json)
        except UsageError as error:
            outcome = Outcome(BAD_INPUT, error=str(error))
        status = max(status, _show(outcome, f"line {number}: "))
        if outcome.status >= UNAVAILABLE:
            break  # what follows may build on this one, whose outcome is unknown
    return status


def _show(outcome: Outcome, place: str = "") -> int:
    if outcome.text:
        print(outcome.text, flush=True)
    if outcome.error:
        print(f"kvclient: {place}{outcome.error}", file=sys.stderr)
    return outcome.status


def _help(words: list[str]) -> int:
    try:
        print(help_text(COMMANDS, *words[:1]))
    except UsageError as error:
        return _show(Outcome(BAD_INPUT, error=str(error)))
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "kvclient",
        usage="%(prog)s [--config FILE] [--timeout S] [--json] [COMMAND ARG...]",
        description="Use a raftkv cluster. Without a command: a prompt, or commands from standard input.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config", metavar="FILE", help="default: conf/client.ini, here or beside the program"
    )
    parser.add_argument(
        "--timeout", metavar="S", type=_seconds, help="how long a command may take, in seconds"
    )
    parser.add_argument("--json", action="store_true", help="print each result as one line of JSON")
    parser.add_argument("--version", action="version", version=f"raftkv {__version__}")
    parser.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 86_400:
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, at most 86400, not {text!r}")
    return value


def _default_config() -> str:
    """conf/client.ini of the current folder, or else of the folder that raftkv/ is in. Raises ConfigError."""
    package_parent = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    for folder in ("", package_parent):
        path = os.path.join(folder, "conf", "client.ini")
        if os.path.exists(path):
            return path
    raise ConfigError("there is no conf/client.ini here: name the cluster's client.ini with --config FILE")


def _be_strict_about_text() -> None:
    """Bytes on standard input that are no text must reach Clerk's check, which has a clear error for them;
    and what the terminal cannot show must not end the program."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    sys.exit(main())
