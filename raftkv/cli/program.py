"""Programs that a command runs for its user: `watch KEY -- COMMAND…`, `lock NAME -- COMMAND…`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import Callable

from raftkv.cli.arguments import Arguments
from raftkv.cli.console import Console
from raftkv.cli.interpreter import dying_with_parent
from raftkv.cli.outcome import UsageError
from raftkv.cli.printable import one_line

_LOOK_S = 0.1  # how often it is looked whether the program should end
_PATIENCE_S = 5.0  # between the request to end and the end


def split_program(arguments: Arguments) -> tuple[list[str], list[str]]:
    """The command's own words, and those after `--`, which are a program and its arguments. If the command's words stand behind
    a `--` themselves, a second one divides them."""
    words, at = arguments.words, arguments.literal_from
    if at == 0 and "--" in words:
        at = words.index("--")
        return words[:at], words[at + 1 :]
    return (words, []) if at == 0 else (words[:at], words[at:])


def run_program(
    words: Sequence[str],
    environment: Mapping[str, str],
    console: Console,
    must_end: Callable[[], bool] = lambda: False,
    *,
    dies_with_us: bool = False,
) -> int:
    """Runs it until it ends, or must_end(), or the user wants no more; with `dies_with_us`, not beyond our own end either, where the
    system can see to that. Returns its exit status, as shells count. Raises UsageError if it cannot be started."""
    stdin = None if console.input_is_free else subprocess.DEVNULL  # else it would read the commands there
    in_child = dying_with_parent() if dies_with_us and os.name == "posix" else None
    try:
        process = subprocess.Popen(
            [*words],
            stdin=stdin,
            env={**os.environ, **environment},
            preexec_fn=in_child,  # noqa: PLW1509  # it takes no lock: a single call of the system
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot run {one_line(words[0])[:80]}: {reason}") from None
    try:
        while not must_end() and not console.cancel.is_set():
            try:
                return _status(process.wait(_LOOK_S))
            except subprocess.TimeoutExpired:
                pass  # it goes on
    finally:
        _end(process)
    return _status(process.returncode)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _status(code: int) -> int:
    return code if code >= 0 else 128 - code
