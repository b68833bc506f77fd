"""One server process of a cluster under test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.cluster.waiting import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]


class Node:
    """One server: its files, and its process while there is one."""

    #: What runs a server. tests/mutants puts another one here, which breaks it first.
    program: Sequence[str] = (sys.executable, str(ROOT / "bin" / "kvserver.py"))

    def __init__(self, id: int, folder: Path) -> None:
        self.id = id
        self.ini = folder / f"server{id}.ini"
        self.data_dir = folder / f"data{id}"
        self.log_file = folder / f"server{id}.log"
        self._orders = Path(f"{self.ini}.fsync")
        self.process: subprocess.Popen | None = None
        self.crash_point = ""
        self.may_end = False  # by itself, or because the test ended it
        self.connection: Connection | None = None  # for status()
        self.requests = 0

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def log(self) -> str:
        """All that the node has ever printed."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def start(self, crash_point: str = "", ulimit: str = "") -> None:
        """Start the server. `crash_point`: end at that place. `ulimit`: a limit, in the shell's
        words."""
        assert not self.running, f"node {self.id} runs already"
        self.close()
        command = [*self.program, str(self.ini), "--exit-with-parent"]
        if ulimit:
            command = ["sh", "-c", f'ulimit {ulimit}; exec "$@"', "sh", *command]
        self.crash_point, self.may_end = crash_point, bool(crash_point)
        environment = {**os.environ, "RAFTKV_CHECK": "1", "RAFTKV_CRASH_POINT": crash_point}
        # Its standard input is a pipe whose other end is here: should the tests be killed, it stops.
        self.process = self.spawn(command, env=environment, cwd=ROOT, stdin=subprocess.PIPE)

    def spawn(self, command: list[str], **options: Any) -> subprocess.Popen:
        """Its lines go to the log file."""
        with open(self.log_file, "ab") as log:
            return subprocess.Popen(command, **options, stdout=log, stderr=log)

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """Wait until the process has ended; returns its exit status."""
        assert self.process is not None
        self.may_end = True
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            where = f" at {self.crash_point}" if self.crash_point else ""
            raise AssertionError(f"waited {timeout_s:g} s for node {self.id} to end{where}") from None

    def send_signal(self, number: int) -> None:
        assert self.process is not None and self.running, f"node {self.id} does not run"
        self.process.send_signal(number)

    def order_fsync(self, order: str) -> None:
        """If tests/chaos/launcher.py runs it: see there. "": its fsync works."""
        if order:
            fresh = self._orders.with_suffix(".new")
            fresh.write_text(order)
            os.replace(fresh, self._orders)
        elif self._orders.exists():
            self._orders.unlink()

    def close(self) -> None:
        """End the process, if there is one, and give back what belonged to it."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stdin is not None
            self.process.stdin.close()
            self.process = None
