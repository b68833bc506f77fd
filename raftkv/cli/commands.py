"""What a client can be told to do: one table of commands for the prompt, one-shot and piped forms."""

from __future__ import annotations

from typing import Any

from raftkv.cli.arguments import Arguments, count, text_of
from raftkv.cli.call import Command, help_command
from raftkv.cli.console import Console
from raftkv.cli.dump import run_dump
from raftkv.cli.load import run_load
from raftkv.cli.members import MEMBER_HELP, run_member, run_transfer
from raftkv.cli.outcome import DONE, NO, Outcome, UsageError
from raftkv.cli.status import run_status
from raftkv.cli.values import VALUE_HELP, needs_literal, value_of
from raftkv.cli.words import quote


def _get(clerk: Any, arguments: Arguments, _console: Console) -> Outcome:
    items, texts = [], []
    for key in arguments.words:
        value, revision = clerk.get_with_revision(key) or (None, None)
        items.append({"key": key, "value": value, "revision": revision})
        texts.append("(nil)" if value is None else value)
    found = all(item["value"] is not None for item in items)
    return Outcome(DONE if found else NO, "\n".join(texts), items[0] if len(items) == 1 else {"items": items})


def _put(clerk: Any, arguments: Arguments, console: Console) -> Outcome:
    key = arguments.words[0]
    return _written(key, clerk.put(key, value_of(arguments, 1, console)))


def _append(clerk: Any, arguments: Arguments, console: Console) -> Outcome:
    key = arguments.words[0]
    return _written(key, clerk.append(key, value_of(arguments, 1, console)))


def _written(key: str, revision: int) -> Outcome:
    return Outcome(DONE, "OK", {"key": key, "revision": revision})


def _delete(clerk: Any, arguments: Arguments, _console: Console) -> Outcome:
    keys = arguments.words
    if len(keys) == 1:
        existed = [clerk.delete(keys[0])]
    else:
        batch = clerk.pipeline()
        for key in keys:
            batch.delete(key)
        existed = batch.execute()
    items = [{"key": key, "deleted": deleted} for key, deleted in zip(keys, existed)]
    text = "\n".join("OK" if deleted else "(nil)" for deleted in existed)
    return Outcome(DONE if all(existed) else NO, text, items[0] if len(items) == 1 else {"items": items})


def _cas(clerk: Any, arguments: Arguments, console: Console) -> Outcome:
    words = arguments.words
    if "--absent" in arguments.options:
        if len(words) != 2 or arguments.literal_from != 0:
            # A script's $KEY or $EXPECTED can be the word --absent: it must not change what is written.
            raise UsageError(
                "write `cas --absent -- KEY NEW` if there must be no such key, "
                "and `cas -- --absent EXPECTED NEW` for a key of that name"
            )
        key, expected = words[0], None
    else:
        if len(words) != 3:
            raise UsageError("NEW is missing; usage: cas KEY EXPECTED NEW | --absent -- KEY NEW")
        key, expected = words[0], value_of(arguments, 1, console)
    swapped = clerk.cas(key, expected, value_of(arguments, len(words) - 1, console))
    text = (
        "OK" if swapped else "(the key exists)" if expected is None else "(the key does not hold that value)"
    )
    return Outcome(DONE if swapped else NO, text, {"key": key, "swapped": swapped})


def _scan(clerk: Any, arguments: Arguments, _console: Console) -> Outcome:
    prefix = arguments.words[0] if arguments.words else ""
    found = clerk.scan(prefix, arguments.options.get("--start", ""), arguments.options.get("--limit"))
    items = [{"key": key, "value": value, "revision": revision} for key, value, revision in found]
    text = "\n".join(scan_line(key, value) for key, value, _ in found)
    return Outcome(DONE, text if found else None, {"items": items}, remark="(empty)")


def scan_line(key: str, value: str) -> str:
    """A key and its value on one line, which `put` takes as it is: quoted, and behind `--` where needed."""
    options_end = "-- " if needs_literal(key) or needs_literal(value) else ""
    return f"{options_end}{quote(key)} {quote(value)}"


def _status(clerk: Any, _arguments: Arguments, _console: Console) -> Outcome:
    return run_status(clerk)


COMMANDS: dict[str, Command] = {
    "get": Command("KEY...", "the key's value, or (nil)", _get, 1, None, takes_keys=1 << 30),
    "put": Command(
        "KEY VALUE", "set the key's value", _put, 2, 2, takes_keys=1, writes=True, notes=VALUE_HELP
    ),
    "append": Command(
        "KEY VALUE",
        "add to the end of the key's value",
        _append,
        2,
        2,
        takes_keys=1,
        writes=True,
        notes=VALUE_HELP,
    ),
    "delete": Command("KEY...", "remove the key", _delete, 1, None, takes_keys=1 << 30, writes=True),
    "cas": Command(
        "KEY EXPECTED NEW | --absent -- KEY NEW",
        "set the key to NEW if it holds EXPECTED, or nothing",
        _cas,
        2,
        3,
        {"--absent": None},
        takes_keys=1,
        writes=True,
        notes=VALUE_HELP,
    ),
    "scan": Command(
        "[PREFIX] [--start KEY] [--limit N]",
        "keys and values in the order of the keys",
        _scan,
        0,
        1,
        {"--start": text_of, "--limit": count},
        takes_keys=1,
        notes="Each line can be given to `put`, in a shell as well as here",
    ),
    "dump": Command(
        "[FILE] [--from-folder DIR]",
        "all keys and values as of one moment, as JSON lines",
        run_dump,
        0,
        1,
        {"--from-folder": text_of},
        offline=lambda arguments: "--from-folder" in arguments.options,
        takes_files=True,
        notes="To standard output without FILE, or with -. DIR is the data folder of a server that does not run",
    ),
    "load": Command(
        "FILE [--merge]",
        "write what `dump` wrote",
        run_load,
        1,
        1,
        {"--merge": None},
        writes=True,
        takes_files=True,
        notes="FILE may be -, standard input. All of it is checked first. A database that is not empty needs --merge",
    ),
    "member": Command(
        "ACTION [ARG...]",
        "list, add, remove, replace, move or promote members",
        run_member,
        1,
        None,
        {"--learner": None},
        writes=True,
        notes=MEMBER_HELP,
    ),
    "transfer": Command("[ID]", "hand the leadership to another server", run_transfer, 0, 1, writes=True),
    "status": Command("", "every server: role, term, progress, problems", _status, 0, 0),
}
COMMANDS["help"] = help_command(COMMANDS)
