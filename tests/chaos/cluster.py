"""A Cluster whose peers talk through proxies, and whose disks can be made to fail."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

from raftkv.config import load_server_config

from tests.chaos.proxy import Key, Proxy
from tests.cluster.harness import Cluster
from tests.cluster.node import Node

CAN_LIMIT = hasattr(resource, "prlimit")  # Linux

RAFT = {
    # The defaults: a leader that is cut off needs longer to notice it than the others to elect another one.
    "heartbeat_interval_ms": 50,
    "election_timeout_ms": 500,
    "replace_after_ms": 1000,
    # So small that snapshots are taken all the time, in many chunks, and are what a node that was away needs.
    "max_raft_state": 48 << 10,
    "snapshot_growth_percent": 20,  # snapshots hold the history, and so grow all the time
    "segment_bytes": 24 << 10,
    "snapshot_chunk_bytes": 32 << 10,
}


class ChaosNode(Node):
    """A Node that launcher.py runs. Its lines come through a pipe: a full disk is not to swallow them."""

    program = (sys.executable, "-m", "tests.chaos.launcher")

    def __init__(self, id: int, folder: Path) -> None:
        super().__init__(id, folder)
        self._no_threads = Path(f"{self.ini}.threads")
        self._reader = threading.Thread()
        self._may_read = threading.Event()  # its lines
        self._may_read.set()

    def spawn(self, command: list[str], **options: Any) -> subprocess.Popen:
        process = subprocess.Popen(command, **options, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._reader = threading.Thread(target=self._read, args=(process.stdout,), name=f"log-{self.id}")
        self._reader.start()
        return process

    def _read(self, lines: IO[bytes]) -> None:
        with open(self.log_file, "ab", buffering=0) as log, lines:
            for line in lines:
                log.write(line)
                self._may_read.wait()

    def end(self) -> int:
        """Kill the process, which may have ended by itself just now. Returns its exit status."""
        assert self.process is not None
        self.process.kill()
        return self.wait()

    def wait(self, timeout_s: float = 30.0) -> int:
        status = super().wait(timeout_s)
        self._may_read.set()
        self._reader.join()
        return status

    def close(self) -> None:
        super().close()
        self._may_read.set()
        if self._reader.ident is not None:
            self._reader.join()

    def fill_pipe(self) -> None:
        """From now on nobody reads its lines, and the pipe has no room for one more."""
        self._may_read.clear()
        assert self.process is not None
        pipe = os.open(f"/proc/{self.process.pid}/fd/2", os.O_WRONLY | os.O_NONBLOCK)
        try:
            for size in (1 << 16, 1 << 12, 1):
                with contextlib.suppress(BlockingIOError):
                    while True:
                        os.write(pipe, b"\n" * size)
        finally:
            os.close(pipe)

    def read_pipe(self) -> None:
        self._may_read.set()

    def forbid_threads(self) -> None:
        """From now on it can start none: see launcher.py."""
        self._no_threads.touch()

    def allow_threads(self) -> None:
        self._no_threads.unlink()

    def fill_disk(self, room_bytes: int) -> None:
        """From now on, no file of it grows by more than `room_bytes` beyond the newest part of its log."""
        segments = sorted((self.data_dir / "log").glob("*.jsonl"))
        limit = segments[-1].stat().st_size + room_bytes if segments else room_bytes
        self._limit_files(limit)

    def free_disk(self) -> None:
        self._limit_files(resource.RLIM_INFINITY)

    def _limit_files(self, limit: int) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):  # it has ended
                resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


class ChaosCluster(Cluster):
    """`size` nodes; each comes to each other one through a proxy of that pair. Does not start them."""

    def __init__(self, folder: Path, size: int, seed: int) -> None:
        super().__init__(folder, size, start=False, raft=RAFT)
        self.chaos_nodes = {id: ChaosNode(id, folder) for id in self.nodes}
        self.nodes = dict(self.chaos_nodes)
        self.paused: set[int] = set()
        self.proxy = Proxy(seed)
        peers = load_server_config(self.nodes[1].ini).peers
        for dialer, node in self.nodes.items():
            routes = {}
            for listener, real in peers.items():
                if listener != dialer:
                    routes[real.port] = self.proxy.add_link((dialer, listener), (real.host, real.port))[1]
            Path(f"{node.ini}.routes").write_text(json.dumps(routes), encoding="ascii")

    def begin(self) -> None:
        self.proxy.start()
        self.start(*self.nodes)

    def close(self) -> None:
        """End all processes and the proxy. May be called twice."""
        super().close()
        self.proxy.close()

    @property
    def links(self) -> list[Key]:
        return list(self.proxy.links)

    def pause(self, *ids: int) -> None:
        super().pause(*ids)
        self.paused.update(ids)

    def resume(self, *ids: int) -> None:
        super().resume(*ids)
        self.paused.difference_update(ids)

    def awake(self) -> list[int]:
        """The nodes that can be asked something without waiting for long."""
        return [id for id, node in self.nodes.items() if node.running and id not in self.paused]

    def processes(self) -> dict[int, tuple[int, Path]]:
        """Those that run, by node: pid and data folder."""
        return {
            id: (node.process.pid, node.data_dir)
            for id, node in self.nodes.items()
            if node.process and node.running
        }

    def find_leader(self) -> int:
        """The one that leads, as far as can be seen; any running node if none does."""
        awake = self.awake()
        return (self.leader(awake) if awake else None) or (awake or list(self.nodes))[0]

    def expect_running(self) -> None:
        """Fails if a node has ended that nobody has ended."""
        for id, node in self.nodes.items():
            status = node.process.poll() if node.process is not None and not node.may_end else None
            assert status is None, f"node {id} ended by itself, with status {status}"
