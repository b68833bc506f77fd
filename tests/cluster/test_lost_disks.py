"""A member whose disk is lost comes back under its id without endangering what it once promised."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from raftkv.errors import NotApplied

from tests.cluster.harness import RAFT, Cluster
from tests.cluster.waiting import hold, wait_until
from tests.cluster.workload import Appenders

SEVERAL_ELECTIONS_S = 6 * RAFT["election_timeout_ms"] / 1000


def roles(cluster: Cluster) -> tuple[int, int, int]:
    """(the leader, one follower, the other), once all take part: with a member that was never started,
    one that lost its disk would be free to found a new cluster (docs/divergence.md)."""
    not_yet = (None, "joining")
    wait_until(
        lambda: all(cluster.role(id) not in not_yet for id in cluster.nodes), "every member to take part"
    )
    leader = cluster.wait_for_leader()
    one, other = (id for id in cluster.nodes if id != leader)
    return leader, one, other


def test_members_lose_their_disks_while_clients_write(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster, Appenders(cluster.clerk, 2) as clients:
        clients.wait_for_more(20)
        leader, follower, _ = roles(cluster)
        for victim in (follower, leader):
            cluster.kill(victim)
            cluster.wipe(victim)
            clients.wait_for_more(20)
            cluster.start(victim)
            cluster.wait_for_log(victim, "it rejoins")
            cluster.wait_until_caught_up(victim)
        clients.end()
        clients.verify_everywhere(cluster)


def test_a_wiped_member_stays_out_while_another_is_down(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster, cluster.clerk() as db:
        db.put("k", "old")
        safe, wiped, absent = roles(cluster)
        cluster.kill(absent)
        db.put("k", "new")  # two members have it
        cluster.kill(wiped)
        cluster.wipe(wiped)  # one has it
        cluster.kill(safe)
        cluster.start(wiped, absent)  # a majority, none of which has it
        cluster.wait_until_answering(wiped, absent)

        def stays_out() -> bool:
            return [cluster.role(wiped), cluster.role(absent) == "leader"] == ["joining", False]

        hold(stays_out, "the wiped member stays out, and nobody leads", SEVERAL_ELECTIONS_S)
        with cluster.clerk(timeout_s=0.4) as hasty, pytest.raises(NotApplied):
            hasty.put("k", "newest")
        cluster.start(safe)
        cluster.wait_for_log(wiped, "it rejoins")
        assert db.get("k") == "new"
        cluster.wait_until_equal()
        cluster.kill(safe)
        assert db.get("k") == "new"  # it counts again


def test_a_wiped_member_does_not_vote_before_it_caught_up(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster, cluster.clerk() as db:
        db.put("k", "v")
        one, wiped, other = roles(cluster)
        cluster.kill(wiped)
        cluster.wipe(wiped)
        cluster.start(wiped, crash_point="hard-state-renamed")  # it knows how to rejoin, and has not begun to
        cluster.wait_for_crash(wiped)
        hard_state = json.loads((cluster.nodes[wiped].data_dir / "hard_state.json").read_text())
        assert hard_state["rejoin_term"] > 0
        cluster.kill(one)
        cluster.start(wiped)
        cluster.wait_until_answering(wiped, other)
        hold(lambda: cluster.leader([wiped, other]) is None, "the two elect nobody", SEVERAL_ELECTIONS_S)
        cluster.start(one)
        assert db.get("k") == "v"
        cluster.wait_until_equal()
        cluster.kill(other)
        assert db.get("k") == "v"  # now it votes
