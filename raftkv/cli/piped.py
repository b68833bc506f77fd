"""Commands from standard input, one a line: `kvclient < commands.txt`."""

from __future__ import annotations

import os
import select
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from raftkv.cli.arguments import command_of
from raftkv.cli.call import Command, execute
from raftkv.cli.console import Console
from raftkv.cli.outcome import BAD_INPUT, DONE, NOT_WRITTEN, UNAVAILABLE, Outcome, OutputError, UsageError
from raftkv.cli.words import Splitter

COUNT_PATIENCE_S = 0.3  # for the rest of the input, when no more of it is run

_BOM = b"\xef\xbb\xbf"
_OTHER_BOMS = (b"\xff\xfe", b"\xfe\xff")  # UTF-16


def run_lines(
    clerk: Any, commands: Mapping[str, Command], lines: Lines, as_json: bool, console: Console
) -> int:
    """Run one command after the other, up to the first the outcome of which is unknown, as what follows may
    build on it, or which wants these lines as its data. Returns the highest exit status."""
    status = DONE
    for read in _commands_of(lines):
        if isinstance(read.words, UsageError):
            outcome = Outcome(BAD_INPUT, error=str(read.words), as_json=as_json)
        elif read.words[0] in ("exit", "quit"):
            break
        else:
            outcome = execute(commands, clerk, read.words, as_json, console)
        ends_here = outcome.status >= UNAVAILABLE or outcome.ends_input
        if ends_here and outcome.error:
            outcome = outcome._replace(error=f"{outcome.error}; {_not_run(lines)}")
        try:
            console.show(outcome, "kvclient: ", f"line {read.number}: ", line=read.number)
        except OutputError as error:
            return _not_written(read.number, lines, error, as_json, console)
        status = max(status, outcome.status)
        if ends_here:
            break
    return status


def _not_written(number: int, lines: Lines, error: OutputError, as_json: bool, console: Console) -> int:
    sentence = (
        f"line {number} was carried out, but its result could not be written ({error}); {_not_run(lines)}"
    )
    console.complain(
        Outcome(NOT_WRITTEN, error=sentence, as_json=as_json).error_line("kvclient: ", line=number)
    )
    return NOT_WRITTEN


def _not_run(lines: Lines) -> str:
    rest = lines.count_rest()
    if rest is None:
        return "the lines after it were not run"
    if rest == 0:
        return "it was the last line"
    return "the line after it was not run" if rest == 1 else f"the {rest} lines after it were not run"


class _Read(NamedTuple):
    """A command: the number of its first line, and its words, or what is wrong with it."""

    number: int
    words: list[str] | UsageError


def _commands_of(lines: Lines) -> Iterator[_Read]:
    """Empty lines, and those that begin with #, are none. Raises UsageError for what is no text at all."""
    splitter = Splitter()
    number = first = 0
    for line in lines:
        number += 1
        if not splitter.open:
            first = number
            if line.startswith("#"):
                continue
        try:
            words = splitter.feed(line)
        except UsageError as error:
            yield _Read(first, error)
            continue
        command = command_of(words or [])
        if command:
            yield _Read(first, command)
    if splitter.open:
        yield _Read(first, splitter.complain())


class Lines:
    """The lines of a file of text, with their ends, as they come. `stream` is standard input.

    Bytes that are no UTF-8 are kept as half surrogate pairs. A byte order mark is skipped. Reading raises
    UsageError if the file cannot be read, or is UTF-16.
    """

    def __init__(self, stream: Any) -> None:
        self._fd = stream.fileno()
        self._complete: deque[bytes] = deque()
        self._partial: list[bytes] = []  # of the line that has begun
        self._begun = self._ended = False

    def __iter__(self) -> Iterator[str]:
        while self._complete or not self._ended:
            if self._complete:
                yield self._complete.popleft().decode(errors="surrogateescape")
            else:
                self._read()

    def count_rest(self) -> int | None:
        """How many lines follow that are not empty; None if their end does not come within a moment."""
        deadline = time.monotonic() + COUNT_PATIENCE_S
        count = 0
        while True:
            count += sum(1 for line in self._complete if line.strip())
            self._complete.clear()
            if self._ended:
                return count
            try:
                ready, _, _ = select.select([self._fd], [], [], max(0.0, deadline - time.monotonic()))
                if not ready:
                    return None
                self._read()
            except (OSError, UsageError):  # Windows has no select() for a pipe
                return None

    def _read(self) -> None:
        try:
            piece = os.read(self._fd, 1 << 16)
        except OSError as error:
            raise UsageError(f"cannot read standard input: {error.strerror}") from None
        self._ended = not piece
        if not self._begun:
            self._begun = True
            if piece.startswith(_OTHER_BOMS):
                raise UsageError("standard input is UTF-16: write it as UTF-8")
            piece = piece.removeprefix(_BOM)
        *ends, rest = piece.split(b"\n")
        for end in ends:
            self._complete.append(b"".join([*self._partial, end, b"\n"]))
            self._partial = []
        if rest:
            self._partial.append(rest)
        if self._ended and self._partial:
            self._complete.append(b"".join(self._partial))
