"""hello.py: which servers belong together."""

from __future__ import annotations

from typing import Any

import pytest
from raftkv.errors import ProtocolError
from raftkv.node.hello import RemovedError, check_called, check_hello

from tests.unit.hellos import empty, hello_of, members


@pytest.mark.parametrize("hello", [hello_of(2), empty(2), hello_of(2, cluster_id=0)])
@pytest.mark.parametrize("own", [hello_of(1), empty(1)])
def test_members_and_empty_disks_belong_together(hello: Any, own: Any) -> None:
    check_hello(hello, own, members(1, 2))


@pytest.mark.parametrize(
    "hello, says",
    [
        (hello_of(2, version=1), "speaks version 1"),
        (hello_of(2, cluster="d"), "belongs to cluster 'd', this is 'c'"),
        (hello_of(2, cluster_id=8), "belongs to another cluster than node 1, which also has the name 'c'"),
        (hello_of(1), "has this node's own address 127.0.0.1:1 in another line"),
        (hello_of(1, tokens=(2,), peer_address="b:1"), "a server at b:1 runs on a copy of the data folder of node 1"),
        (hello_of(1, uid=11, peer_address="b:1"), "two servers say that they are node 1: one at b:1 and one at"),
        (empty(1, uid=11), "two servers say that they are node 1"),
    ],
)  # fmt: skip
def test_others_are_refused_with_what_to_do(hello: Any, says: str) -> None:
    with pytest.raises(ProtocolError, match=says):
        check_hello(hello, hello_of(1), members(1))


def test_a_disk_that_was_removed_is_refused_and_told_so() -> None:
    with pytest.raises(RemovedError, match="the disk of node 2 was removed from this cluster"):
        check_hello(hello_of(2), hello_of(1), members(1, left=(20,)))


def test_servers_from_before_and_after_a_recovery_refuse_each_other_with_what_to_do() -> None:
    old, new = hello_of(2), hello_of(1, cluster_id=8)
    with pytest.raises(
        ProtocolError, match="of the cluster that this one was recovered from: stop it for good"
    ) as said:
        check_hello(old, new, members(1, left=(20,), cluster_id=8, recovered=9))
    assert not isinstance(said.value, RemovedError), (
        "else a recovery by mistake would end the others' campaigns"
    )
    with pytest.raises(
        ProtocolError, match="node 1 was made a cluster of its own, by --recover.* remove member 1"
    ):
        check_hello(new, old, members(1, 2))


def test_peer_that_takes_a_server_for_another_one_is_refused() -> None:
    for to in (0, 1):
        check_called(to, hello_of(2), hello_of(1))
    with pytest.raises(ProtocolError, match="node 2 takes node 1 for node 3: compare"):
        check_called(3, hello_of(2), hello_of(1))
