"""Directory: what a client makes of what servers say of the members."""

from __future__ import annotations

from typing import Any

import pytest
from raftkv.client.directory import Directory
from raftkv.errors import ProtocolError
from raftkv.ini import Address


def at(port: int, host: str = "127.0.0.1") -> Address:
    return Address(host, port)


def guide(id: int, *members: int, cluster_id: int = 7) -> dict[str, Any]:
    """What server `id` says of members that are each at the port of their id."""
    return {"id": id, "members": {each: f"127.0.0.1:{each}" for each in members}, "cluster_id": cluster_id}


def test_one_address_leads_to_all_members() -> None:
    directory = Directory({1: at(2)}, are_ids=False)
    directory.learn(1, guide(2, 1, 2, 3))
    assert set(directory.addresses.values()) == {at(1), at(2), at(3)}
    assert directory.number_of(2) == 1 and directory.label(1) == "2"
    assert [directory.addresses[directory.ids[id]] for id in (1, 2, 3)] == [at(1), at(2), at(3)]


def test_a_list_in_another_order_is_put_right_by_the_addresses() -> None:
    directory = Directory({1: at(2), 2: at(3), 3: at(1)}, are_ids=False)
    directory.learn(3, guide(1, 1, 2, 3))
    assert directory.ids == {1: 3, 2: 1, 3: 2} and len(directory.addresses) == 3


def test_addresses_that_work_from_here_are_kept_where_servers_have_others_among_themselves() -> None:
    given = {1: at(7, "outside"), 2: at(8, "outside"), 3: at(9, "outside")}
    directory = Directory(given)
    directory.learn(2, guide(2, 1, 2, 3))
    assert directory.addresses == given and directory.ids == {1: 1, 2: 2, 3: 3}


def test_a_wrong_id_is_believed_until_the_server_says_another_one() -> None:
    directory = Directory({1: at(2), 2: at(1)})
    assert directory.number_of(1) == 1
    directory.learn(1, guide(2, 1, 2))
    assert directory.ids == {2: 1, 1: 2}


def test_members_that_left_are_forgotten_and_those_that_were_given_are_not() -> None:
    directory = Directory({1: at(1)})
    directory.learn(1, guide(1, 1, 2, 3))
    directory.learn(1, guide(1, 1, 4), keep=(directory.ids[3],))
    assert set(directory.addresses.values()) == {at(1), at(3), at(4)}
    directory.learn(directory.ids[4], guide(4, 4))
    assert set(directory.addresses.values()) == {at(1), at(4)}


def test_a_member_that_moved_is_looked_for_where_it_says_when_its_old_address_fails() -> None:
    directory = Directory({1: at(8), 2: at(2)})
    directory.learn(2, guide(2, 1, 2))
    assert directory.number_of(1) == 1
    directory.failed(1)
    directory.learn(2, guide(2, 1, 2))
    number = directory.number_of(1)
    assert number is not None and directory.addresses[number] == at(1)


@pytest.mark.parametrize(
    "said",
    [
        None,
        {"leader": 1, "proposed": False},
        guide(9, 9, cluster_id=8),
        {"id": 1, "members": {"x": "y", 0: "127.0.0.1:1", 3: "nowhere"}, "cluster_id": 7},
    ],
    ids=["nothing", "no members", "another cluster", "nonsense"],
)
def test_senseless_guide_changes_nothing(said: Any) -> None:
    directory = Directory({1: at(1), 2: at(2)})
    directory.learn(1, guide(1, 1, 2))
    directory.learn(2, said)
    assert directory.addresses == {1: at(1), 2: at(2)} and directory.ids == {1: 1, 2: 2}


def test_servers_of_another_cluster_are_refused_and_when_no_others_are_left_the_cluster_is_lost() -> None:
    directory = Directory({1: at(1), 2: at(2)})
    with pytest.raises(ProtocolError, match="no member of a cluster yet"):
        directory.greeted(2, guide(2, cluster_id=0))
    directory.greeted(2, guide(2, 2, cluster_id=8))
    directory.greeted(1, guide(1, 1, 2))
    assert not directory.has_lost_its_cluster, "none has answered a command yet"
    directory.bind(1)
    with pytest.raises(ProtocolError, match="belongs to another cluster than before"):
        directory.greeted(2, guide(2, 2, cluster_id=8))
    directory.failed(2)
    assert not directory.has_lost_its_cluster
    directory.failed(1)
    assert directory.has_lost_its_cluster
    directory.greeted(1, guide(1, 1, 2))
    assert not directory.has_lost_its_cluster
