"""Console: standard input, output and error as commands and their results use them.

Standard output gets results and nothing else; standard error gets errors, one line each, and progress on a
terminal. A terminal is shown no character that drives it; a pipe gets what there is.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import BinaryIO, Callable

from raftkv.cli import printable
from raftkv.cli.outcome import InputInUseError, Outcome, OutputError, UsageError

PROGRESS_EVERY_S = 0.2


class Console:
    """The program's standard streams.

    `input_is_free`: no commands come from standard input, so that a command may read a value there. `cancel`
    is set when the user no longer wants what a command does on another thread. `as_json`: what the command that runs writes by
    itself is to be JSON.
    """

    def __init__(
        self, *, input_is_free: bool = False, input_is_closed: bool = False, output_is_closed: bool = False
    ) -> None:
        self.input_is_free = input_is_free
        self._input_is_closed = input_is_closed
        self._output_is_closed = output_is_closed
        self._progress_at = 0.0
        self._progress_columns = 0
        self.cancel = threading.Event()
        self.as_json = False

    # -- results and errors ----------------------------------------------------------------------------------

    def show(self, outcome: Outcome, prefix: str, place: str = "", **details: object) -> None:
        """Print what there is of a text and of an error. Raises OutputError."""
        self.end_progress()
        text = outcome.shown
        if is_terminal(sys.stdout):
            if text is None and not outcome.as_json:
                text = outcome.remark or None
            text = text and printable.lines(text)
        if text is not None:
            self.write(text + "\n")
        if outcome.error:
            self.complain(outcome.error_line(prefix, place, **details))

    def write(self, text: str) -> None:
        """Write to standard output at once: a program behind a pipe may wait for it. Raises OutputError."""
        self._write(lambda: sys.stdout.write(text))

    def say(self, plain: object, text: str) -> None:
        """One of several results of a command that goes on: `plain` as a line of JSON, or `text`. Raises OutputError."""
        if self.as_json:
            self.write(json.dumps(plain) + "\n")
        elif is_terminal(sys.stdout):
            self.write_visibly(text + "\n")
        else:
            self.write(text + "\n")

    def write_visibly(self, text: str) -> None:
        """Write lines to a terminal. Raises OutputError."""
        self.end_progress()
        self.write(printable.lines(text))

    def write_utf8(self, text: str) -> None:
        """Write to standard output, whatever its encoding. Raises OutputError."""
        self._write(lambda: sys.stdout.buffer.write(text.encode()))

    def _write(self, write: Callable[[], object]) -> None:
        try:
            if self._output_is_closed:
                raise OSError(0, "it is closed")
            write()
            sys.stdout.flush()
        except (OSError, ValueError) as error:
            _silence(sys.stdout)
            raise OutputError(getattr(error, "strerror", None) or str(error)) from None

    def complain(self, line: str) -> None:
        """Print one line on standard error, if that can be written."""
        self.end_progress()
        _print_error(printable.one_line(line) + "\n")

    # -- progress --------------------------------------------------------------------------------------------

    def progress(self, text: str) -> None:
        """Show how far a command is, on a terminal, in place of what this showed before."""
        now = time.monotonic()
        if now >= self._progress_at + PROGRESS_EVERY_S and is_terminal(sys.stderr):
            _print_error("\r" + printable.pad(text, self._progress_columns))
            self._progress_at, self._progress_columns = now, printable.width(text)

    def end_progress(self) -> None:
        """Leave the line of progress: what comes next begins on one of its own."""
        if self._progress_columns:
            _print_error("\n")
            self._progress_columns = 0

    # -- input -----------------------------------------------------------------------------------------------

    def input(self) -> BinaryIO:
        """Standard input, for a command that reads all of it. Raises UsageError if it has another use, or there
        is none: an empty value in its place would be a wrong one."""
        if self._input_is_closed:
            raise UsageError("standard input is closed: name a file")
        if not self.input_is_free:
            raise InputInUseError("standard input is where the commands come from: name a file")
        return sys.stdin.buffer


def is_terminal(stream: object) -> bool:
    """Whether a standard stream is a terminal; False for one that is closed."""
    try:
        return bool(stream.isatty())  # type: ignore[attr-defined]
    except (AttributeError, ValueError):
        return False


def _print_error(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):
        _silence(sys.stderr)  # there is nowhere left to say it


def _silence(stream: object) -> None:
    """Have all that is still written to a broken standard stream go nowhere, also by the flush at exit,
    which would change the exit status."""
    try:
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, stream.fileno())  # type: ignore[attr-defined]
        os.close(devnull)
    except (AttributeError, OSError, ValueError):
        pass  # it is no file of the system's
