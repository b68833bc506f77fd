"""What a client can be told to do: one table of commands for the prompt, one-shot and piped forms."""

from __future__ import annotations

from typing import Any

from raftkv.cli.arguments import Arguments, Convert, count, text_of
from raftkv.cli.call import Command, help_command
from raftkv.cli.console import Console
from raftkv.cli.dump import run_dump
from raftkv.cli.leases import LEASE_OPTIONS, LEASE_USAGE, lease_id, run_lease
from raftkv.cli.load import run_load
from raftkv.cli.locks import ELECT_HELP, ELECT_OPTIONS, LOCK_HELP, LOCK_OPTIONS, run_elect, run_lock
from raftkv.cli.members import MEMBER_HELP, run_member, run_transfer
from raftkv.cli.outcome import DONE, NO, Outcome, UsageError
from raftkv.cli.rows import items as items_of
from raftkv.cli.rows import row_line, rows_text
from raftkv.cli.status import run_status
from raftkv.cli.txn import TXN_HELP, run_txn
from raftkv.cli.values import VALUE_HELP, value_of
from raftkv.cli.watch import WATCH_HELP, WATCH_OPTIONS, consistency_of, run_watch

RANGE_OPTIONS: dict[str, Convert] = {"--prefix": None, "--end": text_of, "--from-key": None}
_RANGE_HELP = (
    "With --prefix, the keys that begin with KEY; with --end END, those from KEY on and before END; with --from-key, all "
    "from KEY on"
)


_CONSISTENCY_HELP = "With --consistency=s any one server answers from its own state, also without a majority, and perhaps not with the latest"


def _range_of(arguments: Arguments) -> dict[str, Any] | None:
    """The range that the options ask for, as a Clerk takes it; None: they ask for none. Raises UsageError."""
    chosen = [name for name in RANGE_OPTIONS if name in arguments.options]
    if not chosen:
        return None
    if len(chosen) > 1 or len(arguments.words) > 1:
        raise UsageError("a range is one KEY with one of --prefix, --end and --from-key")
    key = arguments.words[0]
    if chosen == ["--prefix"]:
        return {"prefix": key}
    return {"start": key, "end": arguments.options.get("--end")}


def _get(clerk: Any, arguments: Arguments, _console: Console) -> Outcome:
    wanted, revision = _range_of(arguments), arguments.options.get("--rev", 0)
    level = consistency_of(arguments.options)
    if wanted is not None:
        kvs = clerk.range(**wanted, revision=revision, **level).kvs
        return Outcome(DONE, rows_text(kvs) if kvs else None, {"items": items_of(kvs)}, remark="(empty)")
    items, texts = [], []
    for key in arguments.words:
        value, found_at = _value_at(clerk, key, revision, level)
        items.append({"key": key, "value": value, "revision": found_at})
        texts.append("(nil)" if value is None else value)
    found = all(item["value"] is not None for item in items)
    return Outcome(DONE if found else NO, "\n".join(texts), items[0] if len(items) == 1 else {"items": items})


def _value_at(clerk: Any, key: str, revision: int, level: dict[str, str]) -> tuple[Any, Any]:
    if not revision:
        return clerk.get_with_revision(key, **level) or (None, None)
    kv = clerk.get_kv(key, revision=revision, **level)
    return (None, None) if kv is None else (kv.value, kv.mod_revision)


def _put(clerk: Any, arguments: Arguments, console: Console) -> Outcome:
    key = arguments.words[0]
    lease = {"lease": arguments.options["--lease"]} if "--lease" in arguments.options else {}
    return _written(key, clerk.put(key, value_of(arguments, 1, console), **lease))


def _append(clerk: Any, arguments: Arguments, console: Console) -> Outcome:
    key = arguments.words[0]
    return _written(key, clerk.append(key, value_of(arguments, 1, console)))


def _written(key: str, revision: int) -> Outcome:
    return Outcome(DONE, "OK", {"key": key, "revision": revision})


def _delete(clerk: Any, arguments: Arguments, _console: Console) -> Outcome:
    wanted, keys = _range_of(arguments), arguments.words
    if wanted is not None:
        deleted = clerk.delete_range(**wanted).deleted
        return Outcome(DONE if deleted else NO, str(deleted), {"deleted": deleted})
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
    options = arguments.options
    found = clerk.scan(prefix, options.get("--start", ""), options.get("--limit"), **consistency_of(options))
    items = [{"key": key, "value": value, "revision": revision} for key, value, revision in found]
    text = "\n".join(row_line(key, value) for key, value, _ in found)
    return Outcome(DONE, text if found else None, {"items": items}, remark="(empty)")


def _status(clerk: Any, _arguments: Arguments, _console: Console) -> Outcome:
    return run_status(clerk)


COMMANDS: dict[str, Command] = {
    "get": Command(
        "KEY... [--prefix | --end END | --from-key] [--rev N] [--consistency l|s]",
        "the key's value, or (nil)",
        _get,
        1,
        None,
        {**RANGE_OPTIONS, "--rev": count, "--consistency": text_of},
        takes_keys=1 << 30,
        notes=f"{_RANGE_HELP}. --rev N is as of that revision. {_CONSISTENCY_HELP}",
    ),
    "put": Command(
        "KEY VALUE [--lease ID]",
        "set the key's value",
        _put,
        2,
        2,
        {"--lease": lease_id},
        takes_keys=1,
        writes=True,
        notes=VALUE_HELP,
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
    "delete": Command(
        "KEY... [--prefix | --end END | --from-key]",
        "remove the key",
        _delete,
        1,
        None,
        RANGE_OPTIONS,
        takes_keys=1 << 30,
        writes=True,
        notes=f"{_RANGE_HELP}; the result is how many there were",
    ),
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
        "[PREFIX] [--start KEY] [--limit N] [--consistency l|s]",
        "keys and values in the order of the keys",
        _scan,
        0,
        1,
        {"--start": text_of, "--limit": count, "--consistency": text_of},
        takes_keys=1,
        notes="Each line can be given to `put`, in a shell as well as here",
    ),
    "txn": Command(
        "[BLOCKS]",
        "if the compares hold then these operations, else those, at one moment",
        run_txn,
        0,
        1,
        writes=True,
        notes=TXN_HELP,
    ),
    "lease": Command(
        LEASE_USAGE,
        "keys that go away when nobody keeps their lease alive",
        run_lease,
        0,
        3,
        LEASE_OPTIONS,
        writes=True,
        notes="TTL is in seconds. keep-alive goes on until it is interrupted, or the lease has ended",
    ),
    "watch": Command(
        "KEY [--prefix | --end END | --from-key] [--rev N] [--prev-kv] [-- COMMAND...]",
        "what happens to the key, as it happens",
        run_watch,
        1,
        None,
        WATCH_OPTIONS,
        takes_keys=1,
        notes=WATCH_HELP,
    ),
    "lock": Command(
        "NAME [--ttl S] [--wait S] [-- COMMAND...]",
        "hold a lock that nobody else in the cluster holds",
        run_lock,
        1,
        None,
        LOCK_OPTIONS,
        writes=True,
        notes=LOCK_HELP,
    ),
    "elect": Command(
        "NAME VALUE [--ttl S] [--wait S] | --listen NAME",
        "be the one leader, or see who is",
        run_elect,
        1,
        2,
        ELECT_OPTIONS,
        writes=True,
        notes=ELECT_HELP,
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
