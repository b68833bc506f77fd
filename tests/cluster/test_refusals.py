"""What must end or shut out a node: each time with one clear line, and without a loss for the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Callable

import pytest
from raftkv.config import load_server_config
from raftkv.keys import load_key
from raftkv.node.hello import VERSION, Hello
from raftkv.node.wire import to_plain
from raftkv.raft.messages import Heartbeat
from raftkv.rpc.client import try_connect

from tests.cluster.harness import HOST, Cluster, free_ports, request, takes_part
from tests.cluster.waiting import wait_until


def start_anew(cluster: Cluster, mistake: Callable[[Cluster], None]) -> None:
    """Node 3 begins again with an empty disk, and something in its file is wrong."""
    cluster.stop(3)
    cluster.wipe(3)
    mistake(cluster)
    cluster.start(3)


def test_a_node_with_the_wrong_peer_key_is_shut_out(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        load_key(str(tmp_path / "other.key"), create=True)
        start_anew(
            cluster, lambda cluster: cluster.edit(3, "peer_key_file = peer.key", "peer_key_file = other.key")
        )
        for id in cluster.nodes:
            cluster.wait_for_log(id, "it does not hold the same key")
            status = cluster.status(id)
            assert status is not None and any("the same key" in problem for problem in status["problems"])
        assert cluster.role(3) == "joining"


def test_a_node_of_another_cluster_is_shut_out(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        start_anew(cluster, lambda cluster: cluster.edit(3, "[node]", "[node]\ncluster = other"))
        cluster.wait_for_log(1, "node 3 belongs to cluster 'other', this is 'raftkv'")
        cluster.wait_for_log(3, "node 1 belongs to cluster 'raftkv', this is 'other'")
        assert cluster.role(3) == "joining"


def swap(cluster: Cluster, section: str, one: int, other: int) -> None:
    """In the file of node 3, exchange the addresses of two nodes."""
    addresses = getattr(load_server_config(cluster.nodes[3].ini), section)
    for id, address in ((one, addresses[other]), (other, addresses[one])):
        cluster.edit(3, f"{id} = {addresses[id]}\n", f"{id} = {address} \n")


def take_the_id_of_node_2(cluster: Cluster) -> None:
    for section in ("servers", "peers"):
        swap(cluster, section, 2, 3)
    cluster.edit(3, "id = 3", "id = 2")


def test_a_server_with_the_id_of_another_one_is_a_warning_on_both_sides_and_in_status(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        start_anew(cluster, take_the_id_of_node_2)
        words = "two servers say that they are node 2:"
        for id, said in ((2, words), (3, f"refuses this node: {words}")):
            cluster.wait_for_log(id, said)
            status = cluster.status(id)
            assert status is not None and any(said in problem for problem in status["problems"])
            warnings = [line for line in cluster.nodes[id].log.splitlines() if said in line]
            assert len(warnings) <= 2, "each is said once by each peer"


def test_a_server_that_is_pointed_at_the_wrong_ones_says_so_and_is_found_by_the_others_all_the_same(
    tmp_path: Path,
) -> None:
    def mistake(cluster: Cluster) -> None:
        swap(cluster, "peers", 1, 2)
        cluster.edit(3, known, unknown)  # there the others do not look for it

    with Cluster(tmp_path) as cluster:
        known = str(load_server_config(cluster.nodes[3].ini).peers[3])
        unknown = f"{HOST}:{free_ports(1)[0]}"
        start_anew(cluster, mistake)
        for to, called in ((1, 2), (2, 1)):
            words = f"node 3 takes node {to} for node {called}: compare the sections [peers]"
            cluster.wait_for_log(to, words)
            cluster.wait_for_log(3, f"refuses this node: {words}")
        assert cluster.role(3) == "joining"
        cluster.stop(3)
        cluster.edit(3, unknown, known)
        cluster.start(3)
        wait_until(lambda: takes_part(cluster.status(3)), "node 3 to be a voter again")
        for id in (1, 2):
            cluster.wait_for_log(3, f"the file of this server has node {id} at ")


def test_a_message_that_no_correct_member_sends_ends_its_connection_and_no_node(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster, cluster.clerk() as db:
        db.put("k", "v")
        cluster.wait_until_equal()
        cluster.make_leader(1)
        cluster.stop(3)
        status, config = cluster.status(1), load_server_config(cluster.nodes[1].ini)
        assert status is not None
        files = [cluster.nodes[id].data_dir / "node.json" for id in (1, 3)]
        to, own = (json.loads(file.read_text()) for file in files)
        with try_connect(config.peers[1], load_key(config.peer_key_file, create=False), 5.0) as liar:
            tokens = tuple(own["tokens"])
            hello = Hello(VERSION, "raftkv", 0, 3, own["uid"], "", "a:1", "", own["starts"], tokens, "", ())
            reply = request(liar, "hello", 1, *hello)
            assert reply[3] == 1, f"it was refused: {reply}"
            liar.send((None, "raft", to_plain(Heartbeat(own["uid"], to["uid"], status["term"], 0, 0))))
            with pytest.raises((EOFError, ConnectionError)):
                liar.recv()
        cluster.wait_for_log(1, f"nodes 1 and 3 both lead term {status['term']}")
        assert db.get("k") == "v" and cluster.leader() == 1


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


def test_a_failed_disk_ends_the_node_with_a_sentence(tmp_path: Path) -> None:
    with Cluster(tmp_path, raft={"segment_bytes": 4096}) as cluster, cluster.clerk() as db:
        leader = cluster.wait_for_leader()
        victim = next(id for id in cluster.nodes if id != leader)
        cluster.nodes[victim].may_end = True
        cluster.nodes[victim].data_dir.rename(tmp_path / "gone")
        while cluster.nodes[victim].running:
            db.put("k", "v" * 3000)
        assert cluster.nodes[victim].wait() == 1
        assert "CRITICAL the node ends: cannot read or write" in cluster.nodes[victim].log
