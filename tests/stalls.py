"""How long does anything hold what heartbeats need? A program with a verdict, for a quiet machine:

    python -m tests.stalls                 1,000,000 keys; the largest entries; snapshots; restarts
    python -m tests.stalls --keys 100000

It runs three servers, loads them with the worst that clients may send, restarts them all, and prints of each
server, in milliseconds of processor time (what else runs on the machine does not count):

    ticks     the longest time from one tick of the clock to the next (nominally 10): to send heartbeats, that
              thread needs the GIL and the node's mutex
    clients   the longest turn of the thread that reads connections, with what clients sent
    members   the same with what members sent, heartbeats among it

and of each restart the seconds until the first get is answered, and the elections. The exit status is 1 if
any time reached a heartbeat interval.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from raftkv import Clerk
from raftkv.cli.cluster_files import ClusterFiles, prepare_folder
from raftkv.config import load_server_config

LIMIT_MS = 50
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


# -- in a server ---------------------------------------------------------------------------------------------


class Watch:
    """The longest times of this process, written to `path` as they grow."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._longest: dict[str, float] = {}

    def saw(self, name: str, seconds: float) -> None:
        if seconds > self._longest.get(name, 0.0):
            self._longest[name] = seconds
            with open(self._path, "w", encoding="utf-8") as file:
                json.dump(self._longest, file)

    def time(self, owner: type, method: str, name: str) -> None:
        """Time each call of a method, in processor time of its thread."""
        original = getattr(owner, method)

        def timed(*args: Any) -> Any:
            started = time.thread_time()
            try:
                return original(*args)
            finally:
                self.saw(name, time.thread_time() - started)

        setattr(owner, method, timed)

    def time_between(self, owner: type, method: str, name: str) -> None:
        """Time from the end of one call to the end of the next: the less of what the clock and the process's
        own processor time say."""
        original = getattr(owner, method)
        last: list[tuple[float, float]] = []

        def timed(*args: Any) -> Any:
            result = original(*args)
            now = (time.monotonic(), time.process_time())
            if last:
                before = last.pop()
                self.saw(name, min(now[0] - before[0], now[1] - before[1]))
            last.append((time.monotonic(), time.process_time()))
            return result

        setattr(owner, method, timed)


def serve(config: str, report: str) -> int:
    from raftkv.cli.server import main as server
    from raftkv.kvdb.service import KVService
    from raftkv.node.member import Member
    from raftkv.node.node import RaftNode

    watch = Watch(report)
    watch.time(KVService, "on_requests", "clients")
    watch.time(Member, "on_messages", "members")
    watch.time_between(RaftNode, "tick", "ticks")
    return server([config])


# -- the driver ----------------------------------------------------------------------------------------------


class Servers:
    """Three of them, each watched."""

    def __init__(self, files: ClusterFiles, folder: str) -> None:
        self._files, self._folder = files, folder
        self.longest: dict[str, float] = {}

    def _path(self, node: int, name: str) -> str:
        return os.path.join(self._folder, f"{node}.{name}")

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        processes = []
        try:
            for node, ini in self._files.server_inis.items():
                command = [sys.executable, "-m", "tests.stalls", "--serve", ini, self._path(node, "json")]
                with open(self._path(node, "err"), "w", encoding="utf-8") as err:
                    processes.append(subprocess.Popen(command, cwd=ROOT, stderr=err))
            yield
        finally:
            for process in processes:
                process.send_signal(signal.SIGTERM)
            for process in processes:
                process.wait()

    def report(self, what: str) -> None:
        """Print the longest times since the start."""
        for node in self._files.server_inis:
            with open(self._path(node, "json"), encoding="utf-8") as file:
                times = {name: seconds * 1000 for name, seconds in json.load(file).items()}
            for name, took in times.items():
                self.longest[name] = max(took, self.longest.get(name, 0.0))
            print(f"{what}, node {node}:", *[f"{name} {took:.0f} ms" for name, took in sorted(times.items())])

    def elections(self) -> int:
        """How many have been won since the start."""
        count = 0
        for node in self._files.server_inis:
            with open(self._path(node, "err"), encoding="utf-8") as file:
                count += len(re.findall(r" leader in term ", file.read()))
        return count


def load(db: Clerk, keys: int) -> None:
    """`keys` in pipelines of 1,000, then the largest requests of all kinds."""
    for start in range(0, keys, 1000):
        pipeline = db.pipeline()
        for n in range(start, min(keys, start + 1000)):
            pipeline.put(f"key{n:09d}", f"{n:0100d}")
        pipeline.execute()
    for op in ("put", "append"):
        pipeline = db.pipeline()
        for n in range(10_000):
            getattr(pipeline, op)(f"k{n}", "v")
        pipeline.execute()
    pipeline = db.pipeline()
    for n in range(10_000):
        pipeline.get(f"key{n:09d}")
    pipeline.execute()
    db.put("large", "\u1234" * 500_000)
    db.get("large")
    for _ in range(3):
        db.scan(limit=1000)
    futures = [db.submit("put", f"many{n}", "v" * 50) for n in range(20_000)]
    for future in futures:
        future.result()


def main() -> int:
    parser = argparse.ArgumentParser("tests.stalls", description="How long anything holds up heartbeats.")
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--restarts", type=int, default=2)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        return serve(*args.serve)
    with tempfile.TemporaryDirectory(prefix="raftkv-stalls-") as folder:
        files = prepare_folder(os.path.join(folder, "cluster"), 3)
        for ini in files.server_inis.values():
            load_server_config(ini).load_keys()
        servers = Servers(files, folder)
        with servers.running(), Clerk.from_config(files.client_ini, timeout=60) as db:
            load(db, args.keys)
            servers.report("load")
        for restart in range(1, args.restarts + 1):
            started = time.monotonic()
            with servers.running(), Clerk.from_config(files.client_ini, timeout=120) as db:
                db.get("large")
                took = time.monotonic() - started
                while len({server.get("applied_index") for server in db.status()}) > 1:
                    time.sleep(0.1)
                servers.report(f"restart {restart}")
            print(f"restart {restart}: first answer after {took:.1f} s, {servers.elections()} elections won")
        over = {name: took for name, took in servers.longest.items() if took >= LIMIT_MS}
        print(f"over {LIMIT_MS} ms: {', '.join(over) or 'nothing'}")
        return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
