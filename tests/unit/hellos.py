"""Hellos for tests: node N has the disk N0, at 127.0.0.1:N."""

from __future__ import annotations

from typing import Any

from raftkv.node.hello import Hello
from raftkv.raft.configuration import Configuration, MemberRecord

FOUNDERS = "1=127.0.0.1:1 2=127.0.0.1:2 3=127.0.0.1:3"


def hello_of(id: int, **fields: Any) -> Hello:
    """Of a member of the cluster 7."""
    own = f"127.0.0.1:{id}"
    return Hello(2, "c", 7, id, 10 * id, own, own, "", 1, (1,), FOUNDERS, ())._replace(**fields)


def empty(id: int, **fields: Any) -> Hello:
    """Of a server with an empty disk."""
    return hello_of(id, **{"cluster_id": 0, **fields})


def record_of(id: int, **fields: Any) -> MemberRecord:
    return hello_of(id).record()._replace(**fields)


def members(*ids: int, **fields: Any) -> Configuration:
    """These are the voters of the cluster 7."""
    uids = tuple(10 * id for id in ids)
    return Configuration(uids, records=tuple(map(record_of, ids)), cluster_id=7)._replace(**fields)
