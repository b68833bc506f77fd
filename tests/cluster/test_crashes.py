"""Elections, and nodes that die: kill -9 loses nothing that was acknowledged, and doubles nothing."""

from __future__ import annotations

from pathlib import Path

from tests.cluster.harness import Cluster
from tests.cluster.waiting import wait_until
from tests.cluster.workload import Appenders


def test_three_nodes_elect_a_leader_that_all_follow(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        cluster.wait_for_leader()

        def united() -> bool:
            statuses = cluster.statuses()
            roles = sorted(status["role"] for status in statuses)
            views = {(status["leader"], status["term"]) for status in statuses}
            return roles == ["follower", "follower", "leader"] and len(views) == 1

        wait_until(united, "two followers of one leader")


def test_kill_of_the_leader_and_of_a_follower(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        first = cluster.wait_for_leader()
        with Appenders(cluster.clerk, 3) as clients:
            clients.wait_for_more(50)
            cluster.kill(first)
            clients.wait_for_more(50)
            second = cluster.wait_for_leader()
            assert second != first
            cluster.start(first)
            cluster.wait_until_equal()
            follower = next(id for id in cluster.nodes if id != cluster.wait_for_leader())
            cluster.kill(follower)
            clients.wait_for_more(50)
            cluster.start(follower)
        clients.verify_everywhere(cluster)


def test_all_killed_and_restarted(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        cluster.wait_for_leader()
        with Appenders(cluster.clerk, 3) as clients:
            for _ in range(3):
                clients.wait_for_more(30)
                cluster.restart(*cluster.nodes)
            clients.wait_for_more(30)
        with cluster.clerk() as db:
            clients.verify(db)


def test_appends_take_effect_exactly_once_through_ten_kills_of_the_leader(tmp_path: Path) -> None:
    with Cluster(tmp_path, raft={"max_raft_state": 20_000, "segment_bytes": 4096}) as cluster:
        cluster.wait_for_leader()
        with Appenders(cluster.clerk, 4, filler_bytes=1000) as clients:
            for _ in range(10):
                leader = cluster.wait_for_leader()
                clients.wait_for_more(20)
                cluster.restart(leader)
        clients.verify_everywhere(cluster)
