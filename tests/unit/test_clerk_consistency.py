"""Reads with consistency "serializable": any server answers, whoever leads."""

from __future__ import annotations

import pytest
from raftkv import Clerk, errors

from tests.unit.fake_cluster import HANG_UP, KEY


def test_serializable_reads_need_no_leader(clerk, cluster):
    clerk.put("a", "1")
    clerk.put("b", "2")
    no_leader = cluster.not_leader(None)
    for server in cluster.servers.values():
        server.behave = lambda method, args: None if method == "serializable" else no_leader
    reads = [
        (lambda level: clerk.get("a", consistency=level), "1"),
        (lambda level: clerk.get("z", "none", consistency=level), "none"),
        (lambda level: clerk.get_with_revision("b", consistency=level), ("2", 3)),
        (lambda level: clerk.get_kv("b", consistency=level).version, 1),
        (lambda level: clerk.get_kv("b", revision=2, consistency=level), None),
        (lambda level: clerk.scan("", limit=1, consistency=level), [("a", "1", 2)]),
        (lambda level: clerk.range(prefix="", consistency=level).revision, 3),
    ]
    assert [read("serializable") for read, _ in reads] == [expected for _, expected in reads]
    with Clerk(cluster.addresses, authkey=KEY, timeout=0.3) as other, pytest.raises(errors.UnavailableError):
        other.get("a")
    for read, _ in reads:
        with pytest.raises(errors.InvalidRequestError, match="linearizable or serializable"):
            read("eventual")


def test_a_serializable_read_goes_on_to_a_server_that_answers_and_stays_there(clerk, cluster):
    clerk.put("a", "1")
    for only in (3, 1):
        for server in cluster.servers.values():
            server.behave = lambda method, args, id=server.id: None if id == only else HANG_UP  # noqa: B023
        del cluster.requests[:]
        assert [clerk.get("a", consistency="serializable") for _ in range(3)] == ["1"] * 3
        assert [server for server, _, _ in cluster.requests][-2:] == [only] * 2
        assert len(cluster.requests) <= 5


def test_a_serializable_read_says_what_is_wrong(clerk, cluster):
    clerk.put("a", "1")
    with pytest.raises(errors.FutureRevisionError):
        clerk.get_kv("a", revision=99, consistency="serializable")
    with (
        Clerk(cluster.addresses, authkey=b"another key") as stranger,
        pytest.raises(errors.AuthenticationError),
    ):
        stranger.get("a", consistency="serializable")
    with (
        Clerk(["127.0.0.1:1"], authkey=KEY, timeout=0.3) as nobody,
        pytest.raises(errors.UnavailableError, match="server 127.0.0.1:1: "),
    ):
        nobody.get("a", consistency="serializable")
    clerk.close()
    with pytest.raises(errors.ClosedError):
        clerk.get("a", consistency="serializable")
