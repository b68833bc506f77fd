"""A leader drops the history while a disk has no room, and no more often than that helps. The clock is the test's."""

from __future__ import annotations

import pytest
from raftkv.errors import OverloadedError
from raftkv.kvdb.history_yield import EVERY_S, WORTH_BYTES
from raftkv.raft.types import Role

from tests.unit.test_lease_keeper import Server

ENTRY = ["", 0, 0, 0, "drop_history"]


@pytest.fixture
def server() -> Server:
    """One whose history is worth it."""
    server = Server()
    overwrite(server)
    server.no_room = "node 2 has no room"
    return server


def overwrite(server: Server) -> None:
    for _ in range(2):
        server.do("put", "k", "v" * WORTH_BYTES)


def test_the_history_goes_by_one_entry_and_an_idle_cluster_writes_no_more(server: Server) -> None:
    server.tick(0.5)
    assert server.proposed == [([ENTRY], [None])] and server.terms == [1]
    server.commit()
    assert server.service.status()["revision"] == 3 and server.service.snapshot_bytes() < 2 * WORTH_BYTES
    server.do("put", "k", "little")
    server.do("put", "k", "little")
    server.tick(60)
    server.commit()
    server.tick(120)
    assert not server.proposed, "what is left is not worth an entry"


def test_drop_is_not_proposed_again_before_it_is_applied_but_is_in_the_next_term(server: Server) -> None:
    server.tick(60)
    assert len(server.proposed) == 1, "the log takes nothing"
    server.role(Role.FOLLOWER, 2)
    server.tick(120)
    assert server.terms == [1]
    server.role(Role.LEADER, 3)
    server.tick(180)
    assert server.terms == [1, 3]


def test_history_is_dropped_again_when_there_is_more_but_not_at_once(server: Server) -> None:
    server.tick(0.5)
    server.commit()
    overwrite(server)
    server.tick(EVERY_S)
    assert not server.proposed
    server.tick(0.5 + EVERY_S)
    assert server.commit() == [ENTRY]


def test_drop_that_the_log_did_not_take_is_tried_again(server: Server) -> None:
    server.error = OverloadedError("full")
    server.tick(0.5)
    server.error = None
    server.tick(0.8)
    assert server.commit() == [ENTRY]


def test_nothing_goes_while_all_disks_have_room(server: Server) -> None:
    server.no_room = ""
    server.tick(60)
    assert not server.proposed
