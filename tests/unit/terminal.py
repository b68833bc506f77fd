"""A program on a pseudo-terminal, a test that types to it, and what the user would see."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Sequence

PATIENCE_S = 30.0
ROWS, COLUMNS = 24, 40


class Terminal:
    """Runs `argv` on a terminal of its own; `home` is the user's home. A context manager that ends it.

    `kind`: what it says of itself; with "xterm" the program may move the cursor, and `screen` follows it.
    """

    def __init__(self, argv: Sequence[str], home: str, kind: str = "dumb") -> None:
        self.seen = ""
        self.screen = Screen()
        self._ended = False
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
            os.environ.update(HOME=home, TERM=kind, NO_COLOR="1", INPUTRC=os.devnull)
            os.execv(argv[0], list(argv))

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)  # hangs up: SIGHUP
        deadline = time.monotonic() + PATIENCE_S
        while not self._ended:
            self._ended = os.waitpid(self.pid, os.WNOHANG)[0] != 0
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.02)

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def expect(self, text: str) -> str:
        """Read until `text` comes. Returns what came before it; both are not seen again."""
        self._read_until(lambda: text in self.seen, text)
        before, _, self.seen = self.seen.partition(text)
        return before

    def expect_screen(self, *lines: str) -> None:
        """Read until the screen ends with these lines; `|` is where the cursor is."""
        self._read_until(lambda: self.screen.lines()[-len(lines) :] == list(lines), "\n".join(lines))

    def _read_until(self, condition: object, what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():  # type: ignore[operator]
            ready, _, _ = select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{what!r} did not come; seen is {self.seen!r}, shown is {self.screen.lines()}"
            try:
                text = os.read(self.fd, 65536).decode()
            except OSError:  # how Linux says that the program has closed the terminal
                raise AssertionError(f"the program ended before {what!r}; seen is {self.seen!r}") from None
            self.seen += text
            self.screen.write(text)

    def wait(self) -> int:
        """Wait for the program's end; returns its exit status."""
        _, status = os.waitpid(self.pid, 0)
        self._ended = True
        return os.WEXITSTATUS(status)


class Screen:
    """As much of an xterm as readline uses. It grows downwards without an end, and does not scroll."""

    _PIECE = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|\x1b[=>]|([^\x1b])")

    def __init__(self) -> None:
        self._unread = ""
        self._cells = [[" "] * COLUMNS]
        self._row = self._column = 0

    def lines(self) -> list[str]:
        """What is shown, with a `|` where the cursor is."""
        lines = ["".join(cells) for cells in self._cells]
        row = lines[self._row]
        lines[self._row] = row[: self._column] + "|" + row[self._column :]
        lines = [line.rstrip() for line in lines]
        while not lines[-1]:
            lines.pop()
        return lines

    def write(self, text: str) -> None:
        self._unread += text
        while (piece := self._PIECE.match(self._unread)) is not None:  # the rest of a sequence may still come
            self._unread = self._unread[piece.end() :]
            if piece[3] is not None:
                self._put(piece[3])
            elif piece[2] is not None:
                self._control(piece[2], int(piece[1]) if piece[1].isdecimal() else 0)

    def _put(self, character: str) -> None:
        if character == "\r":
            self._column = 0
        elif character == "\n":
            self._go_down()
        elif character == "\b":
            self._column -= 1
        elif character != "\a":
            if self._column == COLUMNS:
                self._column = 0
                self._go_down()
            self._cells[self._row][self._column] = character
            self._column += 1

    def _go_down(self) -> None:
        self._row += 1
        if self._row == len(self._cells):
            self._cells.append([" "] * COLUMNS)

    def _control(self, letter: str, number: int) -> None:
        cells, count = self._cells[self._row], max(1, number)
        if letter == "A":
            self._row -= count
        elif letter == "B":
            self._row += count
        elif letter == "C":
            self._column += count
        elif letter == "D":
            self._column -= count
        elif letter == "K" and number == 0:
            cells[self._column :] = [" "] * (COLUMNS - self._column)
        elif letter == "J" and number == 0:
            cells[self._column :] = [" "] * (COLUMNS - self._column)
            for below in self._cells[self._row + 1 :]:
                below[:] = [" "] * COLUMNS
        elif letter == "P":
            cells[self._column :] = (cells[self._column :] + [" "] * count)[count:][: COLUMNS - self._column]
        elif letter == "@":
            cells[self._column :] = ([" "] * count + cells[self._column :])[: COLUMNS - self._column]
        elif letter not in "hlm":
            raise AssertionError(f"the screen does not know ESC [ {number} {letter}")
