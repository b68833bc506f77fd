"""Arguments: one convention for the program and for all of its commands, in all forms of calling.

Options begin with two dashes, stand before, between or after the other words, and take their value as
`--limit 3` or `--limit=3`. `--` ends them: every word after it is just that word, whatever it looks like. A
word that begins with one dash, such as -1, is no option.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Callable, NamedTuple, Optional

from raftkv.cli.outcome import UsageError
from raftkv.cli.printable import one_line

#: What makes a value of an option's text, or raises ValueError with what is wrong; None: it takes no value.
Convert = Optional[Callable[[str], Any]]


class Arguments(NamedTuple):
    """`literal_from`: the place of the first word that stood after `--`; len(words) if none did."""

    words: list[str]
    options: dict[str, Any]
    literal_from: int


def parse_arguments(
    words: Sequence[str], options: Mapping[str, Convert], *, leading: bool = False
) -> Arguments:
    """Tell the options from the other words. With `leading`, all from the first other word on is no option.

    Raises UsageError.
    """
    found: dict[str, Any] = {}
    plain: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "--":
            return Arguments([*plain, *words[at:]], found, len(plain))
        if not word.startswith("--"):
            if leading:
                return Arguments(list(words[at - 1 :]), found, 0)
            plain.append(word)
            continue
        name, has_value, value = word.partition("=")
        convert = _converter(name, options)
        if convert is None:
            if has_value:
                raise UsageError(f"{name} takes no value")
            found[name] = True
            continue
        if not has_value:
            if at == len(words):
                raise UsageError(f"{name} needs a value")
            value = words[at]
            at += 1
        try:
            found[name] = convert(value)
        except ValueError as error:
            raise UsageError(f"{name} {error}") from None
    return Arguments(plain, found, len(plain))


def wants_json(words: Sequence[str]) -> bool:
    """Whether --json is among the options, also where the other words make no sense."""
    return "--json" in words[: words.index("--")] if "--" in words else "--json" in words


def command_of(words: list[str]) -> list[str]:
    """The command in a line: `--` may stand before it, as on the command line of the program."""
    return words[1:] if words[:1] == ["--"] else words


def _converter(name: str, options: Mapping[str, Convert]) -> Convert:
    if name in options:
        return options[name]
    raise UsageError(
        f"there is no option {one_line(name)}{did_you_mean(name, options)}; "
        "words that begin with two dashes go after `--`"
    )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean …?`, or nothing if no known word is near."""
    near = difflib.get_close_matches(word.lower(), list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""


def seconds(text: str) -> float:
    """A time limit. Raises ValueError."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 86_400:
        raise ValueError(f"must be a number of seconds above 0, at most 86400, not {text!r}")
    return value


def count(text: str) -> int:
    """A number from 1 on. Raises ValueError."""
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise ValueError(f"must be 1 or more, not {text!r}")
    return int(text)


def text_of(text: str) -> str:
    """Any text."""
    return text
