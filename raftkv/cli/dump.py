"""The `dump` command: all keys and values as of one moment, as a file that `load` reads."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, Callable

from raftkv.cli.arguments import Arguments
from raftkv.cli.console import Console, is_terminal
from raftkv.cli.dump_format import end_line, header_lines, row_lines
from raftkv.cli.outcome import DONE, Interrupted, Outcome, OutputError
from raftkv.client.answers import KeyValue, key_value
from raftkv.client.encoding import Encoding
from raftkv.kvdb.offline import OfflineData, read_folder

_TEXT = Encoding("utf-8")
_ROWS = 500  # read at a time from a folder's view

Write = Callable[[str], None]


def run_dump(clerk: Any, arguments: Arguments, console: Console) -> Outcome:
    """`dump [FILE] [--from-folder DIR]`. `clerk` is None with --from-folder."""
    folder = arguments.options.get("--from-folder")
    if folder is not None:
        data = read_folder(os.path.expanduser(folder))
        _warn(data, console)
        keys, revision, leases, parts = data.keys, data.revision, data.leases, _parts_of(data)
    else:
        dump = clerk.dump()
        keys, revision, leases, parts = dump.keys, dump.revision, dump.leases, iter(dump)
    path = arguments.words[0] if arguments.words else "-"
    shows_itself = path == "-" and is_terminal(sys.stdout)
    with _target(path, console) as write:
        write(header_lines(keys, revision, leases))
        done = 0
        for rows in parts:
            if console.cancel.is_set():
                raise Interrupted("the dump was given up")
            write(row_lines(rows))
            done += len(rows)
            if not shows_itself:
                console.progress(f"{done:,} of {keys:,} keys")
        write(end_line(keys))
    console.end_progress()
    if path == "-":
        return Outcome(DONE)
    return Outcome(DONE, f"{keys} keys", {"keys": keys, "revision": revision})


def _parts_of(data: OfflineData) -> Iterator[list[KeyValue]]:
    while (rows := data.view.next_rows(_ROWS)) is not None:
        yield [key_value(row, _TEXT) for row in rows]


def _warn(data: OfflineData, console: Console) -> None:
    for notice in data.notices:
        console.complain(f"note: {notice}")
    if data.uncertain:
        console.complain(
            f"note: the last {data.uncertain} entries of this log, up to {data.last_index}, are in the dump; a server "
            "that does not run cannot tell whether the last ones were ever committed"
        )


@contextlib.contextmanager
def _target(path: str, console: Console) -> Iterator[Write]:
    """Where the dump goes. A file gets its name when all of it is there. Raises OutputError."""
    if path == "-":
        try:
            yield console.write_visibly if is_terminal(sys.stdout) else console.write_utf8
        except OutputError as error:
            raise OutputError(f"the dump could not be written: {error}") from None
        return
    try:
        if _is_special(path):
            with open(path, "w", encoding="utf-8", newline="\n") as file:
                yield file.write  # type: ignore[misc]
        else:
            with _replacing(os.path.realpath(path)) as write:
                yield write
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from None


@contextlib.contextmanager
def _replacing(path: str) -> Iterator[Write]:
    """A file that gets its name when it is whole. Raises OSError."""
    # Only its owner may read it: a dump is as secret as the data.
    fd, aside = tempfile.mkstemp(prefix=".dump-", dir=os.path.dirname(path))
    remove = functools.partial(_remove, aside)
    atexit.register(remove)  # also if the prompt is left while the dump is under way on another thread
    try:
        with open(fd, "w", encoding="utf-8", newline="\n") as file:
            yield file.write  # type: ignore[misc]
            file.flush()
            os.fsync(fd)
        os.replace(aside, path)
    finally:
        remove()
        atexit.unregister(remove)


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.remove(path)


def _is_special(path: str) -> bool:
    """Whether it is a pipe, a device or such: then it is written to, not replaced."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False
