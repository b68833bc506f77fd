"""FrontChild: the HTTP front of a server, as a process that ends with it, and that is started again when it dies."""

from __future__ import annotations

import logging
import subprocess
import threading
import time

from raftkv.cli.interpreter import python_command
from raftkv.cli.nodes import describe_end
from raftkv.threads import start_thread

log = logging.getLogger("raftkv")

_STOP_S = 3.0
_PAUSES_S = (0.5, 30.0)  # before it is started again: the first, and the longest
_LASTING_S = 60.0  # who ran so long is started again after the first pause


class FrontChild:
    """`ini`: the server's file. start() and stop() are for one thread."""

    def __init__(self, ini: str) -> None:
        self._ini = ini
        self._is_stopping = threading.Event()
        self._thread: threading.Thread | None = None
        #: Why it does not run; "" if it does.
        self.problem = ""
        #: The process id of the last start.
        self.pid: int | None = None

    def start(self) -> None:
        """Raises ResourceError."""
        # It ends with the thread that started it, so that one stays.
        self._thread = start_thread(self._keep_running, "front")

    def ask_to_stop(self) -> None:
        """It ends soon."""
        self._is_stopping.set()

    def stop(self) -> None:
        """End it, and wait for that. May be called twice."""
        self.ask_to_stop()
        if self._thread is not None:
            self._thread.join(2 * _STOP_S)

    def _keep_running(self) -> None:
        pause_s = _PAUSES_S[0]
        while not self._is_stopping.is_set():
            began_at = time.monotonic()
            end = self._run()
            if self._is_stopping.is_set():
                return
            if time.monotonic() - began_at > _LASTING_S:
                pause_s = _PAUSES_S[0]
            self.problem = f"the HTTP front {end}; it is started again every {pause_s:g} s"
            log.error("the HTTP front %s; it is started again in %g s", end, pause_s)
            self._is_stopping.wait(pause_s)
            pause_s = min(2 * pause_s, _PAUSES_S[1])

    def _run(self) -> str:
        """How it ended, in words."""
        command = python_command("raftkv.cli.gateway", self._ini, "--of-server", "--exit-with-parent")
        try:
            process = subprocess.Popen(command, stdin=subprocess.PIPE)
        except OSError as error:
            return f"cannot be started: {error.strerror}"
        self.problem, self.pid = "", process.pid
        while process.poll() is None and not self._is_stopping.wait(0.2):
            pass
        if process.poll() is None:
            self._end(process)
        assert process.stdin is not None, "it was made with a pipe"
        process.stdin.close()
        return describe_end(process.wait())

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
