"""The command `watch`: a line for each event, or a program that is run with it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from raftkv.cli.arguments import Arguments, Convert, count, text_of
from raftkv.cli.console import Console
from raftkv.cli.outcome import DONE, Outcome, UsageError
from raftkv.cli.program import run_program, split_program
from raftkv.cli.rows import row_line
from raftkv.cli.words import quote
from raftkv.client.watch import DELETE, Event, Watch

WATCH_OPTIONS: dict[str, Convert] = {
    "--prefix": None, "--end": text_of, "--from-key": None, "--rev": count, "--prev-kv": None, "--consistency": text_of
}  # fmt: skip
WATCH_HELP = (
    "A line an event, until it is interrupted: PUT KEY VALUE, or DELETE KEY; with --prev-kv the value before follows. --rev N "
    "begins at that revision. COMMAND is run for each event, one after the other, with ETCD_WATCH_REVISION, _EVENT_TYPE, _KEY "
    "and _VALUE in its environment, the last three quoted as by etcdctl, and as RAFTKV_WATCH_* as they are; if it fails, that "
    "is the end. --consistency=s: also of a server that is cut off from the others"
)

_LOOK_S = 0.2  # how often it is looked whether the user wants more
_SILENCE_S = 3.0  # without a server, until that is said
_MOST_IN_VARIABLE = 100_000  # bytes: systems take no more than 128 KiB


def run_watch(clerk: Any, arguments: Arguments, console: Console) -> Outcome:
    """Until the user wants no more of it."""
    words, program = split_program(arguments)
    with clerk.watch(**_wanted(words, arguments.options)) as watch:
        for event in _events(watch, console):
            if not program:
                console.say(_plain(event), _line(event))
                continue
            status = run_program(program, _environment(event), console)
            if status and not console.cancel.is_set():
                return Outcome(status, error=f"{quote(program[0])} ended with status {status}")
    return Outcome(DONE)


def _events(watch: Watch, console: Console) -> Iterator[Event]:
    """One after the other, until the user wants no more."""
    trouble = _Trouble(watch, console)
    while True:
        response = watch.get(_LOOK_S)
        trouble.look()
        for event in () if response is None else response.events:
            if not console.cancel.is_set():
                yield event
        if console.cancel.is_set():
            return


def _wanted(words: list[str], options: dict[str, Any]) -> dict[str, Any]:
    chosen = [name for name in ("--prefix", "--end", "--from-key") if name in options]
    if len(words) != 1 or len(chosen) > 1:
        raise UsageError(
            "watch: it takes one KEY, with one of --prefix, --end and --from-key; a COMMAND stands behind --"
        )
    wanted = {"key": words[0], "prefix": "--prefix" in options, "prev_kv": "--prev-kv" in options}
    if "--end" in options or "--from-key" in options:
        wanted["end"] = options.get("--end", "\0")
    return {**wanted, "start_revision": options.get("--rev", 0), **consistency_of(options)}


def consistency_of(options: dict[str, Any]) -> dict[str, str]:
    """The level of consistency that --consistency asks for, if it does. Raises UsageError."""
    if "--consistency" not in options:
        return {}
    for level in ("linearizable", "serializable"):
        if options["--consistency"] in (level, level[0]):
            return {"consistency": level}
    raise UsageError("--consistency is l (linearizable) or s (serializable)")


class _Trouble:
    """Says it, once, when nobody serves the watch for long."""

    def __init__(self, watch: Watch, console: Console) -> None:
        self._watch, self._console = watch, console
        self._well_at: float | None = time.monotonic()

    def look(self) -> None:
        problem, now = self._watch.problem, time.monotonic()
        if not problem:
            self._well_at = now
        elif self._well_at is not None and now - self._well_at >= _SILENCE_S:
            self._well_at = None
            self._console.complain(
                f"kvclient: no server serves the watch, it goes on when one does: {problem}"
            )


def _line(event: Event) -> str:
    line = f"{event.type} " + (quote(event.key) if event.type == DELETE else row_line(event.key, event.value))
    return line if event.prev_kv is None else f"{line} was {quote(event.prev_kv.value)}"


def _plain(event: Event) -> dict[str, Any]:
    kv = event.kv
    plain = {"type": event.type, "key": kv.key, "revision": kv.mod_revision}
    if event.type != DELETE:
        plain.update(
            value=kv.value, create_revision=kv.create_revision, version=kv.version, lease=f"{kv.lease:x}"
        )
    if event.prev_kv is not None:
        plain["prev_value"] = event.prev_kv.value
    return plain


def _environment(event: Event) -> dict[str, str]:
    """What does not fit into a variable is left out."""
    said = {"EVENT_TYPE": event.type, "KEY": event.key, "VALUE": event.value}
    fitting = {
        name: text
        for name, text in said.items()
        if "\0" not in text and len(text.encode("utf-8", "surrogateescape")) <= _MOST_IN_VARIABLE
    }
    plain = {f"RAFTKV_WATCH_{name}": text for name, text in fitting.items()}
    as_etcdctl = {f"ETCD_WATCH_{name}": _quoted(text) for name, text in fitting.items()}
    revision = str(event.revision)
    return {**plain, **as_etcdctl, "ETCD_WATCH_REVISION": revision, "RAFTKV_WATCH_REVISION": revision}


def _quoted(text: str) -> str:
    """As Go's %q writes it, for plain text."""
    return json.dumps(text, ensure_ascii=False)
