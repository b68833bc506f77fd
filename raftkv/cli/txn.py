"""The command `txn`: a transaction in three blocks of lines, with empty lines between them, as etcdctl takes it.

value("leader") = "a"          all of these must hold
version("x") > 0

put leader b                   then these are done,
get x

get leader                     else these
"""

from __future__ import annotations

import re
from typing import Any, Callable, NamedTuple

from raftkv import errors
from raftkv.cli.arguments import Arguments, Convert, count, parse_arguments
from raftkv.cli.console import Console
from raftkv.cli.leases import lease_id
from raftkv.cli.outcome import DONE, NO, Outcome, UsageError
from raftkv.cli.printable import one_line
from raftkv.cli.rows import items, rows_text
from raftkv.cli.values import value_of
from raftkv.cli.words import split_line

TXN_HELP = (
    "BLOCKS are lines: compares; an empty line; what to do if all hold; an empty line; what to do if not.\n"
    '        value("leader") = "a"\n'
    "\n"
    "        put leader b\n"
    "\n"
    "        get leader\n"
    "    Compares: value, version, create, mod or lease, and = != < >. Operations: put KEY VALUE [--lease ID],\n"
    "    get KEY [--prefix] [--limit N] [--rev N], delete KEY [--prefix], append KEY VALUE. BLOCKS are one quoted word,\n"
    "    @FILE, or - for standard input, which is read without any, too"
)

_TARGETS = {"value": "value", "val": "value", "version": "version", "ver": "version", "create": "create", "c": "create",
            "mod": "mod", "m": "mod", "lease": "lease"}  # fmt: skip
_TARGET = re.compile(r"\s*([a-z]+)\(")
_RELATION = re.compile(r"\)\s*(!=|=|<|>)")


class _Planned(NamedTuple):
    """A step of a transaction, and how its result is shown: as text, and as plain data."""

    step: Any
    text: Callable[[Any], str]
    plain: Callable[[Any], Any]


def run_txn(clerk: Any, arguments: Arguments, console: Console) -> Outcome:
    """Do it. The exit status says whether the compares held."""
    if not arguments.words:
        arguments = arguments._replace(words=["-"], literal_from=1)
    compares, success, failure = _blocks(value_of(arguments, 0, console))
    make = clerk.transactions
    planned = [[_planned(make, *line) for line in block] for block in (success, failure)]
    held, results = clerk.transaction(
        [_compare(make, *line) for line in compares], *[[each.step for each in block] for block in planned]
    )
    shown = list(zip(planned[0] if held else planned[1], results))
    texts = ["SUCCESS" if held else "FAILURE", *[each.text(result) for each, result in shown]]
    responses = [each.plain(result) for each, result in shown]
    return Outcome(
        DONE if held else NO,
        "\n".join(text for text in texts if text),
        {"succeeded": held, "responses": responses},
    )


def _blocks(text: str) -> list[list[tuple[int, str]]]:
    """The numbered lines of the three blocks. Raises UsageError."""
    blocks: list[list[tuple[int, str]]] = [[], [], []]
    at = 0
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            at += 1
        elif at > 2:
            raise UsageError(
                f"line {number} of the transaction is in a fourth block: empty lines stand between compares, "
                "then and else only"
            )
        elif not line.startswith("#"):
            blocks[at].append((number, line))
    if not any(blocks):
        raise UsageError("the transaction is empty; `help txn` shows one")
    return blocks


def _compare(make: Any, number: int, line: str) -> Any:
    """Raises UsageError."""
    begin = _TARGET.match(line)
    target = _TARGETS.get(begin[1]) if begin else None
    if begin is None or target is None:
        raise _wrong(number, line, 'a compare is such as value("key") = "text" or version("key") > 0')
    for end in _RELATION.finditer(line, begin.end()):
        key = _one_word(line[begin.end() : end.start()])
        operand = _one_word(line[end.end() :])
        if key is not None and operand is not None:
            break
    else:
        raise _wrong(number, line, "a compare has one key in brackets, one of = != < >, and one word")
    left = getattr(make, target)(key)
    right = operand if target == "value" else _number(number, line, target, operand)
    if end[1] == "=":
        return left == right
    if end[1] == "!=":
        return left != right
    return left < right if end[1] == "<" else left > right


def _one_word(text: str) -> str | None:
    try:
        words = split_line(text)
    except UsageError:
        return None
    return words[0] if len(words) == 1 else None


def _number(number: int, line: str, target: str, word: str) -> int:
    try:
        if target == "lease":
            return 0 if word == "0" else lease_id(word)
        if word.isascii() and word.isdecimal():
            return int(word)
        raise ValueError("must be a whole number")
    except ValueError as error:
        raise _wrong(number, line, f"what a {target} is compared with {error}") from None


def _planned(make: Any, number: int, line: str) -> _Planned:
    """Raises UsageError."""
    try:
        name, *rest = split_line(line)
        if name not in _OPERATIONS:
            raise UsageError(f"an operation is one of {', '.join(_OPERATIONS)}")
        plan, most, options = _OPERATIONS[name]
        arguments = parse_arguments(rest, options)
        if len(arguments.words) != most:
            raise UsageError(f"{name} takes {most} word{'s' * (most > 1)} here, not {len(arguments.words)}")
        return plan(make, *arguments.words, **{key[2:]: value for key, value in arguments.options.items()})
    except (UsageError, errors.InvalidRequestError) as error:
        raise _wrong(number, line, str(error)) from None


def _wrong(number: int, line: str, why: str) -> UsageError:
    return UsageError(f"line {number} of the transaction, {one_line(line.strip())[:60]!r}: {why}")


def _put(make: Any, key: str, value: str, lease: int = 0) -> _Planned:
    return _Planned(
        make.put(key, value, lease=lease), lambda _: "OK", lambda revision: {"key": key, "revision": revision}
    )


def _append(make: Any, key: str, value: str) -> _Planned:
    return _Planned(
        make.append(key, value), lambda _: "OK", lambda revision: {"key": key, "revision": revision}
    )


def _delete(make: Any, key: str, prefix: bool = False) -> _Planned:
    return _Planned(
        make.delete(key, prefix=prefix),
        lambda found: str(found.deleted),
        lambda found: {"key": key, "deleted": found.deleted},
    )


def _get(make: Any, key: str, prefix: bool = False, limit: int = 0, rev: int = 0) -> _Planned:
    step = make.get(key, prefix=prefix, limit=limit, revision=rev)
    if prefix:
        return _Planned(step, lambda found: rows_text(found.kvs), lambda found: {"items": items(found.kvs)})
    return _Planned(
        step,
        lambda kv: "(nil)" if kv is None else kv.value,
        lambda kv: items([kv])[0] if kv is not None else {"key": key, "value": None, "revision": None},
    )


_OPERATIONS: dict[str, tuple[Callable[..., _Planned], int, dict[str, Convert]]] = {
    "put": (_put, 2, {"--lease": lease_id}),
    "get": (_get, 1, {"--prefix": None, "--limit": count, "--rev": count}),
    "delete": (_delete, 1, {"--prefix": None}),
    "del": (_delete, 1, {"--prefix": None}),
    "append": (_append, 2, {}),
}
