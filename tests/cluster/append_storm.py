"""Exactly once in a storm: many clients append while nodes are killed all the time.

    python -m tests.cluster.append_storm

runs five nodes by bin/kvcluster.py and 10,000 appends by 8 clients, while every 2 seconds a random node is
killed with kill -9 and restarted. Each append must be there exactly once, in its client's order. Exit status
0 if so, else 1.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from raftkv import Clerk

from tests.cluster.launched import Launched, launched
from tests.cluster.node import Node
from tests.cluster.waiting import wait_until
from tests.cluster.workload import KEY, Appenders


class Killer:
    """Kills nodes of a launched cluster, and restarts them as `bin/kvserver.py DIR/serverN.ini`."""

    def __init__(self, cluster: Launched, db: Clerk) -> None:
        self._db = db
        self.nodes = {id: Node(id, cluster.folder) for id in range(1, len(cluster.inis) + 1)}
        self.kills = self.leader_kills = 0

    def kill_one(self) -> None:
        """Kill -9 a random node, wait until it is gone, start it again, and wait until it answers."""
        victim = random.choice([status for status in self._db.status() if status["alive"]])
        id, pid = victim["id"], victim["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: self._pid(id) is None, f"node {id} to be gone")
        self.nodes[id].close()  # if it is one of ours, for the second time
        self.nodes[id].start()
        wait_until(lambda: self._pid(id) not in (None, pid), f"node {id} to be back")
        self.kills += 1
        self.leader_kills += victim["role"] == "leader"

    def close(self) -> None:
        for node in self.nodes.values():
            node.close()

    def _pid(self, id: int) -> int | None:
        return {status["id"]: status["pid"] for status in self._db.status()}[id]


def storm(cluster: Launched, clients: Appenders, every_s: float) -> str:
    """Let the clients append to their end, and kill meanwhile. Returns what was done.

    Raises AssertionError.
    """
    with Clerk.from_config(cluster.client_ini) as db:
        killer = Killer(cluster, db)
        started = time.monotonic()
        next_kill = started + every_s
        try:
            with clients:
                while not clients.done:
                    if time.monotonic() >= next_kill:
                        killer.kill_one()
                        next_kill += every_s
                    time.sleep(0.02)
            took_s = time.monotonic() - started
            clients.verify(db.get(KEY))
            for log in (cluster.log, *(node.log for node in killer.nodes.values())):
                assert "Traceback" not in log, log[-4000:]
        finally:
            killer.close()
    kills = f"{killer.kills} kills, {killer.leader_kills} of them of the leader"
    return f"{clients.total} appends in {took_s:.1f} s, {kills}"


def main(argv: list[str] | None = None) -> int:
    """Run the storm that the arguments describe, and print the verdict. Returns the exit status."""
    parser = argparse.ArgumentParser(
        "append_storm", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--appends", type=int, default=10_000, help="by all clients together")
    parser.add_argument("--every", type=float, default=2.0, metavar="S", help="seconds between two kills")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="raftkv-storm-") as folder:
        try:
            with launched(Path(folder, "cluster"), "--nodes", str(args.nodes)) as cluster:
                clients = Appenders(
                    lambda: Clerk.from_config(cluster.client_ini, timeout=60.0),
                    args.clients,
                    each=args.appends // args.clients,
                )
                done = storm(cluster, clients, args.every)
            cluster.wait_until_gone()
        except AssertionError as error:
            print(f"FAILED: {error}")
            return 1
    print(f"OK: {done}; each append is there exactly once, in its client's order; no process is left")
    return 0


if __name__ == "__main__":
    sys.exit(main())
