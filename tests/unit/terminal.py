"""A program on a pseudo-terminal, and a test that types to it."""

from __future__ import annotations

import os
import pty
import select
import signal
import time
from collections.abc import Sequence

PATIENCE_S = 30.0


class Terminal:
    """Runs `argv` on a terminal of its own; `home` is the user's home. A context manager that ends it."""

    def __init__(self, argv: Sequence[str], home: str) -> None:
        self.seen = ""
        self._ended = False
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(HOME=home, TERM="dumb", NO_COLOR="1")
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
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.seen:
            ready, _, _ = select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{text!r} did not come; seen is {self.seen!r}"
            try:
                self.seen += os.read(self.fd, 65536).decode()
            except OSError:  # how Linux says that the program has closed the terminal
                raise AssertionError(f"the program ended before {text!r}; seen is {self.seen!r}") from None
        before, _, self.seen = self.seen.partition(text)
        return before

    def wait(self) -> int:
        """Wait for the program's end; returns its exit status."""
        _, status = os.waitpid(self.pid, 0)
        self._ended = True
        return os.WEXITSTATUS(status)
