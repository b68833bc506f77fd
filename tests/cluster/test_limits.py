"""Strangers and too many clients take from a server what is theirs to take, and nothing that it needs."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from raftkv import Clerk
from raftkv.cli.cluster_files import ClusterFiles, prepare_folder
from raftkv.config import load_server_config
from raftkv.errors import UnavailableError

from tests.cluster.harness import Cluster
from tests.cluster.node import ROOT
from tests.cluster.waiting import PATIENCE_S, wait_until


def test_strangers_leave_the_open_files_that_snapshots_need(tmp_path: Path) -> None:
    with Cluster(tmp_path, start=False, raft={"max_raft_state": 4000}) as cluster:
        cluster.start(*cluster.nodes, ulimit="-n 64")
        leader = cluster.wait_for_leader()
        config = load_server_config(cluster.nodes[leader].ini)
        with contextlib.ExitStack() as stack, cluster.clerk() as db:
            for address in (config.servers[leader], config.peers[leader]) * 150:
                stranger = stack.enter_context(contextlib.closing(socket.socket()))
                stranger.setblocking(False)
                stranger.connect_ex(tuple(address))
            for number in range(100):
                db.put("k", "x" * 100 + str(number))
            cluster.wait_until_compacted(20, leader)
            assert db.get("k") == "x" * 100 + "99"
        assert len(cluster.statuses()) == 3, "all are alive"


def test_members_are_no_clients_and_a_client_too_many_hears_why(tmp_path: Path) -> None:
    with Cluster(tmp_path, 5, start=False) as cluster:
        for id in cluster.nodes:
            cluster.edit(id, "[limits]", "[limits]\nmax_connections = 2")
        cluster.start(*cluster.nodes)
        cluster.wait_for_leader()  # asks every server, with a connection that stays
        with cluster.clerk() as first, cluster.clerk(timeout_s=1.0) as second:
            first.put("k", "v")
            # A read: a write may be in doubt, if another server has not answered it when the time is over.
            with pytest.raises(UnavailableError, match=r"\[limits\] max_connections = 2 of server \d"):
                second.get("k")
            leader = cluster.wait_for_leader()
            with Clerk(cluster.addresses, authkey=cluster.authkey, timeout=5.0) as third:
                status = next(row for row in third.status() if row["id"] == leader)
            assert status["alive"], "status is answered whoever is connected"
            assert (status["connections"], status["max_connections"]) == (2, 2)
            assert status["refused_connections"] > 0


WITH_FEW_THREADS = """
import ctypes, os, resource, sys
from raftkv.cli.server import main
threads, ini = int(sys.argv[1]), sys.argv[2]
resource.setrlimit(resource.RLIMIT_NPROC, (threads, threads))
os.setresuid(54321, 54321, 0)
ctypes.CDLL(None).setfsuid(0)
sys.exit(main([ini]))
"""  # root has no limit, so a user that has no other process; but with root's files: Python's may be closed to others


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root can be half somebody else"
)
@pytest.mark.parametrize("threads, enough", [(14, True), (6, False)])
def test_a_server_needs_no_thread_but_those_of_its_start(tmp_path: Path, threads: int, enough: bool) -> None:
    files = prepare_folder(tmp_path, 1)
    ini = Path(files.server_inis[1])
    ini.write_text(ini.read_text() + "[raft]\nelection_timeout_ms = 150\nmax_raft_state = 1000\n")
    command = [sys.executable, "-c", WITH_FEW_THREADS, str(threads), str(ini)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as server:
        try:
            if enough:
                fill(files, load_server_config(ini).servers[1])
                server.terminate()
            _, log = server.communicate(timeout=PATIENCE_S)
        finally:
            server.kill()
    assert server.returncode == (0 if enough else 1) and "Traceback" not in log
    assert enough or re.search("^kvserver: this system allows no more threads", log, re.MULTILINE)


def fill(files: ClusterFiles, address: tuple[str, int]) -> None:
    """Have a snapshot taken while there are a hundred silent strangers."""
    wait_until(Path(files.client_ini).with_name("client.key").exists, "the key")
    with Clerk.from_config(files.client_ini) as db, contextlib.ExitStack() as strangers:
        db.put("k", "")
        for _ in range(100):
            strangers.enter_context(socket.create_connection(address))
        for number in range(100):
            db.put("k", str(number))
        wait_until(lambda: db.status()[0]["snapshot_index"] > 0, "a snapshot")
        assert db.get("k") == "99"
