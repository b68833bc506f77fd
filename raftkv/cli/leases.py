"""The command `lease`: grant, revoke, keep-alive, time-to-live and list. Ids are hexadecimal, as etcdctl's."""

from __future__ import annotations

from typing import Any, Callable

from raftkv import errors
from raftkv.cli.arguments import Arguments, count, did_you_mean
from raftkv.cli.console import Console
from raftkv.cli.outcome import DONE, NO, Outcome, UsageError
from raftkv.cli.printable import one_line
from raftkv.cli.words import quote
from raftkv.client.leases import NOT_FOUND
from raftkv.kvdb.limits import MAX_NUMBER

LEASE_USAGE = "grant TTL [ID] | revoke ID | keep-alive ID [--once] | time-to-live ID [--keys] | list"
LEASE_OPTIONS = {"--once": None, "--keys": None}

_RETRY_S = 0.5


def lease_id(text: str) -> int:
    """The id of a lease. Raises ValueError."""
    try:
        id = int(text, 16) if text.isalnum() and text.isascii() else 0
    except ValueError:
        id = 0
    if not 0 < id <= MAX_NUMBER:
        raise ValueError(f"must be the id of a lease, such as 694d77aa9e38260f, not {one_line(text)[:40]!r}")
    return id


def run_lease(clerk: Any, arguments: Arguments, console: Console) -> Outcome:
    """Do what the first word says."""
    what, *rest = arguments.words or [""]
    if what not in _SUBCOMMANDS:
        said = f"there is no lease {one_line(what)[:40]}" if what else "say what"
        raise UsageError(f"lease: {said}{did_you_mean(what, _SUBCOMMANDS)}; usage: lease {LEASE_USAGE}")
    run, least, most, option = _SUBCOMMANDS[what]
    strange = [name for name in arguments.options if name != option]
    if not least <= len(rest) <= most or strange:
        wrong = f"{strange[0]} does not go with it" if strange else "too few or too many words"
        raise UsageError(f"lease {what}: {wrong}; usage: lease {LEASE_USAGE}")
    return run(clerk, rest, bool(arguments.options), console)


def _parsed(convert: Callable[[str], int], word: str, what: str) -> int:
    try:
        return convert(word)
    except ValueError as error:
        raise UsageError(f"{what} {error}") from None


def _grant(clerk: Any, words: list[str], _option: bool, _console: Console) -> Outcome:
    ttl = _parsed(count, words[0], "TTL, in seconds,")
    id = clerk.leases.grant(ttl, _parsed(lease_id, words[1], "ID") if len(words) > 1 else 0)
    return Outcome(DONE, f"lease {id:x} granted with TTL({ttl}s)", {"lease": f"{id:x}", "ttl": ttl})


def _revoke(clerk: Any, words: list[str], _option: bool, _console: Console) -> Outcome:
    id = _parsed(lease_id, words[0], "ID")
    deleted = clerk.leases.revoke(id)
    return Outcome(DONE, f"lease {id:x} revoked", {"lease": f"{id:x}", "deleted": deleted})


def _keep_alive(clerk: Any, words: list[str], once: bool, console: Console) -> Outcome:
    id = _parsed(lease_id, words[0], "ID")
    while True:
        try:
            ttl = clerk.leases.keep_alive(id)
        except errors.UnavailableError as error:
            if once:
                raise
            console.complain(f"lease {id:x}: {error}")
            pause_s = _RETRY_S
        else:
            text, pause_s = f"lease {id:x} keepalived with TTL({ttl})", ttl / 3
            if once:
                return Outcome(DONE, text, {"lease": f"{id:x}", "ttl": ttl})
            console.write(text + "\n")
        if console.cancel.wait(pause_s):
            return Outcome(DONE)


def _time_to_live(clerk: Any, words: list[str], with_keys: bool, _console: Console) -> Outcome:
    id = _parsed(lease_id, words[0], "ID")
    try:
        found = clerk.leases.time_to_live(id, keys=with_keys)
    except errors.LeaseNotFoundError:
        return Outcome(NO, error=NOT_FOUND, plain={"lease": f"{id:x}", "ttl": -1})
    text = f"lease {id:x} granted with TTL({found.granted_ttl}s), remaining({found.ttl}s)"
    plain = {"lease": f"{id:x}", "granted_ttl": found.granted_ttl, "ttl": found.ttl}
    if with_keys:
        text += f", attached keys([{' '.join(map(quote, found.keys))}])"
        plain["keys"] = found.keys
    return Outcome(DONE, text, plain)


def _list(clerk: Any, _words: list[str], _option: bool, _console: Console) -> Outcome:
    ids = [f"{id:x}" for id in clerk.leases.list()]
    return Outcome(DONE, "\n".join(ids) or None, {"leases": ids}, remark="(none)")


#: How each runs, its least and most words, and the option that it has.
_SUBCOMMANDS: dict[str, tuple[Callable[..., Outcome], int, int, str]] = {
    "grant": (_grant, 1, 2, ""),
    "revoke": (_revoke, 1, 1, ""),
    "keep-alive": (_keep_alive, 1, 1, "--once"),
    "time-to-live": (_time_to_live, 1, 1, "--keys"),
    "list": (_list, 0, 0, ""),
}
