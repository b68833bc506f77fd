"""The commands `lock` and `elect`: something that one at a time has, while a program runs or until it is interrupted."""

from __future__ import annotations

from typing import Any, Callable

from raftkv import errors
from raftkv.cli.arguments import Arguments, Convert, count, seconds
from raftkv.cli.console import Console
from raftkv.cli.outcome import DONE, LOST, NO, Outcome, UsageError
from raftkv.cli.program import run_program, split_program
from raftkv.cli.rows import row_line
from raftkv.cli.words import quote
from raftkv.client.election import Election
from raftkv.client.lock import Lock

LOCK_OPTIONS: dict[str, Convert] = {"--ttl": count, "--wait": seconds}
ELECT_OPTIONS: dict[str, Convert] = {"--ttl": count, "--wait": seconds, "--listen": None}
LOCK_HELP = (
    "COMMAND runs while the lock is held, with ETCD_LOCK_KEY and ETCD_LOCK_REV, the fencing token, in its environment; the status is "
    "its own. If the lock is lost COMMAND is ended, and the status is 6. Without COMMAND the lock is held until it is interrupted. "
    "--ttl S (10): a holder that dies loses it within so many seconds and one more. --wait S: wait no longer; the status is 1 then"
)
ELECT_HELP = (
    "Leads with VALUE until it is interrupted. With --listen, a line for each leader and value. --ttl S and --wait S are as those "
    "of lock"
)

_TTL_S = 10
_LOOK_S = 0.2


def run_lock(clerk: Any, arguments: Arguments, console: Console) -> Outcome:
    """Until the program has ended, or the user wants no more, or the lock is lost."""
    words, program = split_program(arguments)
    options = arguments.options
    if len(words) != 1:
        raise UsageError("lock: it takes one NAME; a COMMAND stands behind --")
    lock: Lock = clerk.lock(words[0], options.get("--ttl", _TTL_S))
    try:
        if not lock.acquire(options.get("--wait"), console.cancel.is_set):
            return Outcome(NO, error=f"{quote(words[0])} is locked by another one")
        key = lock.key.decode("utf-8", "surrogateescape")
        if not program:
            console.say({"key": key, "token": lock.token}, quote(key))
            return _hold(lock, console)
        environment = {"ETCD_LOCK_KEY": key, "ETCD_LOCK_REV": str(lock.token)}
        status = run_program(program, environment, console, lambda: lock.lost, dies_with_us=True)
        if lock.lost:
            lock.check()
        return Outcome(status)
    except errors.LeaseLostError as error:
        return Outcome(LOST, error=f"{error}; {quote(program[0])} was ended" if program else str(error))
    finally:
        _give_back(lock.release)


def run_elect(clerk: Any, arguments: Arguments, console: Console) -> Outcome:
    """Lead, or follow who leads."""
    words, options = arguments.words, arguments.options
    if len(words) != (1 if "--listen" in options else 2):
        raise UsageError("elect: it takes NAME and VALUE, or --listen and NAME")
    election: Election = clerk.election(words[0], options.get("--ttl", _TTL_S))
    if "--listen" in options:
        for kv in election.observe(console.cancel.is_set):
            console.say(
                {"key": kv.key, "value": kv.value, "token": kv.create_revision}, row_line(kv.key, kv.value)
            )
        return Outcome(DONE)
    try:
        election.campaign(words[1], options.get("--wait"), console.cancel.is_set)
        key = election.key.decode("utf-8", "surrogateescape")
        console.say({"key": key, "value": words[1], "token": election.token}, row_line(key, words[1]))
        return _hold(election, console)
    except TimeoutError:
        return Outcome(NO, error=f"another one leads {quote(words[0])}")
    finally:
        _give_back(election.resign)


def _hold(held: Lock | Election, console: Console) -> Outcome:
    while not console.cancel.wait(_LOOK_S):
        held.check()
    return Outcome(DONE)


def _give_back(give_back: Callable[[], None]) -> None:
    """What was lost has been said already."""
    try:
        give_back()
    except errors.LeaseLostError:
        pass  # then somebody else may have it, and there is nothing to give back
