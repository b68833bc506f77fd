"""What must end or shut out a node: each time with one clear line, and without a loss for the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.harness import Cluster
from tests.cluster.workload import KEY, Appenders

NOT_ENOUGH = 64 << 10  # bytes that a file may have, when the disk is "full"


def test_a_node_with_the_wrong_peer_key_is_shut_out(tmp_path: Path) -> None:
    with Cluster(tmp_path, start=False) as cluster, cluster.clerk() as db:
        cluster.edit(3, "peer_key_file = peer.key", "peer_key_file = other.key")
        cluster.start(*cluster.nodes)
        db.put("k", "v")
        for id in cluster.nodes:
            cluster.wait_for_log(id, "it does not hold the same key")
        assert cluster.role(3) == "joining"


def test_a_node_of_another_cluster_is_shut_out(tmp_path: Path) -> None:
    with Cluster(tmp_path, start=False) as cluster, cluster.clerk() as db:
        cluster.edit(3, "[node]", "[node]\ncluster = other")
        cluster.start(*cluster.nodes)
        db.put("k", "v")
        cluster.wait_for_log(1, "node 3 belongs to cluster 'other', this is 'raftkv'")
        cluster.wait_for_log(3, "node 1 belongs to cluster 'raftkv', this is 'other'")
        assert cluster.role(3) == "joining"


def test_a_folder_of_another_node_or_cluster_is_refused(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster, cluster.clerk() as db:
        db.put("k", "v")
        cluster.wait_until_equal()
        cluster.stop(*cluster.nodes)
        cluster.edit(1, "data_dir = data1", "data_dir = data2")
        cluster.edit(2, "data_dir = data2", "data_dir = data1")
        cluster.edit(3, "[node]", "[node]\ncluster = other")
        cluster.start(*cluster.nodes)
        assert [cluster.nodes[id].wait() for id in (1, 2, 3)] == [1, 1, 1]
        last = {id: node.log.splitlines()[-1] for id, node in cluster.nodes.items()}
        assert "data2 belongs to node 2, but the configuration says node 1: correct" in last[1]
        assert "data1 belongs to node 1, but the configuration says node 2: correct" in last[2]
        assert "data3 belongs to the cluster 'raftkv', but the configuration says 'other': correct" in last[3]


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_a_full_disk_ends_the_node_and_loses_nothing(tmp_path: Path, role: str) -> None:
    with Cluster(tmp_path) as cluster:
        leader = cluster.wait_for_leader()
        victim = next(id for id in cluster.nodes if id != leader)
        cluster.kill(victim)
        cluster.start(victim, max_file_bytes=NOT_ENOUGH)
        if role == "leader":
            cluster.make_leader(victim)
        with Appenders(cluster.clerk, 2, filler_bytes=1000) as clients:
            assert cluster.nodes[victim].wait() == 1
            assert "make room on that disk, then start this node again" in cluster.nodes[victim].log
            clients.wait_for_more(20)
            cluster.start(victim)
            cluster.wait_until_caught_up(victim)
        cluster.wait_until_equal()
        with cluster.clerk() as db:
            clients.verify(db.get(KEY))
        cluster.stop(*cluster.nodes)
        for id in cluster.nodes:
            clients.verify(cluster.stored_data(id)[KEY])
