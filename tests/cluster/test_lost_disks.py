"""Disks that are lost, put back from a copy, or cloned: nothing acknowledged vanishes without a word."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from raftkv.config import load_server_config
from raftkv.errors import NotApplied

from tests.cluster.harness import HOST, RAFT, Cluster, free_ports, takes_part
from tests.cluster.node import Node
from tests.cluster.waiting import hold, wait_until
from tests.cluster.workload import Appenders

SEVERAL_ELECTIONS_S = 6 * RAFT["election_timeout_ms"] / 1000


def roles(cluster: Cluster) -> tuple[int, int, int]:
    """(the leader, one follower, the other)."""
    leader = cluster.wait_for_leader()
    one, other = (id for id in cluster.nodes if id != leader)
    return leader, one, other


def wait_until_it_votes(cluster: Cluster, id: int) -> None:
    wait_until(lambda: takes_part(cluster.status(id)), f"node {id} to be a voter again")


def put_on_two(cluster: Cluster, keys: int) -> None:
    """Writes that only the nodes which run now have."""
    with cluster.clerk() as db:
        for number in range(keys):
            db.put(f"k{number}", "v")


def test_members_lose_their_disks_while_clients_write(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster, Appenders(cluster.clerk, 2) as clients:
        clients.wait_for_more(20)
        leader, follower, _ = roles(cluster)
        for victim in (follower, leader):
            cluster.kill(victim)
            cluster.wipe(victim)
            clients.wait_for_more(20)
            cluster.start(victim)
            wait_until_it_votes(cluster, victim)
        clients.end()
        clients.verify_everywhere(cluster)


def test_two_empty_disks_found_no_cluster_while_the_third_may_have_data(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster, cluster.clerk() as db:
        db.put("k", "v")
        cluster.wait_until_equal()
        cluster.kill(*cluster.nodes)
        for id in (1, 2):
            cluster.wipe(id)
        cluster.start(1, 2)
        cluster.wait_until_answering(1, 2)

        def nobody_begins() -> bool:
            return [cluster.role(1), cluster.role(2)] == ["joining", "joining"]

        hold(nobody_begins, "nobody founds a cluster", SEVERAL_ELECTIONS_S)
        cluster.start(3)
        cluster.wait_for_log(1, "this server's disk is empty, and node 3 has data")
        missing = "missing are the disks of nodes 1 and 2 (nodes 1 and 2 with an empty disk)"
        cluster.wait_for_log(
            3, f"no majority of the members is here: {missing}; if so many are lost for good, kvserver"
        )
        with cluster.clerk(timeout_s=0.4) as hasty, pytest.raises(NotApplied):
            hasty.put("k", "newest")
        assert nobody_begins()
        cluster.kill(3)
        assert cluster.stored_data(3) == {"k": "v"}


def test_an_older_copy_of_a_disk_is_refused_by_who_met_its_later_life(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        leader, copied, other = roles(cluster)
        cluster.wait_until_equal()
        cluster.stop(copied)
        shutil.copytree(cluster.nodes[copied].data_dir, tmp_path / "copy")
        cluster.start(copied)
        cluster.wait_until_equal()
        cluster.stop(other)
        put_on_two(cluster, 30)
        cluster.stop(copied)
        cluster.kill(leader)
        cluster.wipe(copied)
        (tmp_path / "copy").rename(cluster.nodes[copied].data_dir)
        cluster.start(copied, other)
        words = f"node {copied} runs on an older copy of its data folder"
        cluster.wait_for_log(other, words)
        cluster.wait_for_log(copied, words)
        hold(lambda: cluster.leader([copied, other]) is None, "they elect nobody", SEVERAL_ELECTIONS_S)
        cluster.start(leader)
        cluster.wait_for_log(leader, words)
        with cluster.clerk() as db:
            assert all(db.get(f"k{number}") == "v" for number in range(30))
        cluster.kill(copied)
        cluster.wipe(copied)
        cluster.start(copied)
        wait_until_it_votes(cluster, copied)
        cluster.wait_until_equal()


def make_clone(cluster: Cluster, id: int) -> Node:
    """A server on a copy of the disk of node `id`, which stands still, at another address: as a machine that was
    copied is."""
    clone, config = Node(id + 10, cluster.folder), load_server_config(cluster.nodes[id].ini)
    shutil.copytree(cluster.nodes[id].data_dir, clone.data_dir)
    text = cluster.nodes[id].ini.read_text().replace(f"data_dir = data{id}", f"data_dir = data{id + 10}")
    for old, port in zip((config.servers[id], config.peers[id]), free_ports(2)):
        text = text.replace(str(old), f"{HOST}:{port}")
    clone.ini.write_text(text)
    return clone


def test_of_two_servers_on_copies_of_one_disk_the_earlier_is_cut_off(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster, Appenders(cluster.clerk, 2) as clients:
        clients.wait_for_more(20)
        _, original, _ = roles(cluster)
        cluster.pause(original)
        clone = make_clone(cluster, original)
        try:
            clone.start()
            cluster.resume(original)
            words = f"node {original} runs on an older copy of its data folder, or on one that another server uses"
            cluster.wait_for_log(original, f"refuses this node: {words}")
            clients.wait_for_more(20)
            cluster.kill(original)
            clients.wait_for_more(20)
            clients.end()
            with cluster.clerk() as db:
                clients.verify(db)
        finally:
            clone.close()


def test_a_log_that_lost_its_end_takes_no_part_and_says_so(tmp_path: Path) -> None:
    """Only the leader that it acknowledged it to knows: no other one must take over because this machine is busy."""
    with Cluster(tmp_path, raft={"election_timeout_ms": 5000}) as cluster, cluster.clerk() as db:
        _, victim, _ = roles(cluster)
        for number in range(20):
            db.put(f"k{number}", "v")
        cluster.wait_until_equal()
        cluster.kill(victim)
        (log,) = (cluster.nodes[victim].data_dir / "log").iterdir()
        os.truncate(log, log.read_bytes().index(b"k10"))
        cluster.start(victim)
        assert cluster.nodes[victim].wait() == 1
        assert "has lost something that this server had acknowledged" in cluster.nodes[victim].log
        cluster.wipe(victim)
        cluster.start(victim)
        wait_until_it_votes(cluster, victim)
        cluster.wait_until_equal()


def test_a_log_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster, cluster.clerk() as db:
        db.put("k", "v")
        cluster.wait_until_equal()
        cluster.kill(1)
        (log,) = (cluster.nodes[1].data_dir / "log").iterdir()
        log.unlink()
        cluster.start(1)
        assert cluster.nodes[1].wait() == 1
        assert (
            "the newest file of the log is missing, or empty. Move its data folder away"
            in cluster.nodes[1].log
        )
