"""upkeep.py: what a leader changes by itself."""

from __future__ import annotations

import pytest
from raftkv.node.hello import Hello
from raftkv.node.upkeep import due_change, outsiders, what_is_missing, why_it_waits
from raftkv.raft.changes import Change
from raftkv.raft.configuration import Configuration

from tests.unit.hellos import empty, hello_of, members, record_of

NEW = empty(3, uid=31)  # a server with another disk says that it is node 3


def due(*met: Hello, silent: float = 10.0, of: Configuration = members(1, 2, 3)) -> Change | None:
    return due_change(of, {hello.uid: hello for hello in met}, lambda uid: silent, 10.0)


def test_a_lost_disk_is_replaced_by_an_empty_one_that_has_its_id() -> None:
    assert due(hello_of(1), hello_of(2), NEW) == Change(add=(NEW.record(),), remove=(30,))


def test_an_empty_disk_replaces_only_one_that_is_silent() -> None:
    assert due(hello_of(1), NEW, silent=9.9) is None
    assert due(hello_of(1), hello_of(3), NEW) is None, (
        "it is connected, though the leader has just been elected"
    )


def test_a_disk_with_data_replaces_nobody() -> None:
    assert due(hello_of(1), hello_of(3, uid=31)) is None


def test_a_disk_that_left_does_not_come_back() -> None:
    assert due(hello_of(1), NEW, of=members(1, 2, 3, left=(31,))) is None


def test_an_empty_disk_whose_id_nobody_has_waits_to_be_added() -> None:
    assert due(hello_of(1), empty(4)) is None
    assert "waits to be added" in why_it_waits(members(1, 2, 3), empty(4))
    assert "takes its place when that one has not been heard" in why_it_waits(members(1, 2, 3), NEW)
    begun = hello_of(3, uid=31)
    assert outsiders(members(1, 2, 3), {20: hello_of(2), 31: begun}) == [begun]
    assert "node 3 at 127.0.0.1:3 has data, and is no member" in why_it_waits(members(1, 2, 3), begun)


def test_learner_that_waited_to_be_promoted_waits_again() -> None:
    held = members(1, 2, learners=(30,), records=(record_of(1), record_of(2), record_of(3, held=True)))
    assert due(NEW, of=held) == Change(add=(NEW.record(held=True),), remove=(30,))


@pytest.mark.parametrize("held", [False, True])
def test_a_member_that_moved_gets_the_addresses_that_it_announces(held: bool) -> None:
    known = members(1, 2, 3, records=(record_of(1), record_of(2, held=held), record_of(3)))
    moved = hello_of(2, peer_address="there:2", client_address="there:1")
    changed = record_of(2, peer_address="there:2", client_address="there:1", held=held)
    assert due(hello_of(1), moved, of=known) == Change(update=(changed,))
    assert due(hello_of(1), hello_of(2), of=known) is None


def test_a_member_without_a_majority_says_whose_disks_are_missing() -> None:
    here = {hello.uid: hello for hello in (hello_of(2), empty(3, uid=31))}
    assert what_is_missing(members(1, 2, 3), 10, here) is None
    words = str(what_is_missing(members(1, 2, 3), 10, {31: empty(3, uid=31)}))
    assert "missing are the disks of nodes 2 and 3 (node 3 with an empty disk); if so many" in words
    joint = members(1, 2, 3, 4, voters=(10, 20), outgoing=(10, 30, 40))
    assert "missing are the disks of nodes 3 and 4; if" in str(what_is_missing(joint, 10, {20: hello_of(2)}))
