"""What the nodes of a local cluster print, shown line by line beside a prompt that is waiting for input."""

from __future__ import annotations

import os
import sys
import threading

try:
    import readline
except ImportError:
    readline = None  # type: ignore[assignment]

_COLOURS = (36, 33, 35, 32, 34, 31)  # ANSI: cyan, yellow, magenta, green, blue, red
_ERASE_LINE = "\r\x1b[K"


class NodeOutput:
    """Writes the nodes' lines to standard error, each with its node's number in front; thread-safe.

    On a terminal the number has the node's colour, and a line does not run into what the user is typing: it
    takes the place of the prompt, which is then drawn again below. `prompt` is the prompt that is waiting for
    input at the moment, or None.
    """

    def __init__(self, terminal: bool) -> None:
        self.prompt: str | None = None
        self.terminal = terminal
        self._coloured = terminal and "NO_COLOR" not in os.environ
        self._lock = threading.Lock()

    def show(self, node_id: int, line: str) -> None:
        """Print one line of one node."""
        label = f"[node {node_id}]"
        if self._coloured:
            label = f"\x1b[{_COLOURS[(node_id - 1) % len(_COLOURS)]}m{label}\x1b[0m"
        with self._lock:
            prompt = self.prompt
            if not self.terminal or prompt is None:
                self._write(f"{label} {line}\n")
            else:
                typed = readline.get_line_buffer() if readline is not None else ""
                self._write(f"{_ERASE_LINE}{label} {line}\n{prompt}{typed}")

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            pass  # nobody reads it any more; the nodes must not stand still for that
