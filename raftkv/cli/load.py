"""The `load` command: writes what `dump` wrote. All of the file is checked before any of it is written."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO, Callable

from raftkv import errors
from raftkv.cli.arguments import Arguments
from raftkv.cli.console import Console
from raftkv.cli.dump_format import Header, LeaseRow, Line, read_rows
from raftkv.cli.outcome import DONE, STOPS, Interrupted, Outcome, UsageError
from raftkv.client.answers import KeyValue

BATCH_KEYS = 500
BATCH_BYTES = 256 * 1024


def run_load(clerk: Any, arguments: Arguments, console: Console) -> Outcome:
    """`load FILE [--merge]`."""
    merges = "--merge" in arguments.options
    with _source(arguments.words[0], console) as file:
        total, revision = _check(file, console)
        if not merges and clerk.scan("", "", 1):
            raise UsageError(
                "the database is not empty: --merge writes the keys of the file over those that are there, as new ones, and "
                "leaves all others as they are"
            )
        file.seek(0)
        pieces = _merge(clerk, file) if merges or not revision else _restore(clerk, file, revision)
        _write(pieces, total, console)
    console.end_progress()
    return Outcome(DONE, f"{total} keys", {"keys": total})


def _check(file: BinaryIO, console: Console) -> tuple[int, int]:
    """How many keys there are, and the revision of the dump. Raises UsageError if anything is wrong with the file."""
    total = revision = 0
    try:
        for line in read_rows(file):
            if isinstance(line, Header):
                revision = line.revision
            elif isinstance(line, KeyValue):
                total += 1
                if total % 1000 == 0:
                    _go_on(console, f"checked {total:,} keys")
    except STOPS:
        raise Interrupted("interrupted: nothing was loaded") from None
    return total, revision


Piece = tuple[int, Callable[[], None]]  # how many keys, and what writes them


def _merge(clerk: Any, file: BinaryIO) -> Iterator[Piece]:
    """Keys and values only, as new ones."""
    for batch in _batches(file):
        pipeline = clerk.pipeline()
        keys = [line for line in batch if isinstance(line, KeyValue)]
        for row in keys:
            pipeline.put(row.key, row.value)
        if keys:
            yield len(keys), pipeline.execute


def _restore(clerk: Any, file: BinaryIO, revision: int) -> Iterator[Piece]:
    """All as it was."""
    at = 0

    def write() -> None:
        nonlocal at
        at = clerk.restore(revision, leases, keys, at=at)

    for batch in _batches(file):
        leases = [(line.id, line.ttl) for line in batch if isinstance(line, LeaseRow)]
        keys = [line for line in batch if isinstance(line, KeyValue)]
        yield len(keys), write


def _write(pieces: Iterator[Piece], total: int, console: Console) -> None:
    done = under_way = 0
    try:
        for under_way, write in pieces:
            write()
            done, under_way = done + under_way, 0
            _go_on(console, f"loaded {done:,} of {total:,} keys")
    except Interrupted as error:
        raise Interrupted(_how_far(done, under_way, total, str(error))) from None
    except (errors.RaftKVError, OSError) as error:
        raise errors.OutcomeUnknown(_how_far(done, under_way, total, str(error))) from None
    except STOPS:
        raise Interrupted(_how_far(done, under_way, total, "interrupted")) from None


def _how_far(done: int, under_way: int, total: int, why: str) -> str:
    may_be = f", the next {under_way} may be" if under_way else ""
    return f"{done} of {total} keys are loaded{may_be}: {why}; `load --merge` writes all of them once more"


def _batches(file: BinaryIO) -> Iterator[list[Line]]:
    batch: list[Line] = []
    room = BATCH_BYTES
    for line in read_rows(file):
        if isinstance(line, Header):
            continue
        size = len(line.key) + len(line.value) if isinstance(line, KeyValue) else 0
        room -= size
        if batch and (room < 0 or len(batch) == BATCH_KEYS):
            yield batch
            batch, room = [], BATCH_BYTES - size
        batch.append(line)
    if batch:
        yield batch


def _go_on(console: Console, progress: str) -> None:
    if console.cancel.is_set():
        raise Interrupted("it was given up")
    console.progress(progress)


@contextlib.contextmanager
def _source(path: str, console: Console) -> Iterator[BinaryIO]:
    """The file, which can be read twice: what comes from a pipe is kept aside. Raises UsageError."""
    name = "standard input" if path == "-" else path
    try:
        with contextlib.ExitStack() as stack:
            file: Any = console.input() if path == "-" else stack.enter_context(open(path, "rb"))
            if not file.seekable() or file.tell():
                aside = stack.enter_context(tempfile.TemporaryFile())
                shutil.copyfileobj(file, aside)
                aside.seek(0)
                file = aside
            yield file
    except (OSError, ValueError) as error:
        if isinstance(error, errors.RaftKVError):
            raise
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot read {os.fspath(name)}: {why}") from None
