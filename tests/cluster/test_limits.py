"""Strangers and too many clients take from a server what is theirs to take, and nothing that it needs."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest
from raftkv import Clerk
from raftkv.config import load_server_config
from raftkv.errors import NotApplied

from tests.cluster.harness import Cluster


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
            cluster.edit(id, "[raft]", "[limits]\nmax_connections = 2\n\n[raft]")
        cluster.start(*cluster.nodes)
        cluster.wait_for_leader()  # asks every server, with a connection that stays
        with cluster.clerk() as first, cluster.clerk(timeout_s=1.0) as second:
            first.put("k", "v")
            with pytest.raises(NotApplied, match=r"\[limits\] max_connections = 2 of server \d"):
                second.put("k", "w")
            leader = cluster.leader()
            assert leader is not None
            with Clerk(cluster.addresses, authkey=cluster.authkey, timeout=5.0) as third:
                status = next(row for row in third.status() if row["id"] == leader)
            assert status["alive"], "status is answered whoever is connected"
            assert (status["connections"], status["max_connections"]) == (2, 2)
            assert status["refused_connections"] > 0
