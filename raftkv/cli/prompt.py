"""The interactive prompt: line editing, history, Tab completion, and a Ctrl-C that abandons one command.

A command runs in a thread of its own while the main thread waits for it. Ctrl-C ends the waiting only: Clerk
is never interrupted halfway, its retries end by its timeout, and the answer is dropped. So an abandoned write
may still take effect, and the prompt says so.
"""

from __future__ import annotations

import cmd
import os
import queue
import shlex
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, Callable, TypeVar

from raftkv.cli.commands import DONE, Command, Outcome, UsageError, execute, help_text, split_line
from raftkv.errors import RaftKVError

try:
    import readline
except ImportError:  # Windows, and builds without it: a prompt without line editing
    readline = None  # type: ignore[assignment]

HISTORY_FILE = "~/.raftkv_history"
HISTORY_LINES = 1000
SLOW_ANSWER_S = 0.1  # from here on an answer says how long it took
COMPLETION_TIMEOUT_S = 1.0
COMPLETION_KEYS = 50

Result = TypeVar("Result")


class Prompt(cmd.Cmd):
    """Reads commands from a terminal until `exit`, `quit` or Ctrl-D.

    `clerk` is what the commands talk to, `commands` the table of them; `help` and `exit` are added. Results
    go to standard output, errors to standard error.
    """

    prompt = "> "

    def __init__(self, clerk: Any, commands: Mapping[str, Command], *, as_json: bool = False) -> None:
        super().__init__()
        self._clerk = clerk
        self._as_json = as_json
        self.commands: dict[str, Command] = {
            **commands,
            "help": Command("[COMMAND]", "this list, or one command", self._help, 0, 1),
            "exit": Command("", "leave; so does Ctrl-D", lambda _clerk, _words: Outcome(DONE), 0, 0),
        }

    def run(self) -> None:
        """Read and run commands until the user leaves."""
        if readline is not None:
            _prepare_readline()
        try:
            while True:
                try:
                    self.cmdloop()
                    return
                except KeyboardInterrupt:
                    print()  # Ctrl-C at the prompt drops the line
        finally:
            if readline is not None:
                _save_history()

    # -- what cmd.Cmd calls ----------------------------------------------------------------------------------

    def onecmd(self, line: str) -> bool:
        """Run one line. True: leave."""
        if line == "EOF":  # what cmd.Cmd makes of Ctrl-D
            print()
            return True
        try:
            words = split_line(line)
        except UsageError as error:
            self._show(Outcome(1, error=str(error)), 0.0)
            return False
        if not words:
            return False
        if words[0] in ("exit", "quit"):
            return True
        started = time.monotonic()
        try:
            outcome = call_abandonable(lambda: execute(self.commands, self._clerk, words, self._as_json))
        except KeyboardInterrupt:
            print("\nabandoned; if it was a write, it may still take effect", file=sys.stderr)
            return False
        self._show(outcome, time.monotonic() - started)
        return False

    def completenames(self, text: str, *_: Any) -> list[str]:
        return [name + " " for name in sorted(self.commands) if name.startswith(text)]

    complete_help = completenames

    def completedefault(self, text: str, line: str, begidx: int, *_: Any) -> list[str]:
        before = line[:begidx].split()
        command = self.commands.get(before[0]) if before else None
        if command is None or not command.takes_key or len(before) > 1:
            return []
        return self._complete_key(text)

    def _complete_key(self, text: str) -> list[str]:
        """Keys that begin with `text`, quoted where they must be; none if the cluster is slow to answer."""
        prefix = text.lstrip("'\"")
        try:
            found = call_abandonable(
                lambda: self._clerk.scan(prefix, "", COMPLETION_KEYS), timeout_s=COMPLETION_TIMEOUT_S
            )
        except (RaftKVError, TimeoutError):
            return []  # a Tab has nowhere to say why; the command itself will
        return [shlex.quote(key) + " " for key, _, _ in found]

    def _help(self, _clerk: Any, words: list[str]) -> Outcome:
        text = help_text(self.commands, *words)
        return Outcome(DONE, text, {"help": text})

    def _show(self, outcome: Outcome, duration_s: float) -> None:
        if outcome.text:
            print(outcome.text, flush=True)
        if outcome.error:
            print(f"error: {outcome.error}", file=sys.stderr, flush=True)
        if duration_s >= SLOW_ANSWER_S:
            print(f"({duration_s:.2f} s)", flush=True)


def call_abandonable(function: Callable[[], Result], timeout_s: float | None = None) -> Result:
    """function(), called in a thread of its own that goes on by itself if the caller is interrupted.

    Raises what it raises; TimeoutError after `timeout_s` seconds; KeyboardInterrupt on Ctrl-C.
    """
    answers: queue.Queue[Callable[[], Result]] = queue.Queue()

    def work() -> None:
        try:
            result = function()
        except BaseException as error:  # handed to the caller, whatever it is
            answers.put(_raiser(error))
        else:
            answers.put(lambda: result)

    threading.Thread(target=work, name="command", daemon=True).start()
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        # Short waits: on Windows, Ctrl-C does not interrupt a wait for a lock.
        remaining = 0.2 if deadline is None else min(0.2, deadline - time.monotonic())
        try:
            answer = answers.get(timeout=max(0.0, remaining))
        except queue.Empty:
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError from None
            continue
        return answer()


def _raiser(error: BaseException) -> Callable[[], Any]:
    def raise_it() -> Any:
        raise error

    return raise_it


# -- readline ------------------------------------------------------------------------------------------------


def _prepare_readline() -> None:
    # A key may hold any character: only white space ends a word that is completed.
    readline.set_completer_delims(" \t\n")
    if "libedit" in (readline.__doc__ or ""):  # macOS
        readline.parse_and_bind("bind ^I rl_complete")
    readline.set_history_length(HISTORY_LINES)
    try:
        readline.read_history_file(os.path.expanduser(HISTORY_FILE))
    except FileNotFoundError:
        return  # the first time
    except OSError as error:
        print(f"cannot read {HISTORY_FILE}: {error.strerror}", file=sys.stderr)


def _save_history() -> None:
    path = os.path.expanduser(HISTORY_FILE)
    try:
        # Commands hold values, so the file is made readable by its owner only before anything is in it.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
        readline.write_history_file(path)
    except OSError as error:
        print(f"cannot write {HISTORY_FILE}: {error.strerror}", file=sys.stderr)
