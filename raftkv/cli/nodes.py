"""The servers of a local cluster as processes: start, kill, stop, pause, resume, and what they print.

No node outlives the process that started it: a node reads from a pipe whose other end only that process
holds, and stops at its end, however that comes about. Not even `kill -9` of the launcher leaves nodes behind,
nor those that were paused (server.py).
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Callable

from raftkv.cli.interpreter import python_command
from raftkv.cli.outcome import BAD_INPUT
from raftkv.cli.parent import CUT, HEAL
from raftkv.errors import RaftKVError

STOP_TIMEOUT_S = 10.0

#: Its one thread starts all nodes: Linux kills a node when the thread that started it ends (interpreter.py), and
#: commands at the prompt have threads that end with them.
_STARTER = ThreadPoolExecutor(1, "node-starter")
CAN_PAUSE = hasattr(signal, "SIGSTOP")


class NodeError(RaftKVError):
    """A node cannot do what it was told, such as stop when it does not run."""


class Node:
    """One server of a local cluster. `on_line(node_id, line)` gets what it prints and how it ends, from a
    thread of the node's own. For one thread at a time."""

    def __init__(self, node_id: int, ini: str, on_line: Callable[[int, str], None]) -> None:
        self.node_id = node_id
        self.ini = ini
        self.paused = self.is_cut_off = False
        self._on_line = on_line
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._last_line = self._end = ""

    @property
    def running(self) -> bool:
        """True while the process exists, paused or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        """Of the process that ran last: its exit status, or the negative number of the signal that ended it."""
        return None if self._process is None else self._process.poll()

    @property
    def pid(self) -> int | None:
        """The process id of the last start; None before the first."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the server; it is not ready yet on return. Raises NodeError if it runs."""
        if self.running:
            raise NodeError(f"node {self.node_id} is already running (process {self.pid})")
        self._wait()
        try:
            process = _STARTER.submit(
                subprocess.Popen,
                python_command("raftkv.cli.server", self.ini, "--exit-with-parent"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            ).result()
        except OSError as error:
            raise NodeError(f"node {self.node_id} cannot be started: {error.strerror}") from None
        reader = threading.Thread(
            target=self._read, args=(process,), name=f"node-{self.node_id}-output", daemon=True
        )
        try:
            reader.start()
        except RuntimeError as error:
            process.kill()
            process.communicate()
            raise NodeError(f"node {self.node_id} cannot be started: {error}") from None
        self._process, self._reader = process, reader
        self.paused = self.is_cut_off = False

    def kill(self) -> None:
        """End it as a crash would (kill -9), and wait for its end. Raises NodeError if it does not run."""
        self._running_process().kill()
        self._wait()

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Stop it cleanly; after `timeout_s`, kill it. Raises NodeError if it does not run."""
        self.ask_to_stop()
        self.wait_or_kill(timeout_s)

    def ask_to_stop(self) -> None:
        """Send SIGTERM. Raises NodeError if it does not run."""
        process = self._running_process()
        if CAN_PAUSE:
            process.send_signal(signal.SIGCONT)  # somebody else may have paused it, too
        process.terminate()

    def wait_or_kill(self, timeout_s: float) -> None:
        """Wait until it has ended; after `timeout_s`, kill it."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, timeout_s))
        except subprocess.TimeoutExpired:
            self._on_line(self.node_id, "does not stop; killing it")
            self._process.kill()
        self._wait()

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connected, but silent. Raises NodeError if it does not run."""
        self._running_process().send_signal(signal.SIGSTOP)
        self.paused = True

    def resume(self) -> None:
        """Let a paused one go on. Raises NodeError if it does not run or is not paused."""
        process = self._running_process()
        if not self.paused:
            raise NodeError(f"node {self.node_id} is not paused")
        process.send_signal(signal.SIGCONT)
        self.paused = False

    def cut(self) -> None:
        """Cut it off from the other nodes; clients still reach it. Raises NodeError if it does not run."""
        self._tell(CUT)
        self.is_cut_off = True

    def heal(self) -> None:
        """Let one that is cut off reach the others again. Raises NodeError if it does not run or is not cut off."""
        if self.running and not self.is_cut_off:
            raise NodeError(f"node {self.node_id} is not cut off")
        self._tell(HEAL)
        self.is_cut_off = False

    def _tell(self, line: str) -> None:
        process = self._running_process()
        assert process.stdin is not None, "it was made with a pipe"
        try:
            process.stdin.write(f"{line}\n".encode())
            process.stdin.flush()
        except OSError as error:
            raise NodeError(f"node {self.node_id} does not hear: {error.strerror}") from None

    def last_words(self) -> str:
        """How the process that ran last has ended, and the last line that it printed."""
        self._wait()
        return f"node {self.node_id} {self._end}: {self._last_line}"

    def _wait(self) -> None:
        """Wait for the end of the last process and its last words, and give its pipes back."""
        if self._process is None or self._reader is None:
            return
        self._reader.join()
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()

    def _running_process(self) -> subprocess.Popen[bytes]:
        if self._process is None or not self.running:
            raise NodeError(f"node {self.node_id} is not running; start {self.node_id} starts it")
        return self._process

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout
        last = "it said nothing"
        for line in process.stdout:
            last = line.decode(errors="replace").rstrip()
            self._on_line(self.node_id, last)
        self._last_line, self._end = last, describe_end(process.wait())
        self._on_line(self.node_id, self._end)


def describe_end(returncode: int) -> str:
    """How a process ended, in words."""
    if returncode == 0:
        return "stopped (exit status 0)"
    if returncode > 0:
        return f"died with exit status {returncode}"
    try:
        return f"died of {signal.Signals(-returncode).name}"
    except ValueError:
        return f"died of signal {-returncode}"


class LocalCluster:
    """All servers of a cluster on this machine, by node id. A context manager that starts and stops them."""

    def __init__(self, server_inis: Mapping[int, str], on_line: Callable[[int, str], None]) -> None:
        self._on_line = on_line
        self.nodes: dict[int, Node] = {node: Node(node, ini, on_line) for node, ini in server_inis.items()}

    def __enter__(self) -> LocalCluster:
        try:
            for node in self.nodes.values():
                node.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def add(self, node_id: int, ini: str) -> None:
        """Start one more server."""
        node = Node(node_id, ini, self._on_line)
        node.start()
        self.nodes[node_id] = node

    def remove(self, node_id: int) -> None:
        """Stop a server, which is none of the cluster's any more."""
        node = self.nodes.pop(node_id)
        if node.running:
            with contextlib.suppress(NodeError):  # it ended by itself just now
                node.stop()

    def running(self) -> list[int]:
        return [node_id for node_id, node in self.nodes.items() if node.running]

    def misconfigured(self) -> list[int]:
        """The nodes that ended because they cannot run as they are configured, say on a port in use."""
        return [node_id for node_id, node in self.nodes.items() if node.returncode == BAD_INPUT]

    def last_words(self) -> str:
        """Of the nodes that do not run."""
        return "; ".join(node.last_words() for node in self.nodes.values() if not node.running)

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Stop all nodes that run, side by side; kill those that have not ended after `timeout_s` seconds."""
        deadline = time.monotonic() + timeout_s
        for node in self.nodes.values():
            if node.running:
                with contextlib.suppress(NodeError):  # it ended by itself just now
                    node.ask_to_stop()
        for node in self.nodes.values():
            node.wait_or_kill(deadline - time.monotonic())
