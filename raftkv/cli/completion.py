"""Completion: what a Tab makes of the line that is typed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from raftkv.cli.arguments import command_of, parse_arguments
from raftkv.cli.call import Command
from raftkv.cli.outcome import UsageError
from raftkv.cli.words import ANSI, Word, last_word, quote, quote_body, split_line
from raftkv.kvdb.ranges import prefix_range

MOST_KEYS = 50  # that are listed


def complete(commands: Mapping[str, Command], clerk: Any, line: str, begin: int) -> list[str]:
    """What can stand in `line` from the position `begin` on, in place of what is there.

    `begin` is where the last blank ends, which may be inside a quotation. Raises what Clerk.scan() raises.
    """
    try:
        word = last_word(line)
        before = command_of(split_line(line[: word.start]))
    except UsageError:
        return []
    if not before or before == ["help"]:
        return _replace(line, begin, word, [name + " " for name in _beginning(commands, word.text)])
    command = commands.get(before[0])
    if command is None:
        return []
    if word.text[:2] == "--" and "--" not in before:
        return _replace(line, begin, word, [name + " " for name in _beginning(command.options, word.text)])
    if _place(command, before[1:]) >= command.takes_keys:
        return []
    return _complete_key(clerk, line, begin, word, "--" in before)


def _beginning(names: Mapping[str, Any], text: str) -> list[str]:
    return [name for name in sorted(names) if name.startswith(text)]


def _place(command: Command, before: Sequence[str]) -> int:
    """How many words, not counting options, there are before."""
    try:
        return len(parse_arguments(before, {**command.options, "--json": None}).words)
    except UsageError:
        return 0  # the value of an option is being typed


def _replace(line: str, begin: int, word: Word, candidates: Sequence[str]) -> list[str]:
    """The part of each candidate for `word` that comes behind `begin`; [] if one begins otherwise."""
    lines = [line[: word.start] + candidate for candidate in candidates]
    fits = all(candidate.startswith(line[:begin]) for candidate in lines)
    return [candidate[begin:] for candidate in lines] if fits else []


# -- keys ----------------------------------------------------------------------------------------------------


class Keys(NamedTuple):
    """Those that begin with a prefix: the first ones, and what is common to all there are."""

    some: list[str]
    common: str


def find_keys(clerk: Any, prefix: str) -> Keys:
    """Raises what Clerk.scan() raises."""
    found = [row[0] for row in clerk.scan(prefix, "", MOST_KEYS + 1)]
    if not found:
        return Keys([], prefix)
    common = os.path.commonprefix([found[0], found[-1]])
    if len(found) <= MOST_KEYS:
        return Keys(found, common)
    # The keys are sorted: those that do not begin as the first one does come behind all that do.
    low, high, other = len(prefix), len(common), None
    while low < high:
        middle = (low + high + 1) // 2
        behind = _first_behind(clerk, prefix, common[:middle])
        if behind is None:
            low = middle
        else:
            high, other = middle - 1, behind
    some = found[:MOST_KEYS]
    return Keys([*some[:-1], other] if other else some, common[:low])


def _first_behind(clerk: Any, prefix: str, beginning: str) -> str | None:
    """The first key with `prefix` that comes behind all those that begin with `beginning`."""
    _, end = prefix_range(beginning.encode("utf-8", "surrogateescape"))
    if end == b"\0":
        return None
    rows = clerk.scan(prefix, end, 1)
    return rows[0][0] if rows else None


def _complete_key(clerk: Any, line: str, begin: int, word: Word, literal: bool) -> list[str]:
    keys = find_keys(clerk, word.text)
    if len(keys.some) > 1 and len(keys.common) > len(word.text):
        return _replace(line, begin, word, [_options_end(keys.common, literal) + _opened(keys.common, word)])
    ends = [_options_end(key, literal) for key in keys.some]
    typed = [end + _closed(key, word) + " " for end, key in zip(ends, keys.some)]
    anew = [end + quote(key) + " " for end, key in zip(ends, keys.some)]
    return _replace(line, begin, word, typed) or _replace(line, begin, word, anew)


def _options_end(key: str, literal: bool) -> str:
    return "-- " if key.startswith("--") and not literal else ""


def _closed(key: str, word: Word) -> str:
    """`key`, quoted as the user has begun to, if that can be."""
    try:
        if word.quote == "\\":
            return quote_body(key, word.quote)
        if word.quote:
            return word.quote + quote_body(key, word.quote) + word.quote[-1]
    except ValueError:
        pass  # it cannot be written inside this kind of quotes
    return quote(key)


def _opened(common: str, word: Word) -> str:
    """The beginning of a key, quoted as the user has begun to, if that can be; the quotation stays open."""
    try:
        if word.quote:
            return word.quote.rstrip("\\") + quote_body(common, word.quote)
        return common if quote(common) == common else "'" + quote_body(common, "'")
    except ValueError:
        return ANSI + quote_body(common, ANSI)
