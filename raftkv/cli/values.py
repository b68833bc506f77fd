"""Values as they are typed: the text itself, `-` for standard input, `@FILE` for a file's content."""

from __future__ import annotations

from typing import BinaryIO

from raftkv.cli.arguments import Arguments
from raftkv.cli.console import Console
from raftkv.cli.outcome import UsageError
from raftkv.cli.printable import one_line
from raftkv.kvdb.limits import MAX_VALUE_BYTES

#: Of `put`, for help texts.
VALUE_HELP = (
    "A VALUE of - is read from standard input, one of @FILE from that file, as they are, with every newline and a byte order mark; "
    "@@x is the text @x"
)


def value_of(arguments: Arguments, place: int, console: Console) -> str:
    """The value that the word at `place` stands for. After `--` it is just that word. Raises UsageError."""
    word = arguments.words[place]
    if place >= arguments.literal_from or not (word == "-" or word.startswith("@")):
        return word
    if word.startswith("@@"):
        return word[1:]
    if word == "-":
        return _read(console.input(), "standard input")
    path = word[1:]
    try:
        with open(path, "rb") as file:
            return _read(file, path)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"cannot read the file {one_line(path)!r}: {why}; a value that begins with @ goes after `--`"
        ) from None


def needs_literal(word: str) -> bool:
    """Whether value_of(), or the parsing of arguments, takes `word` for something else than itself."""
    return word == "-" or word[:1] == "@" or word[:2] == "--"


def _read(file: BinaryIO, name: str) -> str:
    try:
        data = file.read(MAX_VALUE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror}") from None
    if len(data) > MAX_VALUE_BYTES:
        raise UsageError(f"{name} is too large for a value: the limit is {MAX_VALUE_BYTES} bytes")
    return data.decode("utf-8", "surrogateescape")
