"""Log lines that wait for nobody: a thread of its own writes them.

A write to a full pipe, a paused terminal or a slow disk waits for as long as that lasts. Were it done by the
thread that has something to say, a server would stand still because nobody reads its log. So lines wait in a
queue that is bounded in bytes. What does not fit is dropped and counted, and the log says how many are
missing as soon as it can.

`logging.handlers.QueueListener` is not used: it has no bound for how long stop() waits.
"""

from __future__ import annotations

import io
import logging
import os
import select
import sys
import threading
import time
from collections import deque
from typing import Callable, TextIO, cast

MOST_WAITING_BYTES = 1 << 20  # of lines, about ten thousand of them
LAST_CHANCE_S = 1.0  # how long the end of a process waits for its last lines to be taken
_WRITE_BYTES = 64 << 10  # at a time


def log_to_stderr(level: int = logging.INFO) -> None:
    """Send the log, and all that is printed to sys.stderr, through a LineWriter to the descriptor 2.

    For the beginning of a program. logging.shutdown(), which also runs when the interpreter ends, gives the
    last lines up to LAST_CHANCE_S seconds.
    """
    handler = _LineHandler(2)
    handler.setFormatter(
        logging.Formatter("%(asctime)s.%(msecs)03d %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")
    )
    logging.basicConfig(level=level, handlers=[handler])
    sys.stderr = cast(TextIO, LineStream(handler.writer))


class LineWriter:
    """Writes text to the descriptor `fd`. Thread-safe, usable in signal handlers, and after a fork in the
    child, too (with a thread of its own; what waited in the parent is the parent's).

    `describe_loss(count)` gives the text that takes the place of `count` lines that were dropped. Of lines
    that could not be written (the reader of a pipe is gone) the next one that can be written tells.
    """

    def __init__(
        self, fd: int, describe_loss: Callable[[int], str], most_bytes: int = MOST_WAITING_BYTES
    ) -> None:
        self.fd = fd
        self._describe_loss, self._most_bytes = describe_loss, most_bytes
        self._begin()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._changed = threading.Condition()  # on the state below
        self._waiting: deque[tuple[bytes, int]] = deque()  # text, and how many lines are lost with it
        self._bytes = 0  # that wait or are being written
        self._lost = 0  # lines that nobody was told of yet
        self._broken = False  # the last write failed
        self._thread: threading.Thread | None = None

    def write(self, text: str) -> None:
        """Have whole lines written. Never waits: drops them if too much is waiting already."""
        data = text.encode("utf-8", "backslashreplace")
        with self._changed:
            lines = data.count(b"\n")
            if self._bytes + len(data) > self._most_bytes:
                self._lost += lines
                return
            self._admit_loss()
            self._append(data, lines)
            if self._thread is None:
                self._start()

    def flush(self, timeout_s: float) -> bool:
        """Wait until all is written, at most `timeout_s` seconds. Returns whether it is."""
        with self._changed:
            return self._changed.wait_for(self._is_done, timeout_s)

    # -- with the lock held ----------------------------------------------------------------------------------

    def _is_done(self) -> bool:
        return self._bytes == 0 and (not self._lost or self._broken)

    def _append(self, data: bytes, lines: int) -> None:
        self._waiting.append((data, lines))
        self._bytes += len(data)
        self._changed.notify_all()

    def _admit_loss(self) -> None:
        if self._lost:
            lost, self._lost = self._lost, 0
            self._append(self._describe_loss(lost).encode(), lost)

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="log", daemon=True)
        try:
            thread.start()
            self._thread = thread
        except RuntimeError:  # no thread can be had now: then this once the caller writes, and may wait
            while self._waiting:
                self._put(*self._take())

    def _take(self) -> tuple[bytes, int]:
        """Of what waits, as much as is written at a time, but at least one piece."""
        pieces: list[bytes] = []
        size = lines = 0
        while self._waiting and (not pieces or size + len(self._waiting[0][0]) <= _WRITE_BYTES):
            piece, count = self._waiting.popleft()
            pieces.append(piece)
            size, lines = size + len(piece), lines + count
        return b"".join(pieces), lines

    # -- the thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    if self._lost and not self._broken:
                        self._admit_loss()
                    else:
                        self._changed.wait()
                data, lines = self._take()
            self._put(data, lines)

    def _put(self, data: bytes, lines: int) -> None:
        """Write `data`, however long that takes. If that fails, `lines` are lost."""
        rest = memoryview(data)
        try:
            while rest:
                try:
                    rest = rest[os.write(self.fd, rest) :]
                except BlockingIOError:  # somebody made it non-blocking
                    select.select([], [self.fd], [])
        except OSError:
            pass  # nobody is left to be told, but for the next one who reads
        with self._changed:
            self._broken = bool(rest)
            self._lost += lines if rest else 0
            self._bytes -= len(data)
            self._changed.notify_all()


class LineStream(io.TextIOBase):
    """A text stream over a LineWriter, in place of sys.stderr. Thread-safe; never waits.

    flush() sends what is not yet a whole line, and does not wait either.
    """

    def __init__(self, writer: LineWriter) -> None:
        self._writer = writer
        self._begun = threading.local()  # .text: of the line that a thread has not ended yet

    def write(self, text: str) -> int:
        begun = getattr(self._begun, "text", "")
        lines, newline, self._begun.text = (begun + text).rpartition("\n")
        if newline:
            self._writer.write(lines + newline)
        return len(text)

    def flush(self) -> None:
        begun, self._begun.text = getattr(self._begun, "text", ""), ""
        if begun:
            self._writer.write(begun)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._writer.fd

    def isatty(self) -> bool:
        return os.isatty(self._writer.fd)


class _LineHandler(logging.Handler):
    """Log records as lines of a LineWriter."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self.writer = LineWriter(fd, self._describe_loss)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.writer.write(self.format(record) + "\n")
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Called by logging.shutdown()."""
        self.writer.flush(LAST_CHANCE_S)

    def _describe_loss(self, count: int) -> str:
        text = f"{count} lines of the log are missing here: nobody read them in time"
        created = {"msg": text, "levelno": logging.WARNING, "levelname": "WARNING", "created": time.time()}
        return self.format(logging.makeLogRecord(created)) + "\n"
