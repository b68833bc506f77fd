"""What the nodes of a local cluster print, shown line by line above a prompt that is waiting for input."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator

from raftkv.cli.line_editor import LineEditor
from raftkv.cli.printable import one_line

MOST_WAITING = 1000  # lines, of which the last ones are kept
_ASK_AGAIN_S = 0.05

_COLOURS = (36, 33, 35, 32, 34, 31)  # ANSI: cyan, yellow, magenta, green, blue, red


class NodeOutput:
    """Writes the nodes' lines to standard error, each with its node's number in front; thread-safe.

    On a terminal the number has the node's colour, and no character of a line drives the terminal. While a
    user types, lines come above the prompt, and what is typed stays as it is; where the line editor cannot do
    that, they wait until the line is entered.
    """

    def __init__(self, terminal: bool) -> None:
        self.terminal = terminal
        self._coloured = terminal and "NO_COLOR" not in os.environ
        self._changed = threading.Condition()  # guards what follows
        self._is_typing = False
        self._waiting: deque[str] = deque(maxlen=MOST_WAITING)
        self._editor: LineEditor | None = None
        if terminal:
            with contextlib.suppress(OSError):
                self._editor = LineEditor()
                threading.Thread(target=self._ask_editor, name="node-lines", daemon=True).start()

    def show(self, node_id: int, line: str) -> None:
        """Print one line of one node."""
        label = f"[node {node_id}]"
        if self._coloured:
            label = f"\x1b[{_COLOURS[(node_id - 1) % len(_COLOURS)]}m{label}\x1b[0m"
        text = f"{label} {one_line(line) if self.terminal else line}\n"
        with self._changed:
            if not self._is_typing:
                self._write(text)
                return
            self._waiting.append(text)
            self._changed.notify_all()

    @contextlib.contextmanager
    def typing(self) -> Iterator[None]:
        """While the body reads a line from the user, on the main thread."""
        with self._changed:
            self._is_typing = True
            self._changed.notify_all()
        line_end = "\n"  # unless the user ends the line, the cursor is behind what was typed
        try:
            yield
            line_end = ""
        finally:
            with self._changed:
                self._is_typing = False
                if self._waiting:
                    self._write(line_end)
                self._write_waiting()

    def _ask_editor(self) -> None:
        """The body of a thread: has the editor show what waits while the user types."""
        assert self._editor is not None
        while True:
            with self._changed:
                while not (self._is_typing and self._waiting):
                    self._changed.wait()
                self._editor.call_soon(self._show_waiting)
                self._changed.wait(_ASK_AGAIN_S)

    def _show_waiting(self) -> None:
        with self._changed:
            if self._waiting and self._editor is not None:
                self._editor.print_above(self._write_waiting)

    def _write_waiting(self) -> None:
        """With the lock held."""
        self._write("".join(self._waiting))
        self._waiting.clear()

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            pass  # nobody reads it any more; the nodes must not stand still for that
