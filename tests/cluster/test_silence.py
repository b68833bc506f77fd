"""Who cannot reach a majority, or was asleep meanwhile, neither writes nor reads."""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from raftkv.errors import NOT_LEADER, NotApplied, OutcomeUnknown, UnavailableError

from tests.cluster.harness import Cluster, request
from tests.cluster.waiting import PATIENCE_S, hold, wait_until

#: Of tests that need one leader from their beginning on: a disk that is busy for a shorter timeout, with what
#: else runs here, would make that step aside.
STEADY = {"election_timeout_ms": 600}


def replies(connection: Connection, count: int) -> dict[int, tuple[bool, Any]]:
    """The next replies on a connection: id -> (ok, result)."""
    found: dict[int, tuple[bool, Any]] = {}
    while len(found) < count:
        assert connection.poll(PATIENCE_S), f"only {len(found)} of {count} answers came: {found}"
        id, ok, result = connection.recv()
        found[id] = (ok, result)
    return found


@pytest.mark.parametrize("how", ["killed", "paused"])
def test_a_leader_without_its_followers_neither_writes_nor_reads(tmp_path: Path, how: str) -> None:
    with Cluster(tmp_path, raft=STEADY) as cluster, cluster.clerk() as db:
        db.put("k", "before")
        leader = cluster.wait_for_leader()
        followers = [id for id in cluster.nodes if id != leader]
        with cluster.connect(leader) as connection:
            birth = request(connection, "hello")["applied"]
            getattr(cluster, "kill" if how == "killed" else "pause")(*followers)
            # It still believes that it leads.
            connection.send((1, "put", ("alone", birth, 1, 1, b"k", b"alone")))
            connection.send((2, "get", (b"k",)))
            for ok, result in replies(connection, 2).values():
                assert not ok and result[0] == NOT_LEADER, f"alone, it answered {result}"
            connection.send((3, "get", (b"k",)))
            assert replies(connection, 1)[3][0] is False
        with cluster.clerk(timeout_s=0.4) as alone:
            with pytest.raises(NotApplied):
                alone.put("k", "not this")
            with pytest.raises(UnavailableError):
                alone.get("k")
        status = cluster.status(leader)
        assert status is not None and status["role"] != "leader"
        getattr(cluster, "start" if how == "killed" else "resume")(*followers)
        value = db.get("k")
        assert value in ("before", "alone")  # the one was acknowledged; of the other nobody knows
        cluster.wait_until_equal()
        assert db.get("k") == value


def test_a_write_that_no_majority_could_store_is_in_doubt(tmp_path: Path) -> None:
    with Cluster(tmp_path, raft=STEADY) as cluster, cluster.clerk() as db:
        with cluster.clerk(timeout_s=1.5) as hasty:
            followers = [id for id in cluster.nodes if id != cluster.wait_for_leader()]
            hasty.put("k", "before")  # from now on it has a name, and knows who leads
            cluster.pause(*followers)
            with pytest.raises(OutcomeUnknown):
                hasty.put("k", "perhaps")
        cluster.resume(*followers)
        value = db.get("k")
        assert value in ("before", "perhaps")
        cluster.wait_until_equal()
        assert db.get("k") == value


def test_a_paused_leader_comes_back_and_serves_nothing_stale(tmp_path: Path) -> None:
    with Cluster(tmp_path, raft=STEADY) as cluster, cluster.clerk() as db:
        db.put("k", "old")
        old = cluster.wait_for_leader()
        others = [id for id in cluster.nodes if id != old]
        with cluster.connect(old) as connection:
            birth = request(connection, "hello")["applied"]
            assert request(connection, "get", b"k")[1][0] == b"old"
            cluster.pause(old)
            # These wait in its socket: the first that it sees when it wakes up and believes that it leads.
            connection.send((1, "get", (b"k",)))
            connection.send((2, "put", ("late", birth, 1, 1, b"k", b"stale")))
            connection.send((3, "get", (b"k",)))
            new = cluster.wait_for_leader(*others)
            db.put("k", "new")
            cluster.resume(old)
            for id, (ok, result) in replies(connection, 3).items():
                assert not ok and result[0] == NOT_LEADER, (
                    f"back from its sleep, it answered {id} with {result}"
                )

        def follows() -> bool:
            status = cluster.status(old)
            return status is not None and status["role"] == "follower" and status["leader"] is not None

        wait_until(follows, f"node {old} to follow")
        assert db.get("k") == "new"
        cluster.wait_until_equal()
        cluster.kill(new)
        assert db.get("k") == "new"


def test_a_paused_follower_comes_back_and_disturbs_nobody(tmp_path: Path) -> None:
    timeout_ms = 800  # a busy machine must not cause the election that the follower's return must not
    with Cluster(tmp_path, raft={"election_timeout_ms": timeout_ms}) as cluster:
        leader = cluster.wait_for_leader()
        cluster.wait_until_equal()
        term = cluster.status(leader)["term"]  # type: ignore[index]
        follower = next(id for id in cluster.nodes if id != leader)

        def leads_on() -> bool:
            status = cluster.status(leader)
            return status is not None and (status["role"], status["term"]) == ("leader", term)

        cluster.pause(follower)
        hold(leads_on, "the leader leads on", 2 * timeout_ms / 1000)  # its time to call an election is over
        cluster.resume(follower)
        hold(leads_on, "the leader leads on", 0.5)
        assert cluster.role(follower) == "follower"
