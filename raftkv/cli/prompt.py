"""The interactive prompt: line editing, history, Tab completion, and a Ctrl-C that abandons one command.

A command runs in a thread of its own while the main thread waits for it. Ctrl-C ends the waiting only: Clerk
is never interrupted halfway, its retries end by its timeout, and the answer is dropped. So an abandoned write
may still take effect, and the prompt says so.
"""

from __future__ import annotations

import contextlib
import io
import os
import queue
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, Callable, TypeVar

from raftkv.cli.arguments import command_of
from raftkv.cli.call import Command, parse_call
from raftkv.cli.completion import complete
from raftkv.cli.console import Console
from raftkv.cli.outcome import BAD_INPUT, DONE, Outcome, OutputError, Terminated, UsageError
from raftkv.cli.words import Splitter, quote
from raftkv.errors import RaftKVError

try:
    import readline
except ImportError:  # Windows, and builds without it: a prompt without line editing
    readline = None  # type: ignore[assignment]

HISTORY_FILE = "~/.raftkv_history"
HISTORY_LINES = 1000
SLOW_ANSWER_S = 0.1  # from here on an answer says how long it took
COMPLETION_TIMEOUT_S = 1.0

Result = TypeVar("Result")


class Prompt:
    """Reads commands from a terminal until `exit`, `quit` or Ctrl-D.

    `clerk` is what the commands talk to, `commands` the table of them; `exit` is added. Results go to
    standard output, errors to standard error.
    """

    prompt = "> "

    def __init__(self, clerk: Any, commands: Mapping[str, Command], *, as_json: bool = False) -> None:
        self._clerk = clerk
        self._as_json = as_json
        leave = Command("", "leave; so does Ctrl-D", lambda *_: Outcome(DONE), 0, 0)
        self.commands: dict[str, Command] = {**commands, "exit": leave}
        self._candidates: list[str] = []
        self._pasted: list[str] = []  # lines that came with the one read last

    def run(self) -> None:
        """Read and run commands until the user leaves."""
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="surrogateescape")  # what is no text is refused by its command
        if readline is not None:
            _prepare_readline(self._next_candidate)
        try:
            while self._run_one_whatever_comes():
                pass
        except Terminated:
            with contextlib.suppress(OutputError):  # the terminal may be gone
                Console().write("\n")
            raise
        finally:
            if readline is not None:
                _save_history()

    def _run_one_whatever_comes(self) -> bool:
        with contextlib.suppress(KeyboardInterrupt):  # one more
            try:
                return self.run_one()
            except KeyboardInterrupt:
                self._pasted.clear()
                Console().write("\n")  # Ctrl-C at the prompt drops what was typed
        return True

    def run_one(self) -> bool:
        """Read and run one command. False: the user leaves. Raises OutputError or KeyboardInterrupt."""
        try:
            words = command_of(self._read_command())
        except EOFError:
            Console().write("\n")
            return False
        except UsageError as error:
            self._complain(error)
            return True
        if words[:1] in (["exit"], ["quit"]):
            return False
        if words:
            self._run_command(words)
        return True

    def read_line(self, prompt: str) -> str:
        """One line that the user types. Raises EOFError or KeyboardInterrupt."""
        return input(prompt)

    def complete(self, line: str, begin: int) -> list[str]:
        """What can stand in `line` from `begin` on; nothing if the cluster is slow to answer."""
        try:
            return call_abandonable(
                lambda: complete(self.commands, self._clerk, line, begin), timeout_s=COMPLETION_TIMEOUT_S
            )
        except (RaftKVError, TimeoutError):
            return []  # a Tab has nowhere to say why; the command itself will

    # -- one command -----------------------------------------------------------------------------------------

    def _read_command(self) -> list[str]:
        """The words of the next command: quotations go on over several lines. Raises UsageError."""
        splitter = Splitter()
        lines: list[str] = []
        while True:
            try:
                line = self._next_line(f"{splitter.open}{self.prompt}")
            except EOFError:
                if not splitter.open:
                    raise
                Console().write("\n")
                raise splitter.complain() from None
            if not lines and line.startswith("#"):
                return []
            lines.append(line)
            try:
                words = splitter.feed(line + "\n")
            except UsageError:
                _remember(line)
                raise
            if words is not None:
                _remember(line if len(lines) == 1 else " ".join(map(quote, words)))
                return words

    def _next_line(self, prompt: str) -> str:
        """Several lines that are pasted at once come as one, and are what they would be if they were typed."""
        if not self._pasted:
            self._pasted = self.read_line(prompt).split("\n")
        return self._pasted.pop(0)

    def _run_command(self, words: list[str]) -> None:
        try:
            call = parse_call(self.commands, words, self._as_json)
        except UsageError as error:
            self._complain(error)
            return
        console = Console()
        started = time.monotonic()
        try:
            outcome = call_abandonable(lambda: call.run(self._clerk, console))
        except KeyboardInterrupt:
            console.cancel.set()
            self._pasted.clear()
            console.write("\n")
            console.complain(f"abandoned{call.doubt}")
            return
        if outcome.ends_input and self._pasted:
            self._pasted.clear()
            outcome = outcome._replace(error=f"{outcome.error}; the lines pasted after it were not run")
        console.show(outcome, "error: ")
        duration_s = time.monotonic() - started
        if duration_s >= SLOW_ANSWER_S:
            console.write(f"({duration_s:.2f} s)\n")

    def _complain(self, error: UsageError) -> None:
        Console().show(Outcome(BAD_INPUT, error=str(error), as_json=self._as_json), "error: ")

    def _next_candidate(self, _text: str, state: int) -> str | None:
        """What readline calls for a Tab, with a rising `state` until it gets None."""
        if state == 0:
            line = readline.get_line_buffer()[: readline.get_endidx()]
            self._candidates = self.complete(line, readline.get_begidx())
        return self._candidates[state] if state < len(self._candidates) else None


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


def _prepare_readline(completer: Callable[[str, int], str | None]) -> None:
    # A key may hold any character: only white space ends a word that is completed.
    readline.set_completer_delims(" \t\n")
    readline.set_completer(completer)
    if "libedit" in (readline.__doc__ or ""):  # macOS
        readline.parse_and_bind("bind ^I rl_complete")
    else:
        readline.parse_and_bind("tab: complete")
    readline.set_auto_history(False)
    readline.set_history_length(HISTORY_LINES)
    try:
        readline.read_history_file(os.path.expanduser(HISTORY_FILE))
    except FileNotFoundError:
        return  # the first time
    except OSError as error:
        print(f"cannot read {HISTORY_FILE}: {error.strerror}", file=sys.stderr)


def _remember(line: str) -> None:
    """Add a command to the history: on one line, unless it is empty or the one before once more."""
    if readline is None or not line.strip():
        return
    last = readline.get_current_history_length()
    with contextlib.suppress(UnicodeError):  # the locale knows fewer characters than we read
        if last == 0 or readline.get_history_item(last) != line:
            readline.add_history(line)


def _save_history() -> None:
    path = os.path.expanduser(HISTORY_FILE)
    try:
        # Commands hold values, so the file is made readable by its owner only before anything is in it.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
        readline.write_history_file(path)
    except OSError as error:
        print(f"cannot write {HISTORY_FILE}: {error.strerror}", file=sys.stderr)
